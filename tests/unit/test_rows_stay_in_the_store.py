"""Behind the store there are values: mypy tells who misspells a column, and a row's shape is known in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.api import ROOT

ROOMS = ("sending", "planning", "recurrence", "operating")
# They read what others write: Realtime's events, what authors put into the column `media`, the environment, a URL.
STRANGERS = {"sending/wake.py", "planning/content.py", "recurrence/zonedata.py", "operating/database_url.py"}
FILES = [
    file
    for room in ROOMS
    for file in sorted((ROOT / "worker" / room).glob("*.py"))
    if file.relative_to(ROOT / "worker").as_posix() not in STRANGERS
]


def look_ups(code: str) -> Iterator[str]:
    """Of something by a name that is written there: `row["id"]`, `row.get("id")`."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Subscript(slice=ast.Constant(value=str())):
                yield ast.unparse(node)
            case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=str()), *_]):
                yield ast.unparse(node)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_nobody_behind_the_store_looks_a_column_up(file: Path) -> None:
    assert [*look_ups(file.read_text())] == []


def test_both_ways_of_looking_up_are_noticed() -> None:
    assert [*look_ups("a = row['id']\nb = row.get('id', 1)\nc = rows[0]\nd = row[name]")] == [
        "row['id']",
        "row.get('id', 1)",
    ]
