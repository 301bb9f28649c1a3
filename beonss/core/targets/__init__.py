"""What goes to places outside the registers and what comes back from there."""
