"""For every column that a tenant may write, the dearest and most poisonous value: it costs that tenant alone."""

import json
from collections import Counter
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.helpers.accounts import User
from tests.helpers.nouns import settlement
from tests.helpers.rows import Database, message, one
from tests.sql.states import row_in, status
from tests.sql.test_access_matrix import MATRIX
from worker.jobs import Decision
from worker.store.store import PLANNED_ROW, TOLD_ROW, objects, p_rows

THEIRS = "THEIRS"  # stands for what is the other tenant's
DUE = "2026-01-01T00:00:00Z"
BIDI, FOX, LONE, NUL = "\u202e", "🦊", "\ud800", "\0"
INSTANTS = ["infinity", "-infinity", "2199-12-31T23:59:59.999999Z", "2000-01-01T00:00:00+15:59",
            "294276-12-31T00:00:00Z",
            "4713-01-01 BC", "now", "2026-02-30", "1e400", LONE]  # fmt: skip
SERIES = {"is_recurring": True, "recurrence_pattern": "daily"}
RULES = ["FREQ=YEARLY;INTERVAL=200", "FREQ=DAILY;INTERVAL=" + "9" * 900, "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
         "FREQ=MINUTELY;BYHOUR=" + ",".join(map(str, range(24))), "FREQ=DAILY;BYSETPOS=" + "-366," * 200 + "1",
         "FREQ=YEARLY;BYDAY=" + ",".join(f"{n}MO" for n in range(1, 54)), "FREQ=DAILY;UNTIL=99999999T999999Z",
         "FREQ=DAILY;COUNT=" + "9" * 300, "FREQ=" + "A" * 1_000, "RRULE:RRULE:FREQ=DAILY", "daily " * 400,
         BIDI + "daily",
         "FREQ=DAİLY", "\u2003daily", "FREQ=WEEKLY;WKST=XX", LONE, NUL]  # fmt: skip

# column: values, each in a message of its own that is otherwise good and due.
VALUES: dict[str, dict[str, list[Any]]] = {
    "scheduled_messages": {
        "id": [THEIRS, "00000000-0000-0000-0000-000000000000", "f" * 32, "no id", 1],
        "connection_id": [THEIRS, "", "x" * 1_000_000, BIDI, LONE, NUL, "../..", 1],
        "contact_id": [THEIRS, "9" * 256, "9" * 257, "+" * 256, "@" * 256, "+91" + "(9)" * 80, FOX * 256,
                       BIDI + "+919876500001",
                       "٩" * 20, "1@" + "c.us" * 60, "1e400", "-1", "9223372036854775808", "NaN", "",
                       " ", LONE, NUL, {}],
        "message": ["x" * 8192, BIDI * 8192, FOX * 8192, "{{" * 4096, "\n" * 8192, "x" * 8193, "x" * 3_000_000,
                    "", LONE, NUL, None],
        "caption": [FOX * 8192, "x" * 8193, LONE, NUL],
        "type": ["image", "template", "PDF", " chat ", "x" * 100_000, BIDI, LONE, NUL],
        "media_url": ["https://" + "a." * 2_000 + "com", "https://[::ffff:127.0.0.1]/a.png",
                      "https://x/" + "%25" * 1_300,
                      "file:///etc/passwd", "data:image/png;base64," + "A" * 4_000, "https://1.1.1.1:99999/a",
                      BIDI, LONE, NUL],
        "media": ["[" * 90 + "]" * 90, "[" * 3_000 + "]" * 3_000, "[1e400]", "1" * 5_000,
                  '{"a":' * 150 + "1" + "}" * 150,
                  '{"url":"\\u0000"}', '{"url":"\\ud800"}', '{"url":"https://a.test/' + "x" * 16_000 + '"}',
                  '{"type":"template","name":"a","language":{"code":"en"},'
                  '"components":[{"type":"body","parameters":[1e400]}]}',
                  "[" + "1," * 7_000 + "1]", '{"":{"":{"":null}}}', '{"a":1,"a":2}'],
        "asset_id": [THEIRS, "0", LONE],
        "scheduled_at": INSTANTS,
        "status": ["processing", "sent", "failed", "unconfirmed", "cancelled", "in_queue", "PENDING",
                   "x" * 100_000, LONE],
        "is_recurring": [True, "t", 2],
        "recurrence_pattern": RULES,
        "recurrence_end_at": INSTANTS,
        "next_scheduled_at": INSTANTS,
        "timezone": ["../../etc/passwd", "posixrules", "Asia/" * 12, "x" * 65, "EST5EDT,M3.2.0,M11.1.0",
                     "+25:99", BIDI, LONE, NUL],
        "created_by": [THEIRS, None, "0"],
        "owner_id": [THEIRS, None, "0"],
        "category": ["x" * 100_000, BIDI, LONE, NUL, 1],
        "not_after": INSTANTS,
        "template": ["[" * 90 + "]" * 90, {"name": "x" * 1_000_000}, "1e400", LONE, {"a": NUL}, 1],
        "template_id": [THEIRS, "0", LONE, NUL, 1],
        "variables": ["x", 1, [1], {"a": "x" * 16_000}, {"a": "x" * 1_000_000}, {"name": "{name}"}, {"a": NUL},
                      {"a": LONE}, {"x" * 16_000: 1}, dict.fromkeys(map(str, range(1_500)), "1")],
    },
    "connections": {
        "id": [THEIRS, "x" * 2_000, FOX * 256, BIDI, "", " ", "../..", "default", LONE, NUL],
        "name": ["x" * 1_000_000, BIDI, LONE, NUL],
        "connected": [False, None],
        "qr": ["x" * 1_000_000, LONE],
        "phone_number": ["9" * 1_000_000, NUL],
        "webhook_config": ["x" * 1_000_000, [[]] * 100_000, {"a": NUL}],
        "user_id": [THEIRS, None, "", "x" * 100_000],
        "api_key": ["x" * 1_000_000, "", None, LONE],
        "expired_date": INSTANTS,
        "server": ["http://127.0.0.1/" + "x" * 100_000],
        "status": ["x" * 1_000_000],
        "ai_agent_id": ["x" * 1_000_000],
        "created_at": INSTANTS,
    },
    "contacts": {
        "id": [THEIRS, 0, -1, 2**63 - 1, 2**63, "x"],
        "owner_id": [THEIRS, None],
        "phone_number": ["9" * 20, "9" * 21, "", BIDI, FOX * 20, "+" * 20, "00000000000", LONE, NUL],
        "contact_name": ["x" * 1_000_000, NUL],
        "email": ["x" * 1_000_000],
        "labels": [["x"] * 100_000, [None], ["x" * 1_000_000], [[["x"]]]],
        "is_blocked": [True, None],
        "is_favorite": [True],
        "notes": ["x" * 1_000_000, BIDI, LONE],
        "created_at": INSTANTS,
        "updated_at": INSTANTS,
    },
}  # fmt: skip


