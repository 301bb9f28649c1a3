"""A cluster with every kind of static record, as a description and a zone file, and questions about all of it."""

from collections.abc import Iterator
from pathlib import Path

ZONE = "fellow.aero.org"
REVERSE = "5.10.in-addr.arpa"
STATIC = "lab.example"

DESCRIPTION = """
[cluster]
name     = "Overlaid"
zone     = "fellow.aero.org"
version  = {version}
networks = ["10.5.0.0/16", "fd00:5::/32"]
masters  = ["frodo", "gamgee"]

[hosts]
frodo  = {{ address = ["10.5.0.1", "fd00:5::1"], aliases = ["nis", "www"] }}
gamgee = "10.5.0.2"

[[nodes]]
name    = "r{{rack:02}}n{{slot:02}}"
aliases = ["n{{node}}"]
address = "10.5.{{rack}}.{{slot}}"
ranges  = {{ rack = "1-4", slot = "1-{slots}" }}

[dns]
zone_files = ["static.zone"]
records = '''
@               MX    10 mail
                MX    20 frodo
                TXT   "v=spf1 mx -all" "second string"
                CAA   0 issue "ca.example"
                NS    ns.elsewhere.example.
mail       300  A     10.5.200.1
                AAAA  fd00:5::200:1
_slurmctld._tcp SRV   0 0 6817 frodo
                SRV   10 0 6817 gamgee
login           A     10.5.0.1
                A     10.5.0.2
                A     {login}
home            CNAME frodo
home2           CNAME home
outside         CNAME www.elsewhere.example.
r01n07          SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
_22._tcp.r01n07 TLSA  3 1 1 0c72ac70b745ac19998811b131d662c9ac69dbdbe7cb23e5b514b56664c5d3d6
deep.down.here  TXT   "below empty non-terminals"
odd             TYPE65280 \\# 4 0a000001
Mixed.Case      TXT   "case"
sub             NS    ns.sub
                NS    gamgee
ns.sub          A     10.5.201.1
*.wild          A     10.5.202.1
                TXT   "from the wildcard"
*.alias         CNAME frodo
real.wild       TXT   "no wildcard"
x.y.wild        TXT   "makes y an empty non-terminal"
old             DNAME lab.example.
{extra}
1.200.5.10.in-addr.arpa. PTR mail
'''

[dns.transfer]
{transfer}
"""

STATIC_ZONE = """
$TTL 10m
$ORIGIN lab.example.
@        SOA  ns1 hostmaster ({serial} ; serial
              3600 600 1209600 120)
         NS   ns1
         NS   frodo.fellow.aero.org.
         MX   5 mx
ns1      A    192.0.2.1
mx       AAAA 2001:db8::1
www      CNAME web
web      A    192.0.2.10
         A    192.0.2.11
loopa    CNAME dangling
_ldap._tcp SRV 1 2 389 web
*        TXT  "anything"
a.b.c    A    192.0.2.12
child    NS   ns.child
         DS   12345 13 2 {ds}
ns.child A    192.0.2.20
         AAAA 2001:db8::20
d        DNAME target
x.target A    192.0.2.30
$INCLUDE more.zone sub2
"""
INCLUDED = """
inc  A 192.0.2.40
"""

_NAMES = """
@ mail _slurmctld._tcp _tcp login home home2 outside r01n07 r01n08 _22._tcp.r01n07 _tcp.r01n07 x.r01n07 r1n7 r01n99
deep.down.here down.here here not.here odd mixed.case MIXED.case sub ns.sub x.sub a.b.sub x.wild wild a.b.wild *.wild
real.wild z.real.wild y.wild x.y.wild q.y.wild x.alias alias www.old www.x.old old a.c.old frodo gamgee nis www n3 n999
nothing a.nothing master
"""
_STATIC_NAMES = """
@ ns1 mx www web loopa dangling _ldap._tcp _tcp any a.any a.b.c b.c c x.c child ns.child x.child a.x.child d x.d y.d
target x.target inc.sub2 sub2 x.sub2 * *.c
"""
_REVERSE_NAMES = "@ 0 1.0 7.1 9.1 1 9 1.200 200 201 x.1 01.1"
_TYPES = "A AAAA NS SOA MX TXT CNAME SRV PTR CAA SSHFP TLSA DS DNAME TYPE65280 HTTPS"


def write_cluster(
    directory: Path,
    *,
    version: int = 7,
    slots: int = 8,
    login: str = "10.5.0.3",
    extra: str = "",
    serial: int = 2026112201,
    transfer: str = 'allow = ["127.0.0.1"]',
) -> Path:
    """Write the files; return the path of the description."""
    path = directory / "cluster.toml"
    made = DESCRIPTION.format(version=version, slots=slots, login=login, extra=extra, transfer=transfer)
    path.write_text(made)
    (directory / "static.zone").write_text(STATIC_ZONE.format(serial=serial, ds="ab" * 32))
    (directory / "more.zone").write_text(INCLUDED)
    return path


def questions() -> Iterator[tuple[str, str]]:
    """Yield thousands of questions of every kind, as (name, type)."""
    for zone, names in ((ZONE, _NAMES), (STATIC, _STATIC_NAMES), (REVERSE, _REVERSE_NAMES)):
        for name in names.split():
            for kind in _TYPES.split():
                yield (zone if name == "@" else f"{name}.{zone}"), kind
    for rack in range(6):
        for slot in range(30):
            yield f"r{rack:02}n{slot:02}.{ZONE}", "A"
            yield f"r{rack:02}n{slot:02}.{ZONE}", "AAAA"
            yield f"n{rack * 10 + slot}.{ZONE}", "A"
            yield f"{slot}.{rack}.{REVERSE}", "PTR"
            yield f"{slot}.{rack}.{REVERSE}", "A"
