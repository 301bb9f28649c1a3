"""What ``beonss accounts import --ldap`` takes from a directory, once; the reader is that of ``[[source]]``."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from beonss.core.accounts.records import Batch, Skipped
from beonss.errors import ConfigurationError
from beonss.store.statefile import read_given

F = TypeVar("F", bound=Callable[..., Any])

#: The options of :func:`directory_options` that say how, not where.
_HOW = ("users", "groups", "bind_dn", "password_file", "ca_file", "user_filter", "group_filter")


def directory_options(function: F) -> F:
    """Add ``--ldap`` and what goes with it."""
    for option in reversed((
        click.option("--ldap", "uris", multiple=True, metavar="URI", help="A directory: ldaps://host, ldap://host "
                     "(with STARTTLS), ldapi:///; of several, the first that answers."),
        click.option("--users", metavar="DN", help="With --ldap: the subtree of users."),
        click.option("--groups", metavar="DN", help="With --ldap: the subtree of groups. Default: none are read."),
        click.option("--schema", type=click.Choice(["rfc2307", "rfc2307bis"]), default="rfc2307", show_default=True,
                     help="With --ldap: whether members are login names or distinguished names."),
        click.option("--user-filter", metavar="FILTER", help="With --ldap. Default: (objectClass=posixAccount)."),
        click.option("--group-filter", metavar="FILTER", help="With --ldap. Default: (objectClass=posixGroup)."),
        click.option("--bind-dn", metavar="DN", help="With --ldap: who asks. Default: who we are on ldapi."),
        click.option("--password-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                     help="With --ldap: holds the password of --bind-dn in its first line."),
        click.option("--ca-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                     help="With --ldap: certificates that the server's may be signed by. Default: the system's."),
        click.option("--no-starttls", is_flag=True, help="With --ldap: no TLS on ldap:// towards this machine."),
        click.option("--no-passwords", is_flag=True, help="With --ldap: leave the passwords there."),
    )):  # fmt: skip
        function = option(function)
    return function


def check_usage(options: Mapping[str, Any]) -> None:
    """Refuse a command line on which the directory's options make no sense.

    Raises:
        click.UsageError: what is missing, or too much.
    """
    given = [word for word in (*_HOW, "no_starttls", "no_passwords") if options[word]]
    if not options["uris"] and given:
        raise click.UsageError(f"--{given[0].replace('_', '-')} goes with --ldap")
    if options["uris"] and not options["users"]:
        raise click.UsageError("--ldap needs --users DN, the subtree of users")
    if options["uris"] and (options["bind_dn"] is None) != (options["password_file"] is None):
        raise click.UsageError("--bind-dn and --password-file go together")


def read_directory(options: Mapping[str, Any], *, uid_floor: int, gid_floor: int) -> Batch:
    """Read all users and groups of a directory.

    Args:
        options: those of :func:`directory_options`, by name.
        uid_floor: users with a lower uid are left out.
        gid_floor: groups with a lower gid are left out.

    Raises:
        ConfigurationError: nothing was found, or a file that was named cannot be read.
        TargetError: no server answers, or it does not let us read.
    """
    # Loaded here: ldap3 takes a third of a second, and files need none of it.
    from beonss.targets.directory import DirectorySettings, DirectorySource  # noqa: PLC0415
    from beonss.targets.ldapservers import LdapServer, uri_problem  # noqa: PLC0415

    uris: tuple[str, ...] = options["uris"]
    starttls = not options["no_starttls"]
    for uri in uris:
        if (problem := uri_problem(uri, starttls=starttls)) is not None:
            raise ConfigurationError(f"{problem}; nothing was imported")
    if options["ca_file"] is not None:
        try:
            read_given(options["ca_file"], 1 << 24)
        except OSError as error:
            raise ConfigurationError(f"{options['ca_file']}: cannot be read: {error.strerror}") from None
    server = LdapServer(uris, options["bind_dn"], options["password_file"], starttls, options["ca_file"])
    filters = {word: options[word] for word in ("user_filter", "group_filter") if options[word]}
    settings = DirectorySettings(
        uris[0],
        server,
        # Nothing is remembered: it is read once.
        Path(os.devnull),
        options["users"],
        options["groups"],
        schema=options["schema"],
        passwords=not options["no_passwords"],
        uid_floor=uid_floor,
        gid_floor=gid_floor,
        **filters,
    )
    reading = DirectorySource(settings).read(full=True)
    skipped = tuple(Skipped(uris[0], 0, "", text.removeprefix(f"{uris[0]}: ")) for text in reading.problems)
    if not reading.users and not reading.groups:
        told = "".join(f"\n  {one.reason}" for one in skipped)
        raise ConfigurationError(
            f"nothing to import: {uris[0]} shows no user with a uid of {uid_floor} or more and no group with a gid of "
            f"{gid_floor} or more; check --users, --groups, the filters and what we may read there{told}"
        )
    return Batch(reading.users, reading.groups, skipped, 0)