def writable(table: str) -> set[str]:
    """Where what an owner inserts or changes stays."""
    cells = [line.split() for line in MATRIX[table].strip().splitlines()[2:]]
    return {cell[0] for cell in cells if set(cell[2]) & {"i", "u"}}


@pytest.mark.parametrize("table", VALUES)
def test_no_column_that_a_tenant_may_write_is_left_out(table: str) -> None:
    assert writable(table) <= set(VALUES[table])


class Attacker:
    """Writes through the real API."""

    def __init__(self, me: User, victim: dict[str, Any]) -> None:
        self.me, self.victim = me, victim
        given = {"contact_id": "+919876500000", "message": "x", "scheduled_at": DUE}
        self.row = me.insert(connection_id=me.connection_id, **given)["id"]

    def post(self, table: str, row: dict[str, Any], raw: dict[str, str]) -> Any:
        """The row that was made, None where it was refused. raw: JSON that no parser of ours made."""
        body = json.dumps(row)
        for name, text in raw.items():
            body = f'{body[:-1]}, "{name}": {text}}}'
        headers = {"content-type": "application/json", "prefer": "return=representation"}
        answer = self.me.http.post(f"/{table}", content=body.encode(), headers=headers)
        assert answer.status_code < 500, (table, row.keys(), answer.text[:300])
        return answer.json()[0] if answer.status_code == 201 else None

    def write(self, table: str, column: str, value: Any) -> None:
        """The value, and messages that are due and depend on it."""
        given = self.victim[column] if value is THEIRS else value
        text = {
            "connection_id": self.me.connection_id,
            "contact_id": "+919876500000",
            "message": "x",
            "scheduled_at": DUE,
        }
        if table == "scheduled_messages":
            series = (
                SERIES if column in ("recurrence_pattern", "recurrence_end_at", "next_scheduled_at", "timezone") else {}
            )
            raw = {column: given} if column == "media" else {}
            row = {**text, **series, **({} if raw else {column: given})}
            self.post(table, row, raw)
            self.patch({column: given} if not raw else {"media": given})
            return
        made = self.post(table, {"phone_number": "+919876500001", column: given}, {})
        made = made if table == "contacts" else self.post(table, {column: given}, {}) or made
        for _ in range(3 if made else 0):
            names = {"contacts": "contact_id", "connections": "connection_id"}
            self.post("scheduled_messages", {**text, names[table]: str(made["id"])}, {})

    def patch(self, change: dict[str, Any]) -> None:
        """The same on a row that is there already."""
        answer: httpx.Response = self.me.http.patch(
            "/scheduled_messages", params={"id": f"eq.{self.row}"}, content=json.dumps(change).encode(),
            headers={"content-type": "application/json"},
        )  # fmt: skip
        assert answer.status_code < 500, (list(change), answer.text[:300])


