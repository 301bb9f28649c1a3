"""The stock modules libnss_ldap.so.2 and pam_ldap.so in a mount namespace of their own, asking a socket of ours.

Nothing of the machine is changed: in the namespace ``/etc`` is a copy, ``/run`` is empty but for the socket. The
modules are those of Debian's libnss-ldapd and libpam-ldapd: installed ones, else downloaded once into
``$XDG_CACHE_HOME`` and unpacked there, never installed.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support.requires import missing

PACKAGES = ("libnss-ldapd", "libpam-ldapd")

NSSWITCH = """\
passwd: files ldap
group: files ldap
shadow: files ldap
hosts: files ldap
networks: files
services: files ldap
ethers: files ldap
netgroup: files ldap
"""

#: What pam-auth-update makes of Debian's own profiles "unix" and "ldap".
STACK = """\
auth [success=2 default=ignore] pam_unix.so nullok
auth [success=1 default=ignore] {pam} minimum_uid=1000 use_first_pass
auth requisite pam_deny.so
auth required pam_permit.so
account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so
account requisite pam_deny.so
account required pam_permit.so
account [success=ok new_authtok_reqd=done ignore=ignore user_unknown=ignore authinfo_unavail=ignore default=bad] \
{pam} minimum_uid=1000
password [success=2 default=ignore] pam_unix.so obscure yescrypt
password [success=1 default=ignore] {pam} minimum_uid=1000 try_first_pass
password requisite pam_deny.so
password required pam_permit.so
session required pam_permit.so
session [success=ok default=ignore] {pam} minimum_uid=1000
"""

#: Our module alone: each of its codes reaches the program.
BARE = """\
auth required {pam}
account required {pam}
password required {pam}
session required {pam}
"""

#: $1 directory with the private etc, $2 socket; then the command. The socket may lie in /run, which is covered.
ENTER = """\
set -e
mount --bind "$1/etc" /etc
mkdir -p "$1/nslcd"
mount --bind "${2%/*}" "$1/nslcd"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/nslcd
if [ "${2##*/}" = socket ]; then mount --bind "$1/nslcd" /run/nslcd
elif [ -e "$1/nslcd/${2##*/}" ]; then touch /run/nslcd/socket; mount --bind "$1/nslcd/${2##*/}" /run/nslcd/socket; fi
shift 2
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Modules:
    """Where the two modules are."""

    nss: Path
    pam: Path


@cache
def stock_modules() -> Modules:
    """Return the stock modules, downloaded if need be; ends the test where they cannot be had."""
    library = Path("/lib") / f"{os.uname().machine}-linux-gnu"
    if (library / "libnss_ldap.so.2").exists() and (library / "security/pam_ldap.so").exists():
        return Modules(library / "libnss_ldap.so.2", library / "security/pam_ldap.so")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beonss-tests" / "nss-pam-ldapd"
    if not home.exists():
        _download(home)
    [nss] = home.glob("**/libnss_ldap.so.2")
    [pam] = home.glob("**/pam_ldap.so")
    return Modules(nss, pam)


def _download(home: Path) -> None:
    packages = f"apt-get install {' '.join(PACKAGES)} (or apt-get update, and a network, to fetch them for the test)"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        missing("the stock nss-pam-ldapd modules", packages)
    fresh = home.with_name(f"{home.name}.{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *PACKAGES]
        subprocess.run(command, cwd=fresh, check=True, capture_output=True, timeout=120)
        for package in fresh.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, fresh], check=True, capture_output=True, timeout=60)
            package.unlink()
        fresh.rename(home)
    except (subprocess.SubprocessError, OSError):
        if not home.exists():
            missing("the stock nss-pam-ldapd modules", packages)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def require_mount_namespaces() -> None:
    """End the test unless mount namespaces can be made here."""
    if os.geteuid() != 0:
        missing("root", "run the tests as root, for example in a container, to mount in a private namespace")
    if shutil.which("unshare") is None:
        missing("the program unshare", "apt-get install util-linux")
    trial = subprocess.run(["unshare", "-m", "true"], capture_output=True, timeout=30, check=False)
    if trial.returncode:
        missing("the right to make mount namespaces", "run with CAP_SYS_ADMIN")


class StockModules:
    """Runs programs whose accounts, hosts and logins come from an nslcd socket, through the stock modules.

    Args:
        directory: an empty directory for the private ``/etc``; must stay while programs run.
        nslcd_socket: where our server listens, now or later; its directory is made if it is missing.
        passwd, group, shadow, hosts: further lines for the private files.
        nsswitch: the private nsswitch.conf.
    """

    def __init__(
        self,
        directory: Path,
        nslcd_socket: Path,
        *,
        passwd: str = "",
        group: str = "",
        shadow: str = "",
        hosts: str = "",
        nsswitch: str = NSSWITCH,
    ) -> None:
        require_mount_namespaces()
        self.modules = stock_modules()
        self.directory = directory
        self.socket = nslcd_socket
        nslcd_socket.parent.mkdir(exist_ok=True)
        self.etc = directory / "etc"
        shutil.copytree("/etc", self.etc, symlinks=True, ignore_dangling_symlinks=True)
        (self.etc / "nsswitch.conf").write_text(nsswitch)
        (self.etc / "hosts").write_text("127.0.0.1 localhost\n" + hosts)
        # Where every user may read them: a cache below /root is not such a place.
        inside = self.etc / "beonss-test"
        inside.mkdir()
        shutil.copy(self.modules.nss, inside)
        shutil.copy(self.modules.pam, inside)
        (self.etc / "ld.so.conf.d" / "beonss-test.conf").write_text("/etc/beonss-test\n")
        for name, lines in (("passwd", passwd), ("group", group), ("shadow", shadow)):
            with (self.etc / name).open("a") as file:
                file.write(lines)
        for name, stack in (("passwd", STACK), ("login", STACK), ("su", STACK), ("bare", BARE)):
            (self.etc / "pam.d" / name).write_text(stack.format(pam="/etc/beonss-test/pam_ldap.so"))
        # Its helper cache lies outside /etc: an empty place covers it.
        self.run(["sh", "-c", "mount -t tmpfs tmpfs /var/cache/ldconfig && ldconfig -X"], check=True)

    def command(self, argv: Sequence[str | Path], *, uid: int | None = None, gid: int | None = None) -> list[str]:
        """Return the command line that runs ``argv`` in a new namespace, as another user if asked."""
        become = []
        if uid is not None:
            become = ["setpriv", f"--reuid={uid}", f"--regid={gid if gid is not None else uid}", "--clear-groups"]
        inner = [*become, *map(str, argv)]
        enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]
        return [*enter, str(self.directory), str(self.socket), *inner]

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        input: str = "",  # noqa: A002 - as subprocess.run says
        uid: int | None = None,
        gid: int | None = None,
        timeout: float = 60.0,
        check: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; its error output is in ``stderr``."""
        return subprocess.run(
            self.command(argv, uid=uid, gid=gid),
            input=input,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            check=check,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", **(env or {})},
        )
