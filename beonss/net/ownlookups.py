"""Keeps this process from asking itself.

On a machine whose nsswitch.conf(5) names our module, a look-up by name in the daemon, in any of its threads or
libraries, would connect to the daemon's own socket and wait for itself. The stock module has a switch for
exactly that, which its own daemon uses too: a variable of the loaded module.
"""

import ctypes

#: The module as glibc loads it, and its switch.
_MODULE = "libnss_ldap.so.2"
_SWITCH = "_nss_ldap_enablelookups"


def disable_own_lookups() -> bool:
    """Make the nss-pam-ldapd module of this process answer "unavailable" from now on.

    Returns:
        Whether the module is installed; without it there is nothing to switch off. Calling it again does no harm, and
        is right after the module was installed while the daemon ran.
    """
    try:
        # The library stays loaded: glibc gets this very one when it looks for the module later.
        module = ctypes.CDLL(_MODULE)
        ctypes.c_int.in_dll(module, _SWITCH).value = 0
    except (OSError, ValueError):
        return False
    return True
