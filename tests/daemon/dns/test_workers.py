"""The daemon's side of its DNS processes, with processes played by the test and a clock set by hand."""

import contextlib
import errno
import os
import socket

import dns.message
import pytest
from support.dns_names import Names
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.zones.zone import Zones
from beonss.daemon.dns import workers
from beonss.daemon.dns.workers import AGAIN, BEGUN, DEAD, NEVER, PATIENCE, QUIET, WATCH, DNSWorkers
from beonss.net.dns.server import DNSServer
from beonss.net.dns.worker_channel import channel_pair
from beonss.net.dns.worker_sockets import bind_places
from beonss.net.dns.worker_zones import WorkerZones, read_zones

NODE = "r01n02.fellow.aero.org"


class Process:
    """A process as the test plays it."""

    def __init__(self, number, channel):
        self.number = number
        self.channel = channel
        self.sockets = []
        self.zones = None
        self.stopped = False

    def read(self):
        """Take what the daemon said; return the kinds."""
        kinds = []
        while True:
            try:
                message = self.channel.receive()
            except BlockingIOError:
                return kinds
            if message is None:
                return [*kinds, None]
            kinds.append(message.kind)
            if message.kind == "zones":
                (descriptor,) = message.take()
                self.zones, self.number_of_zones = read_zones(descriptor), message.number("number")
                os.close(descriptor)
            elif message.kind == "listen":
                self.sockets += [socket.socket(fileno=descriptor) for descriptor in message.take()]

    def serve(self):
        """Do as told."""
        kinds = self.read()
        if "zones" in kinds:
            self.channel.send("serving", number=self.number_of_zones)
        if "listen" in kinds:
            self.channel.send("listening")

    def die(self):
        self.channel.close()
        for each in self.sockets:
            each.close()


class FakeForks:
    """Makes processes for the test to play."""

    full = False

    def __init__(self, reactor, channel, ended, pid=0):
        self.ended = ended
        self.pids = {}
        self.processes = []
        self.killed = []
        self.looks = 0
        self.stopped = False

    def start(self, number):
        if self.full:
            raise OSError(errno.EMFILE, "Too many open files")
        ours, its = channel_pair()
        self.processes.append(Process(number, its))
        self.pids[number] = 1000 + number
        return ours

    def kill(self, pid, *, known=True):
        self.killed.append(pid)

    def look(self):
        self.looks += 1

    def stop(self):
        self.stopped = True
        return succeed(None)


class Bench:
    """A group of processes."""

    def __init__(self, count=2):
        self.reactor = MemoryReactorClock()
        self.zones = Zones(Names())
        self.server = DNSServer(self.zones, seconds=self.reactor.seconds)
        self.workers = DNSWorkers(
            self.reactor, self.server, bind_places([Endpoint("127.0.0.1", 0)], count), forks=FakeForks
        )
        self.forks = self.workers._forks
        self.stopped = None

    @property
    def processes(self):
        return self.forks.processes

    def serve(self, version=7):
        self.workers.serve(WorkerZones(Zones(Names(version=version)), b"id"))

    def pump(self):
        """Let the reactor read what can be read, but no DNS."""
        for _ in range(3):
            for reader in list(self.reactor.readers):
                if type(reader).__name__ == "Link":
                    reader.doRead()

    def begin(self):
        self.serve()
        for process in self.processes:
            process.serve()
        self.pump()

    def tick(self, looks=1, alive=()):
        for _ in range(looks):
            for process in alive:
                with contextlib.suppress(BrokenPipeError):
                    process.channel.send("counters", udp=0)
            self.pump()
            self.reactor.advance(WATCH)

    def states(self):
        return [process["answering"] for process in self.workers.processes()]

    def ears(self):
        """Return how many sockets of its own the daemon answers from, UDP and TCP."""
        udp = sum(type(reader).__name__ == "UDPListener" for reader in self.reactor.readers)
        return udp, len(self.reactor.adoptedPorts)

    def stop(self):
        if self.stopped is None:
            self.stopped = self.workers.stop()
            for process in self.processes:
                process.die()
            self.pump()
        return self.stopped


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.stop()
    bench.reactor.advance(PATIENCE)


def fired(deferred):
    found = []
    deferred.addCallback(lambda _: found.append(True))
    return bool(found)


