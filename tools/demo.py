"""The whole story in two minutes: three masters, a node, names and passwords, on loopback.

Real processes, real TLS, real files in a temporary directory; no root needed. Every step is verified from
outside (tools/outside.py: raw sockets; or a stock tool), never by reading the daemons' own state. Exit code 0
only when every step held. With KEEP=1 in the environment the cluster is left running.
"""

import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from cluster import BIN, ROOT, ClusterError, LoopbackCluster, Machine, wait_until
from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table

# Chosen anew at each run: nothing here may depend on a password known before.
OLD = "stayed-home-" + secrets.token_hex(4)
NEW = "went-to-mordor-" + secrets.token_hex(4)
PEOPLE = {"sam": 2001, "rosie": 2002, "pippin": 2003}


class Demo:
    """One run of the story."""

    def __init__(self, console: Console, cluster: LoopbackCluster) -> None:
        self.console = console
        self.cluster = cluster
        self.checks = 0
        self.started = time.monotonic()

    def step(self, number: int, title: str) -> None:
        """Begin a step."""
        self.console.print()
        self.console.rule(f"[bold]{number}. {title}[/]", align="left")

    def verify(self, holds: bool, what: str) -> None:
        """Show one verified fact.

        Raises:
            ClusterError: it does not hold.
        """
        if not holds:
            raise ClusterError(f"not so: {what}")
        self.checks += 1
        self.console.print(f"  [green]✓[/] {what}", highlight=False)

    def show(self, *command: str, text: str | None = None, codes: tuple[int, ...] = (0,), prompt: str = "$") -> str:
        """Run a command as an administrator or user would, and show what it says."""
        shown = " ".join(
            word.replace(str(self.cluster.directory), "~").replace(str(ROOT) + "/", "") for word in command
        )
        self.console.print(f"  [bold cyan]{prompt} {shown}[/]", highlight=False, markup=True)
        done = self.cluster.run(*command, text=text, check=False)
        for line in (done.stdout + done.stderr).rstrip().replace(str(self.cluster.directory), "~").splitlines():
            self.console.print(f"    {line}", highlight=False, markup=False)
        if done.returncode not in codes:
            raise ClusterError(f"{command[0]} gave exit code {done.returncode}")
        return done.stdout

    def names(self, machine: Machine, questions: list[tuple[str, str, str, str]]) -> None:
        """Ask names over DNS and compare; questions are (name, type, rcode, text that must be in the answer)."""
        table = Table(box=None, pad_edge=False, padding=(0, 2))
        for head in (f"asked of {machine.name}", "type", "rcode", "answer"):
            table.add_column(head)
        for name, kind, rcode, expected in questions:
            reply = machine.ask(name, kind)
            table.add_row(name, kind, reply.rcode, ", ".join(reply.answers) or "-")
            if reply.rcode != rcode or expected not in " ".join(reply.answers):
                self.console.print(table)
                raise ClusterError(f"{name} {kind}: {reply}, expected {rcode} {expected}")
            self.checks += 1
        self.console.print(table)

    def play(self) -> None:
        """Tell the story."""
        cluster, zone = self.cluster, self.cluster.zone
        self.step(1, "The Fellowship cluster is described by one rule, and proven before it loads")
        self.console.print(Syntax(excerpt(cluster.description), "toml", background_color="default"))
        self.show("beonss", "check", str(cluster.description))
        with self.console.status("three masters and a node start"):
            frodo = cluster.add_master("frodo")
            cluster.start(frodo)
            gamgee = cluster.add_master("gamgee")
            fellowship = cluster.add_master("fellowship")
            cluster.start(gamgee, fellowship)
            node = cluster.add_node("r01n07")
            cluster.start(node)
        self.verify(all(m.process and m.process.poll() is None for m in cluster.everything()), "four processes run")

        self.step(2, "Names are computed: a million nodes would cost what these cost")
        self.names(frodo, [
            (f"r01n07.{zone}", "A", "NOERROR", "10.5.1.7"),
            ("7.1.5.10.in-addr.arpa", "PTR", "NOERROR", f"r01n07.{zone}."),
            (f"frodo.{zone}", "A", "NOERROR", "10.5.0.1"),
            (f"scratch.{zone}", "A", "NOERROR", f"CNAME gamgee.{zone}. A 10.5.0.2"),
            (f"gimli-r03.{zone}", "A", "NOERROR", "10.5.3.254"),
            (f"r01n07.{zone}", "AAAA", "NOERROR", ""),
            (f"r1n7.{zone}", "A", "NXDOMAIN", ""),
            (f"r77n01.{zone}", "A", "NXDOMAIN", ""),
            ("1.5.10.in-addr.arpa", "PTR", "NOERROR", ""),
            (f"master.{zone}", "A", "NOERROR", "10.5.0."),
        ])  # fmt: skip
        self.names(node, [
            (f"self.{zone}", "A", "NOERROR", "10.5.1.7"),
            (f"r02n01.{zone}", "A", "NOERROR", "10.5.2.1"),
        ])  # fmt: skip
        self.verify(node.nslcd.host("r01n08") is not None, "the node's C library door knows r01n08")

        self.step(3, "Accounts imported on one master are on all, and on the node")
        files = write_accounts(cluster.directory)
        self.show(
            "beonss",
            "accounts",
            "import",
            "--control",
            str(frodo.control),
            "--passwd",
            str(files["passwd"]),
            "--group",
            str(files["group"]),
            "--shadow",
            str(files["shadow"]),
        )
        for machine in (gamgee, fellowship, node):
            wait_until(lambda machine=machine: machine.nslcd.user("sam") is not None, f"sam is on {machine.name}")  # type: ignore[misc]
            self.verify(machine.nslcd.user("sam")[2] == "2001", f"{machine.name} knows sam, uid 2001")  # type: ignore[index]
        self.verify(node.nslcd.user("daemon") is None, "no system account came along (uid floor)")
        self.verify(node.nslcd.login("sam", OLD), "sam logs in on the node")
        self.verify(not node.nslcd.login("sam", NEW), "and not with another password")

        self.step(4, "gamgee is away; sam changes the password with cpasswd on frodo")
        gamgee.stop()
        told = self.show("cpasswd", "sam", "--stdin", "--socket", str(frodo.control), text=self.answers(OLD, NEW))
        for name, state in (("frodo", "changed"), ("fellowship", "changed"), ("gamgee", "buffered")):
            line = next((line for line in told.splitlines() if name in line), "")
            self.verify(state in line, f"cpasswd says: {name} {state}")
        for machine in (frodo, fellowship):
            self.verify(machine.nslcd.login("sam", NEW), f"the new password works on {machine.name}")

        self.step(5, "frodo is killed with -9; gamgee boots and has the change from fellowship")
        frodo.kill()
        cluster.start(gamgee)
        wait_until(lambda: gamgee.nslcd.login("sam", NEW), "gamgee takes the new password")
        self.verify(True, "the new password works on gamgee, though the machine that took the change is dead")
        self.verify(not gamgee.nslcd.login("sam", OLD), "the old one does not")
        self.show("beonss", "status", "--control", str(gamgee.control))

        self.step(6, "All masters stop: the node keeps its names and users; frodo returns")
        gamgee.stop()
        fellowship.stop()
        self.names(node, [
            (f"r01n08.{zone}", "A", "NOERROR", "10.5.1.8"),
            ("7.1.5.10.in-addr.arpa", "PTR", "NOERROR", f"r01n07.{zone}."),
        ])  # fmt: skip
        for name, uid in PEOPLE.items():
            user = node.nslcd.user(name)
            self.verify(user is not None and user[2] == str(uid), f"with every master down the node still knows {name}")
        node.stop()
        cluster.start(node)
        self.verify(node.nslcd.user("sam") is not None, "even after a restart of its own")
        self.verify(refused(lambda: node.nslcd.login("sam", NEW)), "a login there is 'unavailable', never 'wrong'")
        cluster.start(frodo)
        cluster.start(gamgee, fellowship)
        wait_until(lambda: frodo.nslcd.login("sam", NEW), "frodo takes the new password")
        self.verify(True, "frodo is back and has the new password")
        wait_until(lambda: node.nslcd.login("sam", NEW), "the node finds a master again")
        self.verify(not node.nslcd.login("sam", OLD), "the node lets sam in with the new one only")
        self.show("beonss", "status", "--control", str(frodo.control))

    @staticmethod
    def answers(old: str, new: str) -> str:
        """What cpasswd --stdin reads: root on a master is not asked for the old password."""
        return f"{new}\n" if os.geteuid() == 0 else f"{old}\n{new}\n"


