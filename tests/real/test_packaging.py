"""What leaves the house is whole: the archives hold what they must, and work where there is no checkout.

No network is needed: the wheel is installed into an empty environment that borrows the dependencies of the one
the tests run in.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.requires import missing

import beonss
from beonss.service import Options

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not run from the sources")


@dataclass(frozen=True, slots=True)
class Archives:
    """The two archives that were built."""

    sdist: Path
    wheel: Path

    def sdist_names(self) -> set[str]:
        """Return the files of the source archive, without its top directory."""
        with tarfile.open(self.sdist) as archive:
            return {member.name.partition("/")[2] for member in archive if member.isfile()}

    def wheel_names(self) -> set[str]:
        """Return the files of the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program with nothing of the caller's Python settings; fail with what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    done = subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Build the source archive, and from it (so that it is proven complete) the wheel."""
    pytest.importorskip("build")
    place = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", place, ROOT, cwd=place)
    (sdist,) = place.glob("*.tar.gz")
    (wheel,) = place.glob("*.whl")
    return Archives(sdist, wheel)


@pytest.fixture(scope="module")
def installed(archives: Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh environment, outside the checkout, in which only the wheel is ours."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place.parent)
    python = place / "bin" / "python"
    scheme = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(python, "-c", scheme, cwd=place).stdout.strip())
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name.lower().startswith(("beonss", "cpasswd", "_editable", "__editable")) or entry.suffix == ".pth":
            continue
        if entry.name == "twisted":
            # Copied, because our plugin is installed into the very same directory.
            shutil.copytree(entry, packages / entry.name, ignore=shutil.ignore_patterns("test", "beonss*", "*.cache"))
        else:
            (packages / entry.name).symlink_to(entry)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"]
    run(*pip, "--disable-pip-version-check", archives.wheel, cwd=place)
    return place


def checked_in(pattern: str) -> set[str]:
    """Return the files of the checkout that match, relative to it."""
    return {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}


def test_wheel_holds_the_code_and_its_data(archives: Archives) -> None:
    """Every module, the plugin, the schemas and the markers of types; nothing that is only for building or tests."""
    names = archives.wheel_names()
    sources = {name for package in ("beonss", "cpasswd", "twisted") for name in checked_in(f"{package}/**/*.py")}
    assert sources <= names
    assert "twisted/plugins/beonss_plugin.py" in names
    assert {"beonss/py.typed", "cpasswd/py.typed"} <= names
    schemas = checked_in("beonss/store/schema/*.sql")
    assert schemas
    assert schemas <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"beonss", "cpasswd", "twisted", f"beonss-{beonss.__version__}.dist-info"}
    assert not [name for name in names if name.endswith((".pyc", "dropin.cache"))]


@pytest.mark.parametrize("init", ["twisted/__init__.py", "twisted/plugins/__init__.py"])
def test_archives_leave_twisted_alone(archives: Archives, init: str) -> None:
    """A file of that name would overwrite Twisted's own when it is installed."""
    assert init not in archives.wheel_names()
    assert init not in archives.sdist_names()


def test_sdist_holds_what_a_distribution_needs(archives: Archives) -> None:
    """Tests, manual pages, units, examples, the licence and the pinned versions."""
    names = archives.sdist_names()
    for wanted in (
        "LICENSE",
        "Makefile",
        "README.md",
        "constraints.txt",
        "docs/man/beonss.8",
        "docs/man/beonss.toml.5",
        "docs/man/cpasswd.1",
        "examples/fellowship.toml",
        "packaging/systemd/beonss-master.service",
        "tests/test_house.py",
        "tools/prepare",
        "twisted/plugins/beonss_plugin.py",
    ):
        assert wanted in names
    assert not [name for name in names if ".venv" in name or "__pycache__" in name]


def test_installed_code_is_the_wheel(installed: Path) -> None:
    """What the following tests run is not the checkout."""
    code = "import beonss, cpasswd, twisted; print(beonss.__file__, cpasswd.__file__, twisted.__file__)"
    for file in run(installed / "bin" / "python", "-c", code, cwd=installed).stdout.split():
        assert Path(file).is_relative_to(installed)


