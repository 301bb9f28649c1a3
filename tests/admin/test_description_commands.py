"""``beonss check``, ``explain`` and ``hosts`` from the command line down to the bytes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from beonss.admin.check import command as check
from beonss.admin.explain import command as explain
from beonss.admin.hosts import command as hosts
from beonss.errors import ConfigurationError

EXAMPLES = Path(__file__).parents[2] / "examples"
FELLOWSHIP = str(EXAMPLES / "fellowship.toml")


@pytest.fixture
def run() -> CliRunner:
    return CliRunner(catch_exceptions=False)


def test_check_sums_up_a_sound_file(run: CliRunner) -> None:
    result = run.invoke(check, [FELLOWSHIP, str(EXAMPLES / "scyld.toml")])
    assert result.exit_code == 0
    assert "151 nodes, 4 hosts, 5 derived hosts" in result.output
    assert "r01n[01-08],r02n[01-40],r03n[01-39],r[04-05]n[01-32]" in result.output
    assert "384 nodes n[0-383]" in result.output
    assert run.invoke(check, ["-q", FELLOWSHIP]).output == ""


def test_check_shows_every_problem_and_fails(run: CliRunner, tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(Path(FELLOWSHIP).read_text().replace('"10.5.0.1"', '"10.5.1.1"').replace('"1-40"', '"1-4o"'))
    result = run.invoke(check, [str(bad), FELLOWSHIP])
    assert result.exit_code == 1
    assert f"{bad}:19: hosts.frodo: " not in result.stdout
    assert f"{bad}:30: nodes[0].ranges[1].slot: '1-4o' is not a number" in result.stderr
    assert "151 nodes" in result.stdout


def test_check_as_json(run: CliRunner, tmp_path: Path) -> None:
    result = run.invoke(check, ["--json", FELLOWSHIP, str(tmp_path / "absent.toml")])
    assert result.exit_code == 1
    sound, absent = json.loads(result.stdout)
    assert (sound["sound"], sound["nodes"], sound["zone"]) == (True, 151, "fellow.aero.org")
    assert sound["rules"][0]["names"][0] == "r01n[01-08]"
    assert not absent["sound"]
    assert "cannot be read: No such file" in absent["problems"][0]["text"]


def test_check_reads_standard_input(run: CliRunner) -> None:
    result = run.invoke(check, ["-"], input=Path(FELLOWSHIP).read_bytes())
    assert result.exit_code == 0
    result = run.invoke(check, ["-"], input=b"x = 1")
    assert "standard input:1: x: unknown option" in result.stderr


def test_usage_is_exit_code_2(run: CliRunner) -> None:
    for command, arguments in [
        (check, []),
        (explain, [FELLOWSHIP]),
        (explain, [FELLOWSHIP, "master", "--asker", "frodo"]),
        (hosts, []),
        (hosts, [FELLOWSHIP, "--bad"]),
    ]:
        assert run.invoke(command, arguments).exit_code == 2


def test_explain(run: CliRunner) -> None:
    result = run.invoke(explain, [FELLOWSHIP, "r01n07", "10.5.0.1"])
    assert result.exit_code == 0
    assert "fellowship.toml:29)" in result.output
    assert "frodo.fellow.aero.org (host)" in result.output
    result = run.invoke(explain, [FELLOWSHIP, "frodo", "r1n7"])
    assert result.exit_code == 1
    assert "r1n7: there is no such name or address\n  r1n7 is not how it is written: r01n07\n" in result.output


def test_explain_as_json(run: CliRunner) -> None:
    result = run.invoke(explain, [FELLOWSHIP, "--json", "r01n07", "self", "nobody", "--asker", "10.5.0.1"])
    assert result.exit_code == 1
    node, self_, nobody = json.loads(result.output)
    assert node["named"]["coordinates"] == {"rack": 1, "slot": 7}
    assert self_["named"]["name"] == "frodo"
    assert (nobody["found"], nobody["named"]) == (False, None)


def test_hosts_is_the_whole_cluster_both_ways(run: CliRunner) -> None:
    """Each line has the canonical name first; every name and address occurs exactly once."""
    result = run.invoke(hosts, [FELLOWSHIP])
    lines = [line.split() for line in result.output.splitlines() if not line.startswith("#")]
    assert len(lines) == 2 + 151 + 4 + 5
    assert ["10.5.1.7", "r01n07.fellow.aero.org", "r01n07"] in lines
    assert ["10.5.0.1", "frodo.fellow.aero.org", "frodo", "nis", "sge"] in lines
    names = [name for line in lines[2:] for name in line[1:]]
    assert len(set(names)) == len(names)
    assert len({line[0] for line in lines}) == len(lines)


def test_hosts_of_a_list(run: CliRunner) -> None:
    result = run.invoke(hosts, [FELLOWSHIP, "--no-zone", "--nodes", "r[01-02]n[07-08],nis"])
    assert result.output == "".join(
        [
            "10.5.1.7\tr01n07\n",
            "10.5.1.8\tr01n08\n",
            "10.5.2.7\tr02n07\n",
            "10.5.2.8\tr02n08\n",
            "10.5.0.1\tfrodo nis sge\n",
        ]
    )
    result = run.invoke(hosts, [str(EXAMPLES / "scyld.toml"), "--nodes", "n7"])
    assert [line.split("\t")[0] for line in result.output.splitlines()] == ["10.54.1.7", "10.54.101.7"]


@pytest.mark.parametrize(("listed", "said"), [("r01n[07-09]", "there is no r01n09: slot 9"), ("r[1", "--nodes: ")])
def test_hosts_of_a_wrong_list(run: CliRunner, listed: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said.replace("[", r"\[")):
        run.invoke(hosts, [FELLOWSHIP, "--nodes", listed])


def beonss(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from beonss.admin.main import main; main()", *arguments]


def test_a_full_disk_is_an_error() -> None:
    """The real process: what could not be written is said, and the exit code is 1."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(beonss("hosts", FELLOWSHIP), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b"beonss: standard output: No space left on device; the list is incomplete, do not use it\n"


def test_a_reader_that_goes_away_is_no_message(tmp_path: Path) -> None:
    """The real process: a million lines into a pipe that is closed after the first bytes."""
    big = tmp_path / "big.toml"
    big.write_text(
        '[cluster]\nname = "Big"\nzone = "big.example.org"\nnetworks = ["10.0.0.0/8"]\nmasters = ["n0"]\n'
        '[[nodes]]\nname = "n{node}"\naddress = "10.0.0.1 + {node}"\ncount = 1_000_000\n'
    )
    process = subprocess.Popen(beonss("hosts", str(big)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert process.stdout.read(10) == b"# Computed"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1
