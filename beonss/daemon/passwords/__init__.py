"""Logins and password changes in a running daemon."""
