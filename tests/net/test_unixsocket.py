"""The kernel says who is at the other end of a UNIX socket."""

import os
import socket

import pytest

from beonss.errors import ConfigurationError
from beonss.net.unixsocket import Peer, clear_stale_socket, peer_of


class Transport:
    """The part of a transport that matters here."""

    def __init__(self, handle):
        self.handle = handle

    def getHandle(self):
        return self.handle


def test_the_peer_is_the_process_that_connected():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_of(Transport(ours)) == Peer(os.getpid(), os.geteuid(), os.getegid())


def test_a_socket_without_credentials_is_an_error():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        found = None
        try:
            found = peer_of(Transport(other))
        except OSError:
            return
        # Linux answers for any socket: nobody is there, so no process and no known uid.
        assert (found.pid, found.uid) == (0, 2**32 - 1)


def test_an_unknown_uid_is_not_root():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:

        class Stranger:
            def getsockopt(self, level, option, size):
                return b"\0" * 4 + b"\xff" * 8

        assert peer_of(Transport(Stranger())).uid == 2**32 - 1


def test_errors_of_the_kernel_are_told():
    class Broken:
        def getsockopt(self, level, option, size):
            raise OSError(92, "Protocol not available")

    with pytest.raises(OSError, match="not available"):
        peer_of(Transport(Broken()))


def test_a_stale_socket_is_removed_and_a_live_one_is_not(tmp_path):
    path = tmp_path / "control"
    clear_stale_socket(path)
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(path))
        live.listen(0)
        with pytest.raises(ConfigurationError, match="another daemon"):
            clear_stale_socket(path)
        assert path.exists()
    clear_stale_socket(path)
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="no socket"):
        clear_stale_socket(path)
    assert path.read_text() == "precious"
