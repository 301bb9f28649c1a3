"""The only module that talks ldap3: a bound connection, its few operations, and its errors in our words.

One SAFE_SYNC connection per delivery, in the caller's thread, with timeouts; a server's certificate is always
checked. A password is sent only over TLS, over a UNIX socket, or to this machine itself.
"""

import contextlib
import ssl
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from beonss.core.targets.delivery import PermanentTargetError, TemporaryTargetError
from beonss.errors import TargetError
from beonss.store.statefile import read_given
from beonss.targets.ldapservers import AWAY, LdapServer, ServerOrder, uri_problem

with warnings.catch_warnings():
    # ldap3 2.9.1 uses names that pyasn1 has renamed since.
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3
    from ldap3.core.exceptions import (
        LDAPCertificateError,
        LDAPExceptionError,
        LDAPInvalidTlsSpecificationError,
        LDAPSSLConfigurationError,
        LDAPStartTLSError,
    )
    from ldap3.core.tls import Tls
    from ldap3.utils.conv import escape_filter_chars

#: Changes of an attribute, as RFC 4511 section 4.6 names them.
ADD, DELETE, REPLACE = ldap3.MODIFY_ADD, ldap3.MODIFY_DELETE, ldap3.MODIFY_REPLACE

#: RFC 4528.
ASSERTION = "1.3.6.1.1.12"
#: RFC 3062.
MODIFY_PASSWORD = "1.3.6.1.4.1.4203.1.11.1"  # noqa: S105 - an object identifier

#: Where servers of distributions have their UNIX socket (``ldapi:///``).
_SOCKETS = ("/run/slapd/ldapi", "/run/openldap/ldapi", "/run/ldapi", "/var/run/ldapi")

SUCCESS = 0
REFERRAL, CONSTRAINT, UNWILLING = 10, 19, 53
_INVALID_CREDENTIALS = 49
#: RFC 4511 appendix A: results that another try may change.
TRANSIENT = frozenset({1, 3, 51, 52, 80})
#: The value that was to be replaced is not there any more: noSuchAttribute, attributeOrValueExists, assertionFailed.
OVERTAKEN = frozenset({16, 20, 122})

#: The server's own limits ended an answer: timeLimitExceeded, sizeLimitExceeded, adminLimitExceeded.
_CUT = frozenset({3, 4, 11})
#: RFC 2696.
_PAGED = "1.2.840.113556.1.4.319"

#: Bytes in the file of a password at the most.
_LARGEST_SECRET = 1 << 16


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """An entry: its distinguished name and the attributes asked for, names in lower case, values as bytes."""

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]]


class InvalidCredentialsError(PermanentTargetError):
    """The server does not know this name and password."""


@dataclass(frozen=True, slots=True)
class Result:
    """How an operation ended: the code of RFC 4511, the server's words, and who to ask instead."""

    code: int
    text: str
    referrals: tuple[str, ...] = ()