def test_each_gets_zones_and_then_the_sockets_of_its_place(bench):
    bench.serve()
    assert bench.states() == [False, False]
    first, second = bench.processes
    assert first.read() == second.read() == ["zones", "listen"]
    assert first.zones.identity == b"id"
    names = [[each.getsockname() for each in process.sockets] for process in (first, second)]
    assert names[0] == names[1]
    assert names[0][0] == names[0][1]
    # Two sockets of one address each, not one twice.
    assert first.sockets[0].fileno() != second.sockets[0].fileno()
    inodes = [os.fstat(process.sockets[0].fileno()).st_ino for process in (first, second)]
    assert inodes[0] != inodes[1]
    for process in (first, second):
        process.channel.send("serving", number=1)
        process.channel.send("listening")
    bench.pump()
    assert bench.states() == [True, True]
    assert bench.workers.alarms() == []


def test_settled_means_that_all_living_ones_have_the_newest_zones(bench):
    bench.begin()
    assert fired(bench.workers.settled())
    bench.serve(8)
    waiting = bench.workers.settled()
    first, second = bench.processes
    first.serve()
    bench.pump()
    assert not waiting.called
    second.serve()
    bench.pump()
    assert waiting.called
    assert second.number_of_zones == 2


def test_one_that_dies_before_it_acknowledges_holds_nobody_up_but_its_successor(bench):
    bench.begin()
    bench.serve(8)
    waiting = bench.workers.settled()
    bench.processes[0].serve()
    bench.processes[1].die()
    bench.pump()
    assert len(bench.processes) == 3
    bench.processes[2].serve()
    bench.pump()
    assert waiting.called
    assert bench.processes[2].number_of_zones == 2


def test_one_that_dies_is_replaced_at_once_with_the_same_sockets(bench):
    bench.begin()
    inode = os.fstat(bench.processes[0].sockets[0].fileno()).st_ino
    bench.processes[0].channel.send("counters", udp=5, tcp=1, codes={"NOERROR": 6}, connections=3, table=2)
    bench.processes[0].die()
    bench.pump()
    assert bench.forks.killed == [1001]
    bench.forks.ended(1001, -9)
    bench.processes[2].serve()
    bench.pump()
    assert os.fstat(bench.processes[2].sockets[0].fileno()).st_ino == inode
    assert bench.states() == [True, True]
    (alarm,) = bench.workers.alarms()
    assert alarm == "DNS process 1 of 2 ended once in the last 10 minutes (last by signal 9); see the log"
    # What it did stays counted; what it held is gone.
    counters = bench.workers.counters()
    assert (counters.queries, counters.codes, counters.connections, counters.table) == (6, {"NOERROR": 6}, 0, 0)


@pytest.mark.parametrize("first", [True, False])
def test_how_it_ended_is_told_whichever_is_heard_of_first(bench, first):
    bench.begin()
    if first:
        bench.forks.ended(1002, 3)
    bench.processes[1].die()
    bench.pump()
    if not first:
        bench.forks.ended(1002, 3)
    assert "process 2 of 2 ended once in the last 10 minutes (last by exit code 3)" in bench.workers.alarms()[0]


def test_one_that_dies_again_and_again_is_started_ever_later_and_stood_in_for(bench):
    bench.begin()
    while bench.processes[-1].channel.fileno() != -1:
        bench.processes[-1].die()
        bench.pump()
    count = len(bench.processes)
    assert count > 3
    assert bench.states() == [True, False]
    assert bench.ears() == (0, 0)
    bench.tick(alive=bench.processes[:1])
    # It answers from the sockets of that place alone.
    assert bench.ears() == (1, 1)
    assert any("this daemon does in its place" in alarm for alarm in bench.workers.alarms())
    bench.tick(60, alive=bench.processes[:1])
    assert len(bench.processes) > count
    bench.processes[-1].serve()
    bench.pump()
    assert bench.states() == [True, True]
    assert bench.ears()[0] == 0


def test_one_that_gives_no_sign_of_life_is_stood_in_for_and_then_killed(bench):
    bench.begin()
    quick, stuck = bench.processes
    bench.tick(QUIET - 1, alive=[quick])
    assert bench.ears()[0] == 0
    bench.tick(1, alive=[quick])
    assert bench.ears()[0] == 1
    assert bench.states() == [True, False]
    # A sign of life, and all is well.
    bench.tick(1, alive=[quick, stuck])
    assert bench.ears()[0] == 0
    bench.tick(DEAD, alive=[quick])
    assert bench.forks.killed == [1002]
    assert len(bench.processes) == 3
    bench.processes[2].serve()
    bench.pump()
    assert bench.states() == [True, True]
    assert "it gave no sign of life" in bench.workers.alarms()[0]
    # So is the one that made them all.
    assert bench.forks.looks == QUIET + 1 + DEAD


