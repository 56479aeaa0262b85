"""Calls that run all day read the rows that they need, found by an index, whatever the statistics say.

Everything happens in one transaction that is rolled back, so no autovacuum comes between.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.helpers.calls import record
from tests.helpers.nouns import settlement
from tests.helpers.plans import nodes, read
from tests.helpers.rows import Database, add_connections, one
from tests.sql.states import row_in
from worker.jobs import Decision
from worker.store.store import PLANNED_ROW, TOLD_ROW, objects, p_rows

BIG = {
    *("scheduled_messages", "broadcast_jobs", "broadcast_messages", "contacts", "connections", "connection_settings"),
    *("private.connection_state", "private.recipient_state"),
}
RELATIONS = {name.split(".")[-1] for name in BIG}
BATCH = 100
BOUND = 5000  # rows that one scan may read: a few times the thousand that a call looks at, dead ones included
TOKEN = "6d2f5c0e-8a41-4f0b-9f6e-2b7f0c1f4d55"

# Of each kind there is more than a call may read: rows that are due and that soon will be, jobs that wait, that are
# being sent, that a dead daemon has left, and rows that were sent or are far in the future.
FILL = """
create temporary table people on commit drop as
select n, md5('row' || n)::uuid as id, md5('job' || n)::uuid as job, 'shop-' || n % 2 as shop,
    '+9198' || lpad(n::text, 8, '0') as number, case
        when n % 14 < 5 then (array['due', 'soon', 'queued', 'sending', 'late'])[n % 14 + 1]
        when n % 2 = 0 then 'sent' else 'future'
    end as kind
from generate_series(1, {rows}) as n;

insert into connections (id, name) select distinct shop, shop from people;

insert into scheduled_messages (
    id, connection_id, contact_id, message, priority, scheduled_at, status, broadcast_job_id, sent_at, message_id
)
select id, shop, number, 'Hello', n % 3 % 2,
    now() + make_interval(secs => case kind
        when 'future' then 7200 + n when 'soon' then 1 + n % 80 when 'sent' then -90000 - n else -n % 1000
    end),
    case when kind in ('due', 'soon', 'future') then 'pending' when kind = 'sent' then 'sent' else 'processing' end,
    case when kind not in ('due', 'soon', 'future') then job end,
    case when kind = 'sent' then now() end, case when kind = 'sent' then 'm' || n end
from people;

insert into broadcast_jobs (
    id, scheduled_message_id, connection_id, recipient, priority, available_at, schedule, send_at, gateway, lease_token,
    status, lease_until
)
select job, id, shop, number, n % 3 % 2, now() - interval '1 minute', now(), now(), 'mock', '{token}',
    case kind when 'sent' then 'completed' when 'late' then 'sending' else kind end,
    now() + case kind when 'sending' then interval '1 minute' when 'late' then interval '-1 minute' end
from people where kind not in ('due', 'soon', 'future');

insert into broadcast_messages (id, job_id, scheduled_message_id, contact, status)
select job, job, id, ltrim(number, '+'), case kind when 'sent' then 'sent' else 'waiting' end
from people where kind not in ('due', 'soon', 'future');

select private.announce_work(array_agg(id), array_agg(now())) from connections;

