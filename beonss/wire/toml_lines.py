"""Where in a TOML document each value stands: a parser's values do not say, an operator wants to know."""

import tomllib
from collections.abc import Iterator, Mapping

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

#: A place in a document: keys and, in arrays, indices.
Path = tuple[str | int, ...]

#: No description needs values nested deeper; it also bounds the recursion here and in what follows.
MAX_DEPTH = 24

_TABLES = {"table", "table_array_element"}
_KEYS = {"bare_key", "quoted_key", "dotted_key"}


class TooDeepError(Exception):
    """A document nested deeper than ``MAX_DEPTH``, at ``line`` (from 1)."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class LineMap:
    """The lines of a document's keys and array elements."""

    def __init__(self, lines: Mapping[Path, int]) -> None:
        self._lines = lines

    def __contains__(self, path: Path) -> bool:
        return path in self._lines

    def line(self, path: Path) -> int:
        """Return the line, from 1, of the value at ``path`` or of the nearest thing around it; 0 for none."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return self._lines.get((), 0)


def locate(data: bytes) -> LineMap:
    """Return the lines of a document, of as much of it as is TOML.

    Raises:
        TooDeepError: it is nested too deeply to be read at a bounded cost.
    """
    tree = Parser(Language(tree_sitter_toml.language())).parse(data)
    _check_depth(tree.root_node)
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    for child in tree.root_node.children:
        if child.type in _TABLES:
            _table(child, lines, counts)
        elif child.type == "pair":
            _pair(child, (), lines)
    return LineMap(lines)


def _check_depth(root: Node) -> None:
    cursor = root.walk()
    depth = 0
    while True:
        if cursor.goto_first_child():
            depth += 1
            if depth > MAX_DEPTH:
                assert cursor.node is not None
                raise TooDeepError(cursor.node.start_point[0] + 1)
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return
            depth -= 1


def _table(node: Node, lines: dict[Path, int], counts: dict[Path, int]) -> None:
    keys = [child for child in node.children if child.type in _KEYS]
    if not keys:
        return
    # A header names the newest element of every array of tables on its way.
    path: Path = ()
    names = list(_names(keys[0]))
    for i, name in enumerate(names):
        path = (*path, name)
        if i < len(names) - 1 and path in counts:
            path = (*path, counts[path])
    line = node.start_point[0] + 1
    if node.type == "table_array_element":
        lines.setdefault(path, line)
        counts[path] = counts.get(path, -1) + 1
        path = (*path, counts[path])
    elif path in counts:
        path = (*path, counts[path])
    lines.setdefault(path, line)
    for child in node.children:
        if child.type == "pair":
            _pair(child, path, lines)


def _pair(node: Node, prefix: Path, lines: dict[Path, int]) -> None:
    keys = [child for child in node.children if child.type in _KEYS]
    if not keys:
        return
    path = prefix
    for name in _names(keys[0]):
        path = (*path, name)
        lines.setdefault(path, node.start_point[0] + 1)
    _value(node.children[-1], path, lines)


def _value(node: Node, path: Path, lines: dict[Path, int]) -> None:
    if node.type == "inline_table":
        for child in node.children:
            if child.type == "pair":
                _pair(child, path, lines)
    elif node.type == "array":
        items = (child for child in node.children if child.is_named and child.type not in {"comment", "ERROR"})
        for at, child in enumerate(items):
            lines[*path, at] = child.start_point[0] + 1
            _value(child, (*path, at), lines)


def _names(node: Node) -> Iterator[str]:
    if node.type == "dotted_key":
        for child in node.children:
            if child.type in _KEYS:
                yield from _names(child)
    elif node.text is not None:
        text = node.text.decode("utf-8", "replace")
        try:
            yield next(iter(tomllib.loads(f"{text} = 0"))) if node.type == "quoted_key" else text
        except ValueError:
            yield text