def test_one_that_reads_new_zones_has_time_for_it(bench):
    """The daemon answers there meanwhile."""
    bench.begin()
    quick, slow = bench.processes
    bench.serve(8)
    quick.serve()
    bench.tick(NEVER - 1, alive=[quick])
    assert bench.ears()[0] == 1
    assert bench.forks.killed == []
    slow.serve()
    bench.tick(1, alive=[quick])
    assert bench.states() == [True, True]
    # When it has them, silence is what it was.
    bench.tick(DEAD, alive=[quick])
    assert bench.forks.killed == [1002]


def test_one_that_reads_new_zones_for_ever_is_replaced(bench):
    bench.begin()
    quick, slow = bench.processes
    bench.serve(8)
    quick.serve()
    bench.tick(NEVER, alive=[quick])
    assert bench.forks.killed == [1002]
    assert len(bench.processes) == 3
    slow.die()


def test_one_that_lives_and_never_begins_is_stood_in_for_and_then_killed(bench):
    bench.serve()
    quick, lazy = bench.processes
    quick.serve()
    bench.tick(1, alive=[quick, lazy])
    assert bench.ears()[0] == 0
    bench.tick(BEGUN, alive=[quick, lazy])
    assert bench.ears()[0] == 1
    bench.tick(NEVER, alive=[quick, lazy])
    assert bench.forks.killed == [1002]
    assert len(bench.processes) == 3


def test_a_daemon_that_stood_still_kills_nobody(bench):
    """The clock leaps by a minute: one look, and the signs of life that came meanwhile are read after it."""
    bench.begin()
    bench.reactor.advance(60)
    bench.tick(2, alive=bench.processes)
    assert bench.forks.killed == []
    assert bench.states() == [True, True]


@pytest.mark.parametrize(
    "words",
    [
        ("datagram", {"socket": 1, "peer": ["127.0.0.1", 1]}),
        ("datagram", {"socket": 99, "peer": ["127.0.0.1", 1]}),
        ("datagram", {"socket": 0, "peer": "127.0.0.1"}),
        ("datagram", {"socket": 0, "peer": [1, 1]}),
        ("no such word", {}),
        ("serving", {"number": "one"}),
    ],
)
def test_one_that_talks_nonsense_is_replaced(bench, words):
    bench.begin()
    kind, fields = words
    bench.processes[0].channel.send(kind, **fields)
    bench.pump()
    assert bench.processes[0].read()[-1] is None
    assert len(bench.processes) == 3


def test_a_datagram_is_answered_from_the_socket_where_it_came(bench):
    bench.begin()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(10)
        wire = dns.message.make_query(NODE, "A").to_wire()
        bench.processes[1].channel.send("datagram", wire, socket=0, peer=list(client.getsockname()))
        bench.pump()
        reply, where = client.recvfrom(512)
    assert where == bench.processes[1].sockets[0].getsockname()
    assert dns.message.from_wire(reply).answer
    assert bench.workers.counters().udp == 1


def test_counters_are_the_sum_and_nonsense_in_them_counts_nothing(bench):
    bench.begin()
    first, second = bench.processes
    first.channel.send("counters", udp=10, compiled=9, connections=1, codes={"NOERROR": 9, "REFUSED": 1})
    second.channel.send(
        "counters", udp=5, tcp="many", codes={"NOERROR": 5, "NXDOMAIN": None}, fallback={"hits": 2}, what=7, table=True
    )
    bench.pump()
    counters = bench.workers.counters()
    assert (counters.udp, counters.tcp, counters.compiled, counters.connections, counters.table) == (15, 0, 9, 1, 0)
    assert counters.codes == {"NOERROR": 14, "REFUSED": 1}
    assert counters.fallback == {"hits": 2}
    assert [process["queries"] for process in bench.workers.processes()] == [10, 5]


