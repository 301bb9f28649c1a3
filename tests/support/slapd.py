"""A real slapd for tests: its own directory, ports and process, ended with :meth:`Slapd.stop`."""

import contextlib
import datetime
import os
import re
import shutil
import subprocess
import time
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ports import free_port

from beonss.core.targets.delivery import PermanentTargetError, TemporaryTargetError
from beonss.targets.ldapservers import LdapServer
from beonss.targets.ldapwire import LdapConnection
from support.requires import missing

BASE = "dc=fellow,dc=aero,dc=org"
ROOT = f"cn=admin,{BASE}"
ROOT_PASSWORD = "speak friend"
SCHEMAS = ("core", "cosine", "nis", "inetorgperson")

CONFIG = """
{includes}
modulepath /usr/lib/ldap
moduleload back_mdb
{modules}
pidfile {home}/pid
TLSCACertificateFile {home}/ca.pem
TLSCertificateFile {home}/server.pem
TLSCertificateKeyFile {home}/server.key
authz-regexp "gidNumber={gid}[+]uidNumber={uid},cn=peercred,cn=external,cn=auth" "{root}"
database mdb
suffix "{base}"
rootdn "{root}"
rootpw "{password}"
directory {home}/db
{database}
access to attrs=userPassword,shadowLastChange
  by dn.exact="cn=beonss,{base}" write by dn.exact="cn=reader,{base}" read by self write by anonymous auth by * none
access to * by * read
"""

#: The class of draft-howard-rfc2307bis-02 for groups that may be empty.
MEMBERS = """
objectclass ( 1.3.6.1.1.1.2.18 NAME 'groupOfMembers' SUP top STRUCTURAL
    MUST cn MAY ( businessCategory $ seeAlso $ owner $ ou $ o $ description $ member ) )
"""

#: The overlay of password policies, with a policy that refuses ready-made hashes and wants new ones changed.
PPOLICY = """
overlay ppolicy
ppolicy_default "cn=policy,{base}"
ppolicy_use_lockout
access to attrs=pwdReset,pwdAccountLockedTime by dn.exact="cn=beonss,{base}" manage by * read
"""

TREE = f"""
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: Fellowship
dc: fellow

dn: cn=reader,{BASE}
objectClass: simpleSecurityObject
objectClass: organizationalRole
cn: reader
userPassword: reader

dn: cn=beonss,{BASE}
objectClass: simpleSecurityObject
objectClass: organizationalRole
cn: beonss
userPassword: mellon

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=twice,{BASE}
objectClass: organizationalUnit
ou: twice
"""


POSIX = """objectClass: account
objectClass: posixAccount
objectClass: shadowAccount
uid: {name}
cn: {name}
uidNumber: 5000
gidNumber: 100
homeDirectory: /home/{name}
userPassword: {secret}
"""


