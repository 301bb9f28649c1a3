"""NSD, Knot and BIND as secondaries: they take our zones, follow their changes, and answer as we do."""

import socket
import subprocess
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.tsigkeyring
import dns.xfr
import dns.zone
import pytest
from ports import free_port
from support.dns_process import dns_process
from support.overlaid import REVERSE, STATIC, ZONE, questions, write_cluster
from support.secondaries import TsigKey, secondary

ZONES = [ZONE, REVERSE, "5.0.0.0.0.0.d.f.ip6.arpa", STATIC]
SERIAL = 2026112201
#: A secondary, and how many processes answer it.
SETS = [("nsd", 0), ("nsd", 2), ("knot", 0), ("bind", 0), ("bind", 2)]
KEY = TsigKey("ns1.example", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=")
KEY_FILE = f'key "{KEY.name}" {{ algorithm hmac-sha256; secret "{KEY.secret}"; }};\n'
KEYRING = dns.tsigkeyring.from_text({KEY.name: KEY.secret})


def ask(port, name, kind):
    """Ask over UDP, without wishing for recursion."""
    query = dns.message.make_query(name, kind, use_edns=0, payload=1232)
    query.flags &= ~dns.flags.RD
    return dns.query.udp(query, "127.0.0.1", port=port, timeout=10)


def records(section):
    """Return a section as comparable values."""
    return {(r.name.to_text().lower(), r.ttl, r.rdtype, frozenset(x.to_text().lower() for x in r)) for r in section}


def seen(reply):
    """Return what two servers must agree in.

    The NS records that some servers add to an answer do not count: how much to add is theirs to choose.
    """
    authoritative = bool(reply.flags & dns.flags.AA)
    authority = records(reply.authority)
    if authoritative and reply.answer:
        authority = {each for each in authority if each[2] != dns.rdatatype.NS}
    return dns.rcode.to_text(reply.rcode()), authoritative, records(reply.answer), authority


def disagreements(ours, theirs, kind):
    """Put all questions to both; return how many there were, and those they answer differently."""
    count, wrong = 0, []
    for name, rdtype in questions():
        # What depends on who asks has TTL 0 with us; and only NSD follows a DNAME from one zone into another.
        if name.startswith("master.") or (kind != "nsd" and ".old." in name):
            continue
        mine, other = ask(ours, name, rdtype), ask(theirs, name, rdtype)
        count += 1
        added, also = records(mine.additional), records(other.additional)
        # Servers differ in how many addresses they add, but not in what those are.
        fitting = added <= also | records(other.answer) or also <= added
        if seen(mine) != seen(other) or not fitting:
            wrong.append(f"{name} {rdtype}\n{mine}\n{other}")
    return count, wrong


@pytest.mark.parametrize(("kind", "workers"), SETS)
def test_a_secondary_answers_as_we_do_and_follows_changes(tmp_path, kind, workers):
    """Whole zones first; then a notification and, without delay, what changed; answers agree before and after."""
    port = free_port()
    transfer = f'allow = ["127.0.0.1"]\nnotify = [{{ address = "127.0.0.1", port = {port} }}]'
    path = write_cluster(tmp_path, transfer=transfer)
    with (
        dns_process(path, workers=workers) as server,
        secondary(kind, tmp_path, server.port, ZONES, port=port) as other,
    ):
        for zone in ZONES:
            other.await_serial(zone, SERIAL if zone == STATIC else 7)
        count, wrong = disagreements(server.port, other.port, kind)
        assert count > 2000
        assert wrong == []
        write_cluster(
            tmp_path,
            version=8,
            slots=9,
            login="10.5.0.77",
            extra="new A 10.5.200.9",
            serial=SERIAL + 1,
            transfer=transfer,
        )
        state = server.command(f"load {path}")
        assert "refused" not in state
        for zone in ZONES:
            other.await_serial(zone, SERIAL + 1 if zone == STATIC else 8)
        assert records(other.ask(f"login.{ZONE}", "A").answer) == records(ask(server.port, f"login.{ZONE}", "A").answer)
        assert other.ask(f"r04n09.{ZONE}", "A").answer
        _, wrong = disagreements(server.port, other.port, kind)
        assert wrong == []
        state = server.counters()
        assert state["heard"] >= 1
        assert state["incremental"] >= 1
        assert state["failures"] == 0


@pytest.mark.parametrize(("kind", "workers"), SETS)
def test_a_secondary_with_a_key_gets_the_zones_and_others_do_not(tmp_path, kind, workers):
    """Questions, transfers and notifications are signed, and each side believes the other."""
    port = free_port()
    (tmp_path / "tsig.key").write_text(KEY_FILE)
    (tmp_path / "tsig.key").chmod(0o600)
    transfer = f"""
key_files = ["tsig.key"]
allow     = [{{ key = "{KEY.name}" }}]
notify    = [{{ address = "127.0.0.1", port = {port}, key = "{KEY.name}" }}]
"""
    path = write_cluster(tmp_path, transfer=transfer)
    with (
        dns_process(path, workers=workers) as server,
        secondary(kind, tmp_path, server.port, ZONES, port=port, key=KEY) as other,
    ):
        other.await_serial(ZONE, 7)
        write_cluster(tmp_path, version=8, transfer=transfer)
        server.command(f"load {path}")
        other.await_serial(ZONE, 8)
        query = dns.message.make_query(ZONE, "AXFR")
        reply = dns.query.tcp(query, "127.0.0.1", port=server.port, timeout=10)
        assert reply.rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize("kind", ["knot", "bind"])
def test_a_secondary_configures_itself_from_the_catalog(tmp_path, kind):
    """It knows of the catalog zone alone and gets every zone, also one that comes later."""
    port = free_port()
    transfer = f"""
allow   = ["127.0.0.1"]
notify  = [{{ address = "127.0.0.1", port = {port} }}]
catalog = "catalog.invalid"
"""
    path = write_cluster(tmp_path, transfer=transfer)
    with (
        dns_process(path) as server,
        secondary(kind, tmp_path, server.port, [], port=port, catalog="catalog.invalid") as other,
    ):
        other.await_serial(ZONE, 7)
        other.await_serial(REVERSE, 7)
        other.await_serial(STATIC, SERIAL)
        write_cluster(
            tmp_path, version=8, extra="late.example. SOA a b 5 60 60 600 60\nlate.example. NS frodo", transfer=transfer
        )
        assert "refused" not in server.command(f"load {path}")
        other.await_serial("late.example", 5)
        write_cluster(tmp_path, version=9, transfer=transfer)
        server.command(f"load {path}")
        other.await_gone("late.example")
        assert server.counters()["failures"] == 0


def test_the_catalog_is_for_those_who_may_have_zones(tmp_path):
    """RFC 9432 section 7: others learn nothing from it."""
    transfer = 'allow = ["127.0.0.9"]\ncatalog = "catalog.invalid"'
    with dns_process(write_cluster(tmp_path, transfer=transfer)) as server:
        query = dns.message.make_query("version.catalog.invalid", "TXT")
        refused = dns.query.udp(query, "127.0.0.1", port=server.port, timeout=10)
        assert refused.rcode() == dns.rcode.REFUSED
        allowed = dns.query.udp(query, "127.0.0.1", port=server.port, timeout=10, source="127.0.0.9")
        assert allowed.answer[0][0].strings == (b"2",)


def zone_by_transfer(port, name, **options):
    """Transfer a whole zone with dnspython."""
    zone = dns.zone.Zone(name)
    query, _ = dns.xfr.make_query(zone, **options)
    dns.query.inbound_xfr("127.0.0.1", zone, query, port=port, timeout=20)
    return zone


@pytest.mark.parametrize("workers", [0, 2])
def test_dnspython_takes_a_zone_and_then_what_changed(tmp_path, workers):
    """A third reader, with and without a signature; and a client that is up to date gets a single record."""
    (tmp_path / "tsig.key").write_text(KEY_FILE)
    (tmp_path / "tsig.key").chmod(0o600)
    transfer = f'key_files = ["tsig.key"]\nallow = ["127.0.0.9", {{ key = "{KEY.name}" }}]'
    path = write_cluster(tmp_path, transfer=transfer)
    with dns_process(path, workers=workers) as server:
        zone = zone_by_transfer(server.port, ZONE, keyring=KEYRING)
        assert len(zone.nodes) > 70
        write_cluster(tmp_path, version=8, login="10.5.0.78", transfer=transfer)
        server.command(f"load {path}")
        query, serial = dns.xfr.make_query(zone, keyring=KEYRING)
        assert serial == 7
        before = server.counters()
        dns.query.inbound_xfr("127.0.0.1", zone, query, port=server.port, timeout=20)
        after = server.counters()
        assert (after["incremental"] - before["incremental"], after["full"] - before["full"]) == (1, 0)
        assert zone.to_text() == zone_by_transfer(server.port, ZONE, keyring=KEYRING).to_text()
        query, _ = dns.xfr.make_query(zone, keyring=KEYRING)
        dns.query.inbound_xfr("127.0.0.1", zone, query, port=server.port, timeout=20, udp_mode=dns.query.UDPMode.ONLY)
        assert server.counters()["incremental"] == after["incremental"]


def test_a_serial_never_goes_back_over_restarts(tmp_path, monkeypatch):
    """A changed zone under an old serial is refused while we run, and gets a higher one when we start with it."""
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("BEONSS_TEST_STATE", str(state))
    path = write_cluster(tmp_path, version=7)
    with dns_process(path) as server:
        write_cluster(tmp_path, version=7, login="10.5.0.79")
        refusal = server.command(f"load {path}")["refused"]
        assert f"the zone {ZONE} has changed" in refusal
        assert "raise [cluster] version to 8 or more" in refusal
        assert "10.5.0.79" not in str(ask(server.port, f"login.{ZONE}", "A"))
    write_cluster(tmp_path, version=3, login="10.5.0.80")
    with dns_process(path, complaint="its serial 3 is not higher than 7") as server:
        assert ask(server.port, ZONE, "SOA").answer[0][0].serial == 8
        assert "10.5.0.80" in str(ask(server.port, f"login.{ZONE}", "A"))
    for version in (8, 9):
        write_cluster(tmp_path, version=version, login="10.5.0.80")
        with dns_process(path) as server:
            assert ask(server.port, ZONE, "SOA").answer[0][0].serial == version


def test_a_client_that_takes_nothing_gets_no_more_than_fits(tmp_path):
    """A transfer of a large zone waits for its client; the server's memory does not grow, others are served."""
    path = write_cluster(tmp_path, slots=250)
    path.write_text(path.read_text().replace('"1-4"', '"1-60"'))
    with dns_process(path) as server, socket.socket() as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.settimeout(10)
        stream.connect(("127.0.0.1", server.port))
        packet = dns.message.make_query(ZONE, "AXFR").to_wire(prepend_length=True)
        stream.sendall(packet)
        assert stream.recv(100)
        status = memory(server)
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            assert ask(server.port, f"r001n001.{ZONE}", "A").rcode() == dns.rcode.NXDOMAIN
        assert memory(server) - status < 8192
    with dns_process(path) as server:
        assert len(zone_by_transfer(server.port, ZONE).nodes) > 30_000


def memory(server):
    """Return the resident memory of a server, in KiB."""
    found = subprocess.run(
        ["grep", "VmRSS", f"/proc/{server.process.pid}/status"], capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[1])
