"""Twisted protocols and clients: thin."""
