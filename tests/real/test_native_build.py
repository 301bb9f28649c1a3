"""The compiled core is built where it can be, and nothing fails where it cannot."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.requires import missing

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300

pytestmark = pytest.mark.skipif(not (ROOT / "native").exists(), reason="not run from the sources")


@pytest.fixture
def hook(tmp_path, monkeypatch):
    """Return hatch_build.py working on a copy of the sources."""
    specification = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    shutil.copytree(ROOT / "native", tmp_path / "native")
    (tmp_path / "beonss" / "net" / "dns").mkdir(parents=True)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def test_without_a_compiler_it_is_left_out(hook, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(hook.NotBuilt, match="no C compiler"):
        hook.build()
    assert list((tmp_path / "beonss" / "net" / "dns").iterdir()) == []


def test_a_compiler_that_fails_is_told_with_what_it_said(hook, tmp_path):
    (tmp_path / "native" / "names.c").write_text("#error so it is\n")
    if shutil.which("cc") is None:
        missing("a C compiler", "gcc libc6-dev")
    with pytest.raises(hook.NotBuilt, match="so it is"):
        hook.build()
    assert list((tmp_path / "beonss" / "net" / "dns").iterdir()) == []


def test_it_is_built_once_and_anew_when_a_source_is_newer(hook, tmp_path):
    if shutil.which("cc") is None or not (Path(hook.sysconfig.get_path("include")) / "Python.h").exists():
        missing("a C compiler or Python.h", "gcc libc6-dev python3-dev")
    target = hook.build()
    first = target.stat().st_mtime_ns
    assert hook.build().stat().st_mtime_ns == first
    os.utime(tmp_path / "native" / "answer.c", (first / 1e9 + 5, first / 1e9 + 5))
    assert hook.build().stat().st_mtime_ns != first
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_it_compiles_without_a_warning(hook):
    """With the flags of ``make native``, and the core alone as strictly as C99 allows."""
    if shutil.which("cc") is None:
        missing("a C compiler", "gcc libc6-dev")
    hook.build(strict=True)
    for name in ("names.c", "answer.c"):
        flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wno-sign-conversion", "-Werror"]
        subprocess.run(["cc", *flags, "-O2", "-c", "-o", os.devnull, ROOT / "native" / name], check=True)


def test_a_wheel_without_it_is_pure_python(tmp_path):
    pytest.importorskip("build")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    environment["BEONSS_PURE_PYTHON"] = "1"
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
