"""The door to processes: nothing outside this room starts a DCMTK binary."""