insert into connections (id, name) select 'quiet-' || n, 'quiet' from people;
insert into connection_settings (connection_id) select 'quiet-' || n from people;
insert into connection_settings (connection_id, recipient_interval_seconds) values ('shop-1', 6);
insert into private.connection_state (connection_id) select 'quiet-' || n from people;
insert into private.connection_state (connection_id, paused_reason, probe_at)
select 'paused-' || n, 'logged out', now() + make_interval(secs => n - 10) from people;
insert into private.recipient_state (connection_id, recipient, free_at)
select shop, number, now() + interval '1 hour' from people where kind = 'sent';
insert into contacts (owner_id, phone_number) select id, number from people;
"""
ANALYSE = f"analyze {', '.join(sorted(BIG))}"
# What all rows and all jobs are when `analyze` looks; afterwards they are what they were.
ALL_DUE = (
    "update scheduled_messages"
    " set status = 'pending', scheduled_at = now() - interval '1 hour', sent_at = null, message_id = null;"
    " update broadcast_jobs set status = 'queued';"
)
ALL_DONE = (
    "update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'm';"
    " update broadcast_jobs set status = 'completed'; update broadcast_messages set status = 'sent';"
)
ONCE = f"""
create temporary table old_rows on commit drop as select * from scheduled_messages;
create temporary table old_jobs on commit drop as select * from broadcast_jobs;
create temporary table old_messages on commit drop as select * from broadcast_messages;
{{all}}
{ANALYSE};
update scheduled_messages as s
set status = o.status, scheduled_at = o.scheduled_at, sent_at = o.sent_at, message_id = o.message_id
from old_rows as o where o.id = s.id;
update broadcast_jobs as j set status = o.status from old_jobs as o where o.id = j.id;
update broadcast_messages as m set status = o.status from old_messages as o where o.id = m.id;
"""
TUPLES = """
update pg_class set reltuples = reltuples * %(factor)s
where oid in (
    select unnest(array[c.oid, i.indexrelid]) from pg_class as c join pg_index as i on i.indrelid = c.oid
    where c.oid = any(%(tables)s::regclass[])
)
"""
EXPLAIN = """
load 'auto_explain';
set auto_explain.log_level = notice; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;
set auto_explain.log_analyze = on; set auto_explain.log_timing = off; set auto_explain.log_format = json;
"""
TYPES = """
select unnest(p.proargnames[:p.pronargs]) as argument, format_type(unnest(p.proargtypes::oid[]), null) as type
from pg_proc as p where p.proname = %s
"""


def fresh(db: Database, fill: str) -> None:
    db.execute(fill)
    db.execute(ANALYSE)


def analysed_when_empty(db: Database, fill: str) -> None:
    db.execute(ANALYSE)
    db.execute(fill)


def analysed_when_all_was_due(db: Database, fill: str) -> None:
    db.execute(fill)
    db.execute(ONCE.format(all=ALL_DUE))


def analysed_when_all_was_done(db: Database, fill: str) -> None:
    db.execute(fill)
    db.execute(ONCE.format(all=ALL_DONE))


def huge(db: Database, fill: str) -> None:
    """As if the tables held five hundred times as much."""
    fresh(db, fill)
    db.execute(TUPLES, {"factor": 500, "tables": [*BIG]})


def believed_empty(db: Database, fill: str) -> None:
    """As after a vacuum that found pages and nobody alive on them."""
    fresh(db, fill)
    db.execute(TUPLES, {"factor": 0, "tables": [*BIG]})


STATISTICS = [fresh, analysed_when_empty, analysed_when_all_was_due, analysed_when_all_was_done, huge, believed_empty]


class Plans:
    """Runs calls as the daemon does, and collects the plans of all that they run, triggers included."""

    def __init__(self, db: Database) -> None:
        self.db, self.trees = db, list[dict[str, Any]]()
        db.execute(EXPLAIN)
        db.add_notice_handler(self._note)

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        _, found, plan = (notice.message_primary or "").partition("plan:\n")
        if found:
            self.trees.append(json.loads(plan)["Plan"])

    def of(self, name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        """The scans of our big tables that the call makes; nothing of it stays."""
        types = {row["argument"]: row["type"] for row in self.db.execute(TYPES, (name.split(".")[-1],))}
        given = ", ".join(f"{argument} => %({argument})s::{types[argument]}" for argument in arguments)
        self.trees.clear()
        with self.db.transaction(force_rollback=True):
            self.db.execute("set local role service_role")
            self.db.execute(f"select * from {name}({given})", arguments)
        found = [node for tree in self.trees for node in nodes(tree)]
        return [n for n in found if n.get("Relation Name") in RELATIONS or n["Node Type"] == "Bitmap Index Scan"]


@pytest.fixture(params=STATISTICS, ids=lambda state: state.__name__.replace("_", " "))
def plans(request, db: Database, size: Callable[[int], int]) -> Iterator[Plans]:
    with db.transaction(force_rollback=True):
        db.execute("set local session_replication_role = replica")  # these rows are old: no triggers
        request.param(db, FILL.format(rows=size(200_000), token=TOKEN))
        db.execute("set local session_replication_role = origin")
        yield Plans(db)


def ids(db: Database, sql: str) -> list[str]:
    return [str(row["id"]) for row in db.execute(f"{sql} limit {BATCH}")]


def calls(db: Database) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every call of the daemon's and its arguments for a batch."""
    due = ids(
        db, "select id from scheduled_messages where status = 'pending' and scheduled_at <= now() order by scheduled_at"
    )
    sending = ids(db, "select id from broadcast_jobs where status = 'sending' and lease_until > now()")
    claim = {"p_token": str(uuid4()), "p_seats": BATCH, "p_lease_seconds": 60}
    enqueue = p_rows(objects([Decision(row, 0, str(uuid4()), "+919800000000") for row in due], PLANNED_ROW))
    yield "get_pending_scheduled_messages", {}
    yield "get_due_of_others", {"p_payers": ["shop-0"]}
    yield "get_agenda", {"p_horizon_seconds": 90, "p_limit": 500}
    yield "look_up_recipients", {"p_ids": due}
    yield "enqueue_broadcast_jobs", enqueue
    yield "private.supersede", {"p_rows": due}
    yield "claim_broadcast_jobs", claim
    yield "enqueue_and_claim_broadcast_jobs", enqueue | claim
    for verdict in ("sent", "retry", "stopped", "throttled_recipient", "throttled_connection", "unconfirmed"):
        why = None if verdict == "sent" else "why"
        told = [settlement(job, verdict, TOKEN, message_id=f"true_{job}", error=why) for job in sending]
        yield "record_outcomes", p_rows(objects(told, TOLD_ROW))
    yield "rescue_broadcast_jobs", {}
    yield "take_probes", {}
    yield "take_withdrawn_jobs", {}
    yield "record_deliveries", p_rows([{"job_id": job, "message_id": job, "status": "read"} for job in sending])


