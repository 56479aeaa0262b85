"""What `explain (analyze, format json)` tells."""

from collections.abc import Iterator
from typing import Any


def nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield tree
    for child in tree.get("Plans", []):
        yield from nodes(child)


def read(node: dict[str, Any]) -> float:
    """How many rows a scan looked at."""
    thrown_away = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + thrown_away) * node["Actual Loops"])
