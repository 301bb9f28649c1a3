"""``beonss join``: become a master of a cluster, with a token."""

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import click

from beonss import __version__
from beonss.admin.signing import endpoints_of, state_option
from beonss.core.replication.publication import KEPT, Published, encode_published
from beonss.errors import BeonssError, ConfigurationError, MalformedError, Refused, Unavailable
from beonss.net.joining import Joined, OutcomeUnknown, join
from beonss.store.database import Database
from beonss.store.keys import (
    Identity,
    load_cluster_public,
    load_identity,
    new_identity,
    save_cluster_public,
    save_identity,
    save_roster,
)
from beonss.store.statedirectory import (
    CLUSTER_PUBLIC,
    DATABASE,
    MEMBER_CERTIFICATE,
    MEMBER_KEY,
    holding,
    making,
    refuse_used,
)
from beonss.store.statefile import write_file, write_new
from beonss.wire.documents import Token, accept, read_token
from beonss.wire.feed import DescriptionContent

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
@click.option(
    "--rejoin",
    is_flag=True,
    help="This machine is that master already, and stopped: it gets a new key and keeps its data.",
)
@click.option("--timeout", default=10.0, show_default=True, metavar="SECONDS", help="For each master that is asked.")
def command(
    *, token: str, state: Path, via: tuple[str, ...], description: Path | None, rejoin: bool, timeout: float
) -> None:
    """Make this machine a master of the cluster that TOKEN (of "beonss invite") belongs to; "-" reads it from stdin.

    Prefer "-": everybody on a machine can read its command lines.

    The state directory must be new, or with --rejoin that of the stopped master whose key "beonss members replace"
    took away. Repeating the command after a lost connection is safe.

    Exit codes: 0 joined, 1 refused (a message says why), 2 usage.
    """
    if token == "-" and sys.stdin.isatty():  # noqa: S105 - "-" is stdin
        click.echo("Paste the token: ", nl=False, err=True)
    try:
        ticket = read_token(sys.stdin.readline(8192) if token == "-" else token)  # noqa: S105 - "-" is stdin
    except MalformedError as error:
        raise ConfigurationError(str(error)) from None
    if via:
        ticket = replace(ticket, endpoints=endpoints_of(via))
    if rejoin and not state.is_dir():
        raise ConfigurationError(
            f"{state} does not exist, and --rejoin is for the directory of a master that keeps its data; name that "
            f"with --state, or leave --rejoin out: the machine then fetches everything from the others"
        )
    with holding(state) if rejoin else making(state):
        if rejoin:
            _check_same(state, ticket)
        places = _Places.of(state, rejoin=rejoin)
        joined = _present(places, ticket, timeout)
        _keep(places, joined)
    click.echo(f"This machine is now the master {ticket.name}; {joined.master} accepted it.")
    members = ", ".join(member.name for member in joined.roster.joined())
    click.echo(f"Masters: {members}")
    if description is not None:
        _write_description(description, joined)
    click.echo("Next: start it (systemctl start beonss-master, or twistd -n beonss master).")


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the identity is made, and whether the directory is one that a master used before."""

    state: Path
    key: Path
    certificate: Path
    again: bool

    @classmethod
    def of(cls, state: Path, *, rejoin: bool) -> "_Places":
        """Return the places: beside the old ones where a master gets a new key, until that is accepted."""
        suffix = ".new" if rejoin else ""
        return cls(state, state / f"{MEMBER_KEY}{suffix}", state / f"{MEMBER_CERTIFICATE}{suffix}", rejoin)

    def undo(self) -> None:
        """Remove what was made for a token that is not used."""
        for path in (self.key, self.certificate, self.state / PENDING):
            path.unlink(missing_ok=True)
        if not self.again:
            (self.state / CLUSTER_PUBLIC).unlink(missing_ok=True)


def _check_same(state: Path, ticket: Token) -> None:
    """Refuse a token for another master or another cluster.

    Raises:
        ConfigurationError: it is for another.
    """
    public = load_cluster_public(state / CLUSTER_PUBLIC)
    pending = (state / PENDING).exists()
    name = ticket.name if pending else load_identity(state).name
    if public != ticket.cluster_key:
        raise ConfigurationError(f"{state} belongs to another cluster than the token; nothing was changed")
    if name != ticket.name:
        raise ConfigurationError(f"{state} is that of {name}, the token is for {ticket.name}; nothing was changed")


def _present(places: _Places, ticket: Token, timeout: float) -> Joined:
    identity = _identity(places, ticket)
    try:
        return join(
            ticket,
            accept(ticket, identity.public),
            certificate=places.certificate,
            key=places.key,
            software=__version__,
            timeout=timeout,
        )
    except OutcomeUnknown as error:
        raise Unavailable(
            f"the token was presented, but no answer came ({error}); repeat the same command: it goes on where it was"
        ) from None
    except Unavailable as error:
        places.undo()
        raise Unavailable(
            f"no master could be reached: {error}; the token is still good. Look at the addresses and the network, "
            f"or name a master with --via"
        ) from None
    except (Refused, BeonssError):
        places.undo()
        raise


def _identity(places: _Places, ticket: Token) -> Identity:
    """Make this machine's identity, or take the one of the try before with the same token."""
    digest = hashlib.sha256(b"beonss pending\x00" + ticket.secret).hexdigest().encode()
    pending = places.state / PENDING
    if pending.exists():
        if pending.read_bytes() != digest:
            way_out = f"remove {pending}" if places.again else "empty the directory"
            raise ConfigurationError(
                f"{places.state} waits for the answer to another token; repeat with that one, or {way_out}"
            )
        if not places.again:
            refuse_used(places.state, frozenset({MEMBER_KEY, MEMBER_CERTIFICATE, CLUSTER_PUBLIC}))
        if places.key.exists():
            return load_identity(places.state, places.key, places.certificate)
        places.undo()
    if places.again:
        # Of a try that ended before its note was written.
        places.undo()
    else:
        refuse_used(places.state)
    identity = new_identity(ticket.name)
    write_new(pending, digest, 0o600)
    save_identity(places.state, identity, places.key, places.certificate)
    return identity


def _keep(places: _Places, joined: Joined) -> None:
    state = places.state
    if places.again:
        # A copy, not a move: if this is cut short, the same command finds the new key and goes on.
        write_file(state / MEMBER_KEY, places.key.read_bytes(), 0o600)
        write_file(state / MEMBER_CERTIFICATE, places.certificate.read_bytes(), 0o644)
    else:
        (state / CLUSTER_PUBLIC).unlink(missing_ok=True)
        save_cluster_public(state, joined.roster.cluster_key, "")
    save_roster(state, joined.roster)
    (state / PENDING).unlink(missing_ok=True)
    if joined.description is not None and not places.again:
        _keep_description(state, joined.roster.cluster, joined.description)
    if places.again:
        places.key.unlink(missing_ok=True)
        places.certificate.unlink(missing_ok=True)


def _keep_description(state: Path, cluster: str, content: DescriptionContent) -> None:
    """Keep what the master serves, so that this one can start before it has heard from any other."""
    published = Published(content.text, content.version, "cluster.toml")
    database = Database(state / DATABASE, cluster)
    try:
        database.put(KEPT, encode_published(published))
    finally:
        database.close()


def _write_description(path: Path, joined: Joined) -> None:
    if joined.description is None:
        click.echo(f"{joined.master} serves no description; copy yours to {path}.")
    elif path.exists():
        click.echo(f"{path} exists and was left as it is.")
    else:
        write_file(path, joined.description.text, 0o644)
        click.echo(f"{path}: the description, version {joined.description.version}, as {joined.master} serves it.")
