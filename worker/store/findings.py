"""What the database tells of connections, and to operators, as values."""

from datetime import datetime

from worker.recurrence.times import parse_time
from worker.recurrence.zonecheck import Zone
from worker.store.answers import (
    Connection,
    Diagnosis,
    Doubtful,
    Halted,
    Overview,
    PutAside,
    Resolved,
    Waiting,
    Withdrawn,
)
from worker.store.api import Row
from worker.store.reading import instant_or_none, reading

connection, diagnosis, withdrawn = reading(Connection), reading(Diagnosis), reading(Withdrawn)
waiting, halted, doubtful, put_aside = reading(Waiting), reading(Halted), reading(Doubtful), reading(PutAside)


def probes(row: Row) -> tuple[list[Connection], datetime | None]:
    return [connection(one) for one in row["probes"] or []], instant_or_none(row["next_probe_at"])


def finished_probes(row: Row) -> tuple[list[str], datetime | None]:
    return row["back"] or [], instant_or_none(row["next_probe_at"])


def overview(row: Row) -> Overview:
    return Overview(
        db_now=row["db_now"],
        counts=row["counts"] or {},
        due=row["due"],
        next_due_at=row["next_due_at"],
        oldest_overdue_at=row["oldest_overdue_at"],
        waiting=[waiting(one) for one in row["waiting"] or []],
        connections=[halted(one) for one in row["connections"] or []],
        unconfirmed=[doubtful(one) for one in row["unconfirmed"] or []],
        stale_hand_overs=row["stale_hand_overs"],
        refused=[put_aside(one) for one in row["refused"] or []],
    )


def resolved(row: Row) -> Resolved:
    return Resolved(
        connection_id=row["connection_id"],
        gateway=row["gateway"],
        attempts=row["attempts"],
        send_at=instant_or_none(row["send_at"]),
        error=row["error"],
    )


def zone(row: Row) -> Zone:
    return Zone(
        name=row["name"],
        messages=row["messages"],
        connections=row["connections"],
        began_at=parse_time(row["began_at"]),
        offsets=row["offsets"],
    )
