"""The database's functions that take many rows, called as the daemon calls them: private.planned_row and its like."""

import json
from typing import Any

from tests.helpers.rows import Database

# What the daemon asks for others than messages: each ten seconds in trouble, and each five for those who write to many.
BESIDE = ("get_holders", "get_campaign_agenda", "take_rehearsal", "get_numbers_asked")


def p_rows(*rows: dict[str, Any]) -> str:
    return json.dumps(rows, default=str)


def _called(db: Database, name: str, rows: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    answer = db.execute(f"select * from {name}(p_rows => %s)", (p_rows(*rows),)).fetchone()
    assert answer
    return answer


def enqueue(db: Database, *rows: dict[str, Any]) -> list[str]:
    """Ids of those that left `pending`."""
    return [str(row) for row in _called(db, "enqueue_broadcast_jobs", rows)["enqueued"]]


def record(db: Database, *rows: dict[str, Any]) -> dict[str, Any]:
    """Which were fenced out, and which refused."""
    return _called(db, "record_outcomes", rows)


def tell(db: Database, *rows: dict[str, Any]) -> dict[str, Any]:
    """What a webhook told of them."""
    return _called(db, "record_deliveries", rows)
