"""Front ends that write whole rows back, copy or upsert them, as PostgREST turns that into SQL; columns that an
application adds after the migration; and roles of a project's own.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.helpers.rows import Database, message, one
from tests.sql.roles import Roles
from tests.sql.states import STATES, job_of, row_in, status

EDITABLE = {"pending", "waiting", "in_queue", "failed", "cancelled"}


@pytest.fixture
def labelled(db: Database) -> Iterator[None]:
    """An application adds columns of its own when we are there already."""
    db.execute("alter table scheduled_messages add column label text default 'none', add column \"Campaign 7\" integer")
    yield
    db.execute('alter table scheduled_messages drop column label, drop column "Campaign 7"')


class Person:
    """What one user writes, under a role that may be a project's own."""

    def __init__(self, roles: Roles, sub: str, role: str = "authenticated") -> None:
        self.roles, self.sub, self.role = roles, sub, role

    def committed(self, sql: str, row: dict[str, Any]) -> str | dict[str, Any]:
        """The row that comes of it, or the SQLSTATE and the words of the refusal."""
        db = self.roles.db
        try:
            with db.transaction():
                db.execute("select set_config('request.jwt.claim.sub', %s, true)", (self.sub,))
                db.execute(f"set local role {self.role}")
                body = json.dumps(row, default=str)
                return db.execute(sql, {"body": body, "id": row.get("id")}).fetchone() or "nothing"
        except psycopg.Error as e:
            return f"{e.sqlstate} {e.diag.message_primary}"

    def writes_back(self, row: dict[str, Any]) -> str | dict[str, Any]:
        names = quoted(row)
        return self.committed(
            f"""
            update scheduled_messages as s set ({names}) = (
                select {names} from json_populate_record(null::scheduled_messages, %(body)s)
            ) where s.id = %(id)s returning *
            """,
            row,
        )

    def inserts(self, row: dict[str, Any], tail: str = "") -> str | dict[str, Any]:
        names = quoted(row)
        return self.committed(
            f"""
            insert into scheduled_messages ({names})
            select {names} from json_populate_record(null::scheduled_messages, %(body)s) {tail} returning *
            """,
            row,
        )

    def upserts(self, row: dict[str, Any]) -> str | dict[str, Any]:
        sets = ", ".join(f'"{name}" = excluded."{name}"' for name in row)
        return self.inserts(row, f"on conflict (id) do update set {sets}")


def quoted(row: dict[str, Any]) -> str:
    return ", ".join(f'"{name}"' for name in row)


def shown(db: Database, row: str) -> dict[str, Any]:
    """A row as the API shows it."""
    return dict(one(db, "select to_jsonb(s) from scheduled_messages as s where id = %s", row))


@pytest.fixture
def asha(roles, tenants) -> Person:
    return Person(roles, tenants[0].id)


@pytest.fixture
def mine(db, tenants):
    return lambda state, **columns: row_in(db, state, tenants[0].connection_id, tenants[0].id, **columns)


@pytest.mark.parametrize("write", ["writes_back", "upserts"])
@pytest.mark.parametrize("state", STATES)
def test_a_whole_row_with_a_label_of_the_applications_changes_the_label_alone(db, asha, mine, labelled, state, write):
    row = mine(state)
    before, job = shown(db, row), job_of(db, row)

    written = getattr(asha, write)({**before, "label": "vip", "Campaign 7": 7})

    assert isinstance(written, dict), written
    assert {**shown(db, row), "updated_at": 0} == {**before, "label": "vip", "Campaign 7": 7, "updated_at": 0}
    assert job_of(db, row) == job


@pytest.mark.parametrize("write", ["writes_back", "upserts"])
@pytest.mark.parametrize("state", STATES)
def test_a_whole_row_with_a_new_text_is_an_edit_like_any_other(db, asha, mine, state, write):
    row = mine(state)
    before = shown(db, row)

    written = getattr(asha, write)({**before, "message": "New"})

    if state in EDITABLE:
        after = {"pending": "pending", "waiting": "pending", "in_queue": "pending"}.get(state, state)
        assert (message(db, row)["message"], status(db, row)) == ("New", after), written
        assert message(db, row)["revision"] == 1
    else:
        assert str(written).startswith("PT409"), written
        assert shown(db, row) == before


