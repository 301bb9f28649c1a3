"""Whatever the bytes of a description, it is compiled or refused with DescriptionError, never anything else."""

from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from beonss.core.names.description import DescriptionError
from beonss.core.names.naming import Naming
from beonss.wire.description import MAX_BYTES, parse

EXAMPLE = (Path(__file__).parents[2] / "examples" / "fellowship.toml").read_bytes()


def refused_or_sound(data: bytes) -> Naming | None:
    """Return the naming, or None when it was refused as it should be."""
    try:
        return parse(data, "fuzz.toml")
    except DescriptionError as refusal:
        problems = refusal.problems
    assert problems
    for problem in problems:
        assert problem.file == "fuzz.toml"
        assert 0 <= problem.line <= data.count(b"\n") + 1
        assert problem.text
        assert len(str(problem)) < 2000
    return None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    refused_or_sound(data)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(0, len(EXAMPLE) - 1), st.binary(max_size=4), st.integers(0, 6)), min_size=1, max_size=4
    )
)
def test_a_good_description_with_bytes_changed(edits: list[tuple[int, bytes, int]]) -> None:
    data = EXAMPLE
    for at, put, removed in edits:
        data = data[:at] + put + data[at + removed :]
    refused_or_sound(data)


ODD = st.sampled_from(
    [
        "0",
        "-1",
        "1.5",
        "true",
        '""',
        '"x"',
        "[]",
        "{}",
        "[[1]]",
        "[{}]",
        "1979-05-27T07:32:00Z",
        "inf",
        "nan",
        "9" * 40,
        '"\\u0000"',
        '"\\U0010ffff"',
        '"{"',
        '"}"',
        '"{a"',
        '"{a}{a}"',
        '"r{a}"',
        '"10.5.{a}.{b}"',
        '"10.5.0.0 + {a}"',
        '"10.5.0.0 - 10.5.0.9"',
        '"::{a}"',
        '"0-9999999999"',
        '"1-4"',
        '"fe80::1%eth0"',
        '"10.5.0.0/16"',
        '"::/0"',
        '"-"',
        '"+"',
        '" + "',
        '["10.5.0.1", "::1"]',
        '{ a = "1-3" }',
        '[{ a = "1" }, { b = "2" }]',
        '{ address = "10.5.0.7" }',
        '"n{node}"',
    ]
)
KEYS = st.sampled_from(
    [
        "cluster.name",
        "cluster.zone",
        "cluster.version",
        "cluster.ttl",
        "cluster.networks",
        "cluster.reverse",
        "cluster.masters",
        "reserved.x",
        "access.networks",
        "accounts.uid_floor",
        "accounts.hash",
        "accounts.hash_cost",
        "hosts.frodo",
        'hosts."a b"',
        "hosts",
        "nodes",
        "derived",
        "what",
        "cluster",
        '"".""',
    ]
)
OPTIONS = st.sampled_from(
    ["name", "address", "aliases", "ranges", "count", "interfaces", "interfaces.ib", "ranges.a", "ranges.b", "odd"]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(KEYS, ODD, max_size=8),
    st.lists(st.tuples(st.sampled_from(["nodes", "derived"]), st.dictionaries(OPTIONS, ODD, max_size=5)), max_size=3),
)
def test_any_type_and_any_odd_text_anywhere(top: dict[str, str], rules: list[tuple[str, dict[str, str]]]) -> None:
    lines = [f"{key} = {value}" for key, value in top.items()]
    for section, options in rules:
        lines += [f"[[{section}]]", *(f"{key} = {value}" for key, value in options.items())]
    refused_or_sound("\n".join(lines).encode())


@given(st.text(max_size=40))
@example("\ud800")
def test_any_text_as_pattern(text: str) -> None:
    quoted = "".join(f"\\U{ord(c):08x}" if not 0xD800 <= ord(c) < 0xE000 else f"\\u{ord(c):04x}" for c in text)
    document = (
        EXAMPLE + f'\n[[nodes]]\nname = "{quoted}"\naddress = "{quoted}"\nranges = {{ a = "{quoted}" }}\n'.encode()
    )
    refused_or_sound(document)


def test_hostile_documents_are_refused() -> None:
    """Each of these has broken, or slowed down, some reader of TOML."""
    hostile = [
        b"\xff\xfe[cluster]",
        "[cluster]\nname = 'Z\u00fcrich'".encode("latin-1"),
        b"a = " + b"[" * 100_000 + b"]" * 100_000,
        b"a = " + b"{a=" * 50_000 + b"1" + b"}" * 50_000,
        b"a" + b".a" * 300_000 + b" = 1",
        b"[" + b"a." * 100_000 + b"a]",
        b"a = " + b"9" * 100_000,
        b"a = 1\na = 2",
        b"[[nodes]]\n[nodes]",
        b"a = '\x00'",
        b"#" * (MAX_BYTES + 1),
        b'[cluster]\nname = """' + b"x" * 1000,
        b"\n" * 100_000 + b"=",
    ]
    for data in hostile:
        assert refused_or_sound(data) is None


def test_byte_order_mark_and_crlf_are_taken() -> None:
    """What an editor on another system adds changes nothing: the digest is the same."""
    plain, edited = parse(EXAMPLE, "a"), parse(b"\xef\xbb\xbf" + EXAMPLE.replace(b"\n", b"\r\n"), "b")
    assert plain.digest == edited.digest