def test_no_call_reads_more_than_it_needs_and_poll_and_claim_go_by_their_own_indexes(plans: Plans):
    chosen: dict[str, set[str]] = {}
    for name, arguments in calls(plans.db):
        scans = plans.of(name, arguments)
        for scan in scans:
            assert scan["Node Type"] != "Seq Scan", (name, scan)
            assert read(scan) <= BOUND, (name, scan)
        chosen[name] = {scan["Index Name"] for scan in scans if "Index Name" in scan}

    assert all(chosen.values()), chosen
    assert chosen["get_pending_scheduled_messages"] == {"scheduled_messages_due_idx", "scheduled_messages_pkey"}
    assert "scheduled_messages_payer_idx" in chosen["get_due_of_others"]
    assert {"scheduled_messages_due_idx", "broadcast_jobs_lease_idx"} <= chosen["get_agenda"]
    assert {"broadcast_jobs_queued_idx", "broadcast_jobs_sending_idx"} <= chosen["claim_broadcast_jobs"]
    assert "broadcast_jobs_lease_idx" in chosen["rescue_broadcast_jobs"]


@pytest.mark.parametrize("name", ["private.usage_of", "private.estimate_of"])
def test_what_waits_at_a_connection_is_found_by_whose_it_is_and_nobody_elses_is_read(db: Database, size, name: str):
    """A page asks for the one, and the daemon every ten seconds of each run for the other."""
    campaign = """
        insert into campaigns (owner_id, connection_id, name, message, audience, scheduled_at)
        values (gen_random_uuid(), 'shop-1', 'x', 'x', '{"numbers": ["+919800000000"]}', now() + interval '10 days')
        returning id
    """
    with db.transaction(force_rollback=True):
        db.execute("set local session_replication_role = replica")
        fresh(db, FILL.format(rows=size(200_000), token=TOKEN))
        given = {"p_campaign_id": one(db, campaign)} if "estimate" in name else {"p_connection_id": "shop-1"}
        db.execute("set local session_replication_role = origin")
        chosen = {scan.get("Index Name") for scan in Plans(db).of(name, given)}
    assert "scheduled_messages_payer_idx" in chosen
    assert not chosen & {"scheduled_messages_due_idx", "idx_scheduled_messages_connection_id"}


def test_an_outcome_touches_no_index_of_the_scheduled_messages(db: Database):
    """What follows the enqueuing are HOT updates."""
    add_connections(db, "shop")
    job = one(db, "select broadcast_job_id from scheduled_messages where id = %s", row_in(db, "sending", "shop", None))
    hot = "select pg_stat_get_xact_tuples_hot_updated('scheduled_messages'::regclass)"
    told = {"job_id": job, "token": one(db, "select lease_token from broadcast_jobs"), "verdict": "sent"}
    with db.transaction():
        before = one(db, hot)
        record(db, {**told, "message_id": "m"})
        assert one(db, hot) == before + 1
