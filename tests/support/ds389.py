"""A 389 Directory Server of one test's own: Debian's package unpacked, never installed; on loopback and a UNIX socket.

Its installer wants systemd and writes to /etc; the server itself does not: it is given its configuration, with
everything in one directory.
"""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest
from ports import free_port

from beonss.targets.ldapservers import LdapServer
from support.requires import missing
from support.slapd import BASE

PACKAGES = ("389-ds-base", "389-ds-base-libs")
MANAGER, MANAGER_PASSWORD = "cn=Directory Manager", "speak friend"
BEONSS, BEONSS_PASSWORD = f"cn=beonss,{BASE}", "mellon-mellon"

#: Without it the server tries to add it to a configuration that it does not find, and ends.
ENTRYUUID = """

dn: cn=entryuuid,cn=plugins,cn=config
objectClass: top
objectClass: nsSlapdPlugin
objectClass: extensibleObject
cn: entryuuid
nsslapd-pluginPath: libentryuuid-plugin
nsslapd-pluginInitfunc: entryuuid_plugin_init
nsslapd-pluginType: betxnpreoperation
nsslapd-pluginEnabled: on
nsslapd-pluginId: entryuuid
nsslapd-pluginVersion: none
nsslapd-pluginVendor: 389 Project
nsslapd-pluginDescription: entryuuid

dn: cn=entryuuid_syntax,cn=plugins,cn=config
objectClass: top
objectClass: nsSlapdPlugin
objectClass: extensibleObject
cn: entryuuid_syntax
nsslapd-pluginPath: libentryuuid-syntax-plugin
nsslapd-pluginInitfunc: entryuuid_syntax_plugin_init
nsslapd-pluginType: syntax
nsslapd-pluginEnabled: on
nsslapd-pluginId: entryuuid_syntax
nsslapd-pluginVersion: none
nsslapd-pluginVendor: 389 Project
nsslapd-pluginDescription: entryuuid_syntax
"""

TREE = f"""
dn: cn=userroot,cn=ldbm database,cn=plugins,cn=config
objectClass: extensibleObject
objectClass: nsBackendInstance
cn: userroot
nsslapd-suffix: {BASE}

dn: cn="{BASE}",cn=mapping tree,cn=config
objectClass: extensibleObject
objectClass: nsMappingTree
cn: {BASE}
nsslapd-state: backend
nsslapd-backend: userroot

dn: {BASE}
objectClass: domain
dc: fellow
aci: (targetattr="*")(version 3.0; acl "read"; allow (read,search,compare) userdn="ldap:///all";)
aci: (targetattr="userPassword")(version 3.0; acl "self"; allow (write) userdn="ldap:///self";)
aci: (targetattr="userPassword || shadowLastChange || pwdReset")(version 3.0; acl "beonss";
  allow (all) userdn="ldap:///{BEONSS}";)

dn: {BEONSS}
objectClass: simpleSecurityObject
objectClass: organizationalRole
cn: beonss
userPassword: {BEONSS_PASSWORD}

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{BASE}
objectClass: organizationalUnit
ou: groups
"""


