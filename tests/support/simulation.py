"""Stand-ins for threads, where the daemon's parts are tested alone; the simulation is :mod:`support.simulator`."""

from support.simulator.inline import InlineReactor, now

__all__ = ["InlineReactor", "now"]
