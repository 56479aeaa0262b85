"""The argument of the database's functions that take many rows."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from typing import Any

from worker.jobs import Decision

# What p_rows says of each: fields of private.planned_row, private.told_row and private.delivery in sql/.
PLANNED_ROW = tuple(field.name for field in fields(Decision))
TOLD_ROW = ("job_id", "token", "verdict", "message_id", "error", "wait", "parts")
DELIVERY = ("job_id", "message_id", "status", "error", "part", "parts")


def objects(values: Iterable[object], names: Sequence[str]) -> list[dict[str, Any]]:
    """Each value as an object of these fields; what is None is left out, which the database takes alike."""
    read = attrgetter(*names)
    return [
        {name: field for name, field in zip(names, read(value), strict=True) if field is not None} for value in values
    ]


def p_rows(objects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The argument: JSON as text, which every server passes on as it is.

    See docs/adr/0026-many-rows-are-one-argument.md.
    """
    return {"p_rows": json.dumps(objects, ensure_ascii=False, separators=(",", ":"), default=datetime.isoformat)}
