"""The rules of the house that no single module can keep: layout, imports, documents, what no file may contain."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import click
import pytest
from support.requires import missing

from beonss import service
from beonss.admin.main import COMMANDS
from beonss.admin.main import command as group
from beonss.targets import settings

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("beonss", "cpasswd", "twisted")
#: Directories that are made, not written.
MADE = {".venv", ".git", "build", "dist", "__pycache__"}

#: Hosts of package registries and places of one machine; in pieces, so that this file does not name them itself.
FORBIDDEN = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "registry.npm" + "js.org",
    "deb.deb" + "ian.org",
    "archive.ubu" + "ntu.com",
    "crates" + ".io",
    "proxy.go" + "lang.org",
    "rubygems" + ".org",
    "/wo" + "rk/",
    "/tmp/br" + "ief",
]


def written_files() -> list[Path]:
    """Return every file somebody wrote: what git tracks, or all of an unpacked source archive."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        files = [ROOT / name.decode("utf-8", "surrogateescape") for name in listed.split(b"\0") if name]
    else:
        files = [f for f in ROOT.rglob("*") if not MADE & set(f.relative_to(ROOT).parts)]
    return sorted(f for f in files if f.is_file())


def sources() -> list[Path]:
    """Return the Python sources that are shipped."""
    return [f for f in written_files() if f.suffix == ".py" and f.relative_to(ROOT).parts[0] in PACKAGES]


def name_of(path: Path) -> str:
    """Return a path as a person writes it."""
    return path.relative_to(ROOT).as_posix()


def test_twisted_is_no_package_of_ours() -> None:
    """An __init__.py under twisted/ would hide the real Twisted, or our plugin from it."""
    assert (ROOT / "twisted/plugins/beonss_plugin.py").is_file()
    assert [name_of(f) for f in (ROOT / "twisted").rglob("*.py")] == ["twisted/plugins/beonss_plugin.py"]


def test_the_plugin_imports_nothing_of_ours() -> None:
    """``twistd --help`` loads every plugin on the machine: ours must cost it nothing and break nothing."""
    tree = ast.parse((ROOT / "twisted/plugins/beonss_plugin.py").read_text("utf-8"))
    imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imported == ["twisted.application.service"]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


def test_imports_go_one_way() -> None:
    """The contracts of pyproject.toml hold: layers, purity of core and wire, no Twisted below the net."""
    program = Path(sys.executable).with_name("lint-imports")
    if not program.exists():
        missing("the program lint-imports", "make venv")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_two_modules_need_each_other() -> None:
    """What is imported for its types alone counts too: whoever reads one of two such modules has to read both."""
    files = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in sources()}
    needs: dict[str, set[str]] = {}
    for module, path in files.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= (inner & files.keys()) or {node.module}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        needs[module] = found & files.keys() - {module}
    circles = set()
    for module, first in needs.items():
        reached, ahead = set(), list(first)
        while ahead:
            one = ahead.pop()
            if one not in reached:
                reached.add(one)
                ahead += needs[one]
        if module in reached:
            circles.add(module)
    # A factory and what it makes.
    assert circles == {"beonss.net.sync_port", "beonss.net.sync_server"}


@pytest.mark.parametrize("module", ["cpasswd.main", "beonss.admin.main"])
def test_commands_start_without_twisted(module: str) -> None:
    """A command that a person waits for does not load a reactor before it knows what it is to do."""
    code = f"import sys, {module}; sys.exit(', '.join(sorted(sys.modules.keys() & {{'twisted'}})) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_the_composition_root_takes_the_global_reactor() -> None:
    """Everything else gets its reactor as an argument, so that tests can give a Clock."""
    pattern = re.compile(
        r"^\s*(from twisted\.internet import .*\breactor\b|import twisted\.internet\.reactor)", re.MULTILINE
    )
    taking = [name_of(f) for f in sources() if pattern.search(f.read_text("utf-8"))]
    assert taking == ["beonss/service.py"]


def manual(name: str) -> str:
    """Return the source of a manual page with its hyphens as they are printed."""
    return (ROOT / "docs/man" / name).read_text("utf-8").replace("\\-", "-")


