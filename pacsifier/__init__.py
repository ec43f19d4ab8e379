"""Gets imaging data out of a hospital PACS: in bulk, completely and lawfully."""

__version__ = "2.0.0.dev0"
