"""Three masters and a node as real processes: names, accounts, passwords, outages - seen from outside."""

import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading

import pytest
from cluster import BIN, ROOT, wait_until
from support.people import PASSWORD, import_people
from support.requires import missing

ZONE = "fellow.aero.org"


@pytest.fixture(scope="module")
def running(cluster, directory):
    """Return the cluster with three masters and a node running, and three users imported."""
    frodo = cluster.add_master("frodo")
    cluster.start(frodo)
    gamgee = cluster.add_master("gamgee")
    fellowship = cluster.add_master("fellowship")
    node = cluster.add_node("r01n07")
    cluster.start(gamgee, fellowship, node)
    import_people(cluster, frodo, directory)
    return cluster


def change(cluster, machine, user, old, new, check=False):
    """Run cpasswd on a machine, as root is not asked for the old password there."""
    lines = f"{new}\n" if os.geteuid() == 0 and machine.name in cluster.masters else f"{old}\n{new}\n"
    return cluster.run("cpasswd", user, "--stdin", "--socket", str(machine.control), text=lines, check=check)


def test_names_over_udp_and_tcp_from_every_door(running):
    for machine in running.everything():
        for tcp in (False, True):
            assert machine.ask(f"r01n07.{ZONE}", tcp=tcp).answers == ("A 10.5.1.7",)
            assert machine.ask("7.1.5.10.in-addr.arpa", "PTR", tcp=tcp).answers == (f"PTR r01n07.{ZONE}.",)
            assert machine.ask(f"r01n7.{ZONE}", tcp=tcp).rcode == "NXDOMAIN"
        assert machine.nslcd.host("r01n07") == (f"r01n07.{ZONE}", ("10.5.1.7",))
        assert machine.nslcd.host("r01n7") is None


def test_a_password_changed_on_a_node_reaches_every_master(running):
    node = running.nodes["r01n07"]
    done = change(running, node, "rosie", PASSWORD, "Bag-end-garden-12")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in running.masters:
        assert any(name in line and "changed" in line for line in done.stdout.splitlines()), done.stdout
    for machine in running.everything():
        assert machine.nslcd.login("rosie", "Bag-end-garden-12")
        assert not machine.nslcd.login("rosie", PASSWORD)


@pytest.mark.parametrize(
    ("user", "old", "new", "says"),
    [
        ("merry", "wrong-password", "Buckland-ferry-12", "password is wrong"),
        ("nobody-here", "x", "Buckland-ferry-12", "nobody-here"),
        ("root", "x", "Buckland-ferry-12", "root"),
        ("merry", PASSWORD, "short", "8"),
        ("merry", PASSWORD, "merry-brandybuck-12", "name"),
    ],
)
def test_refusals_are_clear_and_change_nothing(running, user, old, new, says):
    node = running.nodes["r01n07"]
    done = change(running, node, user, old, new)
    assert done.returncode == 1, done.stdout + done.stderr
    assert says in (done.stdout + done.stderr).lower()
    assert "Traceback" not in done.stdout + done.stderr
    assert node.nslcd.login("merry", PASSWORD)


