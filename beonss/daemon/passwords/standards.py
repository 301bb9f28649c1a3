"""What holds for passwords in the cluster: how good a new one must be, and what it is hashed with."""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.logger import Logger

from beonss.core.passwords.agreement import Agreement, agreed
from beonss.core.passwords.attempts import AttemptLimits
from beonss.core.passwords.hashes import DEFAULT_SCHEME
from beonss.core.passwords.policy import Policy, Reason, too_short, weaknesses
from beonss.daemon.passwords.parts import ChangeRequest
from beonss.daemon.threads import in_reactor
from beonss.errors import ConfigurationError, StoreError
from beonss.store.crypt import ENTROPY, schemes
from beonss.store.hashing import HashingThreads
from beonss.store.pwquality import PasswordQuality


@dataclass(frozen=True, slots=True)
class PasswordSettings:
    """What holds for passwords in this cluster.

    Attributes:
        uid_floor: users below it are their machine's own and not known here.
        scheme: what new passwords are hashed with, a key of :data:`beonss.core.passwords.hashes.SCHEMES`.
        cost: in the scheme's own measure; None for its default.
        patience: seconds a change waits for the other masters and the targets to say that they have it.
        boot_patience: seconds a login or change waits for the boot reconciliation.
    """

    uid_floor: int = 1000
    scheme: str = DEFAULT_SCHEME
    cost: int | None = None
    policy: Policy = field(default_factory=Policy)
    limits: AttemptLimits = field(default_factory=AttemptLimits)
    patience: float = 3.0
    boot_patience: float = 5.0


class Standards:
    """Judges and hashes new passwords on a master.

    Args:
        reactor: to which results of threads come back.
        hashing: the threads.
        name: of this master.
        settings: returns what holds now.
        random: makes salts.
        quality: the rules of this machine for new passwords, instead of our own; None where it has none.
        others: gives what each other member can hash with, None where it has not said.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        *,
        hashing: HashingThreads,
        name: str,
        settings: Callable[[], PasswordSettings],
        random: Callable[[int], bytes] = secrets.token_bytes,
        quality: PasswordQuality | None = None,
        others: Callable[[], Mapping[str, Collection[str] | None]] = dict,
    ) -> None:
        self._reactor = reactor
        self._hashing = hashing
        self._name = name
        self._settings = settings
        self._random = random
        self._quality = quality
        self._quality_problem = ""
        self._others = others

    async def judged(self, request: ChangeRequest, gecos: str) -> tuple[Sequence[Reason], bool]:
        """Return why a password is weak, and whether root is held to that.

        Where this machine has libpwquality and its configuration, those decide, beside the cluster's least length.
        """
        policy, quality = self._settings().policy, self._quality
        if quality is not None:
            try:
                verdict = await in_reactor(
                    self._reactor,
                    self._hashing.run(
                        request.source.key, lambda: quality.judge(request.new, request.user, request.old)
                    ),
                )
            except ConfigurationError as error:
                self._quality_problem = f"{error}; the rules of this software's own hold instead"
                self.log.error("{problem}", problem=self._quality_problem)
            else:
                self._quality_problem = ""
                return [*too_short(policy, request.new), *verdict.reasons], verdict.binds_root
        reasons = weaknesses(policy, request.new, request.user, gecos, request.old)
        return reasons, policy.binds_root

    async def hashed(self, request: ChangeRequest) -> str:
        """Return the hash of the new password."""
        chosen = self.agreement()
        return await in_reactor(
            self._reactor,
            self._hashing.hash_password(
                request.source.key, request.new, chosen.scheme, chosen.cost, self._random(ENTROPY)
            ),
        )

    def problem(self) -> str:
        """Return why new passwords are not judged or hashed here as they should be; empty if they are."""
        try:
            here = schemes()
        except StoreError as error:
            return str(error)
        agreement = self.agreement()
        if agreement.scheme not in here:
            return f"this machine's libcrypt cannot make {agreement.scheme} hashes: no password can be changed here"
        return self._quality_problem or agreement.problem(self._settings().scheme)

    def agreement(self) -> Agreement:
        """Return what new passwords are hashed with: the cluster's scheme if every member can make and verify it."""
        settings = self._settings()
        try:
            here: Collection[str] = schemes()
        except StoreError:
            here = ()
        return agreed(settings.scheme, settings.cost, (self._name, here), self._others())
