"""``beonss join``: become a master of a cluster, with a token."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import click

from beonss import __version__
from beonss.admin.signing import endpoints_of, state_option
from beonss.errors import BeonssError, ConfigurationError, MalformedError, Refused, Unavailable
from beonss.net.joining import Joined, OutcomeUnknown, join
from beonss.store.keys import (
    CLUSTER_PUBLIC,
    MEMBER_CERTIFICATE,
    MEMBER_KEY,
    Identity,
    holding,
    load_identity,
    make_state_directory,
    new_identity,
    refuse_used,
    replace_file,
    save_cluster_public,
    save_identity,
    save_roster,
    write_new,
)
from beonss.wire.documents import Token, accept, read_token

#: Holds a digest of the token while its outcome is not known, so that the same command can be repeated.
PENDING = "join.pending"


@click.command(name="join")
@click.argument("token")
@state_option
@click.option(
    "--via",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Ask this master instead of those in the token; may be given several times.",
)
@click.option(
    "--description",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the cluster description that the master serves to this file, if there is none yet.",
)
@click.option("--timeout", default=10.0, show_default=True, metavar="SECONDS", help="For each master that is asked.")
def command(token: str, state: Path, via: tuple[str, ...], description: Path | None, timeout: float) -> None:
    """Make this machine a master of the cluster that TOKEN (of "beonss invite") belongs to; "-" reads it from stdin.

    The state directory must be new. Repeating the command after a lost connection is safe.

    Exit codes: 0 joined, 1 refused (a message says why), 2 usage.
    """
    try:
        ticket = read_token(sys.stdin.readline(8192) if token == "-" else token)  # noqa: S105 - "-" is stdin
    except MalformedError as error:
        raise ConfigurationError(str(error)) from None
    if via:
        ticket = replace(ticket, endpoints=endpoints_of(via))
    make_state_directory(state)
    with holding(state):
        joined = _present(state, ticket, timeout)
        _keep(state, joined)
    click.echo(f"This machine is now the master {ticket.name}; {joined.master} accepted it.")
    members = ", ".join(member.name for member in joined.roster.joined())
    click.echo(f"Masters: {members}")
    if description is not None:
        _write_description(description, joined)
    click.echo("Next: start it (twistd beonss master).")


def _present(state: Path, ticket: Token, timeout: float) -> Joined:
    identity = _identity(state, ticket)
    try:
        return join(
            ticket,
            accept(ticket, identity.public),
            certificate=state / MEMBER_CERTIFICATE,
            key=state / MEMBER_KEY,
            software=__version__,
            timeout=timeout,
        )
    except OutcomeUnknown as error:
        raise Unavailable(
            f"the token was presented, but no answer came ({error}); repeat the same command: it goes on where it was"
        ) from None
    except Unavailable as error:
        _undo(state)
        raise Unavailable(
            f"no master could be reached: {error}; the token is still good. Look at the addresses and the network, "
            f"or name a master with --via"
        ) from None
    except (Refused, BeonssError):
        _undo(state)
        raise


def _identity(state: Path, ticket: Token) -> Identity:
    """Make this machine's identity, or take the one of the try before with the same token."""
    digest = hashlib.sha256(b"beonss pending\x00" + ticket.secret).hexdigest().encode()
    pending = state / PENDING
    if pending.exists():
        if pending.read_bytes() != digest:
            raise ConfigurationError(
                f"{state} waits for the answer to another token; repeat with that one, or empty the directory"
            )
        refuse_used(state, frozenset({MEMBER_KEY, MEMBER_CERTIFICATE, CLUSTER_PUBLIC}))
        if (state / MEMBER_KEY).exists():
            return load_identity(state)
        _undo(state)
    refuse_used(state)
    identity = new_identity(ticket.name)
    write_new(pending, digest, 0o600)
    save_identity(state, identity)
    return identity


def _undo(state: Path) -> None:
    for name in (CLUSTER_PUBLIC, MEMBER_KEY, MEMBER_CERTIFICATE, PENDING):
        (state / name).unlink(missing_ok=True)


def _keep(state: Path, joined: Joined) -> None:
    (state / CLUSTER_PUBLIC).unlink(missing_ok=True)
    save_cluster_public(state, joined.roster.cluster_key, "")
    save_roster(state, joined.roster)
    (state / PENDING).unlink(missing_ok=True)


def _write_description(path: Path, joined: Joined) -> None:
    if joined.description is None:
        click.echo(f"{joined.master} serves no description; copy yours to {path}.")
    elif path.exists():
        click.echo(f"{path} exists and was left as it is.")
    else:
        replace_file(path, joined.description.text, 0o644)
        click.echo(f"{path}: the description, version {joined.description.version}, as {joined.master} serves it.")
