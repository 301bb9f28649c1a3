"""A deterministic cluster of masters: the real rules, store, passwords and targets in a simulated world.

One seed gives one run, always the same. ``python -m support.simulator`` is the program behind ``make sim``.
"""
