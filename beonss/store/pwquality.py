"""The machine's own rules for new passwords: libpwquality, with its configuration, where both are there.

The library is called as pam_pwquality(8) calls it, so ``/etc/security/pwquality.conf`` (pwquality.conf(5)) means here
what it means to ``passwd``: lengths, classes, credits, repetitions, words of one's own, the dictionary of cracklib. The
configuration is read at each check: an edit holds at once. Blocking (the dictionary is a file): call it in a thread.
"""

import ctypes
import ctypes.util
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beonss.core.passwords.policy import Reason
from beonss.errors import ConfigurationError

#: Where libpwquality reads its configuration; a directory of the same name with ``.d`` is read too.
CONFIGURATION = Path("/etc/security/pwquality.conf")

# pwquality.h
_SUCCESS_AT_LEAST = 0
_ENFORCING, _ENFORCE_ROOT = 17, 19
_FATAL, _SETTINGS_ERRORS = -1, range(-8, -1)
_MESSAGE = 256


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the machine's rules say of a password.

    Attributes:
        reasons: why it is not good enough; libpwquality stops at the first.
        binds_root: ``enforce_for_root`` is set.
    """

    reasons: tuple[Reason, ...]
    binds_root: bool


class PasswordQuality:
    """libpwquality; made by :func:`installed_quality`.

    Args:
        library: the loaded library.
        configuration: another file than the usual one, for tests.
    """

    # cracklib keeps what it is at in static variables.
    _one_at_a_time = threading.Lock()

    def __init__(self, library: Any, configuration: Path | None = None) -> None:
        self._library = library
        self._configuration = configuration
        library.pwquality_default_settings.restype = ctypes.c_void_p
        library.pwquality_free_settings.argtypes = [ctypes.c_void_p]
        library.pwquality_free_settings.restype = None
        library.pwquality_read_config.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p),
        ]  # fmt: skip
        library.pwquality_get_int_value.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
        library.pwquality_check.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p),
        ]  # fmt: skip
        library.pwquality_strerror.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
        library.pwquality_strerror.restype = ctypes.c_char_p

    def judge(self, new: bytes, user: str, old: bytes | None = None) -> Verdict:
        """Judge a password as pam_pwquality would.

        Args:
            new: the password, without NUL.
            user: the account's name.
            old: the password until now, where it is known.

        Raises:
            ConfigurationError: the configuration cannot be used; the text says why.
        """
        with self._one_at_a_time:
            settings = self._library.pwquality_default_settings()
            if not settings:
                raise ConfigurationError("libpwquality: out of memory")
            try:
                return self._judge(settings, new, user, old)
            finally:
                self._library.pwquality_free_settings(settings)

    def _judge(self, settings: int, new: bytes, user: str, old: bytes | None) -> Verdict:
        path = None if self._configuration is None else bytes(self._configuration)
        more = ctypes.c_void_p()
        code = self._library.pwquality_read_config(settings, path, ctypes.byref(more))
        if code:
            raise ConfigurationError(f"{self._configuration or CONFIGURATION}: {self._text(code, more)}")
        binds_root = bool(self._setting(settings, _ENFORCE_ROOT))
        more = ctypes.c_void_p()
        name = user.encode("utf-8", "surrogateescape")
        code = self._library.pwquality_check(settings, new, old, name, ctypes.byref(more))
        if code >= _SUCCESS_AT_LEAST:
            return Verdict((), binds_root)
        text = self._text(code, more)
        if code == _FATAL or code in _SETTINGS_ERRORS:
            raise ConfigurationError(f"{self._configuration or CONFIGURATION}: {text}")
        if not self._setting(settings, _ENFORCING):
            return Verdict((), binds_root)
        # In the words of our own rules, so that what both say is said once.
        text = re.sub(r"^The password\b", "it", text).rstrip(".")
        return Verdict((Reason("pwquality", text[:1].lower() + text[1:]),), binds_root)

    def _setting(self, settings: int, which: int) -> int:
        value = ctypes.c_int()
        self._library.pwquality_get_int_value(settings, which, ctypes.byref(value))
        return value.value

    def _text(self, code: int, more: ctypes.c_void_p) -> str:
        buffer = ctypes.create_string_buffer(_MESSAGE)
        found = self._library.pwquality_strerror(buffer, _MESSAGE, code, more)
        return (found or b"").decode("utf-8", "replace")


def installed_quality(configuration: Path | None = None) -> PasswordQuality | None:
    """Return libpwquality if it and its configuration are on this machine, else None.

    Args:
        configuration: another file than :data:`CONFIGURATION`, for tests.
    """
    directory = CONFIGURATION.with_name(CONFIGURATION.name + ".d")
    if configuration is None and not CONFIGURATION.is_file() and not directory.is_dir():
        return None
    for name in ("libpwquality.so.1", ctypes.util.find_library("pwquality")):
        if name is None:
            continue
        try:
            return PasswordQuality(ctypes.CDLL(name), configuration)
        except (OSError, AttributeError):
            continue
    return None
