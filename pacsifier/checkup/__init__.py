"""`pacsifier --check`: what a PACS can do."""