def test_a_row_that_was_read_before_it_began_to_wait_is_written_back_as_an_edit(db, asha, mine):
    row = mine("waiting")
    read = shown(db, row)
    its_turn = "waiting_reason = 'its turn', waiting_until = now(), updated_at = now()"
    db.execute(f"update scheduled_messages set {its_turn} where id = %s", (row,))

    assert isinstance(asha.writes_back({**read, "message": "New", "status": "pending"}), dict)
    assert status(db, row) == "pending"


def test_what_a_browser_does_to_a_row_is_no_change_of_it(db, asha, mine):
    row = mine("sent", media='{"a": [1,2],  "b": "c"}')
    db.execute("update scheduled_messages set sent_at = '2026-01-01 00:00:00.123456+00' where id = %s", (row,))
    read = shown(db, row)
    cut = {name: cut_off(read[name]) for name in ("sent_at", "created_at")}
    before = message(db, row)

    assert isinstance(asha.writes_back({**read, **cut}), dict)
    assert {**message(db, row), "updated_at": 0} == {**before, "updated_at": 0}


def cut_off(instant: str) -> str:
    """As `new Date(…).toISOString()` has it."""
    return datetime.fromisoformat(instant).isoformat(timespec="milliseconds")


def test_a_row_that_has_been_sent_since_it_was_read_is_not_overwritten_and_says_why(db, asha, mine):
    row = mine("sent")
    stale = {**shown(db, row), "status": "pending", "sent_at": None, "message_id": None}

    said = asha.writes_back(stale)

    assert "42501" in said
    assert "sent_at, message_id" in said
    assert "Read the message again" in said
    assert status(db, row) == "sent"


@pytest.mark.parametrize("column", ["id", "created_by", "owner_id"])
def test_nobody_gives_a_message_away_or_another_identity(db, asha, mine, tenants, column):
    row = mine("pending")
    sql = f"update scheduled_messages set {column} = '{tenants[1].id}' where id = %(id)s returning id"

    assert f"42501 Not yours to change: {column}." in asha.committed(sql, {"id": row})
    assert message(db, row)["message"] == "Hello"


@pytest.mark.parametrize("state", STATES)
def test_a_copy_of_a_row_is_a_new_message_and_the_original_stays(db, asha, mine, labelled, state):
    series = {"is_recurring": True, "recurrence_pattern": "daily", "series_id": str(uuid4()), "missed": 2}
    series |= {"series_anchor": "2026-01-01", "occurrence_at": "2026-01-01T00:00:00Z", "next_id": str(uuid4())}
    series |= {"revision": 3}
    row = mine(state, label="vip", **series)
    before, job = shown(db, row), job_of(db, row)
    copy = {name: value for name, value in before.items() if name != "id"}

    written = asha.inserts({**copy, "scheduled_at": "2031-01-01T00:00:00Z"})

    assert isinstance(written, dict), written
    kept = ("message", "label", "recurrence_pattern", "connection_id", "owner_id")
    assert {name: str(written[name]) for name in kept} == {name: str(before[name]) for name in kept}
    news = ("sent_at", "message_id", "error", "broadcast_job_id", "series_id", "series_anchor", "occurrence_at",
            "next_id", "waiting_reason", "waiting_until", "delivery_status")  # fmt: skip
    assert {name: written[name] for name in news} == dict.fromkeys(news)
    assert (written["status"], written["missed"]) == ("pending", 0)
    assert (shown(db, row), job_of(db, row)) == (before, job)


def test_a_message_that_somebody_else_sent_is_refused_and_not_sent_again(db, asha, tenants):
    logged = {"connection_id": tenants[0].connection_id, "contact_id": "1", "message": "Hi"}
    logged |= {"scheduled_at": "2026-01-01", "status": "sent", "sent_at": "2026-01-01", "message_id": "theirs"}

    assert "PT409" in asha.inserts(logged)
    assert one(db, "select count(*) from scheduled_messages") == 0


def test_an_upsert_of_a_row_that_has_been_deleted_forges_nothing(db, asha, mine):
    row = mine("sent")
    read = shown(db, row)
    db.execute("delete from scheduled_messages where id = %s", (row,))

    written = asha.upserts({**read, "scheduled_at": "2031-01-01"})

    assert (written["status"], written["sent_at"], written["message_id"]) == ("pending", None, None)


