"""The accounts of a running daemon, and what its commands may do with them."""
