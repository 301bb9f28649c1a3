"""Addresses that come after the daemon, leave and come back; in network namespaces, asked from another machine."""

import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from cluster import BIN, ROOT, wait_until
from outside import ask_dns
from support.netns import NetCluster, Network
from support.requires import missing

ZONE = "fellow.aero.org"
FOUR, SIX = "10.5.0.1", "fd00:5::1"


@pytest.fixture(scope="module")
def cluster():
    directory = Path(tempfile.mkdtemp(prefix="beonss-"))
    network = Network()
    try:
        network.add("frodo", FOUR)
        network.add("gamgee", "10.5.0.2").ip("address", "add", "fd00:5::2/64", "dev", "eth0", "nodad")
        made = NetCluster(directory, ROOT / "examples" / "fellowship.toml", ZONE, network)
        # The machine comes up without the addresses that it will have.
        network.hosts["frodo"].ip("address", "del", f"{FOUR}/16", "dev", "eth0")
        frodo = made.add_master("frodo", "--dns-listen", FOUR, "--dns-listen", SIX, "--dns-workers", "2")
        try:
            frodo.start()
            yield made
        finally:
            made.stop()
    finally:
        network.close()
        shutil.rmtree(directory)


def address(cluster, what, which):
    """Add or take away an address of the master."""
    length, more = ("64", ["nodad"]) if ":" in which else ("16", [])
    words = more if what == "add" else []
    cluster.network.hosts["frodo"].ip("address", what, f"{which}/{length}", "dev", "eth0", *words)


def told(cluster):
    """Return what the status says of each door and address, and the alarms about addresses."""
    status = cluster.status(cluster.masters["frodo"])
    states = {(each["door"], each["address"]): each["state"] for each in status["listening"]}
    return states, [alarm for alarm in status["alarms"] if "is not an address of this machine" in alarm]


def dig(cluster, which, *words):
    """Ask from the other machine, once and not for long."""
    if shutil.which("dig") is None:
        missing("the program dig", "bind9-dnsutils")
    done = subprocess.run(
        [*cluster.network.hosts["gamgee"].prefix, "dig", "+tries=1", "+time=2", "+short", f"@{which}",
         f"r01n07.{ZONE}", *words],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    return done.stdout.strip()


def answers(cluster, which):
    return dig(cluster, which) == "10.5.1.7" and dig(cluster, which, "+tcp") == "10.5.1.7"


def test_it_starts_and_says_what_it_waits_for(cluster):
    frodo = cluster.masters["frodo"]
    wait_until(frodo.control.exists, f"it runs\n{frodo.tail()}")
    wait_until(lambda: frodo.process.poll() is None and told(cluster) is not None, "it answers the administrator")
    states, alarms = told(cluster)
    assert states == dict.fromkeys([("DNS", FOUR), ("DNS", SIX), ("sync", FOUR)], "waiting for the address")
    assert sorted(alarms) == sorted(
        [
            f"{where} is not an address of this machine now, so nobody is answered there ({door}, port {port}); bring "
            "its interface up, or take it out of the description or the options"
            for door, where, port in (("DNS", FOUR, 53), ("DNS", SIX, 53), ("sync", FOUR, 7653))
        ]
    )
    assert (
        "DNS: 10.5.0.1 is not an address of this machine yet; port 53 is served as soon as it is"
        in frodo.log.read_text()
    )


def test_an_address_that_comes_is_served_at_once(cluster):
    """UDP, TCP and the port for masters; the other address is still waited for."""
    address(cluster, "add", FOUR)
    wait_until(lambda: answers(cluster, FOUR), "it answers where it could not")
    assert cluster.network.hosts["gamgee"].inside(lambda: connects(FOUR, 7653))
    states, alarms = told(cluster)
    assert states == {
        ("DNS", FOUR): "listening", ("sync", FOUR): "listening", ("DNS", SIX): "waiting for the address",
    }  # fmt: skip
    assert len(alarms) == 1
    address(cluster, "add", SIX)
    wait_until(lambda: answers(cluster, SIX), "it answers over IPv6")
    assert told(cluster)[1] == []
    shown = cluster.run("beonss", "status", "--control", str(cluster.masters["frodo"].control)).stdout
    assert "is not an address" not in shown


def connects(host, port):
    with socket.create_connection((host, port), timeout=10) as stream:
        return stream.getpeername()[1] == port


def test_an_address_may_leave_and_come_back(cluster):
    """Again and again; nobody restarts anything."""
    for _ in range(3):
        address(cluster, "del", FOUR)
        assert dig(cluster, FOUR) != "10.5.1.7"
        assert told(cluster)[0]["DNS", FOUR] == "waiting for the address"
        assert answers(cluster, SIX)
        address(cluster, "add", FOUR)
        wait_until(lambda: answers(cluster, FOUR), "it answers again")
    assert told(cluster)[1] == []
    # The reply comes from the address that was asked, also when there is another one in the same network.
    address(cluster, "add", "10.5.0.9")
    reply = cluster.network.hosts["gamgee"].inside(lambda: ask_dns((FOUR, 53), f"r01n07.{ZONE}"))
    assert reply.rcode == "NOERROR"


def test_a_port_in_use_is_fatal_all_the_same(cluster):
    """Waiting is for addresses; who has the port does not go by himself."""
    frodo = cluster.masters["frodo"]
    second = cluster.directory / "second"
    shutil.copytree(frodo.directory / "state", second)
    ended = subprocess.run(
        [*frodo.prefix, str(BIN / "twistd"), "-n", "--pidfile=", "beonss", "master",
         "--config", str(cluster.description), "--state", str(second),
         "--runtime", str(cluster.directory / "run2"), "--nslcd", "none", "--dns-workers", "2"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, cwd=cluster.directory,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "port 53 (UDP) on 10.5.0.1 is in use by another program" in ended.stderr
    assert ended.stderr.count("\n") == 1
