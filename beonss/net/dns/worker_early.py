"""The first process that answers DNS: the compiled core and nothing else, while the daemon is still loading.

It has the zones that were served last, which are those that the daemon will serve (:mod:`beonss.daemon.dns.prepared`
makes sure). What the core does not answer waits, and is given to the daemon in the end. It imports no Twisted, for
that is what takes the time.
"""

import contextlib
import os
import select
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from beonss.core.zones.records import ReplyCode
from beonss.errors import MalformedError
from beonss.net.dns.worker_channel import Channel
from beonss.net.dns.worker_process import become_process
from beonss.net.dns.worker_sockets import Place, close_places

if TYPE_CHECKING:
    from beonss.net.dns._dns_native import Core

#: Datagrams answered in one turn.
_BUDGET: Final = 512
#: Questions that wait for the daemon; what comes beyond is dropped, and asked again by whoever wants to know.
MOST_WAITING: Final = 1024
#: Seconds that the daemon may take to accept what waited.
_PATIENCE: Final = 5.0


def early_core(image: bytes, identity: bytes, networks: bytes) -> "Core | None":
    """Return a compiled core, None where there is none or it does not take these.

    Args:
        image: the zones.
        identity: the NSID.
        networks: clients that names elsewhere are looked up for.
    """
    # As beonss.net.dns.native has it, which would take too long to import.
    if os.environ.get("BEONSS_PURE_PYTHON", "") not in {"", "0"}:
        return None
    try:
        from beonss.net.dns._dns_native import Core  # noqa: PLC0415 - it may not be there

        return Core(image, identity, networks)
    except (ImportError, ValueError):
        return None


def answer_early(channel: Channel, core: "Core", places: Sequence[Place]) -> int:
    """Answer until the daemon says to stop, or is gone; return the exit code.

    Args:
        channel: to the daemon.
        core: answers.
        places: the sockets, of which those for UDP are served; connections wait until somebody takes them.
    """
    become_process("beonss-dns0")
    where = {
        bound.socket.fileno(): (place, number)
        for place, sockets in enumerate(places)
        for number, bound in enumerate(sockets)
        if bound.kind == "udp"
    }
    poll = select.poll()
    for descriptor in (channel.fileno(), *where):
        poll.register(descriptor, select.POLLIN)
    waiting: list[tuple[int, bytes, tuple[object, ...]]] = []
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        for descriptor in ready:
            if descriptor in where:
                with contextlib.suppress(OSError):
                    asked, _ = core.drain(descriptor, _BUDGET)
                    waiting += [(descriptor, packet, peer) for packet, peer in asked[: MOST_WAITING - len(waiting)]]
        if channel.fileno() in ready:
            break
    with contextlib.suppress(OSError, MalformedError):
        if channel.receive() is not None:
            channel.wait(_PATIENCE)
            for descriptor, packet, peer in waiting:
                place, number = where[descriptor]
                channel.send("datagram", packet, place=place, socket=number, peer=list(peer))
            channel.send("ended", **_counters(core))
    # First these: the daemon may be about to bind the same addresses when it sees that the channel is closed.
    close_places(places)
    channel.close()
    return 0


def _counters(core: "Core") -> dict[str, Any]:
    udp, tcp, unsent, codes = core.counts()
    names = {code.value: code.name for code in ReplyCode}
    return {
        "udp": udp,
        "tcp": tcp,
        "compiled": udp + tcp,
        "unsent": unsent,
        "codes": {names.get(code, f"RCODE{code}"): number for code, number in enumerate(codes) if number},
    }
