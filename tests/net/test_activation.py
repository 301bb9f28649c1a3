"""Sockets that were handed over: what the environment says of them, and what each is for."""

import os
import socket
import string
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.cluster.endpoints import Endpoint
from beonss.errors import ConfigurationError
from beonss.net.activation import NOTHING, Activation, GivenSocket, inherited_sockets, sort_sockets

CONTROL = Path("/run/beonss/control")


@pytest.fixture
def stack():
    with ExitStack() as opened:
        yield opened


def sorted_sockets(*given, dns=(), sync=(), control=CONTROL, nslcd=None):
    return sort_sockets(given, dns=dns, sync=sync, control=control, nslcd=nslcd)


def internet(stack, kind, name="dns", host="127.0.0.1", port=0, listen=True):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = stack.enter_context(socket.socket(family, kind))
    made.bind((host, port))
    if kind == socket.SOCK_STREAM and listen:
        made.listen()
    return GivenSocket(name, made)


def pair(stack, name="dns", host="127.0.0.1"):
    """A UDP and a TCP socket of one address."""
    for _ in range(50):
        udp = internet(stack, socket.SOCK_DGRAM, name, host)
        try:
            return udp, internet(stack, socket.SOCK_STREAM, name, host, udp.socket.getsockname()[1])
        except OSError:
            continue
    raise AssertionError("no port is free for both")


def unix(stack, path, name, listen=True):
    made = stack.enter_context(socket.socket(socket.AF_UNIX))
    made.bind(str(path))
    if listen:
        made.listen()
    return GivenSocket(name, made)