@pytest.mark.parametrize("table", VALUES)
async def test_the_victims_message_goes_out_and_every_other_one_says_what_became_of_it(db, tenants, parts, table):
    mine, victim = tenants
    good = row_in(db, "pending", victim.connection_id, victim.id, message="On time", contact_id="+919876512345")
    contact = one(
        db, "insert into contacts (owner_id, phone_number) values (%s, '+919876543210') returning id", victim.id
    )
    ids = {"scheduled_messages": good, "connections": victim.connection_id, "contacts": contact}
    theirs = dict.fromkeys(("user_id", "owner_id", "created_by"), victim.id)
    theirs |= {
        "id": ids[table],
        "connection_id": victim.connection_id,
        "contact_id": str(contact),
        "asset_id": str(uuid4()),
        "template_id": one(
            db,
            "insert into message_templates (owner_id, name, body) values (%s, 'Theirs', 'Hi') returning id::text",
            victim.id,
        ),
    }
    attacker = Attacker(mine, theirs)
    before = message(db, good)

    for column, values in VALUES[table].items():
        for value in values:
            attacker.write(table, column, value)
        assert message(db, good) == before, column
    daemon = await parts()
    calls: Counter[str] = Counter()
    for name in ("get_pending", "look_up_recipients", "enqueue"):
        watch(daemon.store, name, calls)
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()

    assert status(db, good) == "sent"
    assert max(calls.values()) <= 3
    left = db.execute(
        "select status, error, waiting_reason, scheduled_at, connection_id from scheduled_messages"
        " where not (status in ('sent', 'cancelled')"
        " or status = 'pending' and scheduled_at > now() or status = 'failed' and error <> ''"
        " or status = 'processing' and waiting_reason <> '')"  # for its connection
    )
    assert left.fetchall() == []
    assert one(db, "select count(*) from private.refused_rows") == 0


def watch(store: Any, name: str, calls: Counter[str]) -> None:
    real = getattr(store, name)

    async def counting(*arguments: Any, **named: Any) -> Any:
        calls[name] += 1
        return await real(*arguments, **named)

    setattr(store, name, counting)


# --- What lies beside --------------------------------------------------------------------------------------------

TOASTED = """
select sum(pg_stat_get_xact_blocks_fetched(c.reltoastrelid))::integer
from pg_class as c where c.oid in ('connections'::regclass, 'contacts'::regclass)
"""
# A megabyte that nothing compresses, so that it lies in blocks of its own.
MEGABYTE = "(select string_agg(md5(random()::text || n), '') from generate_series(1, 32768) as n)"


def call(db: Database, name: str, columns: str = "*", **arguments: Any) -> dict[str, Any]:
    types = {
        row["name"]: row["type"]
        for row in db.execute(
            "select unnest(p.proargnames[:p.pronargs]) as name, format_type(unnest(p.proargtypes::oid[]), null) as type"
            " from pg_proc as p where p.proname = %s", (name,),
        )
    }  # fmt: skip
    places = ", ".join(f"{key} => %s::{types[key]}" for key in arguments)
    return dict(db.execute(f"select {columns} from {name}({places})", list(arguments.values())).fetchone() or {})


@pytest.mark.parametrize("gateway", ["mock", "bullmq"])
def test_nothing_is_read_of_what_a_tenant_keeps_in_a_connection_or_a_contact(db, tenants, gateway):
    """Blocks, and not time: none for a hundred messages through megabytes; of a key its first page."""
    mine = tenants[0]
    db.execute(f"update connections set qr = {MEGABYTE}, name = {MEGABYTE}, api_key = {MEGABYTE}")
    contact = one(
        db,
        f"insert into contacts (owner_id, phone_number, notes, contact_name, labels)"
        f" values (%s, '+919876543210', {MEGABYTE}, {MEGABYTE}, array[{MEGABYTE}]) returning id", mine.id,
    )  # fmt: skip
    nobodys = [row_in(db, "pending", mine.connection_id, None, contact_id=str(contact)) for _ in range(2)]
    rows = nobodys + [row_in(db, "pending", mine.connection_id, mine.id, contact_id=str(contact)) for _ in range(100)]
    with db.transaction():
        before = one(db, TOASTED)
        known = call(db, "look_up_recipients", p_ids=rows)["known"]
        assert {row["phone_number"] for row in known} == {"+919876543210"}
        revisions = {
            str(row["id"]): row["revision"] for row in db.execute("select id, revision from scheduled_messages")
        }
        plans = [
            Decision(row, revisions[row], str(uuid4()), recipient="+919876543210", phone="+919876543210")
            for row in rows
        ]
        done = call(db, "enqueue_broadcast_jobs", **p_rows(objects(plans, PLANNED_ROW)))
        assert len(done["enqueued"]) == len(rows)
        assert one(db, TOASTED) == before
        claim = call(
            db, "claim_broadcast_jobs", p_token=str(uuid4()), p_seats=20, p_lease_seconds=60, p_gateway=gateway,
            p_busy=[], p_retry_attempts=3, p_retry_delay_seconds=60,
        )  # fmt: skip
        jobs = claim["jobs"]
        assert len(jobs) > 0
        assert (after := one(db, TOASTED)) - before <= 20 * len(jobs) * (gateway == "bullmq")
        db.execute("update private.connection_state set paused_reason = 'logged out', probe_at = now()")
        probes = call(db, "take_probes", columns="probes", p_seats=10)["probes"]
        assert [probe["connection_id"] for probe in probes] == [mine.connection_id]
        db.execute("select * from private.usage_of(%s)", (mine.connection_id,))
        db.execute("select private.why_lost(%s, %s)", (mine.connection_id, mine.id))
        assert one(db, TOASTED) == after
    assert len(json.dumps(jobs)) < 2_000 * len(jobs)