def certificate(home, name, issuer=None, *, authority=False):
    """Make a key and a certificate, signed by itself or by ``issuer``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, issuer_name = issuer if issuer is not None else (key, subject)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        # OpenSSL since 3.x checks strictly from Python 3.13 on (RFC 5280 section 4.2.1.1).
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if authority:
        usage = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    if not authority:
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(signer, hashes.SHA256())
    (home / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (home / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return key, subject


class Slapd:
    """One server and what tests ask of it.

    Args:
        home: a directory of its own, short.
        modules: lines of configuration before the database.
        database: lines of configuration in the database.
        bis: with the schema of rfc2307bis instead of that of RFC 2307.
        offline: put the tree into the database before the start, because the server takes no changes.
    """

    def __init__(self, home: Path, modules: str = "", database: str = "", *, offline: bool = False, bis: bool = False):
        program = shutil.which("slapd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/libexec")
        if program is None:
            missing("the program slapd", "apt install slapd")
        self.home = home
        (home / "db").mkdir()
        authority = certificate(home, "ca", authority=True)
        certificate(home, "server", authority)
        certificate(home, "otherca", authority=True)
        schemas = {name: Path(f"/etc/ldap/schema/{name}.schema") for name in SCHEMAS}
        if bis:
            structural = re.compile(r"(NAME 'posixGroup'\s+DESC '[^']*'\s+SUP top )STRUCTURAL")
            text, count = structural.subn(r"\1AUXILIARY", schemas["nis"].read_text())
            assert count == 1
            schemas["nis"] = home / "rfc2307bis.schema"
            schemas["nis"].write_text(text + MEMBERS)
        includes = "\n".join(f"include {path}" for path in schemas.values())
        (home / "slapd.conf").write_text(
            CONFIG.format(
                includes=includes,
                modules=modules,
                database=database.format(base=BASE),
                home=home,
                uid=os.geteuid(),
                gid=os.getegid(),
                base=BASE,
                root=ROOT,
                password=ROOT_PASSWORD,
            )
        )
        self.plain, self.tls = f"ldap://localhost:{free_port()}", f"ldaps://localhost:{free_port()}"
        self.local = "ldapi://" + quote(str(home / "ldapi"), safe="")
        self.log = (home / "log").open("wb")
        bound = " ".join(uri.replace("localhost", "127.0.0.1") + "/" for uri in (self.plain, self.tls))
        bound += " " + " ".join(uri.replace("localhost", "127.0.0.2") + "/" for uri in (self.plain, self.tls))
        if offline:
            slapadd = [program, "-T", "add", "-f", str(home / "slapd.conf")]
            people = f"dn: uid=pippin,ou=people,{BASE}\n" + POSIX.format(name="pippin", secret="old")
            subprocess.run(slapadd, input=(TREE + "\n" + people).encode(), check=True, capture_output=True)
        self.start(program, bound)
        try:
            self.wait()
            if not offline:
                self.add(TREE)
        except BaseException:
            self.stop()
            raise

    def start(self, program=None, bound=None):
        """Start the process, again after :meth:`stop` too."""
        self.program, self.bound = program or self.program, bound or self.bound
        if self.log.closed:
            self.log = (self.home / "log").open("ab")
        program, bound, home = self.program, self.bound, self.home
        self.process = subprocess.Popen(
            [program, "-d", "0", "-h", f"{bound} {self.local}/", "-f", str(home / "slapd.conf")],
            stdout=self.log,
            stderr=self.log,
        )

    def wait(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(TemporaryTargetError), LdapConnection(self.server()):
                return
            time.sleep(0.05)
        pytest.fail("slapd does not start: " + (self.home / "log").read_text(errors="replace"))

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self.log.close()

    def server(self, **options):
        return LdapServer(**{"uris": (self.local,), "timeout": 5.0, **options})

    def add(self, ldif):
        subprocess.run(
            ["ldapadd", "-Q", "-Y", "EXTERNAL", "-H", self.local], input=ldif.encode(), check=True, capture_output=True
        )

    def user(self, name, secret=None, where="people", extra=""):
        line = f"userPassword: {secret}\n" if secret is not None else ""
        self.add(
            f"dn: uid={name},ou={where},{BASE}\nobjectClass: account\nobjectClass: posixAccount\n"
            f"objectClass: shadowAccount\nuid: {name}\ncn: {name}\nuidNumber: 5000\ngidNumber: 100\n"
            f"homeDirectory: /home/{name}\n{line}{extra}\n"
        )

    def values(self, name, attribute="userPassword", where="people"):
        with LdapConnection(self.server()) as connection:
            return connection.search(f"uid={name},ou={where},{BASE}", "(objectClass=*)", [attribute])[0].attributes.get(
                attribute.lower(), ()
            )

    def lets_in(self, name, password):
        try:
            with LdapConnection(
                self.server(uris=(self.plain,), starttls=False), (f"uid={name},ou=people,{BASE}", password)
            ):
                return True
        except PermanentTargetError:
            return False
