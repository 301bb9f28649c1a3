"""Two slapd as providers of each other (mirror mode, default sync), loaded with users, for comparison."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from askers import bind, connected, exchange, search, whole_message
from cluster import free_port

BASE = "dc=c,dc=example"
ROOT = f"cn=admin,{BASE}"
PASSWORD = "speak friend"

CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
serverID {number}
database mdb
maxsize 1073741824
suffix "{base}"
rootdn "{root}"
rootpw "{password}"
directory {home}/db
index objectClass,entryCSN,entryUUID eq
index uid eq
syncrepl rid=00{number} provider=ldap://127.0.0.1:{other} bindmethod=simple binddn="{root}" credentials="{password}"
  searchbase="{base}" type=refreshAndPersist retry="1 +"
multiprovider on
overlay syncprov
"""


def program(name: str) -> str | None:
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def person(number: int) -> str:
    return f"uid=user{number},ou=people,{BASE}"


class Provider:
    """One of the two."""

    def __init__(self, home: Path, number: int, port: int, other: int) -> None:
        self.home, self.number, self.port = home, number, port
        self.process: subprocess.Popen[bytes] | None = None
        (home / "db").mkdir(parents=True)
        self.config = home / "slapd.conf"
        self.config.write_text(
            CONFIG.format(number=number, base=BASE, root=ROOT, password=PASSWORD, home=home, other=other)
        )

    @property
    def socket(self) -> Path:
        return self.home / "ldapi"

    def start(self) -> None:
        uri = "ldapi://" + str(self.socket).replace("/", "%2F")
        command = [program("slapd") or "slapd", "-d", "0", "-h", f"ldap://127.0.0.1:{self.port}/ {uri}/"]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen([*command, "-f", str(self.config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                self.read(0)
            except OSError:
                time.sleep(0.002)
            else:
                return
        raise RuntimeError("slapd does not start: " + (self.home / "log").read_text(errors="replace"))

    def read(self, number: int) -> bytes:
        """Return the answer about one person's password."""
        with connected(self.socket) as sock:
            exchange(sock, bind(ROOT, PASSWORD), whole_message)
            return exchange(sock, search(person(number), "userPassword"), whole_message)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None


class Pair:
    """Both, with the same users."""

    def __init__(self, home: Path, users: int, secret: str) -> None:
        one, two = free_port(), free_port()
        self.first, self.second = Provider(home / "l1", 1, one, two), Provider(home / "l2", 2, two, one)
        ldif = home / "people.ldif"
        with ldif.open("w") as file:
            file.write(f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: c\ndc: c\n\n")
            file.write(f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n\n")
            for number in range(users):
                file.write(
                    f"dn: {person(number)}\nobjectClass: account\nobjectClass: posixAccount\n"
                    f"objectClass: shadowAccount\nuid: user{number}\ncn: A User\nuidNumber: {1000 + number}\n"
                    f"gidNumber: 100\nhomeDirectory: /home/user{number}\nloginShell: /bin/bash\n"
                    f"userPassword: {{CRYPT}}{secret}\n\n"
                )
        load = [program("slapadd") or "slapadd", "-q", "-w", "-S", "1", "-f", str(self.first.config), "-l", str(ldif)]
        subprocess.run(load, check=True, capture_output=True)
        shutil.copytree(self.first.home / "db", self.second.home / "db", dirs_exist_ok=True)

    def start(self) -> None:
        self.first.start()
        self.second.start()

    def stop(self) -> None:
        self.first.stop()
        self.second.stop()