def refused(login: object) -> bool:
    """Say whether a login could not be answered at all (as against: was denied)."""
    assert callable(login)
    try:
        login()
    except OSError:
        return True
    return False


def excerpt(description: Path) -> str:
    """Return the rules of a description, without its comments."""
    lines = description.read_text().splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def write_accounts(directory: Path) -> dict[str, Path]:
    """Write passwd, group and shadow files such as a first machine has."""
    # The hash is made by the C library, as passwd(1) would: the import takes what is there.
    from beonss.store.crypt import hash_password  # noqa: PLC0415

    hashed = hash_password(OLD.encode(), "sha512crypt", None, secrets.token_bytes(16))
    texts = {
        "passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
        + "".join(f"{name}:x:{uid}:2000:{name.title()}:/home/{name}:/bin/bash\n" for name, uid in PEOPLE.items()),
        "group": "root:x:0:\nhobbits:x:2000:\ngardeners:x:2100:sam,rosie\n",
        "shadow": "root:*:19000:0:99999:7:::\n" + "".join(f"{name}:{hashed}:19000:0:99999:7:::\n" for name in PEOPLE),
    }
    files = {}
    for name, text in texts.items():
        files[name] = directory / name
        files[name].touch(0o600)
        files[name].write_text(text)
    return files