class TestEnvironment:
    """What LISTEN_FDS and the others say."""

    def test_no_variable_no_socket(self):
        environment = {"HOME": "/"}
        assert inherited_sockets(environment, 1) == []
        assert environment == {"HOME": "/"}

    @pytest.mark.parametrize("owner", ["2", "", "1 "])
    def test_sockets_of_another_process_are_not_ours(self, owner):
        """A child of an activated daemon inherits the variables; and none of the children of ours shall."""
        environment = {"LISTEN_FDS": "1", "LISTEN_PID": owner, "LISTEN_FDNAMES": "dns"}
        assert inherited_sockets(environment, 1) == []
        assert environment == {}

    @pytest.mark.parametrize("count", ["-1", "x", "", "1025", "9" * 5000, "٣"])
    def test_a_count_that_is_none(self, count):
        with pytest.raises(ConfigurationError, match="is no number of sockets"):
            inherited_sockets({"LISTEN_FDS": count, "LISTEN_PID": "1"}, 1)

    def test_names_must_fit(self):
        with pytest.raises(ConfigurationError, match="has 1 names for 2 sockets"):
            inherited_sockets({"LISTEN_FDS": "2", "LISTEN_PID": "1", "LISTEN_FDNAMES": "dns"}, 1)

    @given(st.dictionaries(st.sampled_from(["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"]), st.text(string.printable)))
    def test_whatever_it_says_is_taken_or_refused(self, environment):
        """Only ever ConfigurationError; the descriptors are out of reach: no process has a number of that length."""
        environment |= {"LISTEN_PID": "1" * 30}
        if environment.get("LISTEN_FDS", "").strip("0"):
            environment["LISTEN_FDNAMES"] = ":" * 2000
        with suppress(ConfigurationError):
            inherited_sockets(environment, int("1" * 30))
        assert environment == {}

    def run(self, code, *descriptors):
        """Run code in a process whose descriptors from 3 on are these."""
        start = (
            f"import os\nfor place, each in enumerate({list(descriptors)}): os.dup2(each, 100 + place)\n"
            f"os.closerange(3, 100)\n"
            f"for place in range({len(descriptors)}): os.dup2(100 + place, 3 + place)\n"
            f"os.environ.update(LISTEN_FDS='{len(descriptors)}', LISTEN_PID=str(os.getpid()))\n"
            "from beonss.net.activation import *\n"
        )
        return subprocess.run(
            [sys.executable, "-c", start + code], pass_fds=descriptors, capture_output=True, text=True, check=False,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def test_sockets_are_taken_and_not_passed_on(self, stack):
        udp, tcp = pair(stack)
        done = self.run(
            "found = inherited_sockets(os.environ, os.getpid())\n"
            "print([each.name for each in found], [each.socket.fileno() for each in found],"
            "[os.get_inheritable(each.socket.fileno()) for each in found],"
            "[each.socket.getblocking() for each in found], 'LISTEN_FDS' in os.environ, found[0].endpoint.port)",
            udp.socket.fileno(),
            tcp.socket.fileno(),
        )
        port = udp.endpoint.port
        assert done.stdout == f"['unknown', 'unknown'] [3, 4] [False, False] [False, False] False {port}\n", done.stderr

    def test_a_descriptor_that_is_no_socket_is_told(self, tmp_path):
        with (tmp_path / "file").open("w") as file:
            done = self.run("inherited_sockets(os.environ, os.getpid())", file.fileno())
        assert "descriptor 3 (unknown), which LISTEN_FDS announces, is no open socket" in done.stderr

    def test_a_descriptor_that_is_closed_is_told(self):
        done = self.run(
            "os.environ['LISTEN_FDS'] = '1'; os.closerange(3, 200); inherited_sockets(os.environ, os.getpid())"
        )
        assert "is no open socket: Bad file descriptor" in done.stderr


class TestPurpose:
    """What each socket is for."""

    def test_by_name(self, stack, tmp_path):
        udp, tcp = pair(stack)
        sync = internet(stack, socket.SOCK_STREAM, "sync")
        control, nslcd = unix(stack, tmp_path / "c", "control"), unix(stack, tmp_path / "n", "nslcd")
        found = sorted_sockets(udp, tcp, sync, control, nslcd, nslcd=Path("/elsewhere"))
        where = udp.endpoint
        assert found == Activation(
            {where: udp.socket}, {where: tcp.socket}, {sync.endpoint: sync.socket}, control.socket, nslcd.socket
        )

    def test_by_address(self, stack, tmp_path):
        udp, tcp = pair(stack, "beonss.socket")
        sync = internet(stack, socket.SOCK_STREAM, "unknown")
        control, nslcd = unix(stack, tmp_path / "c", "unknown"), unix(stack, tmp_path / "n", "unknown")
        found = sorted_sockets(
            udp, tcp, sync, control, nslcd,
            dns=[udp.endpoint], sync=[sync.endpoint], control=tmp_path / "c", nslcd=tmp_path / "n",
        )  # fmt: skip
        assert (list(found.dns_udp), list(found.dns_tcp), list(found.sync)) == (
            [udp.endpoint], [udp.endpoint], [sync.endpoint],
        )  # fmt: skip
        assert (found.control, found.nslcd) == (control.socket, nslcd.socket)

    def test_ipv6(self, stack):
        udp, tcp = pair(stack, host="::1")
        assert list(sorted_sockets(udp, tcp).dns_tcp) == [Endpoint("::1", udp.socket.getsockname()[1])]

    def test_one_that_nobody_wants_is_refused(self, stack, tmp_path):
        for foreign in (internet(stack, socket.SOCK_STREAM, "www"), unix(stack, tmp_path / "x", "www")):
            with pytest.raises(ConfigurationError, match=r"\(www\) was handed over, and nothing here listens there"):
                sorted_sockets(foreign)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::"])
    def test_dns_for_every_address_is_refused(self, stack, host):
        with pytest.raises(ConfigurationError, match="stands for every address"):
            sorted_sockets(internet(stack, socket.SOCK_DGRAM, "dns", host))

    def test_sync_for_every_address_is_fine(self, stack):
        assert sorted_sockets(internet(stack, socket.SOCK_STREAM, "sync", "0.0.0.0")).sync

    def test_dns_needs_both_transports(self, stack):
        udp = internet(stack, socket.SOCK_DGRAM)
        with pytest.raises(ConfigurationError, match=f"add ListenStream=127.0.0.1:{udp.endpoint.port}"):
            sorted_sockets(udp)
        tcp = internet(stack, socket.SOCK_STREAM)
        with pytest.raises(ConfigurationError, match=f"add ListenDatagram=127.0.0.1:{tcp.endpoint.port}"):
            sorted_sockets(tcp)

    def test_wrong_types_are_refused(self, stack, tmp_path):
        connected, other = socket.socketpair()
        stack.enter_context(connected)
        stack.enter_context(other)
        wrong = [
            internet(stack, socket.SOCK_DGRAM, "sync"),
            internet(stack, socket.SOCK_STREAM, "sync", listen=False),
            internet(stack, socket.SOCK_STREAM, "dns", listen=False),
            unix(stack, tmp_path / "1", "dns"),
            unix(stack, tmp_path / "2", "control", listen=False),
            internet(stack, socket.SOCK_STREAM, "control"),
            GivenSocket("nslcd", stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))),
            GivenSocket("control", connected),
        ]
        for each in wrong:
            with pytest.raises(ConfigurationError, match=f"cannot serve as {each.name}; that needs"):
                sorted_sockets(each, nslcd=tmp_path / "n")

    def test_a_socket_twice_is_refused(self, stack, tmp_path):
        udp, tcp = pair(stack)
        with pytest.raises(ConfigurationError, match="was handed over twice"):
            sorted_sockets(udp, tcp, GivenSocket("dns", udp.socket))
        control = unix(stack, tmp_path / "c", "control")
        with pytest.raises(ConfigurationError, match="a second socket for control"):
            sorted_sockets(control, unix(stack, tmp_path / "d", "control"))

    def test_nslcd_where_there_is_to_be_none_is_refused(self, stack, tmp_path):
        with pytest.raises(ConfigurationError, match="--nslcd none"):
            sorted_sockets(unix(stack, tmp_path / "n", "nslcd"))

    def test_a_socket_is_named_as_in_its_unit(self, stack, tmp_path):
        udp = internet(stack, socket.SOCK_DGRAM)
        assert str(udp) == f"datagram socket 127.0.0.1:{udp.endpoint.port} (dns)"
        assert str(unix(stack, tmp_path / "c", "control")) == f"stream socket {tmp_path / 'c'} (control)"
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        abstract.bind(f"\0beonss-test-{os.getpid()}")
        assert str(GivenSocket("x", abstract)) == "stream socket without a path (x)"


