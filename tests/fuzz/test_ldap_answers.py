"""A directory server that answers anything at all: the target says that it failed, in one of its two ways, and soon."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beonss.core.targets.delivery import PermanentTargetError, TemporaryTargetError
from beonss.targets.ldapservers import LdapServer
from beonss.targets.ldapwire import LdapConnection

#: RFC 4511: LDAPMessage {1, bindResponse {success, "", ""}}, and the two answers to a search for the root DSE.
BIND = bytes.fromhex("300c02010161070a010004000400")
ENTRY = bytes.fromhex(
    "30250201026420040030 1c301a0410737570706f72746564436f6e74726f6c3106040431 2e322e".replace(" ", "")
)
DONE = bytes.fromhex("300c02010265070a010004000400")


class Liar:
    """Listens, and answers each thing it is told with the next of its lies; then it hangs up."""

    def __init__(self, path: Path) -> None:
        self.lies: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(16)
        self.uri = "ldapi://" + quote(str(path), safe="")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            with caller, contextlib.suppress(OSError):
                caller.settimeout(2)
                for lie in list(self.lies):
                    if not caller.recv(4096):
                        break
                    caller.sendall(lie)

    def close(self) -> None:
        """Listen no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture(scope="module")
def liar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Liar]:
    server = Liar(tmp_path_factory.mktemp("l") / "s")
    yield server
    server.close()


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """Return strategies for ``data`` with a few bytes changed, cut, or repeated."""

    def change(edits: list[tuple[int, int]], cut: int) -> bytes:
        found = bytearray(data)
        for place, value in edits:
            found[place % len(found)] = value
        return bytes(found[: max(1, len(found) - cut)])

    return st.builds(
        change, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3), st.integers(0, 3)
    )


lies = st.lists(
    st.binary(min_size=1, max_size=60) | mutated(BIND) | mutated(ENTRY + DONE) | mutated(DONE) | st.just(BIND),
    max_size=4,
)


@settings(max_examples=60)
@given(lies)
def test_whatever_a_directory_answers_it_is_a_failed_target(liar: Liar, answers: list[bytes]) -> None:
    liar.lies = answers
    began = time.monotonic()
    server = LdapServer(uris=(liar.uri,), timeout=1.0)
    with (
        contextlib.suppress(TemporaryTargetError, PermanentTargetError),
        LdapConnection(server, ("cn=admin", b"secret")) as connection,
    ):
        connection.supports("1.2.")
        connection.search("dc=a", "(uid=sam)", ["userPassword"])
        list(connection.pages("dc=a", "(uid=sam)", ["userPassword"]))
        connection.modify("uid=sam", {})
        connection.modify_password("uid=sam,dc=a", b"secret", b"secret")
    assert time.monotonic() - began < 20