def printed_blocks(page: str) -> list[str]:
    """Return the examples of a manual page, which stand between .nf and .fi."""
    return re.findall(r"^\.nf\n(.*?)^\.fi$", page, re.DOTALL | re.MULTILINE)


def nested(words: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it; a group that only holds commands is none of its own below the first level."""
    inner = command.commands if isinstance(command, click.Group) else {}
    if not inner or " " not in words:
        yield words, command
    for name, each in inner.items():
        yield from nested(f"{words} {name}", each)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each subcommand of ``beonss`` with its long options."""
    found: list[tuple[str, click.Command]] = []
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        assert command is not None
        found += nested(name, command)
    for words, command in found:
        options = [o for p in command.params if not getattr(p, "hidden", False) for o in [*p.opts, *p.secondary_opts]]
        yield words, [option for option in options if option.startswith("--")]


def daemon_options() -> set[str]:
    """Return the long options of both daemons, those that every Twisted plugin has left out."""
    names: set[str] = set()
    for _, _, options, _ in service.Options.subCommands:
        names |= {name.rstrip("=").replace("_", "-") for name in options().longOpt}
    return names - {"help", "version"}


def undocumented(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    if not ast.get_docstring(tree):
        yield f"{name_of(path)}:1: the module has no docstring"


def test_every_module_says_what_it_is() -> None:
    """Each module begins with a docstring."""
    assert not [problem for path in sources() for problem in undocumented(path)]


def test_modules_stay_small() -> None:
    """Past 700 lines a module surely holds more than one concept; the house asks for 100 to 400."""
    lengths = {name_of(f): len(f.read_text("utf-8").splitlines()) for f in sources()}
    assert not {name: length for name, length in lengths.items() if length > 700}


def test_no_file_names_a_registry_or_a_machine() -> None:
    """Where packages come from is the business of pip's and apt's own configuration, paths that of one machine."""
    found = []
    for path in written_files():
        text = path.read_bytes().decode("utf-8", "replace").lower()
        found += [f"{name_of(path)}: {word}" for word in FORBIDDEN if word in text]
    assert not found


def test_test_directories_are_no_packages() -> None:
    """With --import-mode=importlib an __init__.py would make two tests of one name collide; support is one."""
    packages = [name_of(f) for f in (ROOT / "tests").rglob("__init__.py")]
    assert all(name.startswith("tests/support/") for name in packages)


def test_constraints_pin_every_dependency() -> None:
    """What pyproject.toml asks for is pinned exactly, without addresses, so that two machines test the same."""
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)]

    def canonical(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    pinned = {canonical(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    asked = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        asked += extra
    assert not {canonical(re.split(r"[<>=~!;\[ ]", name)[0]) for name in asked} - pinned


def test_shipped_code_imports_only_declared_dependencies() -> None:
    """What the tests or the linter bring along must not be needed by those who install us."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[<>=~!;\[ ]", name)[0].lower() for name in project["dependencies"]}
    # Parts of declared distributions that come with them and are imported under names of their own.
    declared |= {"zope.interface", "zope-interface", "pydantic_core", "pydantic-core"}
    distributions = packages_distributions()
    undeclared = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top in sys.stdlib_module_names or top in {"beonss", "cpasswd"}:
                    continue
                owners = {owner.lower() for owner in distributions.get(top, [top])}
                if not owners & declared:
                    undeclared.append(f"{name_of(path)}:{node.lineno}: {name}")
    assert not undeclared


class TestDocuments:
    """The documents say what is there."""

    def test_architecture_mentions_every_package(self) -> None:
        """A package that ARCHITECTURE.md does not place has no place."""
        text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
        packages = {name_of(f.parent) for f in sources() if f.name == "__init__.py"} | {"twisted/plugins"}
        # Sub-packages may stand there as ``core/`` in the tree of their parent.
        assert not {p for p in packages if p not in text and p.rpartition("/")[2] + "/" not in text}

    def test_architecture_names_only_what_is_there(self) -> None:
        """A module that was moved does not live on in ARCHITECTURE.md; ``core/zones/zone.Zones.answer`` is one, too."""
        roots = [ROOT, ROOT / "beonss"]
        tops = {f.relative_to(root).parts[0] for root in roots for f in written_files() if f.is_relative_to(root)}
        lost = []
        for name in re.findall(r"(?<![\w/.~-])[a-z_]+(?:/[\w.*-]*\w)+", (ROOT / "ARCHITECTURE.md").read_text("utf-8")):
            if name.partition("/")[0] not in tops:
                continue
            # What stands behind a point may be a part of the module.
            shorter = [name.rsplit(".", parts)[0] for parts in range(name.count(".") + 1)]
            if not any(list(root.glob(one + end)) for root in roots for one in shorter for end in ("", ".py")):
                lost.append(name)
        assert not lost

    def test_decisions_are_numbered_without_gaps(self) -> None:
        """Decisions are cited by number, so each number is there once, and its title repeats it."""
        files = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
        numbers = [int(f.name[:4]) for f in files]
        assert numbers == list(range(1, len(files) + 1))
        for file in files:
            assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", file.name)
            text = file.read_text("utf-8")
            assert text.startswith(f"# {file.name[:4]} ")
            for heading in ("## Context", "## Choice", "## Consequences"):
                assert f"\n{heading}\n" in text, f"{file.name} lacks {heading}"

    def test_decisions_cited_in_sources_exist(self) -> None:
        """``docs/decisions/0003`` or "decision 0003" in a source leads somewhere."""
        there = {f.name[:4] for f in (ROOT / "docs/decisions").glob("[0-9]*.md")}
        cited: dict[str, str] = {}
        for path in written_files():
            if path.suffix in {".py", ".md", ".sql", ".toml"}:
                for number in re.findall(r"decisions?[ /](\d{4})\b", path.read_text("utf-8", "replace")):
                    cited[number] = name_of(path)
        assert not {number: file for number, file in cited.items() if number not in there}

    def test_links_between_documents_lead_somewhere(self) -> None:
        """Relative links in Markdown name files that exist."""
        broken = []
        for path in written_files():
            if path.suffix != ".md":
                continue
            for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text("utf-8")):
                if "://" not in link and not link.startswith("mailto:") and not (path.parent / link).exists():
                    broken.append(f"{name_of(path)}: {link}")
        assert not broken

    def test_documents_named_in_sources_exist(self) -> None:
        """A docstring that says "see docs/..." does not send its reader into the void."""
        broken = []
        for path in sources():
            for name in re.findall(r"\b(docs/[\w./-]+\.(?:md|\d))\b", path.read_text("utf-8")):
                if not (ROOT / name).exists():
                    broken.append(f"{name_of(path)}: {name}")
        assert not broken

    def test_manual_pages_are_well_formed(self) -> None:
        """Every manual page passes mandoc without a warning."""
        program = shutil.which("mandoc")
        if program is None:
            missing("the program mandoc", "mandoc")
        pages = sorted((ROOT / "docs/man").glob("*.[1-8]"))
        assert {page.name for page in pages} >= {"beonss.8", "beonss.toml.5", "cpasswd.1"}
        done = subprocess.run(
            [program, "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, check=False
        )
        assert done.stdout + done.stderr == ""

    def test_examples_in_the_manual_page_are_sound(self) -> None:
        """A description copied from beonss.toml(5) passes the check it describes."""
        from beonss.wire.description import parse  # noqa: PLC0415

        page = manual("beonss.toml.5")
        blocks = printed_blocks(page)
        whole = next(block for block in blocks if block.startswith("[cluster]"))
        assert parse(whole.encode(), "beonss.toml.5").node_count > 0
        # The other blocks are parts: each becomes whole with the same cluster and a host.
        start = '[cluster]\nname="X"\nzone="x.example.org"\nnetworks=["10.5.0.0/16", "fd00:5::/32"]\nmasters=["head"]\n'
        host = '[hosts]\nhead = "10.5.0.250"\n'
        hosts = next(block for block in blocks if block.startswith("frodo"))
        nodes = next(block for block in blocks if block.startswith("[[nodes]]"))
        assert parse((start + host + hosts).encode(), "hosts").find("nis") is not None
        assert parse((start + host + nodes).encode(), "nodes").find("r05n32") is not None

    def test_manual_page_names_every_command_and_option(self) -> None:
        """beonss(8) has each subcommand, those of groups too, and each of their options; and those of both daemons."""
        page = manual("beonss.8")
        absent = [words for words, _ in commands() if not re.search(rf"^\.B beonss {words}\b", page, re.MULTILINE)]
        absent += [f"{words} {option}" for words, options in commands() for option in options if option not in page]
        absent += [f"twistd beonss: --{name}" for name in daemon_options() if f"--{name}" not in page]
        assert not absent

    def test_manual_page_names_no_option_that_does_not_exist(self) -> None:
        """An option that was renamed does not live on in the page."""
        known = {option for _, options in commands() for option in options} | {"--help", "--version"}
        known |= {f"--{name}" for name in daemon_options()} | {"--nodaemon", "--pidfile"}
        assert not set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", manual("beonss.8"))) - known

    def test_manual_page_of_cpasswd_names_every_option(self) -> None:
        """cpasswd(1) has each option that ``cpasswd --help`` shows, and no other."""
        done = subprocess.run(
            [sys.executable, "-c", "from cpasswd.main import main; main()", "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", done.stdout))
        assert shown == set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", manual("cpasswd.1")))

    def test_manual_page_names_every_option_of_a_description(self) -> None:
        """beonss.toml(5) has each section and each option, under the name the checker knows."""
        from pydantic import BaseModel  # noqa: PLC0415

        from beonss.wire import description_shape  # noqa: PLC0415

        page = manual("beonss.toml.5")
        shapes = [s for s in vars(description_shape).values() if isinstance(s, type) and issubclass(s, BaseModel)]
        # A line of [reserved] has no options; its only field holds the value itself.
        names = {name for shape in shapes for name in shape.model_fields if shape.__name__ != "Reserved"}
        assert not [name for name in names if not re.search(rf"^\.(B|BR|SS) .*\b{name}\b", page, re.MULTILINE)]
        assert not [name for name in description_shape.SECTIONS if f"[{name}]" not in page]

    def test_manual_page_names_every_option_of_a_target(self) -> None:
        """beonss(8) has each option of each type of target, and its example is one that is taken."""
        page = manual("beonss.8")
        absent = [
            f"{kind}: {name}"
            for kind, model in settings._SHAPES.items()
            for name in model.model_fields
            if not re.search(rf"^\.(B|BR) .*\b{name}\b", page, re.MULTILINE)
        ]
        assert not absent
        example = next(block for block in printed_blocks(page) if block.startswith("[[target]]"))
        assert len(settings.parse(example.encode(), "beonss.8", Path("/nowhere"))) == 3

    def test_commands_that_errors_and_documents_advise_exist(self) -> None:
        """What an operator is told to run can be run: the command, its subcommand, and its options."""
        known = dict(commands())
        wrong = []
        for path in written_files():
            if path.suffix not in {".py", ".md", ".service", ".toml"} or path.relative_to(ROOT).parts[0] == "tests":
                continue
            for words in re.findall(r"\bbeonss ([a-z]+(?: [a-z]+)?(?: +[^\s\"'`;,)|]+)*)", path.read_text("utf-8")):
                name, inner, innermost, *_ = [*words.split(" "), "", ""]
                if name not in COMMANDS:
                    continue
                options = known.get(f"{name} {inner} {innermost}") or known.get(f"{name} {inner}", known[name])
                given = {word.partition("=")[0] for word in words.split(" ") if word.startswith("--")}
                if given - set(options) - {"--help"}:
                    wrong.append(f"{name_of(path)}: beonss {words}")
        assert not wrong


def test_scripts_parse() -> None:
    """The shell scripts are well-formed, for sh and not only for bash where they say sh."""
    for name in ("tools/prepare", "tools/lint-text", ".ci/run"):
        shell = "bash" if "bash" in (ROOT / name).read_text("utf-8").splitlines()[0] else "sh"
        done = subprocess.run([shell, "-n", ROOT / name], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name
