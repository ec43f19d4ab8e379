"""The output folder: names, files, the run lock."""
