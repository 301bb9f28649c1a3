"""The shape of a description's parts: which options there are, of which type, and what to say of others."""

import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from beonss.core.names.description import SYNC_PORT
from beonss.core.names.ranges import LIMIT
from beonss.wire.toml_lines import Path

M = TypeVar("M", bound="Shape")

#: The sections of a description.
SECTIONS = ("cluster", "reserved", "access", "accounts", "dns", "hosts", "nodes", "derived")
#: Hash scheme -> its cost where the description gives none.
DEFAULT_COSTS = {"sha512crypt": 100_000, "yescrypt": 5}
#: Hash scheme -> least and greatest cost; crypt(5).
COSTS = {"sha512crypt": (5_000, 5_000_000), "yescrypt": (1, 11)}

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def _listed(value: object) -> object:
    """One text stands for a list of one, one table for an array of one."""
    return [value] if isinstance(value, str | dict) else value


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _written(value: object) -> object:
    """A single number stands for a list of one."""
    return str(value) if type(value) is int and 0 <= value < LIMIT else value


Text = Annotated[str, Field(min_length=1, max_length=255)]
Texts = Annotated[list[Text], Field(max_length=1024)]
Addresses = Annotated[list[Text], Field(min_length=1, max_length=64), BeforeValidator(_listed)]
NumberList = Annotated[str, Field(min_length=1, max_length=1 << 20), BeforeValidator(_written)]
Ranges = Annotated[list[dict[Text, NumberList]], Field(min_length=1), BeforeValidator(_listed)]


class Shape(BaseModel):
    """What all parts have in common: exact types, no unknown options, and no value in an error."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class Master(Shape):
    """``masters = ["frodo", { name = "gamgee", port = 7700 }]``."""

    name: Text
    port: Annotated[int, Field(ge=1, le=65535)] = SYNC_PORT


class Cluster(Shape):
    """``[cluster]``."""

    name: Text
    zone: Text
    version: Annotated[int, Field(ge=1, lt=2**32)] = 1
    ttl: Annotated[int, Field(ge=0, lt=2**31)] = 3600
    networks: Annotated[list[Text], Field(min_length=1, max_length=256)]
    reverse: Annotated[list[Text], Field(min_length=1, max_length=1024)] | None = None
    masters: Annotated[list[Annotated[Master, BeforeValidator(_named)]], Field(min_length=1, max_length=64)]


#: What takes the place of the options of ``[cluster]`` that cannot be read.
STAND_IN = {"name": "?", "zone": "zone.example", "networks": ["10.0.0.0/8"], "masters": ["?"]}


class Access(Shape):
    """``[access]``."""

    networks: Texts | None = None


class Accounts(Shape):
    """``[accounts]``."""

    uid_floor: Annotated[int, Field(ge=1, lt=2**32)] = 1000
    gid_floor: Annotated[int, Field(ge=1, lt=2**32)] = 1000
    hash: Literal["sha512crypt", "yescrypt"] = "sha512crypt"
    hash_cost: int | None = None
    min_password_length: Annotated[int, Field(ge=1, le=128)] = 8


def _granted(value: object) -> object:
    """A network alone stands for a grant to it."""
    return {"network": value} if isinstance(value, str) else value


def _addressed(value: object) -> object:
    """An address alone stands for a secondary at the usual port."""
    return {"address": value} if isinstance(value, str) else value


class Grant(Shape):
    """An element of ``[dns.transfer] allow``."""

    network: Text | None = None
    key: Text | None = None


class Secondary(Shape):
    """An element of ``[dns.transfer] notify``."""

    address: Text
    port: Annotated[int, Field(ge=1, le=65535)] = 53
    key: Text | None = None


class Transfer(Shape):
    """``[dns.transfer]``."""

    allow: Annotated[list[Annotated[Grant, BeforeValidator(_granted)]], Field(max_length=1024)] = []
    notify: Annotated[list[Annotated[Secondary, BeforeValidator(_addressed)]], Field(max_length=256)] = []
    key_files: Texts = []
    catalog: Text | None = None


class Upstream(Shape):
    """An element of ``[dns.forward] upstreams``."""

    address: Text
    port: Annotated[int, Field(ge=1, le=65535)] = 53


Upstreams = Annotated[
    list[Annotated[Upstream, BeforeValidator(_addressed)]], Field(min_length=1, max_length=16), BeforeValidator(_listed)
]


class Forward(Shape):
    """``[dns.forward]``."""

    upstreams: Upstreams | None = None
    zones: Annotated[dict[Text, Upstreams], Field(max_length=1024)] = {}
    networks: Texts = []


ZoneText = Annotated[str, Field(max_length=1 << 22)]


class Dns(Shape):
    """``[dns]``."""

    records: Annotated[list[ZoneText], Field(max_length=65536), BeforeValidator(_listed)] = []
    zone_files: Texts = []
    transfer: Transfer = Transfer()
    forward: Forward = Forward()


class Host(Shape):
    """A line of ``[hosts]``."""

    address: Addresses
    aliases: Texts = []
    mac: Text | None = None


class Reserved(Shape):
    """A line of ``[reserved]``."""

    ranges: Addresses


class Interface(Shape):
    """``[nodes.interfaces.ib]``."""

    suffix: Text | None = None
    name: Text | None = None
    aliases: Texts = []
    address: Addresses


class Derived(Shape):
    """``[[derived]]``."""

    name: Text
    aliases: Texts = []
    address: Addresses
    ranges: Ranges | None = None


class Nodes(Derived):
    """``[[nodes]]``."""

    count: Annotated[int, Field(ge=1, lt=10**10)] | None = None
    interfaces: dict[Text, Interface] = {}


def option(path: Path) -> str:
    """Return a path as an operator reads it: ``nodes[0].ranges[1].slot``; absurdly long keys are cut."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part[:64]}" if text else part[:64]
    return printable(text)


