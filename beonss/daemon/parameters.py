"""The parameters of requests on the control socket: read, or refused as malformed."""

from collections.abc import Mapping
from typing import Any

from beonss.errors import MalformedError

Parameters = Mapping[str, Any]


def flag(parameters: Parameters, name: str) -> bool:
    """Return a parameter that is true or false; false where it is absent.

    Raises:
        MalformedError: it is neither.
    """
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise MalformedError(f"{name} is neither true nor false")
    return value


def number(parameters: Parameters, name: str) -> int | None:
    """Return a whole number of 32 bits, or None where it is absent.

    Raises:
        MalformedError: it is none.
    """
    value = parameters.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
        raise MalformedError(f"{name} is no whole number from 0 to {2**32 - 1}")
    return value


def words(parameters: Parameters, name: str, default: str) -> str:
    """Return a text, which may be empty, or ``default`` where it is absent.

    Raises:
        MalformedError: it is none, or longer than 1024 characters.
    """
    value = parameters.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or len(value) > 1024:
        raise MalformedError(f"{name} is no text of at most 1024 characters")
    return value


def names(parameters: Parameters, name: str) -> list[str]:
    """Return a list of texts, empty where it is absent.

    Raises:
        MalformedError: it is none.
    """
    value = parameters.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > 10_000 or not all(isinstance(one, str) and one for one in value):
        raise MalformedError(f"{name} is not a list of names")
    return value
