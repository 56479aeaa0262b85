"""A state that makes no sense cannot be stored, by anybody; what is still to be sent must look sendable."""

import re
from contextlib import suppress
from random import Random

import psycopg
import pytest

from tests.helpers.rows import message, one, schedule
from tests.sql.states import row_in, status
from tests.unit.random_rules import random_rule
from tests.unit.test_patterns import ENDS
from worker.errors import BadPattern
from worker.planning.content import TYPES
from worker.recurrence import patterns

NONSENSE = [
    ("pending", {"status": "lol"}),
    ("sent", {"sent_at": None}),
    ("sent", {"message_id": None}),
    ("failed", {"error": None}),
    ("unconfirmed", {"error": None}),
    ("pending", {"series_anchor": "2026-01-01"}),
    ("pending", {"occurrence_at": "2026-01-01"}),
    ("pending", {"type": "banana"}),
    ("pending", {"is_recurring": True, "recurrence_pattern": None}),
    ("pending", {"is_recurring": True, "recurrence_pattern": "every blue moon"}),
    ("pending", {"is_recurring": True, "recurrence_pattern": ""}),
    ("pending", {"is_recurring": True, "recurrence_pattern": "none"}),
    ("pending", {"is_recurring": True, "recurrence_pattern": "FREQ=DAILY\nDTSTART:20260101"}),
    ("pending", {"recurrence_pattern": "FREQ=" + "A" * 2000}),
    ("pending", {"scheduled_at": "infinity"}),
    ("pending", {"scheduled_at": "-infinity"}),
    ("pending", {"scheduled_at": "1999-12-31 23:59:59+00"}),
    ("pending", {"scheduled_at": "2200-01-01 00:00:00+00"}),
    ("pending", {"recurrence_end_at": "infinity"}),
    ("pending", {"next_scheduled_at": "infinity"}),
    ("pending", {"message": "x" * 8_193}),
    ("pending", {"caption": "x" * 8_193}),
    ("pending", {"contact_id": "1" * 257}),
    ("pending", {"media_url": "https://example.com/" + "x" * 4096}),
    ("pending", {"timezone": "x" * 65}),
    ("pending", {"media": '"' + "x" * 16_384 + '"'}),
    ("pending", {"media": "[" * 201 + "]" * 201}),
    ("pending", {"media": '{"a":' * 201 + "1" + "}" * 201}),
    ("pending", {"media": "1" * 255}),
]
SENSE = [
    {"message": "", "media_url": "https://example.com/a.png", "type": "media"},
    {"contact_id": ""},
    {"type": " Image "},
    {"is_recurring": True, "recurrence_pattern": " Daily "},
    {"is_recurring": None},
    {"recurrence_pattern": "RRULE:FREQ=MONTHLY;BYDAY=1MO,-1FR;UNTIL=20301231T235959Z"},
    {"is_recurring": True, "recurrence_pattern": "FREQ=FORTNIGHTLY"},
    {"is_recurring": True, "recurrence_pattern": "RRULE:FREQ=DAILY; "},
    {"recurrence_pattern": ""},
    {"recurrence_pattern": "none"},
    {"is_recurring": None, "recurrence_pattern": "once"},
    {"is_recurring": False, "recurrence_pattern": "every blue moon"},
    {"timezone": "Mars/Olympus"},
    {"scheduled_at": "2000-01-01 00:00:00+00"},
    {"message": "x" * 8_192},
    {"media": "[" * 200 + "]" * 200},
]


def name_of(columns: object) -> str:
    return re.sub(r"(.)\1{9,}", r"\1…", str(columns))


@pytest.mark.parametrize(("state", "columns"), NONSENSE, ids=name_of)
def test_nonsense_is_not_stored_not_even_by_the_superuser(db, state, columns):
    row = row_in(db, state, "shop", None)
    sets = ", ".join(f"{name} = %s" for name in columns)

    with pytest.raises(psycopg.errors.CheckViolation):
        row_in(db, state, "shop", None, **columns)
    with pytest.raises(psycopg.errors.CheckViolation):
        db.execute(f"update scheduled_messages set {sets} where id = %s", (*columns.values(), row))


@pytest.mark.parametrize("pattern", [None, "every blue moon", "A" * 2000])
def test_what_is_over_may_stay_as_it_was_written(db, pattern):
    """By whoever kept this table before, or by a former version."""
    row = row_in(db, "sent", "shop", None, is_recurring=True, recurrence_pattern=pattern)
    db.execute("update scheduled_messages set updated_at = now() where id = %s", (row,))


