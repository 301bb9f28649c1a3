"""Every error of ours has one root; what is our fault and what is the peer's are kept apart.

The text of an error is written for an operator: what happened, where, and what to do.
It never holds a password or a hash.
"""


class BeonssError(Exception):
    """The root of all errors raised on purpose by this project."""


class ConfigurationError(BeonssError):
    """Something an administrator wrote or passed cannot be used."""


class StoreError(BeonssError):
    """The local database or a state file cannot be read or written."""


class TargetError(BeonssError):
    """A delivery target (files, directory, command) could not take a value."""


class PeerError(BeonssError):
    """What came from outside breaks the protocol: the peer's fault, never a bug of ours."""


class MalformedError(PeerError):
    """Bytes from outside that do not parse; the only error a decoder in ``beonss.wire`` may raise."""


class Unavailable(BeonssError):  # noqa: N818 - the field's word: NSS_STATUS_UNAVAIL
    """The question cannot be answered *now*; never to be confused with "there is no such thing"."""


class Refused(BeonssError):  # noqa: N818 - the field's word: DNS REFUSED, PAM_PERM_DENIED
    """A request that was understood and is denied; nothing was changed.

    Attributes:
        code: a stable, machine-readable word (``wrong-password``, ``unknown-user`` ...).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