def test_the_first_process_is_told_to_stop_when_all_others_listen(bench):
    ours, its = channel_pair()
    bench.workers.adopt_early(ours, 0)
    bench.serve()
    early = Process(0, its)
    bench.processes[0].serve()
    bench.pump()
    assert early.read() == []
    bench.processes[1].serve()
    bench.pump()
    assert early.read() == ["stop"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(10)
        wire = dns.message.make_query(NODE, "A").to_wire()
        its.send("datagram", wire, place=1, socket=0, peer=list(client.getsockname()))
        its.send("ended", udp=3, codes={"NOERROR": 3})
        its.close()
        bench.pump()
        assert client.recv(512)[:2] == wire[:2]
    assert bench.workers.counters().udp == 4


def test_zones_that_change_before_all_listen_end_the_first_process(bench):
    """It knows no others than those it began with."""
    ours, its = channel_pair()
    bench.workers.adopt_early(ours, 0)
    bench.serve()
    early = Process(0, its)
    assert early.read() == []
    bench.serve(8)
    assert early.read() == ["stop"]
    its.close()
    bench.pump()


def test_the_end_waits_for_answers_and_not_for_ever(bench):
    bench.begin()
    good, stuck = bench.processes
    ended = bench.workers.stop()
    bench.stopped = ended
    assert good.read() == ["stop"]
    good.channel.send("ended", udp=4)
    good.die()
    bench.pump()
    assert not ended.called
    assert len(bench.processes) == 2
    bench.reactor.advance(PATIENCE)
    bench.pump()
    assert ended.called
    assert bench.forks.killed == [1002]
    assert bench.forks.stopped
    assert bench.workers.counters().udp == 4
    stuck.die()


def test_the_log_of_a_process_is_the_daemons(bench):
    bench.begin()
    bench.processes[0].channel.send("log", level="info", text="look: {here}")
    bench.processes[0].channel.send("log", level="no such level", text="also")
    bench.pump()
    assert bench.states() == [True, True]


def test_nothing_is_started_before_there_are_zones(bench):
    assert bench.processes == []
    assert isinstance(bench.workers.settled(), Deferred)


def test_a_place_whose_process_cannot_be_started_is_stood_in_for_and_tried_again(bench):
    """The table of open files is full; new zones come meanwhile."""
    bench.begin()
    bench.forks.full = True
    bench.processes[0].die()
    bench.pump()
    bench.tick(alive=bench.processes[1:])
    assert bench.states() == [False, True]
    assert bench.ears() == (1, 1)
    bench.serve(8)
    bench.tick(40, alive=bench.processes[1:])
    assert bench.states() == [False, True]
    bench.forks.full = False
    bench.tick(int(AGAIN / WATCH) + 1, alive=bench.processes[1:])
    bench.processes[-1].serve()
    bench.pump()
    assert bench.states() == [True, True]
    assert bench.processes[-1].number_of_zones == 2


def test_standing_in_without_a_descriptor_for_connections_goes_on_and_gets_one_later(bench):
    bench.begin()
    adopt = bench.reactor.adoptStreamPort

    def full(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    bench.reactor.adoptStreamPort = full
    bench.forks.full = True
    bench.processes[0].die()
    bench.pump()
    bench.tick(2, alive=bench.processes[1:])
    assert bench.ears() == (1, 0)
    bench.reactor.adoptStreamPort = adopt
    bench.tick(2, alive=bench.processes[1:])
    assert bench.ears() == (1, 1)


def test_a_connection_for_which_the_daemon_has_no_descriptor_is_no_fault_of_the_process(bench):
    bench.begin()
    # As it arrives where the table of open files is full.
    bench.processes[0].channel.send("connection", b"query")
    bench.pump()
    assert bench.states() == [True, True]
    assert bench.workers.counters().refused_connections == 1


def test_nobody_goes_on_with_former_zones_where_new_ones_cannot_be_given(bench, monkeypatch):
    bench.begin()
    real = workers.write_zones

    def full(_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(workers, "write_zones", full)
    bench.serve(8)
    assert sorted(bench.forks.killed) == [1001, 1002]
    assert fired(bench.workers.settled())
    bench.tick()
    assert bench.ears() == (2, 2)
    bench.tick(20)
    assert len(bench.processes) == 2
    monkeypatch.setattr(workers, "write_zones", real)
    bench.tick(int(AGAIN / WATCH) + 1)
    for process in bench.processes[2:]:
        process.serve()
    bench.pump()
    assert bench.states() == [True, True]
    assert [process.number_of_zones for process in bench.processes[2:]] == [2, 2]
    assert bench.ears()[0] == 0


def test_new_zones_need_no_more_descriptors_than_the_former_ones(bench):
    bench.begin()
    first = bench.workers._zones_file
    bench.serve(8)
    assert bench.workers._zones_file == first
