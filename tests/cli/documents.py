"""``docs/reference/json.md`` as a check on real documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"

_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def table_rows(path: Path) -> list[list[str]]:
    """The cells of every table row of a page."""
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def documented() -> dict[str, dict[str, str]]:
    """Document -> field path -> type."""
    documents: dict[str, dict[str, str]] = {}
    for row in table_rows(DOCS / "json.md"):
        if len(row) == 4 and row[1].startswith("`"):
            documents.setdefault(row[0], {})[row[1].strip("`")] = row[2]
    return documents


def check(name: str, document: Mapping[str, Any]) -> None:
    """Assert that a document has exactly the fields that the page gives it, of the types it gives them."""
    fields = documented()[name]
    unknown = {path for path, _ in _flatten(document, "")} - set(fields)
    assert not unknown, f"{name}: not in json.md: {sorted(unknown)}"
    for path, kind in fields.items():
        parent, _, leaf = path.rpartition(".")
        for holder in _at(document, parent):
            _check_field(name, path, leaf, kind, holder)


def _check_field(name: str, path: str, leaf: str, kind: str, holder: Mapping[str, Any]) -> None:
    kind, _, other = kind.partition(", in place of ")
    if other:
        assert (leaf in holder) != (other.strip("`") in holder), f"{name}: exactly one of {leaf} and {other}"
    elif leaf not in holder:
        assert f"{leaf}_base64" in holder, f"{name}: {path} is missing"
    if leaf in holder:
        assert _fits(kind, holder[leaf]), f"{name}: {path} is no {kind}: {holder[leaf]!r}"


def _fits(kind: str, value: Any) -> bool:
    if kind.startswith("list of "):
        return isinstance(value, list) and all(_fits(kind.removeprefix("list of "), item) for item in value)
    return any(_CHECKS[each](value) for each in kind.split(" or "))


def _flatten(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every field of a document by its path."""
    if isinstance(value, dict):
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            yield inner, item
            yield from _flatten(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from _flatten(item, f"{path}[]")


def _at(document: Mapping[str, Any], path: str) -> list[Mapping[str, Any]]:
    """The objects that a path such as ``peers[].connections[]`` names."""
    holders: list[Any] = [document]
    for step in filter(None, path.split(".")):
        name = re.sub(r"\[\]$", "", step)
        holders = [holder[name] for holder in holders]
        if step.endswith("[]"):
            holders = [item for items in holders for item in items]
    return holders
