"""The smaller commands, one flow per file."""