def main() -> int:
    """Play the story; return the exit code."""
    console = Console(soft_wrap=True)
    keep = bool(os.environ.get("KEEP"))
    directory = Path(tempfile.mkdtemp(prefix="beonss-"))
    cluster = LoopbackCluster(directory, ROOT / "examples" / "fellowship.toml", "fellow.aero.org")
    demo = Demo(console, cluster)

    def ended(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    signal.signal(signal.SIGTERM, ended)
    code = 1
    try:
        demo.play()
        code = 0
    except ClusterError as error:
        console.print(f"\n[bold red]The demonstration failed:[/] {error}", highlight=False)
    except KeyboardInterrupt:
        console.print("\ninterrupted")
        keep, code = False, 130
    finally:
        if keep and code == 0:
            hints(console, cluster)
        else:
            cluster.stop()
            with contextlib.suppress(OSError):
                shutil.rmtree(directory)
    if code == 0:
        seconds = time.monotonic() - demo.started
        console.print(
            Panel(f"{demo.checks} facts verified from outside in {seconds:.0f} s", style="green", expand=False)
        )
    return code


def hints(console: Console, cluster: LoopbackCluster) -> None:
    """Say what to try on the cluster that was left running, and how to end it."""
    frodo, node = cluster.masters["frodo"], cluster.nodes["r01n07"]
    pids = " ".join(str(machine.process.pid) for machine in cluster.everything() if machine.process)
    console.print(
        f"""
The cluster is still running in {cluster.directory}. Try:
  dig @127.0.0.1 -p {frodo.dns[1]} r01n07.{cluster.zone}
  dig @127.0.0.1 -p {node.dns[1]} self.{cluster.zone}
  {BIN}/beonss explain {cluster.description} 10.5.1.7
  {BIN}/beonss status --control {frodo.control}
  {BIN}/cpasswd rosie --socket {node.control}      (the old password is {OLD})
End it with:
  kill {pids}; rm -r {cluster.directory}""",
        highlight=False,
        markup=False,
    )


if __name__ == "__main__":
    sys.exit(main())