@pytest.mark.parametrize("columns", SENSE, ids=name_of)
def test_what_the_daemon_itself_judges_gets_in(db, columns):
    assert status(db, schedule(db, **columns)) == "pending"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"type": "banana"}, "The type must be"),
        ({"scheduled_at": "infinity"}, "between the years"),
        ({"is_recurring": True}, "needs a recurrence pattern"),
        ({"is_recurring": True, "recurrence_pattern": "every blue moon"}, "FREQ=MONTHLY;BYDAY=1MO"),
        ({"is_recurring": True, "recurrence_pattern": ""}, "FREQ=MONTHLY;BYDAY=1MO"),
        ({"message": "x" * 8_193}, "too long"),
        ({"media": [[[]] * 300]}, "list of attachments"),
        ({"media": {"url": "\u0000"}}, "not valid JSON"),
    ],
    ids=lambda c: name_of(c),
)
def test_as_the_owner_nonsense_is_refused_in_words_fit_for_a_toast(db, tenants, columns, words):
    mine, row = tenants[0], {"contact_id": "1", "message": "Hello", "scheduled_at": "2030-01-01"}

    answer = mine.http.post("/scheduled_messages", json={**row, "connection_id": mine.connection_id, **columns})

    assert answer.status_code == 400
    assert words in answer.json()["message"]
    assert one(db, "select count(*) from scheduled_messages") == 0


def test_every_check_has_words_and_users_get_those_of_each(db):
    sql = """
        select conname, obj_description(oid, 'pg_constraint') as words from pg_constraint
        where conrelid = 'scheduled_messages'::regclass and contype = 'c'
    """
    told = one(db, "select prosrc from pg_proc where proname = 'refuse_nonsense'")

    for check in db.execute(sql).fetchall():
        assert check["words"], check["conname"]
        assert f"'{check['words']}'" in told, check["conname"]


def test_the_types_of_the_table_are_those_that_the_daemon_knows(db):
    definition = one(
        db, "select pg_get_constraintdef(oid) from pg_constraint where conname = 'scheduled_messages_type_known'"
    )

    in_the_table = set(re.findall(r"'(\w*)'::text", definition)) - {"pending", "processing", "in_queue"}

    assert in_the_table == set(TYPES)


def test_every_pattern_that_the_daemon_understands_passes_the_table(db):
    random = Random(6)
    texts = [*patterns.NAMED, *(f"RRULE:{rule}" for rule in patterns.NAMED.values())]
    texts += [
        random_rule(random) + ending for ending in ("", ";COUNT=3", ";UNTIL=20301231T235959Z") for _ in range(200)
    ]
    texts += ["FREQ=YEARLY;BYDAY=+1MO,-53SU;RSCALE=GREGORIAN;BYSETPOS=-1", "freq=daily"]
    texts += [pattern + end for pattern in ("daily", "FREQ=MONTHLY;BYDAY=1MO") for end in ENDS]
    understood = [text for text in texts if is_understood(text)]
    assert len(understood) > 500

    sql = """
        insert into scheduled_messages (
            connection_id, contact_id, message, scheduled_at, is_recurring, recurrence_pattern
        )
        select 'shop', '1', 'Hello', now(), true, pattern from unnest(%s::text[]) as pattern
    """
    assert db.execute(sql, (understood,)).rowcount == len(understood)


def is_understood(pattern: str) -> bool:
    with suppress(BadPattern):
        return bool(patterns.parse(pattern))
    return False


@pytest.mark.parametrize("state", ["sent", "failed", "cancelled", "unconfirmed"])
def test_what_is_over_may_look_as_it_did(db, state):
    """Else a row that was let in before the checks could neither fail nor lose its user."""
    assert row_in(db, state, "shop", None, type="banana", recurrence_pattern="every blue moon", scheduled_at="infinity")


def test_on_an_empty_table_every_check_binds_from_the_start(db):
    sql = "select count(*) from pg_constraint where conrelid = 'scheduled_messages'::regclass and not convalidated"

    assert one(db, sql) == 0


CHECKS = """
select conname as name, pg_get_constraintdef(oid) as says from pg_constraint
where conrelid = 'scheduled_messages'::regclass and contype = 'c' and conname like 'scheduled\\_messages\\_%'
"""
OLD = [
    ("sent", None, {"status": "sent", "error": None}),
    ("failed", None, {"status": "failed", "error": "No reason was recorded."}),
    ("failed", "Busy", {"status": "failed", "error": "Busy"}),
    ("unconfirmed", None, {"status": "unconfirmed", "error": "No reason was recorded."}),
    ("draft", None, {"status": "failed", "error": "Its status was 'draft', which is none that is sent."}),
]


@pytest.mark.parametrize(("state", "error", "becomes"), OLD)
def test_a_row_that_is_older_than_the_checks_can_lose_its_user_and_is_completed(db, state, error, becomes):
    with db.transaction(force_rollback=True):
        checks = db.execute(CHECKS).fetchall()
        for check in checks:
            db.execute(f"alter table scheduled_messages drop constraint {check['name']}")
        row = schedule(db, status=state, error=error)
        for check in checks:
            not_valid = "" if check["says"].endswith("NOT VALID") else " not valid"
            db.execute(f"alter table scheduled_messages add constraint {check['name']} {check['says']}{not_valid}")

        db.execute("update scheduled_messages set created_by = null, updated_at = now()")

        after = message(db, row)
        assert {name: after[name] for name in becomes} == becomes
        sent = (after["sent_at"], after["message_id"])
        assert sent == ((after["scheduled_at"], row) if state == "sent" else (None, None))
