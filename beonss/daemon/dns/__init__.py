"""The running zones: served, announced, and the names of this machine."""