def test_who_tried_what_is_told_by_any_master(running):
    """A change asked for on a node, taken by one master, is in the audit log as any other master tells it."""
    change(running, running.nodes["r01n07"], "pippin", "not-this-one", "Green-dragon-ale-12")
    for machine in running.masters.values():
        told = running.run("beonss", "audit", "--json", "--user", "pippin", "--control", str(machine.control))
        lines = [json.loads(line) for line in told.stdout.splitlines()]
        assert any(line.get("code") == "wrong-password" and line["user"] == "pippin" for line in lines)
        assert {line["machine"] for line in lines} <= set(running.masters)
        assert "Green-dragon" not in told.stdout
        assert told.stderr == ""
    follower = subprocess.Popen(
        [str(BIN / "beonss"), "audit", "-f", "--control", str(running.masters["gamgee"].control)],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    limit = threading.Timer(60, follower.kill)
    limit.start()
    try:
        assert follower.stdout.readline(), "it begins with what is there"
        running.masters["frodo"].nslcd.login("bilbo", "not-bilbos")
        assert any("frodo authenticate bilbo" in line for line in follower.stdout)
    finally:
        limit.cancel()
        follower.kill()
        follower.communicate()


def test_the_root_of_a_node_needs_the_old_password(running):
    node = running.nodes["r01n07"]
    done = change(running, node, "bilbo", "not-the-old-one", "Lonely-mountain-12")
    assert done.returncode == 1
    assert node.nslcd.login("bilbo", PASSWORD)


def test_no_password_or_hash_in_any_log_database_or_argument(running):
    secret = "Barliman-butterbur-9"
    done = change(running, running.nodes["r01n07"], "pippin", PASSWORD, secret)
    assert done.returncode == 0, done.stdout + done.stderr
    for machine in running.everything():
        for path in machine.directory.rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path
        assert b"$6$" not in machine.log.read_bytes()
    node_state = running.nodes["r01n07"].directory / "state"
    for path in node_state.rglob("*"):
        if path.is_file():
            assert b"$6$" not in path.read_bytes(), f"a node memorizes no hashes: {path}"


def test_a_change_while_one_master_is_away_and_the_issuer_dies(running):
    frodo, gamgee, fellowship = (running.masters[name] for name in ("frodo", "gamgee", "fellowship"))
    gamgee.stop()
    done = change(running, frodo, "sam", PASSWORD, "Cirith-ungol-stair-3")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any("gamgee" in line and "buffered" in line for line in lines), done.stdout
    assert any("fellowship" in line and "changed" in line for line in lines), done.stdout
    members = {m["name"]: m for m in running.status(fellowship)["members"]}
    assert members["gamgee"]["buffered"] >= 1
    assert not members["gamgee"]["reachable"]
    frodo.kill()
    running.start(gamgee)
    wait_until(lambda: gamgee.nslcd.login("sam", "Cirith-ungol-stair-3"), "gamgee takes the change")
    assert not gamgee.nslcd.login("sam", PASSWORD)
    status = running.status(gamgee)
    assert status["boot"] == "partial"
    assert status["missing"] == ["frodo"]
    running.start(frodo)
    assert frodo.nslcd.login("sam", "Cirith-ungol-stair-3")


def test_held_only_here_is_a_success_with_a_code_of_its_own(running):
    frodo, gamgee, fellowship = (running.masters[name] for name in ("frodo", "gamgee", "fellowship"))
    gamgee.stop()
    fellowship.stop()
    done = change(running, frodo, "merry", PASSWORD, "Old-forest-path-4")
    assert done.returncode == 3, done.stdout + done.stderr
    running.start(gamgee, fellowship)
    wait_until(lambda: gamgee.nslcd.login("merry", "Old-forest-path-4"), "gamgee takes the change")


def applied(running, machine, text, *options, check=True):
    """Apply a description on a machine."""
    return running.run("beonss", "apply", "-", *options, "--control", str(machine.control), text=text, check=check)


def test_apply_loses_no_query_reaches_everybody_and_a_bad_one_is_refused(running, description):
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    good = description.read_text()
    lost, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                if frodo.ask(f"r01n07.{ZONE}").answers != ("A 10.5.1.7",):
                    lost.append("wrong")
            except OSError as error:
                lost.append(str(error))

    def versions():
        return {running.status(machine)["description"]["version"] for machine in running.everything()}

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        done = applied(
            running, gamgee, good.replace('"4-5"', '"4-6"').replace("version  = 1 ", "version  = 42 "), "--yes"
        )
        assert "r06n[01-32]" in done.stdout
        assert "frodo has it in force" in done.stdout
        wait_until(lambda: versions() == {42}, "every machine follows")
        for machine in running.everything():
            assert machine.ask(f"r06n32.{ZONE}").answers == ("A 10.5.6.32",), machine.name
            assert machine.ask("32.6.5.10.in-addr.arpa", "PTR").answers == (f"PTR r06n32.{ZONE}.",)
        bad = applied(running, frodo, good + "\nnonsense = [\n", "--yes", check=False)
        assert bad.returncode == 1
        assert "standard input:" in bad.stderr
        assert versions() == {42}
        assert not [m for m in running.status(frodo)["members"] if m["description_differs"]]
    finally:
        stop.set()
        asker.join()
    applied(running, frodo, good, "--yes")
    wait_until(lambda: versions() == {43}, "what was before comes back as a higher version")
    assert frodo.ask(f"r06n32.{ZONE}").rcode == "NXDOMAIN"
    assert "has this description already" in applied(running, frodo, good, "--yes").stdout
    assert lost == []
    told = running.run("beonss", "audit", "--json", "--here", "--control", str(gamgee.control)).stdout.splitlines()
    lines = [json.loads(line) for line in told]
    assert [(line["author"], line["detail"]) for line in lines if line["event"] == "description"] == [
        ("root@gamgee", "version 42 of standard input")
    ]


def test_a_reload_puts_no_file_in_force_and_says_what_it_is(running, description):
    frodo = running.masters["frodo"]
    good = description.read_text()
    try:
        description.write_text(good.replace('"4-5"', '"4-7"'))
        frodo.send(signal.SIGHUP)
        wait_until(lambda: "beonss apply" in str(running.status(frodo)["alarms"]), "a file that differs is an alarm")
        assert frodo.ask(f"r07n01.{ZONE}").rcode == "NXDOMAIN"
    finally:
        description.write_text(good)
    frodo.send(signal.SIGHUP)
    wait_until(lambda: running.status(frodo)["alarms"] == [], "the alarm ends")


def test_garbage_on_every_port_and_socket_disturbs_nobody(running):
    rubbish = [b"\0" * 400, b"\xff" * 5000, b"GET / HTTP/1.0\r\n\r\n", b'{"op":', struct.pack("!i", 2**31 - 1) * 9]
    for machine in running.everything():
        for data in rubbish:
            with socket.socket(type=socket.SOCK_DGRAM) as udp:
                udp.sendto(data[:500], machine.dns)
            doors = [(socket.AF_INET, machine.dns), (socket.AF_UNIX, str(machine.control))]
            doors.append((socket.AF_UNIX, str(machine.nslcd.path)))
            if machine.name in running.sync_ports:
                doors.append((socket.AF_INET, ("127.0.0.1", running.sync_ports[machine.name])))
            for family, address in doors:
                with socket.socket(family) as door:
                    door.settimeout(5)
                    door.connect(address)
                    try:
                        door.sendall(data)
                        door.shutdown(socket.SHUT_WR)
                        while door.recv(65536):
                            pass
                    except OSError:
                        pass
        assert machine.ask(f"r01n07.{ZONE}").answers == ("A 10.5.1.7",)
        assert machine.nslcd.user("sam") is not None
        assert b"Traceback" not in machine.log.read_bytes()
        assert b"Unhandled" not in machine.log.read_bytes()


def test_a_stranger_with_a_certificate_of_its_own_gets_nothing(running, directory):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=gamgee", "-days", "1",
         "-keyout", str(directory / "s.key"), "-out", str(directory / "s.crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(directory / "s.crt", directory / "s.key")
    received = b""
    with socket.create_connection(("127.0.0.1", running.sync_ports["frodo"]), 10) as raw:
        try:
            with context.wrap_socket(raw) as tls:
                tls.sendall(b"\x00\x00\x00\x05hello")
                while piece := tls.recv(65536):
                    received += piece
        except OSError:
            pass
    assert b"sam" not in received
    assert b"$6$" not in received


def test_a_port_in_use_is_a_fatal_clear_error(running, directory):
    taken = running.masters["frodo"].dns[1]
    gamgee = running.masters["gamgee"]
    gamgee.stop()
    words = [str(word).replace(f"127.0.0.1:{gamgee.dns[1]}", f"127.0.0.1:{taken}") for word in gamgee.arguments]
    done = subprocess.run(
        [str(BIN / "twistd"), "-n", "--pidfile=", "beonss", *words],
        cwd=directory, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert str(taken) in done.stderr
    assert "in use" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    running.start(gamgee)


def test_only_root_and_the_owner_may_import_or_list(running):
    if os.geteuid() != 0:
        missing("root (to become somebody else)", "run as root")
    frodo = running.masters["frodo"]
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from beonss.store.control import ControlClient\n"
        "from beonss.errors import Refused\n"
        "client = ControlClient(sys.argv[1]); client.connect\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: client.ask('accounts.list', {})\n"
        "except Refused as error: print(error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(frodo.control), str(ROOT)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "not-root"


def test_stopped_masters_leave_no_socket(running):
    fellowship = running.masters["fellowship"]
    # twistd ends by the signal it was sent, as init systems expect of a clean stop.
    assert fellowship.stop() in (0, -signal.SIGTERM)
    assert not fellowship.control.exists()
    assert not fellowship.nslcd.path.exists()
    running.start(fellowship)


def test_the_node_outlives_its_masters(running):
    node = running.nodes["r01n07"]
    for machine in running.masters.values():
        machine.stop()
    node.stop()
    running.start(node)
    assert node.ask(f"r01n08.{ZONE}").answers == ("A 10.5.1.8",)
    assert node.nslcd.user("sam")[2] == "2001"
    assert node.nslcd.user("no-such-user") is None
    with pytest.raises(OSError, match=r"."):
        node.nslcd.login("sam", PASSWORD)
    done = running.run("cpasswd", "sam", "--stdin", "--socket", str(node.control), text="a\nb\n", check=False)
    assert done.returncode == 4, done.stdout + done.stderr
    text = running.run("beonss", "status", "--control", str(node.control)).stdout
    assert "no master answers" in text
    document = running.status(node)
    assert document["role"] == "node"
    running.start(*running.masters.values())
    wait_until(lambda: running.status(node)["boot"] == "live", "the node finds a master again")
    assert json.dumps(document)
