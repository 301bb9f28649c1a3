"""Two slapd in mirror mode, each on a machine of the network: what clusters use today, for comparison."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from cluster import wait_until

from support.netns import Host
from support.requires import missing

BASE = "dc=fellow,dc=aero,dc=org"
ROOT, PASSWORD = f"cn=admin,{BASE}", "speak friend"

CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
pidfile {home}/pid
serverID {number}
database mdb
suffix "{base}"
rootdn "{root}"
rootpw "{password}"
directory {home}/db
index entryCSN,entryUUID eq
syncrepl rid={number} provider=ldap://{other} bindmethod=simple binddn="{root}" credentials="{password}"
  searchbase="{base}" type=refreshAndPersist retry="1 +" timeout=3 network-timeout=2 keepalive=2:2:1
mirrormode on
overlay syncprov
"""


class Provider:
    """One of the two servers.

    Attributes:
        environment: of its process; takes effect with the next start.
    """

    def __init__(self, home: Path, host: Host, number: int, other: Host) -> None:
        program = shutil.which("slapd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/libexec")
        if program is None:
            missing("the program slapd", "apt install slapd")
        self.program: str = program
        self.home, self.host = home, host
        self.environment: Mapping[str, str] = {}
        self.local = "ldapi://" + quote(str(home / "ldapi"), safe="")
        (home / "db").mkdir(parents=True)
        (home / "slapd.conf").write_text(
            CONFIG.format(home=home, number=number, other=other.address, base=BASE, root=ROOT, password=PASSWORD)
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def version(self) -> str:
        """Its release, as ``2.5``."""
        done = subprocess.run([self.program, "-VV"], capture_output=True, text=True, timeout=20, check=False)
        words = (done.stdout + done.stderr).split()
        return ".".join(words[words.index("slapd") + 1].split(".")[:2])

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.host.prefix, self.program, "-d", "0", "-h", f"ldap://{self.host.address}/ {self.local}/",
                    "-f", str(self.home / "slapd.conf"),
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.environment},
            )  # fmt: skip
        wait_until(lambda: self.run("ldapwhoami").returncode == 0, f"slapd on {self.host.name} answers")

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def run(self, program: str, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of the LDAP commands as the administrator."""
        command = [program, "-x", "-D", ROOT, "-w", PASSWORD, "-H", self.local, *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=False)

    def add(self, ldif: str) -> None:
        """Add entries."""
        done = self.run("ldapadd", text=ldif)
        assert done.returncode == 0, done.stderr

    def add_user(self, name: str) -> None:
        """Add a user with the password ``old`` and the shell /bin/sh."""
        self.add(
            f"dn: uid={name},{BASE}\nobjectClass: account\nobjectClass: posixAccount\nuid: {name}\ncn: {name}\n"
            f"uidNumber: 5000\ngidNumber: 100\nhomeDirectory: /home/{name}\nloginShell: /bin/sh\nuserPassword: old\n"
        )

    def set(self, name: str, attribute: str, value: str) -> None:
        """Change one attribute of a user."""
        change = f"dn: uid={name},{BASE}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"
        done = self.run("ldapmodify", text=change)
        assert done.returncode == 0, done.stderr

    def lets_in(self, name: str, password: str) -> bool:
        """Say whether a user may bind with a password."""
        command = ["ldapwhoami", "-x", "-D", f"uid={name},{BASE}", "-w", password, "-H", self.local]
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0

    def value(self, name: str, attribute: str) -> str | None:
        """Return a value of a user; None if there is no such user."""
        found = self.run("ldapsearch", "-LLL", "-o", "ldif-wrap=no", "-b", BASE, f"(uid={name})", attribute).stdout
        for line in found.splitlines():
            if line.lower().startswith(attribute.lower() + ": "):
                return line.split(": ", 1)[1]
        return None
