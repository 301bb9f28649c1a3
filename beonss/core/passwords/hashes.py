"""Password hashes as strings: which scheme made one, what it costs, and which we would make.

The forms are those of crypt(5) (libxcrypt), as /etc/shadow holds them, and the ``{SCHEME}`` forms of directories
(RFC 2307 section 5.3 and OpenLDAP's contributed modules). Computing them is :mod:`beonss.store.crypt`'s part.
"""

import re
from dataclasses import dataclass

from beonss.errors import ConfigurationError

#: The scheme of a new cluster: every libcrypt and every directory in use verifies it.
DEFAULT_SCHEME = "sha512crypt"

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_B64 = "[./0-9A-Za-z]"


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to hash of crypt(5) that is good enough to be made today.

    Attributes:
        prefix: how its hashes begin; what crypt_gensalt(3) is asked with.
        default: cost, in the scheme's own measure (rounds, or a logarithm of them).
        minimum: the least cost that may be configured.
        maximum: the highest cost that may be configured: some seconds of one processor.
        longest: bytes of a password the scheme takes in whole.
    """

    name: str
    prefix: str
    default: int
    minimum: int
    maximum: int
    longest: int = 511


#: What may be configured. The 5,000 rounds of crypt(5) were a choice of 2007; what ours take: bench/hashing.py.
SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("sha512crypt", "$6$", default=100_000, minimum=5_000, maximum=5_000_000),
        Scheme("sha256crypt", "$5$", default=100_000, minimum=5_000, maximum=5_000_000),
        Scheme("yescrypt", "$y$", default=5, minimum=1, maximum=11),
        Scheme("gost-yescrypt", "$gy$", default=5, minimum=1, maximum=11),
        Scheme("scrypt", "$7$", default=7, minimum=6, maximum=9),
        Scheme("bcrypt", "$2b$", default=11, minimum=8, maximum=15, longest=72),
    )
}

#: Scheme -> the form of a whole hash, crypt(5). A group "rounds" is the cost where it is written in decimal.
_FORMS = {
    "yescrypt": re.compile(rf"\$y\$(?P<parameters>{_B64}+)\${_B64}{{0,86}}\${_B64}{{43}}"),
    "gost-yescrypt": re.compile(rf"\$gy\$(?P<parameters>{_B64}+)\${_B64}{{0,86}}\${_B64}{{43}}"),
    "scrypt": re.compile(rf"\$7\$(?P<scrypt>{_B64}{{11}}){_B64}{{0,86}}\${_B64}{{43}}"),
    "bcrypt": re.compile(rf"\$2[abxy]\$(?P<rounds>[0-9]{{2}})\${_B64}{{53}}"),
    "sha512crypt": re.compile(rf"\$6\$(?:rounds=(?P<rounds>[1-9][0-9]{{0,9}})\$)?[^$:\s]{{0,16}}\${_B64}{{86}}"),
    "sha256crypt": re.compile(rf"\$5\$(?:rounds=(?P<rounds>[1-9][0-9]{{0,9}})\$)?[^$:\s]{{0,16}}\${_B64}{{43}}"),
    "sha1crypt": re.compile(rf"\$sha1\$(?P<rounds>[1-9][0-9]{{0,9}})\${_B64}{{1,64}}\${_B64}{{28}}"),
    "sunmd5": re.compile(rf"\$md5(?:,rounds=(?P<rounds>[1-9][0-9]{{0,9}}))?\${_B64}{{1,16}}\${{1,2}}{_B64}{{22}}"),
    "md5crypt": re.compile(rf"\$1\$[^$:\s]{{0,8}}\${_B64}{{22}}"),
    "nt": re.compile(r"\$3\$\$[0-9a-f]{32}"),
    "bsdicrypt": re.compile(rf"_{_B64}{{19}}"),
    "descrypt": re.compile(rf"{_B64}{{13}}"),
}

#: The most that verifying one hash may ask for; a hash that asks for more was made to stop us.
_CEILING = {
    "bcrypt": 16,
    "sha512crypt": 10_000_000,
    "sha256crypt": 10_000_000,
    "sha1crypt": 10_000_000,
    "sunmd5": 1_000_000,
}
#: log2 of the blocks of yescrypt and scrypt; with their usual block size that is 1 GiB (yescrypt's cost 11).
_MEMORY_CEILING = 18

_DIRECTORY = re.compile(r"\{([A-Za-z0-9/-]{1,20})\}(.*)", re.DOTALL)


def directory_parts(value: str) -> tuple[str, str] | None:
    """Return (scheme in capitals, rest) of a directory's ``{SCHEME}rest``, or None if it is no such form."""
    found = _DIRECTORY.fullmatch(value)
    return (found[1].upper(), found[2]) if found else None


def directory_form(hash_: str) -> str:
    """Return a crypt(5) hash as a value of ``userPassword`` (RFC 2307 section 5.3)."""
    return "{CRYPT}" + hash_


def scheme_of(hash_: str) -> str | None:
    """Return which scheme made a crypt(5) hash, or None for anything else: ``*``, ``!...``, an empty field."""
    for name, form in _FORMS.items():
        if form.fullmatch(hash_):
            return name
    return None


def is_too_costly(hash_: str) -> bool:
    """Say whether verifying a crypt(5) hash would take more time or memory than any honest one."""
    name = scheme_of(hash_)
    if name is None:
        return False
    found = _FORMS[name].fullmatch(hash_)
    assert found is not None
    parts = found.groupdict()
    if parts.get("parameters") is not None:
        return _yescrypt_too_costly(parts["parameters"])
    if parts.get("scrypt") is not None:
        blocks, size, lanes = _number(parts["scrypt"][:1]), _number(parts["scrypt"][1:6]), _number(parts["scrypt"][6:])
        return blocks > _MEMORY_CEILING or size * max(lanes, 1) > 64
    return int(parts.get("rounds") or 0) > _CEILING.get(name, 0)


def _yescrypt_too_costly(parameters: str) -> bool:
    # Flavour, log2(blocks) - 1 and block size - 1, each one character for any sane value; then optional ones
    # (parallelism, time, growth) that neither crypt_gensalt(3) nor any tool sets.
    if len(parameters) != 3:
        return True
    return _ALPHABET.index(parameters[1]) + 1 > _MEMORY_CEILING or _ALPHABET.index(parameters[2]) + 1 > 32


def _number(text: str) -> int:
    return sum(_ALPHABET.index(character) << 6 * place for place, character in enumerate(text))


def checked_scheme(name: str, cost: int | None = None) -> tuple[Scheme, int]:
    """Return a scheme that may be configured, and its cost.

    Args:
        name: a key of :data:`SCHEMES`.
        cost: in the scheme's own measure; None for its default.

    Raises:
        ConfigurationError: it is unknown or too weak to be made today, or the cost is out of its bounds.
    """
    scheme = SCHEMES.get(name)
    if scheme is None:
        known = ", ".join(SCHEMES)
        raise ConfigurationError(f"hash scheme {name!r} is unknown, or too weak to be made today; use one of {known}")
    cost = scheme.default if cost is None else cost
    if not scheme.minimum <= cost <= scheme.maximum:
        raise ConfigurationError(
            f"the cost of {name} must be between {scheme.minimum} and {scheme.maximum}, not {cost}"
        )
    return scheme, cost
