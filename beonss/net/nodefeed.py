"""What nodes are fed: answers in signed batches, cut and signed once for all nodes that ask the same.

Nodes come by the thousand and mostly hold the same: after a change they all ask with one vector. The frames of
an answer are therefore kept for a while and shared; a node costs a write, not a query and a signature.
"""

import secrets
from collections import OrderedDict
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from beonss.core.replication.registers import Context
from beonss.net.parts import Replica
from beonss.store.keys import Identity
from beonss.wire.documents import sign
from beonss.wire.feed import Batch, BatchContent
from beonss.wire.registers import parcels
from beonss.wire.sync import encode

#: Bytes of answers kept.
CACHE_BYTES = 64 << 20
#: Answers kept.
CACHE_ANSWERS = 64

_CacheKey = tuple[frozenset[tuple[str, int]], frozenset[tuple[str, int]]]


class NodeFeed:
    """Answers to nodes' questions, as frames ready to write.

    Attributes:
        cut: how many answers were made, for status and tests.
    """

    def __init__(self, identity: Identity, cluster: str, replica: Replica) -> None:
        self._identity = identity
        self._cluster = cluster
        self._replica = replica
        self._kept: OrderedDict[_CacheKey, list[bytes]] = OrderedDict()
        self._making: dict[_CacheKey, list[Deferred[list[bytes]]]] = {}
        self.cut = 0

    async def frames(self, question: Context) -> list[bytes]:
        """Return the frames that answer a question now."""
        key = (frozenset(question.items()), frozenset(self._replica.vector.items()))
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        deferred: Deferred[list[bytes]] = Deferred()
        waiting = self._making.setdefault(key, [])
        waiting.append(deferred)
        if len(waiting) == 1:
            # Not the asker's own coroutine: it may be cancelled while others wait for the same answer.
            Deferred.fromCoroutine(self._cut(question)).addBoth(self._made, key)
        return await deferred

    def _made(self, result: Any, key: _CacheKey) -> None:
        waiting = self._making.pop(key, [])
        if not isinstance(result, Failure):
            self._keep(key, result)
        for deferred in waiting:
            if not deferred.called:
                deferred.callback(result)

    async def _cut(self, question: Context) -> list[bytes]:
        self.cut += 1
        answer = secrets.randbits(62)
        frames: list[bytes] = []
        page = await self._replica.page(question, public_only=True)
        while True:
            runs = list(parcels(page.rows))
            for index, rows in enumerate(runs):
                vector = page.vector if index == len(runs) - 1 else None
                content = BatchContent(self._cluster, question, answer, len(frames), rows, vector)
                payload = content.encode()
                batch = Batch(payload, self._identity.public, sign(self._identity.key, "batch", payload))
                frames.append(encode(batch))
            if page.vector is not None:
                return frames
            page = await self._replica.page(question, page.more, public_only=True)

    def _keep(self, key: _CacheKey, frames: list[bytes]) -> None:
        self._kept[key] = frames
        self._kept.move_to_end(key)
        size = sum(len(frame) for kept in self._kept.values() for frame in kept)
        while self._kept and (size > CACHE_BYTES or len(self._kept) > CACHE_ANSWERS):
            size -= sum(len(frame) for frame in self._kept.popitem(last=False)[1])
