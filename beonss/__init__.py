"""The name service and account sync daemon of a cluster."""

__version__ = "0.1.0"
