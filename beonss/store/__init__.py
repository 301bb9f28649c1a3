"""SQLite and files: blocking, no Twisted."""