def test_twistd_lists_us_where_the_wheel_is_installed(installed: Path) -> None:
    """The plugin is found beside Twisted's own, and both daemons explain themselves."""
    twistd = [installed / "bin" / "python", "-c", "from twisted.scripts.twistd import run; run()"]
    listed = run(*twistd, "--help", cwd=installed).stdout
    assert any(line.split()[:1] == ["beonss"] for line in listed.splitlines())
    # Twisted's own services are still there.
    assert any(line.split()[:1] == ["web"] for line in listed.splitlines())
    assert "--config" in run(*twistd, "beonss", "master", "--help", cwd=installed).stdout
    assert "--cluster-key" in run(*twistd, "beonss", "node", "--help", cwd=installed).stdout


@pytest.mark.parametrize("command", ["beonss", "cpasswd"])
def test_commands_run_where_the_wheel_is_installed(installed: Path, command: str) -> None:
    """The scripts start, explain themselves and tell their version."""
    program = installed / "bin" / command
    assert "--help" in run(program, "--help", cwd=installed).stdout
    assert beonss.__version__ in run(program, "--version", cwd=installed).stdout


def test_every_subcommand_loads_where_the_wheel_is_installed(installed: Path) -> None:
    """A module that was left out of the wheel shows when its command is asked for help."""
    code = "from beonss.admin.main import COMMANDS; print(*COMMANDS)"
    for name in run(installed / "bin" / "python", "-c", code, cwd=installed).stdout.split():
        assert "Usage: beonss " + name in run(installed / "bin" / "beonss", name, "--help", cwd=installed).stdout


def drop_ins() -> dict[str, str]:
    """Return the drop-ins that the guide shows: where each belongs, and its text."""
    guide = (ROOT / "docs/how-to/run-under-systemd.md").read_text("utf-8")
    blocks = re.findall(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    return dict(blocks)


def test_units_are_well_formed(tmp_path: Path) -> None:
    """systemd understands the units and the guide's drop-ins; only the programs and pages they name are not here."""
    program = shutil.which("systemd-analyze")
    if program is None:
        missing("the program systemd-analyze", "systemd")

    def write(name: str, text: str) -> None:
        # The programs of the units stand somewhere else than on this machine, and it has no user of that name.
        lines = [line for line in text.splitlines() if not line.startswith("Documentation=")]
        text = "\n".join(lines).replace("/opt/beonss/bin/twistd", sys.executable).replace("User=beonss", "User=daemon")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")

    for unit in [*(ROOT / "packaging/systemd").glob("*.service"), *(ROOT / "packaging/systemd").glob("*.socket")]:
        write(unit.name, unit.read_text("utf-8"))
    units = sorted(path for path in tmp_path.iterdir() if path.is_file())
    assert [unit.name for unit in units] == [
        "beonss-master-dns.socket", "beonss-master-local.socket", "beonss-master.service", "beonss-node.service",
    ]  # fmt: skip
    guided = drop_ins()
    assert sorted(guided) == [f"beonss-master.service.d/{name}.conf" for name in ("querylog", "sockets", "user")]
    for with_drop_ins in (False, True):
        if with_drop_ins:
            for name, text in guided.items():
                write(name, text)
        done = subprocess.run(
            [program, "verify", "--man=no", *units], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        ours = [line for line in done.stderr.splitlines() if "beonss-" in line]
        assert (done.returncode, ours) == (0, [])


def test_units_name_options_that_exist() -> None:
    """The command lines in units and guide are taken by the daemons."""
    texts = [path.read_text("utf-8") for path in (ROOT / "packaging/systemd").glob("*.service")]
    text = "\n".join([*texts, *drop_ins().values()])
    lines = re.findall(r"^ExecStart=\S+ --nodaemon --pidfile= beonss (.+)$", text, re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        Options().parseOptions(line.split())
