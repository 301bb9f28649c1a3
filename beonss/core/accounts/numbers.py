"""Which uid or gid a new account gets, so that masters that cannot talk do not give away the same one.

Every number belongs to one master, by rendezvous hashing (Thaler and Ravishankar 1998) over the names in the member
list: the master whose digest with the number is highest. A master gives away only its own numbers, whoever it can reach
at the moment, so two adds at the same time on two masters never meet either. A lone master owns all numbers and counts
up; of n masters each uses about every n-th. When the member list changes, only numbers of the master that came or went
change hands, so that masters with different lists disagree about as little as can be (decision 0019).

Numbers once used are known from the account view, deletions included. What is left are accidents (a master restored
alone that forgot what it gave away, a number chosen by hand twice): the view then serves one and lists the other.
"""

import hashlib
from collections.abc import Callable, Collection

from beonss.core.accounts.entries import MAX_ID
from beonss.errors import Refused

#: Never chosen by us: systemd-homed and DynamicUser= take theirs from 60001 on, and nobody and (uid_t)-1 of old
#: systems end at 65535 (systemd's UIDS-GIDS document).
OTHERS = range(60001, 65536)


def owner_of(number: int, masters: Collection[str]) -> str:
    """Return the name of the master that alone may give a number away unasked; uids and gids alike."""
    return max(masters, key=lambda name: (hashlib.sha256(f"{number}/{name}".encode()).digest(), name))


def next_number(taken: Callable[[int], bool], floor: int, master: str, masters: Collection[str]) -> int:
    """Return the lowest number from ``floor`` on that is not taken and belongs to ``master``.

    Args:
        taken: whether a number is or was used, as far as is known here.
        floor: the cluster's.
        master: who gives it away.
        masters: the member list; ``master`` counts as one of them in any case.

    Raises:
        Refused: ``no-number``: there is none left.
    """
    everybody = {*masters, master}
    number = floor
    while number < MAX_ID:
        if number in OTHERS:
            number = OTHERS.stop
        elif not taken(number) and owner_of(number, everybody) == master:
            return number
        else:
            number += 1
    raise Refused("no-number", f"no number from {floor} on is left for {master} to give away; choose one yourself")
