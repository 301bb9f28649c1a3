"""Builds the compiled core of the DNS server (native/) into the package, where that is possible.

Run by hatchling for wheels and editable installations, and as a program by ``make native`` and ``tools/prepare``.
Without a C compiler or Python's headers nothing is built and nothing fails: the same answers come from Python.

As a program:
    python hatch_build.py [--strict] [--cc COMPILER]

``--strict`` fails where nothing can be built, and takes every warning of the compiler for an error.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
SOURCES = ("names.c", "answer.c", "module.c")
HEADERS = ("names.h", "answer.h")
#: One build serves CPython 3.11 and all later versions (the stable ABI).
TARGET = Path("beonss", "net", "dns", "_dns_native.abi3.so")
TAG = "cp311-abi3"
SECONDS = 300


class NotBuilt(Exception):  # noqa: N818 - no error: Python does the work
    """Why the compiled core is left out."""


def build(*, strict: bool = False, compiler: str | None = None) -> Path:
    """Compile the core unless it is newer than its sources; return where it stands.

    Raises:
        NotBuilt: something that is needed is missing, or the compiler failed.
    """
    if sys.implementation.name != "cpython" or os.name != "posix":
        raise NotBuilt("it is for CPython on Unix")
    sources = [ROOT / "native" / name for name in SOURCES]
    needed = [*sources, *(ROOT / "native" / name for name in HEADERS), Path(__file__)]
    target = ROOT / TARGET
    if not strict and target.exists() and target.stat().st_mtime >= max(each.stat().st_mtime for each in needed):
        return target
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").exists():
        raise NotBuilt(f"there is no Python.h in {headers} (apt install python3-dev)")
    command = [*_compiler(compiler), "-std=c99", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"]
    command += ["-Werror"] if strict else []
    command += shlex.split(os.environ.get("CFLAGS", ""))
    fresh = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        done = subprocess.run(  # noqa: S603 - the compiler
            [*command, f"-I{headers}", "-o", fresh, *sources],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise NotBuilt(f"the compiler failed:\n{done.stderr}")
        # In one step: a daemon that runs keeps the file it has open.
        fresh.replace(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(f"the compiler cannot be run: {error}") from error
    finally:
        fresh.unlink(missing_ok=True)
    return target


def _compiler(wish: str | None) -> list[str]:
    for candidate in (wish, os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"):
        words = shlex.split(candidate or "")
        if words and shutil.which(words[0]):
            # What Python itself was built with may carry options; the program is what matters.
            return words if candidate in (wish, os.environ.get("CC")) else words[:1]
    raise NotBuilt("there is no C compiler (apt install gcc libc6-dev)")


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:
    # As a program there may be no hatchling.
    pass
else:

    class NativeHook(BuildHookInterface):  # type: ignore[type-arg,misc]
        """What hatchling calls."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
            """Put the compiled core into a wheel, which then is for one platform."""
            if self.target_name != "wheel" or os.environ.get("BEONSS_PURE_PYTHON", "") not in ("", "0"):
                return
            try:
                build()
            except NotBuilt as reason:
                self.app.display_warning(f"without the compiled core of the DNS server: {reason}")
                return
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"{TAG}-{platform}"
            # It is made, so it is ignored by git and by hatchling unless named here.
            build_data["artifacts"].append(TARGET.as_posix())


def main() -> None:
    """Build and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--strict", action="store_true", help="fail where nothing can be built, and on every warning")
    parser.add_argument("--cc", help="the compiler")
    options = parser.parse_args()
    try:
        build(strict=options.strict, compiler=options.cc)
    except NotBuilt as reason:
        print(f"the DNS server will answer in Python: {reason}", file=sys.stderr)
        if options.strict:
            sys.exit(1)


if __name__ == "__main__":
    main()
