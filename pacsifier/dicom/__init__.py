"""DICOM files as bytes: the walker, the writer of pieces, DICOMDIR."""
