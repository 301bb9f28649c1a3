"""Passwords: which are good enough, who may change one, who guesses, and what a hash says."""
