"""A master whose DNS is answered by processes of its own: what holds when they are killed, stopped or orphaned."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from cluster import wait_until
from support.query_stream import QueryStream
from support.requires import missing

NODE = "r01n01.fellow.aero.org"


@pytest.fixture(scope="module")
def frodo(cluster, description):
    """Return a running master with two DNS processes."""
    if not Path("/proc/self/stat").exists():
        missing("the file system /proc")
    text = description.read_text()
    description.write_text(text + '\n[dns.transfer]\nallow = ["127.0.0.1"]\n')
    machine = cluster.add_master("frodo", "--dns-workers", "2")
    cluster.start(machine)
    machine.ready = lambda: wait_until(lambda: answering(cluster, machine), "both processes answer")
    machine.ready()
    return machine


def standing(cluster, machine):
    return cluster.status(machine)["dns"]


def answering(cluster, machine):
    return all(process["answering"] for process in standing(cluster, machine)["processes"])


def pids(cluster, machine):
    return [process["pid"] for process in standing(cluster, machine)["processes"]]


def family(pid):
    """Return the processes of a master beside itself."""
    found = [pid]
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state != "Z":
                stats[int(entry.name)] = int(parent)
    for each in found:
        found += [child for child, parent in stats.items() if parent == each]
    return found[1:]


def named(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ask_tcp(machine, name, rdtype):
    query = dns.message.make_query(name, rdtype)
    return dns.query.tcp(query, machine.dns[0], port=machine.dns[1], timeout=10)


def test_processes_answer_and_share_the_load(cluster, frodo):
    frodo.ready()
    kin = {named(pid) for pid in family(frodo.process.pid)}
    assert "beonss-dns" in kin
    assert len(kin) == 3
    with QueryStream(frodo.dns[1], NODE) as stream:
        wait_until(lambda: stream.sent > 500, "some questions were asked")
    assert stream.lost == 0
    wait_until(
        lambda: all(process["queries"] > 20 for process in standing(cluster, frodo)["processes"]),
        "both have their part",
    )


def test_everything_is_answered_over_both_transports(cluster, frodo):
    """Plain questions by the processes; transfers and questions that are signed or for the daemon by the daemon."""
    frodo.ready()
    for tcp in (False, True):
        assert frodo.ask(NODE, tcp=tcp).answers == ("A 10.5.1.1",)
        assert frodo.ask("no-such-name.fellow.aero.org", tcp=tcp).rcode == "NXDOMAIN"
    zone = dns.query.xfr(frodo.dns[0], "fellow.aero.org", port=frodo.dns[1], lifetime=20)
    assert sum(len(message.answer) for message in zone) > 150
    # Over UDP, where nothing but the SOA record fits.
    query = dns.message.make_query("fellow.aero.org", "IXFR")
    query.authority.append(dns.rrset.from_text("fellow.aero.org.", 0, "IN", "SOA", "a. b. 1 2 3 4 5"))
    assert dns.query.udp(query, frodo.dns[0], port=frodo.dns[1], timeout=10).answer
    # On one connection, before and after a transfer that is refused.
    with socket.create_connection(frodo.dns) as stream:
        stream.settimeout(10)
        questions = [(NODE, "A"), ("example.com", "AXFR"), (NODE, "AAAA"), ("fellow.aero.org", "SOA")]
        wires = [dns.message.make_query(*question, id=number).to_wire() for number, question in enumerate(questions)]
        stream.sendall(b"".join(struct.pack("!H", len(wire)) + wire for wire in wires))
        replies = [dns.query.receive_tcp(stream)[0] for _ in wires]
    assert [reply.id for reply in replies] == [0, 1, 2, 3]
    assert replies[1].rcode() == dns.rcode.NOTAUTH


def test_no_question_is_lost_when_processes_are_killed_again_and_again(cluster, frodo):
    frodo.ready()
    before = {process["pid"]: process["restarts"] for process in standing(cluster, frodo)["processes"]}
    with QueryStream(frodo.dns[1], NODE) as stream:
        for turn in range(6):
            old = pids(cluster, frodo)[turn % 2]
            # The one that would be killed in the middle of a batch takes what it has read with it: none of the
            # thousand questions a second, or a very few, and those are told.
            os.kill(old, signal.SIGKILL)
            wait_until(lambda old=old: old not in pids(cluster, frodo) and answering(cluster, frodo), "replaced", 60)
    assert stream.codes.keys() == {0}
    assert stream.lost <= 6
    after = standing(cluster, frodo)["processes"]
    assert sum(process["restarts"] for process in after) == sum(before.values()) + 6
    alarms = " ".join(cluster.status(frodo)["alarms"])
    assert re.search(r"DNS process 1 of 2 ended \d times in the last 10 minutes \(last by signal 9\)", alarms)


def test_counters_are_summed_also_over_those_that_are_gone(cluster, frodo):
    frodo.ready()

    def total():
        found = standing(cluster, frodo)
        assert found["queries"] == found["udp"] + found["tcp"]
        assert sum(found["codes"].values()) <= found["queries"]
        return found["udp"]

    before = total()
    with QueryStream(frodo.dns[1], NODE) as stream:
        wait_until(lambda: stream.sent > 300, "some questions were asked")
    wait_until(lambda: total() == before + stream.sent, "all are counted")
    for pid in pids(cluster, frodo):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: answering(cluster, frodo), "replaced", 60)
    assert total() >= before + stream.sent


def test_one_that_is_stuck_is_stood_in_for_and_replaced(cluster, frodo):
    frodo.ready()
    stuck = pids(cluster, frodo)[1]
    os.kill(stuck, signal.SIGSTOP)
    with QueryStream(frodo.dns[1], NODE, rate=200) as stream:
        wait_until(lambda: stuck not in pids(cluster, frodo) and answering(cluster, frodo), "replaced", 90)
    # What it had read when it was stopped; nothing of what came afterwards.
    assert stream.lost <= 64
    assert not is_there(stuck)


def test_the_process_that_forks_is_replaced_too(cluster, frodo):
    frodo.ready()
    (server,) = (pid for pid in family(frodo.process.pid) if named(pid) == "beonss-dns")
    with QueryStream(frodo.dns[1], NODE) as stream:
        os.kill(server, signal.SIGKILL)
        wait_until(lambda: not is_there(server), "killed")
        workers = pids(cluster, frodo)
        os.kill(workers[0], signal.SIGKILL)
        wait_until(
            lambda: workers[0] not in pids(cluster, frodo) and answering(cluster, frodo), "made by another one", 90
        )
    assert stream.lost <= 2


def test_the_process_that_forks_is_replaced_when_it_is_stuck(cluster, frodo):
    """Nobody asks it for anything meanwhile; one of its processes that is stuck afterwards is ended all the same."""
    frodo.ready()
    (server,) = (pid for pid in family(frodo.process.pid) if named(pid) == "beonss-dns")
    os.kill(server, signal.SIGSTOP)
    wait_until(lambda: not is_there(server), "killed", 90)
    stuck = pids(cluster, frodo)[0]
    os.kill(stuck, signal.SIGSTOP)
    with QueryStream(frodo.dns[1], NODE, rate=200) as stream:
        wait_until(lambda: stuck not in pids(cluster, frodo) and answering(cluster, frodo), "made by another one", 120)
    assert stream.lost <= 64
    wait_until(lambda: not is_there(stuck), "killed")


def test_a_process_that_is_asked_to_end_answers_first_and_is_replaced(cluster, frodo):
    frodo.ready()
    old = pids(cluster, frodo)
    with QueryStream(frodo.dns[1], NODE) as stream:
        for pid in old:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not set(old) & set(pids(cluster, frodo)) and answering(cluster, frodo), "replaced", 60)
    assert stream.lost == 0


def test_a_reload_loses_no_question_and_holds_everywhere_when_it_is_told(cluster, frodo, description):
    """After ``beonss apply`` returns every process answers out of the new description."""
    frodo.ready()
    for version in range(11, 15):
        text, count = re.subn(r"(?m)^version( *)=.*$", rf"version\1= {version}", description.read_text())
        assert count == 1
        description.write_text(text)
        with QueryStream(frodo.dns[1], NODE) as stream:
            cluster.run("beonss", "apply", str(description), "--yes", "--control", str(frodo.control))
            for _ in range(20):
                reply = ask_tcp(frodo, "fellow.aero.org", "SOA")
                assert reply.answer[0][0].serial >= version
        assert (stream.lost, stream.codes.keys()) == (0, {0})


def test_a_port_in_use_ends_the_start_with_one_line(cluster, frodo):
    """Although its owner, a master like us, shares it among its processes."""
    other = cluster.add_master("gamgee", "--dns-workers", "2", "--dns-listen", f"127.0.0.1:{frodo.dns[1]}")
    other.start()
    assert other.process.wait(60) == 1
    other.process = None
    assert other.log.read_text().count("beonss: ") == 1
    assert f"beonss: port {frodo.dns[1]} (UDP) on 127.0.0.1 is in use by another program" in other.log.read_text()


def test_the_second_start_answers_before_the_master_is_loaded(cluster, frodo):
    """What is answered then is counted, and what it cannot answer is answered later."""
    frodo.ready()
    assert frodo.stop() in {0, -signal.SIGTERM}
    assert family(os.getpid()) == [] or all(not named(pid).startswith("beonss-dns") for pid in family(os.getpid()))
    frodo.start()
    reply = None
    while reply is None:
        try:
            reply = frodo.ask(NODE, timeout=0.05)
        except OSError:
            assert frodo.process.poll() is None, frodo.tail()
    early = [pid for pid in family(frodo.process.pid) if named(pid) == "beonss-dns0"]
    assert reply.answers == ("A 10.5.1.1",)
    assert len(early) == 1
    # A transfer waits until the master can answer; so does a question that Python answers.
    assert ask_tcp(frodo, "id.server", "TXT").rcode() == dns.rcode.REFUSED
    query = dns.message.make_query("self.fellow.aero.org", "A")
    assert dns.query.udp(query, frodo.dns[0], port=frodo.dns[1], timeout=60).rcode() == dns.rcode.NOERROR
    frodo.wait_ready(cluster.zone)
    frodo.ready()
    wait_until(lambda: not is_there(early[0]), "the first one has ended")
    # Each process tells its counters once a second.
    wait_until(lambda: standing(cluster, frodo)["udp"] >= 2, "both are counted")


def test_after_a_change_without_the_master_the_start_does_not_answer_from_memory(cluster, frodo):
    """What is kept belongs to a description; with another one in the database it is left alone."""
    frodo.ready()
    frodo.stop()
    kept = frodo.directory / "state" / "dns.core"
    assert kept.exists()
    (frodo.directory / "state" / "zones.json").write_text("{}\n")
    code = (
        "import sys; from pathlib import Path;"
        "from beonss.daemon.dns.prepared import first_core;"
        "from beonss.daemon.settings import MasterSettings;"
        f"state = Path({str(kept.parent)!r});"
        "s = MasterSettings(description=state, name=None, state=state, runtime=state, nslcd=None, targets=None,"
        " boot_wait=1, dns=None, sync=());"
        "found = first_core(s); sys.exit(0 if found is None else 1 if found.of.digest else 2)"
    )
    # Not what was kept, but what is computed anew.
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 2
    cluster.start(frodo)
    frodo.ready()
    frodo.stop()
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
    cluster.start(frodo)


def test_no_process_outlives_the_master(cluster, frodo):
    """Killed at once, and in the middle of its start; also a process that is stuck goes."""
    frodo.ready()
    everybody = family(frodo.process.pid)
    assert len(everybody) == 3
    os.kill(pids(cluster, frodo)[0], signal.SIGSTOP)
    frodo.kill()
    wait_until(lambda: not any(is_there(pid) for pid in everybody), "all have ended", 60)
    frodo.start()
    wait_until(lambda: len(family(frodo.process.pid)) >= 1, "the first process is there", 60)
    everybody = family(frodo.process.pid)
    frodo.kill()
    wait_until(lambda: not any(is_there(pid) for pid in everybody), "all have ended", 60)


def test_in_the_background_it_holds_no_terminal_and_works(cluster, frodo):
    """Without ``-n`` twistd forks after the processes were begun; whoever started it gets the end of its output."""
    assert frodo.process is None
    pidfile = frodo.directory / "pid"
    twistd = Path(sys.executable).with_name("twistd")
    command = [
        twistd,
        f"--pidfile={pidfile}",
        f"--logfile={frodo.directory / 'daemon.log'}",
        "beonss",
        *frodo.arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=frodo.directory)
    assert done.returncode == 0, done.stderr
    pid = int(pidfile.read_text())
    try:
        wait_until(lambda: frodo.control.exists() and answering(cluster, frodo), "it answers", 60)
        assert frodo.ask(NODE).answers == ("A 10.5.1.1",)
        workers = pids(cluster, frodo)
        os.kill(workers[0], signal.SIGKILL)
        wait_until(lambda: workers[0] not in pids(cluster, frodo) and answering(cluster, frodo), "replaced", 60)
        workers = pids(cluster, frodo)
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_there(pid), "it has ended", 60)
    wait_until(lambda: not any(is_there(each) for each in workers), "so have its processes", 60)
    assert "Traceback" not in (frodo.directory / "daemon.log").read_text()


def test_nothing_went_wrong_on_the_way(frodo):
    log = frodo.log.read_text()
    assert "Traceback" not in log
    assert "lost to an error of ours" not in log