@cache
def unpacked() -> Path:
    """Return the packages' root, downloaded once into ``$XDG_CACHE_HOME``; ends the test where they cannot be had."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "beonss-tests" / "389-ds"
    wanted = "apt-get update, and a network, to fetch 389-ds-base for the test"
    if not home.exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            missing("389 Directory Server", wanted)
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
                missing("389 Directory Server", wanted)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return home


class DirectoryServer:
    """One server, ended with :meth:`stop`.

    Args:
        home: a directory of its own, short.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        root = unpacked()
        [program] = root.glob("usr/sbin/ns-slapd")
        [plugins] = root.glob("usr/lib/*/dirsrv/plugins")
        libraries = f"{plugins.parent}:{plugins.parent.parent}:{plugins}"
        self.environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
        trial = subprocess.run([program, "-v"], env=self.environment, capture_output=True, text=True, check=False)
        if "cannot open shared object" in trial.stderr:
            missing(f"a library of 389 Directory Server ({trial.stderr.strip()[:200]})", "apt-get install 389-ds-base")
        self._configure(root, plugins)
        self.uri = f"ldap://127.0.0.1:{self.port}"
        self.local = "ldapi://" + quote(str(home / "ldapi"), safe="")
        for name, secret in (("manager", MANAGER_PASSWORD), ("beonss", BEONSS_PASSWORD)):
            (home / name).write_text(secret)
            (home / name).chmod(0o600)
        self.log = (home / "log").open("wb")
        self.process = subprocess.Popen(
            [program, "-d", "0", "-D", home / "config", "-i", home / "pid"],
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
        )
        try:
            self._wait()
            self.add(TREE)
        except BaseException:
            self.stop()
            raise

    def _configure(self, root: Path, plugins: Path) -> None:
        home = self.home
        self.port = free_port()
        salt = b"salt-389"
        digest = hashlib.sha512(MANAGER_PASSWORD.encode() + salt).digest()
        for name in ("config", "db", "cert"):
            (home / name).mkdir()
        shutil.copytree(root / "usr/share/dirsrv/schema", home / "config/schema")
        for name in ("certmap.conf", "slapd-collations.conf"):
            shutil.copy(root / "etc/dirsrv/config" / name, home / "config")
        values = {
            **{f"{kind}_dir": str(home) for kind in ("lock", "tmp", "ldif", "bak", "run", "inst", "log")},
            "schema_dir": str(home / "config/schema"),
            "cert_dir": str(home / "cert"),
            "config_dir": str(home / "config"),
            "db_dir": str(home / "db"),
            "db_home_dir": str(home / "db"),
            "db_lib": "bdb",
            "fqdn": "localhost",
            "ds_port": str(self.port),
            "ds_user": "root",
            "ds_suffix": BASE,
            "server_id": "test",
            "rootdn": MANAGER,
            "ds_passwd": "{SSHA512}" + base64.b64encode(digest + salt).decode(),
            "ldapi_enabled": "on",
            "ldapi": str(home / "ldapi"),
            "ldapi_autobind": "off",
        }
        text = (root / "usr/share/dirsrv/data/template-dse.ldif").read_text()
        text = re.sub(r"%(\w+)%", lambda found: values[found[1]], text).rstrip() + ENTRYUUID
        text = text.replace("nsslapd-port:", "nsslapd-listenhost: 127.0.0.1\nnsslapd-port:", 1)
        text = re.sub(r"(?mi)^(nsslapd-pluginpath: )(lib\S+)", rf"\g<1>{plugins}/\2", text)
        (home / "config/dse.ldif").write_text(text)

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        command = ["ldapsearch", "-x", "-H", self.uri, "-s", "base", "-b", "", "1.1"]
        while time.monotonic() < deadline and self.process.poll() is None:
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)
        pytest.fail("389 Directory Server does not start: " + (self.home / "log").read_text(errors="replace")[-2000:])

    def stop(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        self.log.close()

    def add(self, ldif: str) -> None:
        """Add entries as its manager."""
        self._change("ldapadd", ldif)

    def modify(self, dn: str, changes: str) -> None:
        """Change an entry as its manager; lines of LDIF."""
        self._change("ldapmodify", f"dn: {dn}\nchangetype: modify\n{changes}\n")

    def _change(self, program: str, ldif: str) -> None:
        command = [program, "-x", "-H", self.uri, "-D", MANAGER, "-y", str(self.home / "manager")]
        done = subprocess.run(command, input=ldif, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def server(self, who: str = "beonss", **options: object) -> LdapServer:
        """Return how it is reached as ``beonss`` or ``manager``, on its UNIX socket if nothing else is said."""
        dn = MANAGER if who == "manager" else BEONSS
        return LdapServer(**{  # type: ignore[arg-type]
            "uris": (self.local,), "bind_dn": dn, "password_file": self.home / who, "timeout": 20.0, **options,
        })  # fmt: skip
