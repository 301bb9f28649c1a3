"""A master among masters: the exchange, the member list, the description and the boot."""
