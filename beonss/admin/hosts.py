"""``beonss hosts``: the description as an /etc/hosts, for machines that have nothing better."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice

import click

from beonss.admin.check import read_description
from beonss.core.names.explain import explain
from beonss.core.names.hostlist import expand
from beonss.core.names.naming import Named, Naming
from beonss.core.names.ranges import RangeError
from beonss.errors import ConfigurationError

#: Lines written at once.
BATCH = 1024


@click.command(name="hosts")
@click.argument("file", metavar="FILE")
@click.option(
    "--zone/--no-zone",
    "with_zone",
    default=True,
    help="Put the name in the zone first, as hosts(5) wants its canonical name (default), or write short names only.",
)
@click.option(
    "--nodes", "listed", metavar="LIST", help="Only these names, as Slurm lists them: r[01-04]n[01-40],frodo."
)
def command(file: str, with_zone: bool, listed: str | None) -> None:
    """Write the names and addresses of the description FILE in the format of /etc/hosts.

    Lines are computed while they are written, so a large cluster needs no more memory than a small one. With --nodes
    the localhost lines are left out, and all networks of each node are written.

    Exit codes: 0 written, 1 FILE is unusable, LIST has a name that does not exist, or writing failed, 2 usage.
    """
    naming = read_description(file)
    lines = host_lines(naming, with_zone) if listed is None else listed_lines(naming, listed, with_zone)
    try:
        while batch := "".join(islice(lines, BATCH)):
            sys.stdout.write(batch)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigurationError(f"standard output: {error.strerror}; the list is incomplete, do not use it") from None


def host_lines(naming: Naming, with_zone: bool) -> Iterator[str]:
    """Yield the lines of a whole /etc/hosts."""
    yield f"# Computed by beonss from {naming.source}, version {naming.version}, {naming.digest[:12]}. Do not edit.\n"
    yield "127.0.0.1\tlocalhost\n"
    yield "::1\tlocalhost ip6-localhost ip6-loopback\n"
    yield from _lines(naming, naming.names(), with_zone)


def listed_lines(naming: Naming, listed: str, with_zone: bool) -> Iterator[str]:
    """Yield the lines of the names in a list.

    Raises:
        ConfigurationError: the list cannot be read, or a name in it does not exist.
    """
    try:
        names = expand(listed)
    except RangeError as error:
        raise ConfigurationError(f"--nodes: {error}") from None
    yield from _lines(naming, (each for name in names for each in _known(naming, name)), with_zone)


def _known(naming: Naming, name: str) -> tuple[Named, ...]:
    named = naming.find(name)
    if named is None:
        reasons = "; ".join(explain(naming, name).reasons)
        raise ConfigurationError(f"--nodes: there is no {name}: {reasons}")
    if named.number is not None and not named.network:
        return naming.networks_of(named.number)
    return (named,)


def _lines(naming: Naming, all_named: Iterable[Named], with_zone: bool) -> Iterator[str]:
    for named in all_named:
        names = " ".join((named.name, *named.aliases))
        if with_zone:
            names = f"{named.name}.{naming.zone} {names}"
        for address in named.addresses:
            yield f"{address}\t{names}\n"