def test_nothing_is_read_of_what_a_project_keeps_in_a_column_of_its_own(db, tenants):
    """By any call on a message's whole way: it is its users', so it may hold anything. A series hands it on."""
    db.execute("alter table scheduled_messages add column drawing text")
    blocks = """
        select pg_stat_get_xact_blocks_fetched(reltoastrelid)::integer from pg_class
        where oid = 'scheduled_messages'::regclass
    """
    try:
        db.execute("insert into connections (id, name) values ('shop', 'shop')")
        db.execute(
            "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, drawing)"
            f" select 'shop', '+91987654321' || i % 10, 'x', now() + make_interval(secs => 8 * i), {MEGABYTE}"
            " from generate_series(-9, 10) as i"
        )
        read = dict[str, int]()
        with db.transaction():

            def told(name: str, **arguments: Any) -> dict[str, Any]:
                before = one(db, blocks)
                answer = call(db, name, **arguments)
                read[name] = one(db, blocks) - before
                return answer

            agenda = told("get_agenda", p_horizon_seconds=90)
            assert len(agenda["upcoming"]) == 10
            assert len(json.dumps(agenda["upcoming"])) < 20_000
            listed = "count(*), array_agg(id) as ids, min(revision) as revision"
            for name, given in (("get_pending_scheduled_messages", ""), ("get_due_of_others", "'{}'")):
                before = one(db, blocks)
                due = db.execute(f"select {listed} from {name}({given})").fetchone()
                read[name] = one(db, blocks) - before
                assert due is not None
                assert due["count"] == 10
            rows = [str(row) for row in due["ids"]]
            told("look_up_recipients", p_ids=rows)
            plans = [Decision(row, due["revision"], str(uuid4()), recipient="+919876543210") for row in rows]
            assert told("enqueue_broadcast_jobs", **p_rows(objects(plans, PLANNED_ROW)))["enqueued"]
            jobs = told(
                "claim_broadcast_jobs", columns="jobs", p_token=(token := str(uuid4())), p_seats=20, p_lease_seconds=60,
                p_gateway="mock", p_busy=[], p_retry_attempts=3, p_retry_delay_seconds=60,
            )["jobs"]  # fmt: skip
            outcomes = [settlement(job["id"], "sent", token, message_id=job["id"]) for job in jobs]
            told("record_outcomes", **p_rows(objects(outcomes, TOLD_ROW)))
            assert one(db, "select count(*) from scheduled_messages where status = 'sent'") == 10
        assert read == dict.fromkeys(read, 0)
    finally:
        db.execute("alter table scheduled_messages drop column drawing")


@pytest.mark.parametrize("used", [0, 3])
def test_nobody_takes_the_ids_of_contacts_to_come(tenants, used):
    """Or whoever else adds one would be told that it is there already."""
    mine, victim = tenants
    known = [mine.insert("contacts", phone_number="+919876543210")["id"] for _ in range(used)]
    rows = [{"id": n, "phone_number": "+919876543210"} for n in range(used + 1, used + 51)]

    assert mine.http.post("/contacts", json=rows).status_code == 403
    assert mine.http.post("/contacts", json=rows[0]).status_code == 403
    for one_known in known:
        taken = mine.http.patch("/contacts", params={"id": f"eq.{one_known}"}, json={"id": used + 7})
        assert taken.status_code == 403

    assert [victim.insert("contacts", phone_number="+919876543211")["id"] for _ in range(3)]
    for one_known in known:  # as a dialog saves what it has read
        saved = mine.http.post(
            "/contacts", json={"id": one_known, "phone_number": "1"}, headers={"prefer": "resolution=merge-duplicates"}
        )
        assert saved.is_success, saved.text
