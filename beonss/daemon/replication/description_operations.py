"""What ``beonss apply`` and ``beonss description`` ask of a master on its control socket."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from twisted.internet.task import deferLater

from beonss.core.names.description import DescriptionError
from beonss.core.names.difference import difference
from beonss.core.names.naming import Naming
from beonss.core.passwords.attempts import Source
from beonss.core.replication.publication import Published
from beonss.core.replication.registers import ABSENT, Register, Stamp
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.parameters import Parameters, flag
from beonss.daemon.replication.membership import Membership
from beonss.daemon.replication.publication import Publication, meaning
from beonss.daemon.replication.sync import Sync
from beonss.errors import ConfigurationError, MalformedError, Refused
from beonss.net.control import Operation, Peer, Report
from beonss.wire.control import text_parameter

#: Characters of a description's text.
_LONGEST = 2 << 20
#: Lines of a difference that are told one by one.
MAX_LINES = 5000
#: Seconds that an apply waits for the other masters to follow, and between two looks.
PATIENCE = 5.0
_STEP = 0.05


class DescriptionOperations:
    """The operations, and what they work on.

    Args:
        reactor: for waiting.
        publication: the description on this master.
        sync: knows which description the others have.
        membership: who the masters are.
        name: of this master.
        settled: fires when everything on this master answers out of the description in force.
        trail: the audit log.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        publication: Publication,
        sync: Sync,
        membership: Membership,
        name: str,
        settled: Callable[[], Awaitable[None]],
        trail: AuditTrail,
    ) -> None:
        self._trail = trail
        self._settled = settled
        self._reactor = reactor
        self._publication = publication
        self._sync = sync
        self._membership = membership
        self._name = name

    def table(self) -> Mapping[str, Operation]:
        """Return the operations by name."""
        return {
            "description": Operation(self.show),
            "description.check": Operation(self.check, needs_root=True),
            "description.apply": Operation(self.apply, needs_root=True),
        }

    async def show(self, parameters: Parameters, peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG002
        """Tell of the description in force, and of one that lost; with ``text``, the texts too."""
        with_text = flag(parameters, "text")
        publication = self._publication
        now, lost = publication.now, publication.overruled
        document = {
            **_told(now.published, publication.register if now.source == "cluster" else None, with_text),
            "source": now.source,
            "digest": now.naming.digest,
            "path_state": publication.file_state,
            "overruled": None,
        }
        if lost is not None:
            document["overruled"] = {
                **_plain(lost.published, with_text),
                "author": lost.author,
                "time": lost.stamp.time / 1000,
            }
        return document

    async def check(self, parameters: Parameters, peer: Peer, report: Report) -> Mapping[str, Any]:  # noqa: ARG002
        """Prove ``text``, named ``file``, and say what it would change; see :meth:`_answer`."""
        try:
            return self._answer(*self._checked(parameters))
        except ConfigurationError as error:
            return _unsound(error)

    def _checked(self, parameters: Parameters) -> tuple[Published, Naming, bool]:
        text = text_parameter(parameters, "text", _LONGEST)
        file = text_parameter(parameters, "file", 4096)
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError:
            raise MalformedError("the text of the description is no UTF-8") from None
        # Mistakes are told with the name as typed; the register keeps only its last part.
        self._publication.checked(data, file)
        published, naming, raised = self._publication.checked(data, file.rpartition("/")[2] or "description")
        if all(spec.name != self._name for spec in naming.masters):
            raise ConfigurationError(
                f"{file}: {self._name} is not among the masters; apply it on a master that stays one, or mend the file"
            )
        return published, naming, not raised and _same(naming, self._publication)

    def _answer(self, published: Published, naming: Naming, same: bool) -> dict[str, Any]:
        """Return version, stamp to expect, whether it says anything new, the difference, and warnings."""
        now, register = self._publication.now, self._publication.register
        found = difference(now.naming, naming).document()
        found["more"] = max(0, len(found["lines"]) - MAX_LINES)
        del found["lines"][MAX_LINES:]
        return {
            "version": published.version,
            "current": now.published.version,
            "nodes": naming.node_count,
            "same": same,
            "expect": list(ABSENT if register is None else register.stamp),
            "difference": found,
            "warnings": self._warnings(naming),
        }

    def _warnings(self, naming: Naming) -> list[str]:
        masters = {spec.name for spec in naming.masters}
        members = {member.name for member in self._membership.roster.list.members}
        now = self._publication.now.naming
        warnings = [
            f"{name} is a member of the cluster, but not among the masters" for name in sorted(members - masters)
        ]
        warnings += [
            f"{name} is among the masters, but no member of the cluster: beonss invite {name} --address ..."
            for name in sorted(masters - members)
        ]
        described = {spec.name: spec.addresses for spec in now.masters}
        warnings += [
            f"{spec.name} answers DNS on {', '.join(map(str, spec.addresses))} only after it was restarted"
            for spec in naming.masters
            if set(spec.addresses) != set(described.get(spec.name, spec.addresses))
        ]
        before = now.node_count
        if before and naming.node_count < before / 2:
            warnings.append(f"of {before:,} nodes, {naming.node_count:,} are left")
        return warnings

    async def apply(self, parameters: Parameters, peer: Peer, report: Report) -> Mapping[str, Any]:
        """Publish ``text`` if the register is still as ``expect`` says; report each master as it follows."""
        expect = _stamp(parameters.get("expect"))
        await self._publication.ready()
        try:
            published, _, same = self._checked(parameters)
        except ConfigurationError as error:
            return _unsound(error)
        if same:
            return {"version": self._publication.now.published.version, "changed": False}
        author = f"{'root' if peer.uid == 0 else f'uid {peer.uid}'}@{self._name}"

        def audited(outcome: str, code: str | None = None) -> None:
            detail = f"version {published.version} of {published.file}"
            source = Source(uid=peer.uid)
            self._trail.record("description", "", source, author=author, outcome=outcome, code=code, detail=detail)

        try:
            await self._publication.publish(published, author, expect)
        except Refused as error:
            audited("refused", error.code)
            if error.code != "changed-meanwhile":
                raise
            raise Refused(
                error.code, "somebody else published a description in this moment; look at the difference again"
            ) from None
        audited("changed")
        # The commit is followed at once; this is for the case that following failed for another reason.
        self._publication.follow()
        # Whoever asks after we answered must not get the old names.
        await self._settled()
        await self._tell(report)
        return {"version": self._publication.now.published.version, "changed": True}

    async def _tell(self, report: Report) -> None:
        """Report each master when it has the description in force, or that it is away or slow."""
        deadline = self._reactor.seconds() + PATIENCE
        waiting = dict.fromkeys(sorted(self._sync.peers))
        while True:
            digest, late = self._publication.now.naming.digest, self._reactor.seconds() >= deadline
            for name in list(waiting):
                state = self._sync.peers.get(name)
                if state is None:
                    del waiting[name]
                elif state.reachable and state.description_digest == digest:
                    report("master", name=name, state="follows")
                    del waiting[name]
                elif not state.reachable:
                    report("master", name=name, state="away")
                    del waiting[name]
                elif late:
                    report("master", name=name, state="late")
                    del waiting[name]
            if not waiting or late:
                return
            await deferLater(self._reactor, _STEP, lambda: None)


def _same(naming: Naming, publication: Publication) -> bool:
    now = publication.now
    return now.source == "cluster" and meaning(naming) == meaning(now.naming) and publication.overruled is None


def _unsound(error: ConfigurationError) -> dict[str, Any]:
    problems = [[p.file, p.line, p.option, p.text] for p in getattr(error, "problems", ())]
    if not isinstance(error, DescriptionError):
        problems = [["", 0, "", str(error)]]
    return {"code": "not-sound", "message": str(error), "problems": problems}


def _plain(published: Published, with_text: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"version": published.version, "file": published.file}
    if with_text:
        document["text"] = published.text.decode("utf-8")
    return document


def _told(published: Published, register: Register | None, with_text: bool) -> dict[str, Any]:
    document = _plain(published, with_text)
    document["author"] = None if register is None else register.author
    # A seed is stamped with the beginning of time, which is not when it was published.
    seed = register is None or register.stamp.time < datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000
    document["time"] = None if seed or register is None else register.stamp.time / 1000
    return document


def _stamp(value: object) -> Stamp:
    if isinstance(value, list) and len(value) == 3:
        at, origin, sequence = value
        if type(at) is int and isinstance(origin, str) and type(sequence) is int:
            return Stamp(at, origin, sequence)
    raise MalformedError("parameter 'expect' is no stamp")
