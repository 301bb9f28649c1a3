"""The user's command: change a password on every master and in the directory."""