class TestEndpoints:
    """Where the daemon listens in the end."""

    GIVEN, ASKED, USUAL = Endpoint("10.5.0.1", 53), Endpoint("10.5.0.2", 53), Endpoint("10.5.0.3", 53)

    def test_nothing_given(self):
        assert NOTHING.dns_endpoints(None, [self.USUAL]) == (self.USUAL,)
        assert NOTHING.dns_endpoints([], [self.USUAL]) == ()
        assert NOTHING.sync_endpoints([self.ASKED], [self.USUAL]) == (self.ASKED,)

    def test_what_is_given_takes_the_place_of_the_usual(self):
        activation = Activation({self.GIVEN: None}, {self.GIVEN: None}, {self.GIVEN: None})
        assert activation.dns_endpoints(None, [self.USUAL]) == (self.GIVEN,)
        assert activation.sync_endpoints(None, [self.USUAL]) == (self.GIVEN,)

    def test_what_was_asked_for_is_opened_as_well(self):
        activation = Activation({self.GIVEN: None}, {self.GIVEN: None})
        assert activation.dns_endpoints([self.ASKED, self.GIVEN], [self.USUAL]) == (self.GIVEN, self.ASKED)


@pytest.mark.parametrize("name", ["dns", "sync", "control", "nslcd", "www"])
@pytest.mark.parametrize("number", [socket.SOCK_RAW, socket.SOCK_SEQPACKET, 10])
def test_a_socket_of_a_type_that_nobody_wants_is_refused(stack, name, number):
    """Also of one that Python has no name for."""

    class Odd(socket.socket):
        type = number

    with pytest.raises(ConfigurationError, match=r"cannot serve as|nothing here listens there"):
        sorted_sockets(GivenSocket(name, stack.enter_context(Odd())), nslcd=Path("/run/nslcd/socket"))