class _CheckedTls(Tls):
    """TLS that always checks the certificate and its name, by the ssl module itself.

    ldap3 does the latter by functions that newer Pythons have no more.
    """

    def __init__(self, ca_file: Path | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._ca_file = ca_file

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Put TLS over the connection's socket."""
        context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        connection.socket = context.wrap_socket(
            connection.socket, do_handshake_on_connect=do_handshake, server_hostname=connection.server.host
        )


class LdapConnection:
    """A bound connection; a context manager.

    Args:
        server: where.
        bind_as: a distinguished name and its password instead of those of ``server``.
        order: in which the servers are tried, and where is noted which does not answer; None: as configured.

    Raises:
        TemporaryTargetError: no server answers.
        PermanentTargetError: a server answers and does not let us in, or is not who it should be.
    """

    def __init__(
        self, server: LdapServer, bind_as: tuple[str, bytes] | None = None, order: ServerOrder | None = None
    ) -> None:
        self._server = server
        self._order = order or ServerOrder(server.uris)
        self._connection, self.uri = self._open(bind_as)

    def __enter__(self) -> "LdapConnection":
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        with contextlib.suppress(LDAPExceptionError, OSError):
            self._connection.unbind()

    def _open(self, bind_as: tuple[str, bytes] | None) -> tuple[Any, str]:
        last: Exception = PermanentTargetError("no directory server is named")
        for uri in self._order.uris():
            try:
                return self._open_one(uri, bind_as), uri
            except (TemporaryTargetError, PermanentTargetError) as error:
                if isinstance(error, TemporaryTargetError):
                    self._order.put_last(uri, AWAY)
                last = error
        raise last

    def _open_one(self, uri: str, bind_as: tuple[str, bytes] | None) -> Any:
        try:
            return self._bind(uri, bind_as)
        except (
            LDAPCertificateError,
            LDAPStartTLSError,
            LDAPSSLConfigurationError,
            LDAPInvalidTlsSpecificationError,
        ) as error:
            raise PermanentTargetError(f"{uri}: no safe connection: {_words(error)}") from None
        except (LDAPExceptionError, OSError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise PermanentTargetError(f"{uri}: its certificate is not to be trusted: {_words(error)}") from None
            raise TemporaryTargetError(f"{uri}: does not answer: {_words(error)}") from None
        except TargetError:
            raise
        except Exception as error:  # noqa: BLE001 - ldap3 raises whatever its decoder trips over
            raise _no_ldap(uri, error) from None

    def _bind(self, uri: str, bind_as: tuple[str, bytes] | None) -> Any:
        settings = self._server
        wrong = uri_problem(uri, starttls=settings.starttls)
        if wrong is not None:
            raise PermanentTargetError(wrong)
        parts = urlsplit(uri)
        tls = _CheckedTls(settings.ca_file)
        server = ldap3.Server(
            uri if parts.scheme != "ldapi" else f"ldapi://{_socket(unquote(parts.netloc + parts.path))}",
            use_ssl=parts.scheme == "ldaps",
            tls=None if parts.scheme == "ldapi" else tls,
            connect_timeout=settings.timeout,
            get_info=ldap3.DSA,
        )
        options: dict[str, Any] = {}
        who = "this process"
        if bind_as is not None:
            who = bind_as[0]
            options = {"user": who, "password": bind_as[1], "authentication": ldap3.SIMPLE}
        elif settings.bind_dn is not None:
            who = settings.bind_dn
            options = {"user": who, "password": self._password(), "authentication": ldap3.SIMPLE}
        else:
            options = {"authentication": ldap3.SASL, "sasl_mechanism": ldap3.EXTERNAL, "sasl_credentials": ""}
        connection = ldap3.Connection(
            server,
            client_strategy=ldap3.SAFE_SYNC,
            # Whole seconds: it goes into a struct timeval.
            receive_timeout=max(1, ceil(settings.timeout)),
            auto_referrals=False,
            raise_exceptions=False,
            check_names=False,
            **options,
        )
        try:
            connection.open(read_server_info=False)
            if parts.scheme == "ldap" and settings.starttls and not connection.start_tls(read_server_info=False)[0]:
                raise PermanentTargetError(f"{uri}: does not begin TLS; no password was sent")
            good, result, _, _ = connection.bind(read_server_info=True)
            if not good:
                raise _bind_error(uri, who, _result(result))
        except BaseException:
            _drop(connection)
            raise
        return connection

    def _password(self) -> bytes:
        path = self._server.password_file
        if path is None:
            raise PermanentTargetError(f"{self._server.bind_dn}: no file with its password is named")
        try:
            if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise PermanentTargetError(f"{path}: holds a password and everybody may read it: chmod 600 {path}")
            password = read_given(path, _LARGEST_SECRET).split(b"\n", 1)[0]
        except OSError as error:
            raise PermanentTargetError(f"{path}: the password cannot be read: {error.strerror}") from None
        if not password:
            # A simple bind with an empty password is an anonymous one and succeeds (RFC 4513 section 5.1.2).
            raise PermanentTargetError(f"{path}: holds no password")
        return password

    def supports(self, oid: str) -> bool:
        """Say whether the server offers a control or an extended operation."""
        info = self._connection.server.info
        if info is None:
            return False
        return any(one[0] == oid for one in [*(info.supported_controls or ()), *(info.supported_extensions or ())])

    def search(self, base: str, filter_text: str, attributes: Sequence[str]) -> list[Found]:
        """Return at most three entries below ``base``.

        Raises:
            TemporaryTargetError: the server went away or is busy.
            PermanentTargetError: it does not let us search there.
        """
        good, result, response, _ = self._ask(
            self._connection.search, base, filter_text, attributes=list(attributes), size_limit=3
        )
        outcome = _result(result)
        if not good and outcome.code not in {SUCCESS, 4}:  # 4: sizeLimitExceeded
            kind = TemporaryTargetError if outcome.code in TRANSIENT else PermanentTargetError
            raise kind(f"{self.uri}: does not search below {base!r}: {outcome.text}")
        return [
            Found(one["dn"], {name.lower(): tuple(values) for name, values in one["raw_attributes"].items()})
            for one in response or ()
            if one.get("type") == "searchResEntry"
        ]

    def pages(self, base: str, filter_text: str, attributes: Sequence[str], size: int = 500) -> Iterator[Found]:
        """Yield all entries below ``base``, in pages (RFC 2696); references to other servers are not followed.

        Raises:
            TemporaryTargetError: the server went away, is busy, or ended the answer early: nothing can be concluded
                from what it sent so far.
            PermanentTargetError: it does not let us search there.
        """
        cookie: bytes | None = None
        while True:
            good, result, response, _ = self._ask(
                self._connection.search,
                base,
                filter_text,
                attributes=list(attributes),
                paged_size=size,
                paged_cookie=cookie,
            )
            outcome = _result(result)
            if not good and outcome.code != SUCCESS:
                kind = (
                    TemporaryTargetError if outcome.code in TRANSIENT or outcome.code in _CUT else PermanentTargetError
                )
                raise kind(f"{self.uri}: does not show all below {base!r}: {outcome.text}")
            for one in response or ():
                if one.get("type") == "searchResEntry":
                    yield Found(
                        one["dn"], {name.lower(): tuple(values) for name, values in one["raw_attributes"].items()}
                    )
            control = (result.get("controls") or {}).get(_PAGED) or {}
            cookie = (control.get("value") or {}).get("cookie")
            if not cookie:
                return

    def modify(
        self,
        dn: str,
        changes: Mapping[str, Any],
        absent: str | None = None,
        only: tuple[str, Sequence[bytes]] | None = None,
    ) -> Result:
        """Change an entry, perhaps on a condition (RFC 4528).

        Args:
            dn: which.
            changes: attribute to changes, as ldap3 wants them.
            absent: it has no such attribute; without effect where the server cannot check that.
            only: an attribute that holds these values; nothing is done where the server cannot check that.

        Raises:
            TemporaryTargetError: the server went away; whether it did it is not known.
        """
        controls = None
        able = self.supports(ASSERTION)
        if only is not None:
            if not able:
                return Result(UNWILLING, "the server offers no assertion control (RFC 4528)")
            controls = [(ASSERTION, True, _has(*only))]
        elif absent is not None and able:
            controls = [(ASSERTION, True, _has_not(absent))]
        _, result, _, _ = self._ask(self._connection.modify, dn, dict(changes), controls=controls)
        return _result(result)

    def modify_password(self, dn: str, old: bytes | None, new: bytes) -> Result:
        """Change a password by the operation of RFC 3062; without the old one by our own rights.

        Raises:
            TemporaryTargetError: the server went away; whether it did it is not known.
        """
        fields = _ber(0x80, dn.encode()) + (b"" if old is None else _ber(0x81, old)) + _ber(0x82, new)
        # ldap3's fast decoder knows no referral in the answer of an extended operation; its other one does.
        self._connection.fast_decoder = False
        try:
            _, result, _, _ = self._ask(self._connection.extended, MODIFY_PASSWORD, _ber(0x30, fields))
        finally:
            self._connection.fast_decoder = True
        return _result(result)

    def _ask(self, operation: Any, *arguments: Any, **options: Any) -> tuple[bool, Any, Any, Any]:
        try:
            answer: tuple[bool, Any, Any, Any] = operation(*arguments, **options)
        except (LDAPExceptionError, OSError) as error:
            raise TemporaryTargetError(f"{self.uri}: went away: {_words(error)}") from None
        except Exception as error:  # noqa: BLE001 - ldap3 raises whatever its decoder trips over
            raise _no_ldap(self.uri, error) from None
        return answer


def _socket(path: str) -> str:
    """Return the path of a server's UNIX socket; for none, the usual one of this machine."""
    if path.rstrip("/"):
        return path.rstrip("/")
    return next((usual for usual in _SOCKETS if Path(usual).is_socket()), _SOCKETS[0])


def _drop(connection: Any) -> None:
    """Close a connection that never came to be; ldap3 leaves its socket open."""
    if connection.socket is not None:
        with contextlib.suppress(OSError):
            connection.socket.close()


def _has_not(attribute: str) -> bytes:
    """Return the filter ``(!(attribute=*))`` in BER (RFC 4511 section 4.5.1: not is [2], present is [7])."""
    name = attribute.encode("ascii")[:100]
    return bytes([0xA2, len(name) + 2, 0x87, len(name)]) + name


def _has(attribute: str, values: Sequence[bytes]) -> bytes:
    """Return the filter ``(&(attribute=value)...)`` in BER (RFC 4511 section 4.5.1: and is [0], equality is [3])."""
    name = attribute.encode("ascii")
    return _ber(0xA0, b"".join(_ber(0xA3, _ber(0x04, name) + _ber(0x04, value)) for value in values))


def _ber(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def escaped(text: str) -> str:
    """Return ``text`` as it may stand in a filter (RFC 4515 section 3)."""
    return str(escape_filter_chars(text))


def _result(result: Mapping[str, Any]) -> Result:
    words = [str(result.get("description") or "no result")]
    if result.get("message"):
        words.append(str(result["message"])[:200])
    referrals = tuple(str(uri)[:200] for uri in (result.get("referrals") or ())[:3])
    return Result(int(result.get("result", 80)), ": ".join(words), referrals)


def _bind_error(uri: str, who: str, result: Result) -> Exception:
    if result.code in TRANSIENT:
        return TemporaryTargetError(f"{uri}: busy: {result.text}")
    kind = InvalidCredentialsError if result.code == _INVALID_CREDENTIALS else PermanentTargetError
    return kind(f"{uri}: does not let {who} in: {result.text}")


def _no_ldap(uri: str, error: Exception) -> TemporaryTargetError:
    # Not the error's text: it may hold pieces of what was sent.
    return TemporaryTargetError(
        f"{uri}: answers what cannot be read as LDAP ({type(error).__name__}): what runs there?"
    )


def _words(error: Exception) -> str:
    return str(error)[:300] or type(error).__name__
