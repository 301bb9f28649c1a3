"""What a master has before it loads the rest: where the kept zones are answered, sockets let go in time."""

import hashlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.requires import missing

from beonss.core.cluster.endpoints import Endpoint
from beonss.daemon.dns.prepared import Prepared, kept_core
from beonss.daemon.settings import MasterSettings
from beonss.net.dns.worker_channel import channel_pair
from beonss.net.dns.worker_sockets import bind_places, close_places
from beonss.store.kept_core import CoreOf, FilesRead, KeptCore, save_core

OF = CoreOf("d" * 64, 7, "s" * 64)
USUAL = (Endpoint("10.5.0.1", 53), Endpoint("127.0.0.1", 53))
TOLD = (Endpoint("127.0.0.1", 5353),)


def settings(state: Path, dns: tuple[Endpoint, ...] | None) -> MasterSettings:
    return MasterSettings(
        description=state / "none", name=None, state=state, runtime=state, nslcd=None, targets=None, boot_wait=0,
        dns=dns, sync=(), dns_workers=None,
    )  # fmt: skip


@pytest.mark.parametrize(("dns", "where"), [(None, USUAL), (TOLD, TOLD)])
def test_where_it_is_answered_is_told_by_the_command_line_and_else_by_the_description(tmp_path, dns, where):
    """Not by the last run, which may have had another command line, or another description when it began."""
    save_core(tmp_path, KeptCore(OF, USUAL, b"image", b"frodo", b""))
    core = kept_core(settings(tmp_path, dns), OF)
    assert core is not None
    assert (core.endpoints, core.image) == (where, b"image")
    assert kept_core(settings(tmp_path, dns), CoreOf("e" * 64, 7, "s" * 64)) is None


def test_of_zone_files_that_have_changed_nothing_is_answered_from_memory(tmp_path):
    file = tmp_path / "static.zone"
    file.write_bytes(b"x A 10.0.0.1\n")
    read = FilesRead(str(tmp_path), ((str(file), hashlib.sha256(b"x A 10.0.0.1\n").hexdigest()),))
    save_core(tmp_path, KeptCore(OF, USUAL, b"image", b"frodo", b"", read))
    assert kept_core(settings(tmp_path, None), OF) is not None
    file.write_bytes(b"x A 10.0.0.2\n")
    assert kept_core(settings(tmp_path, None), OF) is None


def test_sockets_that_are_not_wanted_are_free_again_at_once():
    """Also those that the process has that answers early: it would be "in use by another program"."""
    places = bind_places([Endpoint("127.0.0.1", 0)], 2)
    port = places[0][0].socket.getsockname()[1]
    copies = [bound.socket.dup() for place in places for bound in place]
    channel, its = channel_pair()
    forks, unused = channel_pair()
    its.wait(30)

    def early() -> None:
        # It is busy, and looks a little later.
        threading.Event().wait(0.2)
        assert its.receive() is None
        for copy in copies:
            copy.close()
        its.close()

    thread = threading.Thread(target=early)
    thread.start()
    prepared = Prepared(forks, 0, (Endpoint("127.0.0.1", port),), places, channel, 0)
    assert prepared.take_places((Endpoint("127.0.0.2", port),), 2) is None
    close_places(bind_places([Endpoint("127.0.0.1", port)], 1))
    thread.join(30)
    assert prepared.early is None
    for end in (forks, unused):
        end.close()


def test_sockets_that_are_wanted_are_handed_over_with_the_process_that_answers_there():
    places = bind_places([Endpoint("127.0.0.1", 0)], 1)
    forks, its = channel_pair()
    prepared = Prepared(forks, 0, TOLD, places, its)
    assert prepared.take_places(TOLD, 1) is places
    assert prepared.early is its
    assert places[0][0].socket.type == socket.SOCK_DGRAM
    close_places(places)
    for end in (forks, its):
        end.close()


def test_children_of_a_daemon_in_the_background_keep_nothing_of_who_started_it():
    code = """
import os
from beonss.daemon.dns.prepared import _settle
from beonss.net.dns.worker_forks import fork_off
mine, (reader, writer) = os.getsid(0), os.pipe()
def child():
    _settle(None, detached=True)
    files = [os.readlink(f"/proc/self/fd/{n}") for n in range(3)]
    os.write(writer, repr([os.getsid(0) != mine, *files]).encode())
    return 0
os.waitpid(fork_off(child), 0)
print(os.read(reader, 1000).decode())
"""
    if not Path("/proc/self/fd").exists():
        missing("the file system /proc")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{[True, *['/dev/null'] * 3]}\n"
