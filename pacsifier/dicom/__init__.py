"""DICOM files as bytes: the walker, the writer of pieces, what kind of file one is, DICOMDIR."""
