"""De-identification by DICOM PS3.15 Annex E: an instance (`instance`), a tree (`folder`), the proof (`verify`)."""
