"""Retrieve (save, move, info), upload and resume: what the command `pacsifier` does."""
