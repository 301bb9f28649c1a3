"""Where accounts are delivered: files, a directory, a command."""
