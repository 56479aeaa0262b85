"""The limiter without daemons: jobs straight into the queue, claims at any instant; and what a gateway saw of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

from tests.helpers.calls import record
from tests.helpers.rows import Database, add_connections, one

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday on which nothing special happens


@dataclass
class Claimed:
    """What one claim brought, and when the next may bring something (None: nobody knows)."""

    token: str
    jobs: list[dict[str, Any]]
    next_ready_at: datetime | None

    @property
    def slots(self) -> list[datetime]:
        return [datetime.fromisoformat(job["send_at"]) for job in self.jobs]


class Queue:
    """The tables behind the claim. Every message has a recipient of its own unless told otherwise."""

    def __init__(self, db: Database) -> None:
        self.db = db

    def settings(self, connection: str = "shop", **columns: Any) -> None:
        add_connections(self.db, connection)
        names = ["connection_id", *columns]
        sets = ", ".join(f"{name} = excluded.{name}" for name in names)
        self.db.execute(
            f"insert into connection_settings ({', '.join(names)}) values ({', '.join(['%s'] * len(names))})"
            f" on conflict (connection_id) do update set {sets}",
            (connection, *columns.values()),
        )

    def add(
        self,
        count: int,
        connection: str = "shop",
        at: datetime = NOON,
        recipient: str | None = None,
        owner: str | None = None,
        priority: int = 0,
    ) -> None:
        """`count` jobs that wait from `at` on."""
        add_connections(self.db, connection)
        self.db.execute(
            """
            with row as (
                insert into scheduled_messages (
                    id, connection_id, contact_id, message, scheduled_at, status, broadcast_job_id, priority
                )
                select i.id, %(c)s, coalesce(%(r)s, '+9198' || lpad(i.n::text, 8, '0')), 'x', %(at)s, 'processing',
                    i.id, %(p)s
                from (select gen_random_uuid() as id, n from generate_series(1, %(count)s) as n) as i
                returning *
            ), job as (
                insert into broadcast_jobs (
                    id, scheduled_message_id, connection_id, recipient, schedule, available_at, status, user_id,
                    priority
                )
                select id, id, connection_id, contact_id, scheduled_at, scheduled_at, 'queued', %(o)s, priority from row
                returning id
            )
            insert into broadcast_messages (id, job_id, scheduled_message_id, contact, status)
            select id, id, id, '', 'waiting' from job
            """,
            {"count": count, "c": connection, "at": at, "r": recipient, "o": owner, "p": priority},
        )
        self.db.execute("select private.announce_work(%s::text[], %s::timestamptz[])", ([connection], [at]))

    def claim(
        self,
        now: datetime,
        seats: int = 20,
        gateway: str = "mock",
        busy: Sequence[str] = (),
        token: str | None = None,
        ahead: float = 0.0,
    ) -> Claimed:
        token = token or str(uuid4())
        row = self.db.execute(
            "select jobs, nullif(next_ready_at, 'infinity') as next_ready_at"
            " from claim_broadcast_jobs(%s, %s, 60, %s, %s, %s, 0.15, %s)",
            (token, seats, gateway, list(busy), now, ahead),
        ).fetchone()
        assert row
        return Claimed(token, row["jobs"] or [], row["next_ready_at"])

    def run(self, now: datetime, seconds: float, **options: Any) -> list[float]:
        """Claims whenever there may be something, for so long. Returns the slots, in seconds since `now`, in order."""
        start, slots = now, list[float]()
        end, in_vain = now + timedelta(seconds=seconds), 0
        for _ in range(100_000):
            claimed = self.claim(now, **options)
            slots += [(slot - start).total_seconds() for slot in claimed.slots]
            if claimed.next_ready_at is None or max(now, claimed.next_ready_at) >= end:
                return sorted(slots)
            in_vain = 0 if claimed.jobs or claimed.next_ready_at > now else in_vain + 1
            assert in_vain < 3, "it would ask again and again"
            now = max(now, claimed.next_ready_at)
        raise AssertionError("it never comes to rest")

    def record(self, claimed: Claimed, *outcomes: str, error: str | None = None, wait: float | None = None) -> None:
        """One outcome for all jobs of a claim, or one for each."""
        outcomes = outcomes * len(claimed.jobs) if len(outcomes) == 1 else outcomes
        told = [
            {"verdict": outcome, "message_id": "m" if outcome == "sent" else None, "error": error, "wait": wait}
            for outcome in outcomes
        ]
        jobs = [{"job_id": job["id"], "token": claimed.token} for job in claimed.jobs]
        record(self.db, *(job | answer for job, answer in zip(jobs, told, strict=True)))

    def state(self, connection: str = "shop") -> dict[str, Any]:
        """What the limiter remembers, as JSON: times are texts, two of which are "infinity" and "-infinity"."""
        sql = "select to_jsonb(c) from private.connection_state as c where connection_id = %s"
        return dict(one(self.db, sql, connection))

    def rows(self, connection: str = "shop") -> list[dict[str, Any]]:
        """The scheduled rows, in the order of the queue."""
        return self.db.execute(
            "select s.*, j.available_at, j.status as job_status"
            " from scheduled_messages s join broadcast_jobs j on j.id = s.broadcast_job_id"
            " where s.connection_id = %s order by j.available_at, j.id",
            (connection,),
        ).fetchall()

    def waiting(self, connection: str = "shop") -> int:
        sql = "select count(*) from broadcast_jobs where status = 'queued' and connection_id = %s"
        return int(one(self.db, sql, connection))


def gaps(instants: Sequence[float]) -> list[float]:
    """Seconds between neighbours."""
    return [later - earlier for earlier, later in pairwise(sorted(instants))]
