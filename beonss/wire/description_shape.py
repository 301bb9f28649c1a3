"""The shape of a description's parts: which options there are, of which type, and what to say of others."""

import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from beonss.core.description import SYNC_PORT
from beonss.core.numbering import reads_as_address
from beonss.wire.toml_lines import Path

M = TypeVar("M")

#: The sections of a description.
SECTIONS = ("cluster", "reserved", "access", "accounts", "hosts", "nodes", "derived")
#: Hash scheme -> its cost where the description gives none.
DEFAULT_COSTS = {"sha512crypt": 100_000, "yescrypt": 5}
#: Hash scheme -> least and greatest cost; crypt(5).
COSTS = {"sha512crypt": (5_000, 5_000_000), "yescrypt": (1, 11)}
#: Names whose meaning depends on who asks, or that every machine has for itself.
RESERVED_NAMES = frozenset({"master", "self", "localhost"})

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)

Text = Annotated[str, Field(min_length=1, max_length=255)]
Texts = Annotated[list[Text], Field(max_length=1024)]
Lists = dict[Text, Annotated[str, Field(max_length=1 << 20)] | int]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)


class Master(_Shape):
    """``masters = ["frodo", { name = "gamgee", port = 7700 }]``."""

    name: Text
    port: Annotated[int, Field(ge=1, le=65535)] = SYNC_PORT


class Cluster(_Shape):
    """``[cluster]``."""

    name: Text
    zone: Text
    version: Annotated[int, Field(ge=1, lt=2**32)] = 1
    ttl: Annotated[int, Field(ge=0, lt=2**31)] = 3600
    networks: Annotated[list[Text], Field(min_length=1, max_length=256)]
    reverse: Annotated[list[Text], Field(max_length=1024)] | None = None
    masters: Annotated[list[Text | Master], Field(min_length=1, max_length=64)]


class Access(_Shape):
    """``[access]``."""

    networks: Texts | None = None


class Accounts(_Shape):
    """``[accounts]``."""

    uid_floor: Annotated[int, Field(ge=1, lt=2**32)] = 1000
    gid_floor: Annotated[int, Field(ge=1, lt=2**32)] = 1000
    hash: Literal["sha512crypt", "yescrypt"] = "sha512crypt"
    hash_cost: int | None = None
    min_password_length: Annotated[int, Field(ge=1, le=128)] = 8


class Host(_Shape):
    """A line of ``[hosts]``."""

    address: Text | Annotated[list[Text], Field(min_length=1, max_length=64)]
    aliases: Texts = []
    mac: Text | None = None


class Reserved(_Shape):
    """A line of ``[reserved]``."""

    ranges: Texts


class Interface(_Shape):
    """``[nodes.interfaces.ib]``."""

    suffix: Text | None = None
    name: Text | None = None
    aliases: Texts = []
    address: Text | Annotated[list[Text], Field(min_length=1, max_length=16)]


class Derived(_Shape):
    """``[[derived]]``."""

    name: Text
    aliases: Texts = []
    address: Text | Annotated[list[Text], Field(min_length=1, max_length=16)]
    ranges: Lists | list[Lists] | None = None


class Nodes(Derived):
    """``[[nodes]]``."""

    count: Annotated[int, Field(ge=1, lt=10**10)] | None = None
    interfaces: dict[Text, Interface] = {}


def option(path: Path) -> str:
    """Return a path as an operator reads it: ``nodes[0].ranges[1].slot``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def unknown(name: str, known: Collection[str]) -> str:
    """Return what to say of an option that does not exist."""
    close = get_close_matches(name[:64], list(known), 1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"unknown option; {hint}"


def read(model: type[M], value: object) -> tuple[M | None, list[tuple[Path, str]]]:
    """Return ``value`` as ``model``, or None and every mistake as (place below the value, text)."""
    try:
        return TypeAdapter(model).validate_python(value), []
    except ValidationError as error:
        return None, _mistakes(model, error.errors(include_url=False, include_input=False))


def _mistakes(model: type[M], errors: Sequence[ErrorDetails]) -> list[tuple[Path, str]]:
    found: dict[Path, str] = {}
    for error in errors:
        # The branches of a union add their own names to the place; an operator did not write those.
        path = tuple(part for part in error["loc"] if not _is_branch(part))
        text = _text(model, path, error)
        if path in found and found[path] != text:
            text = f"{found[path]}, or {text}" if text not in found[path] else found[path]
        found[path] = text
    return list(found.items())


def _is_branch(part: str | int) -> bool:
    return isinstance(part, str) and (part in {"str", "int", "Master", "constrained-str"} or "[" in part)


def _text(model: type[M], path: Path, error: ErrorDetails) -> str:
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
        return unknown(str(path[-1]), getattr(model, "model_fields", {}))
    if kind in {"greater_than_equal", "greater_than", "less_than_equal", "less_than"}:
        return error["msg"].replace("Input should", "must")
    if kind == "literal_error":
        return f"must be one of {context.get('expected')}"
    return error["msg"].replace("Input should", "must").lower()


def label_mistake(text: str) -> str | None:
    """Return why ``text`` cannot be a host's name (RFC 952, RFC 1123 section 2.1), or None."""
    shown = repr(text[:80])
    lowered = text.lower() if text.isascii() else text
    if "." in text:
        return f"{shown} has a dot: names are single labels, the zone is added to each; leave it out"
    if not _LABEL.fullmatch(lowered):
        return f"{shown} is no host name: 1 to 63 letters, digits and hyphens, no hyphen first or last"
    if reads_as_address(lowered):
        return f"{shown} could be read as an address by inet_aton(3); add a letter in front"
    if lowered in RESERVED_NAMES:
        return f"{shown} depends on who asks and cannot be the name of a host; choose another"
    return None


def zone_mistake(zone: str) -> str | None:
    """Return why ``zone`` cannot be the cluster's zone, or None."""
    shown = repr(zone[:80])
    labels = zone.split(".")
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


def mac(text: str) -> str:
    """Return a hardware address in lower case with colons; ValueError if it is none."""
    digits = re.sub(r"[:-]", "", text).lower()
    parts = re.split(r"[:-]", text)
    if len(parts) != 6 or not all(re.fullmatch(r"[0-9a-fA-F]{2}", part, re.ASCII) for part in parts):
        raise ValueError(f"{text[:80]!r} is no hardware address; write one such as 00:e0:81:05:00:01")
    if int(digits[:2], 16) & 1:
        raise ValueError(f"{text!r} is a group address and no machine's own")
    return ":".join(part.lower() for part in parts)
