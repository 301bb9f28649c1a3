"""The compiled DNS core under sanitizers: no image and no packet makes it touch what it must not."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from support.dns_packets import descriptions, known_names, wire
from support.requires import missing

from beonss.core.zones.zone import Zones
from beonss.wire.description import parse
from beonss.wire.name_image import name_image

ROOT = Path(__file__).parents[2]
ROUNDS = 400
FLAGS = [
    "-std=c99",
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    compiler = shutil.which("clang") or shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        missing("a C compiler", "gcc libc6-dev")
    place = tmp_path_factory.mktemp("fuzz")
    (place / "empty.c").write_text("int main(void) { return 0; }\n")
    probe = subprocess.run(
        [compiler, *FLAGS, "-o", place / "empty", place / "empty.c"], capture_output=True, check=False
    )
    if probe.returncode:
        missing("the sanitizers of the C compiler", "libasan and libubsan, which come with gcc")
    sources = [ROOT / "native" / name for name in ("names.c", "answer.c", "fuzz.c")]
    command = [compiler, *FLAGS, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion", "-Wno-sign-conversion"]
    subprocess.run([*command, "-o", place / "fuzz", *sources], check=True, timeout=120)
    return place / "fuzz"


def stream(names: list[bytes]) -> bytes:
    """Return queries of all kinds, each behind its length."""
    framed = b""
    for number, name in enumerate(names[:: max(1, len(names) // 120)]):
        kind = (1, 12, 28, 255, 6, 5)[number % 6]
        extra = (b"", b"\0\0\x29\4\xd0\0\0\0\0\0\4\0\3\0\0")[number % 2]
        packet = b"id\1\0\0\1\0\0\0\0\0" + bytes([number % 2]) + name + b"\0\0" + bytes([kind]) + b"\0\1" + extra
        framed += len(packet).to_bytes(2, "big") + packet
    return framed


def run(driver: Path, place: Path, text: str, seed: int) -> tuple[int, int]:
    """Fuzz one description; return how many images opened and how many queries were answered."""
    naming = parse(text.encode(), "drawn")
    image = name_image(Zones(naming))
    assert image is not None
    (place / "image").write_bytes(image)
    (place / "queries").write_bytes(stream([*known_names(naming), wire([b"\xff" * 63] * 3)]))
    done = subprocess.run(
        [driver, place / "image", place / "queries", str(seed), str(ROUNDS)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}\n{text}\n{done.stderr}"
    match = re.fullmatch(r"(\d+) of \d+ images opened, (\d+) answers\n", done.stdout)
    assert match is not None
    return int(match[1]), int(match[2])


@pytest.mark.parametrize("name", ["fellowship", "scyld", "supercluster"])
def test_examples(driver, tmp_path, name):
    """Sound and changed images of the examples, asked sound and changed queries."""
    text = (ROOT / "examples" / f"{name}.toml").read_text("utf-8")
    opened, answers = run(driver, tmp_path, text, 4711)
    # The sound half always opens; some changes (an address, a name) leave an image sound too, others are refused.
    assert ROUNDS // 2 < opened < ROUNDS
    assert answers > ROUNDS


def test_drawn_descriptions(driver, tmp_path):
    """The same with descriptions by chance, each time others."""
    seed = 0

    @settings(max_examples=6, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(descriptions())
    def fuzz(text):
        nonlocal seed
        seed += 1
        run(driver, tmp_path, text, seed)

    fuzz()