@pytest.mark.parametrize("state", ["pending", "failed"])
@pytest.mark.parametrize("empty", ["created_by", "owner_id"])
def test_rows_of_the_service_key_that_name_one_user_alone_are_upserted_by_that_user(db, asha, mine, empty, state):
    row = mine(state, **{empty: None})

    assert isinstance(asha.upserts({**shown(db, row), "message": "New"}), dict)
    assert (message(db, row)["message"], message(db, row)[empty], status(db, row)) == ("New", None, state)


@pytest.mark.parametrize("forged", ["cancelled", "failed", "sent", "in_queue", "processing", "unconfirmed"])
def test_a_copy_is_known_by_what_the_database_alone_writes(asha, tenants, forged):
    row = {"connection_id": tenants[0].connection_id, "contact_id": "1", "message": "Hi", "status": forged}
    row |= {"scheduled_at": "2030-01-01"}

    for mark in ({"broadcast_job_id": str(uuid4())}, {"error": "No such number."}, {"revision": 1}):
        written = asha.inserts({**row, **mark})
        assert isinstance(written, dict), (mark, written)
        assert (written["status"], written["error"], written["broadcast_job_id"]) == ("pending", None, None)
    for none in ({}, {"broadcast_job_id": None, "error": None, "revision": 0}):
        assert "PT409" in asha.inserts({**row, **none})


@pytest.fixture
def role(db: Database) -> Iterator[Any]:
    """role("staff", "authenticated"): a role of the project's own."""
    made = []

    def make(name: str, member_of: str, options: str = "") -> str:
        db.execute(f"create role {name} nologin inherit {options}")
        db.execute(f"grant {member_of} to {name}")
        made.append(name)
        return name

    yield make
    for name in made:
        db.execute(f"drop owned by {name}; drop role {name}")


def test_a_role_of_the_projects_own_is_held_as_users_are(db, roles, tenants, mine, role):
    staff = Person(roles, tenants[0].id, role("staff", "authenticated"))
    draft = {
        "connection_id": tenants[0].connection_id,
        "contact_id": "1",
        "message": "Hi",
        "scheduled_at": "2030-01-01",
    }
    being_sent, sent = mine("sending"), mine("sent")

    for forged in ("processing", "in_queue", "sent"):
        assert "PT409" in staff.inserts({**draft, "status": forged})
    assert "PT400" in staff.inserts({**draft, "type": "banana"})
    assert "PT409" in staff.writes_back({"id": being_sent, "message": "second text"})
    assert "PT409" in staff.committed(
        "delete from scheduled_messages where id = %(id)s returning id", {"id": being_sent}
    )
    assert "42501" in staff.writes_back({"id": sent, "message_id": "forged"})
    assert isinstance(staff.inserts(draft), dict)
    assert message(db, being_sent)["message"] == "Hello"


@pytest.mark.parametrize(("member_of", "options"), [("service_role", "bypassrls"), ("authenticated", "bypassrls")])
def test_a_role_that_row_level_security_does_not_hold_writes_as_the_service_key_does(
    db, roles, tenants, mine, role, member_of, options
):
    backend = Person(roles, "", role("backend", member_of, options))
    row = mine("failed")

    assert isinstance(
        backend.writes_back({"id": row, "status": "sent", "sent_at": "2026-01-01", "message_id": "m"}), dict
    )
    assert status(db, row) == "sent"


@pytest.mark.parametrize("name", ["anon", "authenticated", "staff"])
def test_the_jobs_of_the_daemon_are_kept_from_every_role_that_an_open_project_has(db, roles, mine, role, name):
    if name == "staff":
        role("staff", "authenticated")
    row = mine("waiting")
    db.execute(f"alter table broadcast_jobs disable row level security; grant all on broadcast_jobs to {name}")
    try:
        said = Person(roles, "", name).committed("update broadcast_jobs set message = 'Spoofed' returning id", {})
        assert "42501 The jobs" in said
    finally:
        db.execute(f"revoke all on broadcast_jobs from {name}; alter table broadcast_jobs enable row level security")
    assert job_of(db, row)["message"] == "Hello"
