"""Registers, their merge, and the rules by which masters come to hold the same."""
