"""Deliveries to targets, edits found there, and sources that are followed."""
