"""The administrator's command, beonss."""