def printable(text: str) -> str:
    """Return ``text`` with a question mark in place of every control character."""
    return "".join(character if character.isprintable() else "?" for character in text)


def unknown(name: str, known: Collection[str]) -> str:
    """Return what to say of an option that does not exist."""
    close = _close(name, known)
    hint = f"did you mean {close}?" if close else f"known are {', '.join(known)}"
    return f"unknown option; {hint}"


def _close(name: str, known: Collection[str]) -> str | None:
    return next(iter(get_close_matches(name[:64], list(known), 1)), None)


def read(model: type[M], value: object) -> tuple[M | None, list[tuple[Path, str]]]:
    """Return ``value`` as ``model``, or None and every mistake as (place below the value, text)."""
    try:
        return model.model_validate(value), []
    except ValidationError as error:
        return None, list(_mistakes(model, error.errors(include_url=False, include_input=False)))


def _mistakes(model: type[Shape], errors: Sequence[ErrorDetails]) -> Iterator[tuple[Path, str]]:
    # A misspelt option is one mistake, not an unknown option and a missing one.
    meant = set()
    for error in errors:
        if error["type"] == "extra_forbidden":
            close = _close(str(error["loc"][-1]), _fields(model, error["loc"][:-1]))
            meant.add((*error["loc"][:-1], close))
    for error in errors:
        path = error["loc"]
        if error["type"] != "missing" or path not in meant:
            yield path, _text(model, path, error)


def _fields(model: type[Shape], path: Path) -> Collection[str]:
    """Return the options of the part of ``model`` at ``path``."""
    for part in path:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return model.model_fields


def _model_in(annotation: object) -> type[Shape] | None:
    if isinstance(annotation, type) and issubclass(annotation, Shape):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _text(model: type[Shape], path: Path, error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    plain = {
        "string_type": "must be text in quotes",
        "int_type": "must be a whole number",
        "list_type": "must be a list in brackets",
        "dict_type": "must be a table",
        "model_type": "must be a table",
        "missing": f"is missing; add {path[-1] if path else ''} = ...",
        "string_too_short": "must not be empty",
        "too_short": "must not be empty",
    }
    if kind in plain:
        return plain[kind]
    if kind == "extra_forbidden":
        return unknown(str(path[-1]), _fields(model, path[:-1]))
    if kind == "literal_error":
        return f"must be one of {context.get('expected')}"
    return (
        error["msg"]
        .replace("Input should be", "must be")
        .replace("String should", "must")
        .replace("List should", "must")
    )


def zone_mistake(zone: str) -> str | None:
    """Return why ``zone`` cannot be the cluster's zone, or None."""
    shown = repr(zone[:80])
    labels = zone.split(".")
    # With a label of 63 characters and its dot a name has at most 253 (RFC 1035 section 2.3.4).
    if len(zone) > 189 or not all(_LABEL.fullmatch(label) for label in labels):
        return f"{shown} is no domain name; write one such as fellow.aero.org"
    if labels[-1] == "local":
        return f"{shown} belongs to multicast DNS (RFC 6762), which would answer before us; choose another zone"
    if labels[-1] in {"localhost", "onion", "arpa", "invalid"} or all(label.isdigit() for label in labels):
        return f"{shown} has a meaning of its own (RFC 6761); choose a zone below a domain of yours"
    return None


def cost_mistake(accounts: Accounts) -> str | None:
    """Return why the cost does not fit the hash scheme, or None."""
    low, high = COSTS[accounts.hash]
    if accounts.hash_cost is None or low <= accounts.hash_cost <= high:
        return None
    return f"must be {low} to {high} for {accounts.hash}; leave it out for {DEFAULT_COSTS[accounts.hash]}"
