"""``beonss invite``: a one-time token that lets a machine join as a master."""

import re
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from beonss.admin.options import control_option
from beonss.admin.signing import endpoints_of, key_option, sign_and_publish, state_option
from beonss.core.cluster.members import MemberList, Roster, invited
from beonss.errors import ConfigurationError
from beonss.store.keys import check_member_name
from beonss.wire.documents import MAXIMUM_ENDPOINTS, SECRET_BYTES, Token, invite_key, public_bytes, write_token

_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,4})([mhd])\Z")
F = TypeVar("F", bound=Callable[..., Any])


def _duration(text: str) -> int:
    match = _DURATION.match(text)
    if match is None:
        raise ConfigurationError(f"--valid {text!r} is no duration; write for example 30m, 24h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def valid_option(command: F) -> F:
    """Add ``--valid``, for how long a token is good."""
    return click.option(
        "--valid", default="24h", show_default=True, metavar="DURATION", help="For how long: 30m, 24h, 7d."
    )(command)


@click.command(name="invite")
@click.argument("name")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    required=True,
    metavar="HOST[:PORT]",
    help="Where the others will connect to the new master; may be given several times.",
)
@valid_option
@state_option
@key_option
@control_option
def command(
    *, name: str, addresses: tuple[str, ...], valid: str, state: Path, cluster_key: Path | None, control: str | None
) -> None:
    """Invite the machine NAME to join as a master.

    Run it on a master, running or stopped, with the cluster's private key at hand. The token, one line, is printed
    on standard output; all else goes to standard error. It is good for one machine, once; treat it as a password.

    Exit codes: 0 invited, 1 refused and nothing changed, 2 usage.
    """
    name = check_member_name(name)
    endpoints = endpoints_of(addresses)

    def change(roster: Roster, public: bytes, expires: int) -> MemberList:
        return invited(roster, name, endpoints, public, expires)

    roster, how, token = sign_invitation(
        name, valid=valid, state=state, cluster_key=cluster_key, control=control, change=change
    )
    click.echo(f"Member list {roster.list.number}, in which {name} is invited, is {how}.", err=True)
    click.echo(f"Run on {name}, within {valid}:  beonss join -   and paste this token:", err=True)
    show_token(token, name)


def show_token(token: str, name: str) -> None:
    """Print a token alone on standard output: nobody can make the same one again.

    Raises:
        ConfigurationError: it could not be printed; the text says what to do.
    """
    try:
        print(token, flush=True)
        if sys.stdout is None:
            raise OSError("there is no standard output")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the token could not be printed ({error}), and it cannot be made again. For another one: "
            f"beonss members replace {name}, or beonss members remove {name} and invite it again"
        ) from None


def sign_invitation(
    name: str,
    *,
    valid: str,
    state: Path,
    cluster_key: Path | None,
    control: str | None,
    change: Callable[[Roster, bytes, int], MemberList],
) -> tuple[Roster, str, str]:
    """Put a list in force in which ``name`` is invited.

    Args:
        name: who is invited.
        valid: for how long, as on the command line.
        state: state directory of this master.
        cluster_key: file of the cluster's private key, or None for the usual one.
        control: control socket of the running master, or None for the usual one.
        change: makes the list of (the roster in force, public invite key, expiry in seconds since the epoch).

    Returns:
        the new roster, in words how it was put in force, and the token.

    Raises:
        BeonssError: see :func:`beonss.admin.signing.sign_and_publish`; nothing was changed.
    """
    expires = int(time.time()) + _duration(valid)
    secret = secrets.token_bytes(SECRET_BYTES)
    public = public_bytes(invite_key(secret))
    roster, how = sign_and_publish(state, cluster_key, control, lambda roster: change(roster, public, expires))
    return roster, how, write_token(_token(roster, name, secret))


def _token(roster: Roster, name: str, secret: bytes) -> Token:
    entry = roster.list.find(name)
    assert entry is not None
    masters = [endpoint for member in roster.joined() for endpoint in member.endpoints]
    return Token(roster.cluster_key, name, entry.invited, entry.expires, secret, tuple(masters[:MAXIMUM_ENDPOINTS]))
