"""The parts of a running master or node, put together."""
