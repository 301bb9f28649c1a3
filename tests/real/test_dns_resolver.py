"""The resolver of the C library, unchanged, against our server on port 53, in namespaces of their own."""

import shutil
import subprocess
import sys

import pytest
from support.dns_process import CHECKOUT, EXAMPLE
from support.namespace import require_mount_namespaces
from support.requires import missing

ZONE = "fellow.aero.org"

#: $1 an empty directory, $2 a Python, $3 the server's program, $4 the description; commands come on standard input.
ENTER = """\
set -e
ip link set lo up
for address in 10.5.0.1 10.5.0.2 10.5.1.7; do ip address add $address/32 dev lo; done
cd "$1"
printf 'nameserver 10.5.0.1\\nsearch fellow.aero.org\\noptions timeout:5 attempts:1\\n' > resolv.conf
echo 'hosts: dns' > nsswitch.conf
mount --bind resolv.conf /etc/resolv.conf
mount --bind nsswitch.conf /etc/nsswitch.conf
mount -t tmpfs tmpfs /run
mkfifo commands
exec 9<>commands
"$2" "$3" "$4" 10.5.0.1:53 10.5.0.2:53 < commands > port 9>&- &
tries=0
while [ ! -s port ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] && kill -0 $! || exit 99
    sleep 0.1
done
set +e
while read -r command; do
    echo "$ $command"
    sh -c "$command" 9>&- < /dev/null 2>&1
    echo "= $?"
done
exec 9>&-
wait $!
"""

ASKED = [
    f"getent ahostsv4 r01n07.{ZONE}",
    "getent ahostsv4 r01n07",
    "getent ahostsv6 r01n07",
    "getent hosts 10.5.1.7",
    "getent hosts 10.5.1.253",
    "getent ahostsv4 r1n7",
    "getent ahostsv4 master",
    "dig +short -b 10.5.1.7 @10.5.0.1 self.fellow.aero.org",
    "dig +short -b 10.5.1.7 @10.5.0.2 +tcp self.fellow.aero.org",
    "dig -b 10.5.1.7 @10.5.0.2 frodo.fellow.aero.org | grep -c 'SERVER: 10.5.0.2#53'",
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Return what each command printed, and its exit code."""
    require_mount_namespaces()
    if shutil.which("ip") is None:
        missing("the program ip", "iproute2")
    if shutil.which("dig") is None:
        missing("the program dig", "bind9-dnsutils")
    directory = tmp_path_factory.mktemp("resolver")
    server = CHECKOUT / "tests" / "support" / "dns_main.py"
    namespaces = ["unshare", "--mount", "--net", "--propagation", "private"]
    ended = subprocess.run(
        [*namespaces, "sh", "-c", ENTER, "sh", directory, sys.executable, server, EXAMPLE],
        input="\n".join(ASKED) + "\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=CHECKOUT,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    found = {}
    for part in ended.stdout.split("$ ")[1:]:
        command, _, rest = part.partition("\n")
        output, _, code = rest.rpartition("= ")
        found[command] = (output, int(code))
    return found


def test_getent_finds_a_node_by_its_full_and_short_name(answers):
    for name in (f"r01n07.{ZONE}", "r01n07"):
        output, code = answers[f"getent ahostsv4 {name}"]
        assert code == 0
        assert output.split()[:3] == ["10.5.1.7", "STREAM", f"r01n07.{ZONE}"]


def test_getent_finds_the_name_of_an_address(answers):
    output, code = answers["getent hosts 10.5.1.7"]
    assert (output.split(), code) == (["10.5.1.7", f"r01n07.{ZONE}"], 0)


def test_getent_finds_no_more_than_there_is(answers):
    """A node without an IPv6 address, an address without a node, a spelling that is not canonical."""
    for command in ("getent ahostsv6 r01n07", "getent hosts 10.5.1.253", "getent ahostsv4 r1n7"):
        assert answers[command] == ("", 2), command


def test_getent_finds_all_masters(answers):
    output, code = answers["getent ahostsv4 master"]
    assert code == 0
    assert {line.split()[0] for line in output.splitlines()} == {"10.5.0.1", "10.5.0.2", "10.5.0.3"}


def test_self_is_the_address_that_asks(answers):
    for way in ("@10.5.0.1", "@10.5.0.2 +tcp"):
        assert answers[f"dig +short -b 10.5.1.7 {way} self.{ZONE}"] == (f"r01n07.{ZONE}.\n10.5.1.7\n", 0)


def test_each_address_of_a_master_answers_for_itself(answers):
    """Dig takes a reply from another address for a forgery."""
    assert answers[ASKED[-1]] == ("1\n", 0)
