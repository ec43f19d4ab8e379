"""De-identification by DICOM PS3.15 Annex E: one instance (`instance`), a tree of them (`folder`), the proof (`verify`)."""
