"""Onto a project that has the upstream application's tables, and onto one that ran the feature document's SQL as
printed: every row is kept, the front end goes on working, the daemon sends what is due, and the Node worker can take
over again.
"""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.helpers import calls
from tests.helpers.rows import Database, one
from tests.sql.projects import Project, project, user_of
from tests.sql.roles import sql_file
from tests.sql.test_twenty_faults import UPSTREAM_CONNECTIONS
from worker.operating import migrate

TIME_GOES_ON = True
DUE, FUTURE = "2026-01-01T00:00:00+00:00", "2030-01-01T00:00:00+00:00"
# Rows that such a project may have: name, columns, and what they have become after one pass of the daemon.
UPSTREAM_ROWS: list[tuple[str, dict[str, Any], str]] = [
    ("due", {}, "sent"),
    ("due, without an owner", {"owner_id": None}, "sent"),
    ("due, to a contact", {"contact_id": "CONTACT"}, "sent"),
    ("due, picture", {"type": "media", "media_url": "https://example.com/a.png", "message": ""}, "sent"),
    ("due, daily", {"is_recurring": True, "recurrence_pattern": "daily", "next_scheduled_at": "2026-01-02"}, "sent"),
    ("due, of no type that is known", {"type": "banana"}, "failed"),
    ("due, of no pattern", {"is_recurring": True, "recurrence_pattern": None}, "failed"),
    ("due, of an odd pattern", {"is_recurring": True, "recurrence_pattern": "every blue moon"}, "failed"),
    ("due since ever", {"scheduled_at": "-infinity"}, "failed"),
    ("due, longer than any message", {"message": "x" * 70_000}, "failed"),
    ("due, waited for its connection", {"error": "Connection is not active", "scheduled_in_queue": False}, "sent"),
    ("future", {"scheduled_at": FUTURE}, "pending"),
    ("never", {"scheduled_at": "infinity"}, "pending"),
    ("processing", {"status": "processing"}, "processing"),
    ("in the queue", {"status": "in_queue", "message_id": str(uuid4()), "scheduled_in_queue": True}, "in_queue"),
    ("sent", {"status": "sent", "sent_at": DUE, "message_id": str(uuid4())}, "sent"),
    ("sent, nobody knows when", {"status": "sent"}, "sent"),
    ("failed", {"status": "failed", "error": "MEDIA_NOT_FOUND"}, "failed"),
    ("failed, nobody knows why", {"status": "failed"}, "failed"),
    ("failed at length", {"status": "failed", "error": "x" * 10_000}, "failed"),
    ("cancelled", {"status": "cancelled"}, "cancelled"),
    ("in a state of its own", {"status": "lol"}, "lol"),
]  # fmt: skip
DOCUMENT_ROWS: list[tuple[str, dict[str, Any], str]] = [
    (name, {k: v for k, v in columns.items() if k != "scheduled_in_queue"}, end)
    for name, columns, end in UPSTREAM_ROWS
    if "owner_id" not in columns and "CONTACT" not in columns.values()
]
CONNECTION = "shop-session"


def stored(db: Database, row: str) -> dict[str, Any]:
    """A row as JSON, which knows of infinity."""
    return dict(one(db, "select to_jsonb(s) from scheduled_messages as s where id = %s", row))


class Older:
    """A project before and after the upgrade. `before`: its rows as they were, by name."""

    def __init__(self, project: Project, rows: list[tuple[str, dict[str, Any], str]], whose: str) -> None:
        self.project, self.db = project, project.db
        self.user_id, token = project.sign_up("asha@example.com")
        self.user = user_of(project, self.user_id, token, CONNECTION)
        project.insert("connections", id=CONNECTION, name="shop", connected=True, user_id=self.user_id)
        project.insert("connections", id="bens", name="bens", connected=True, user_id=str(uuid4()))
        self.expected = {name: end for name, _, end in rows}
        self.ids = {name: self.add(columns, whose) for name, columns, _ in rows}
        self.before = {name: stored(self.db, row) for name, row in self.ids.items()}

    def add(self, columns: dict[str, Any], whose: str) -> str:
        row = {"connection_id": CONNECTION, "contact_id": "+919876500000", "message": "Hello", "scheduled_at": DUE}
        row |= {whose: self.user_id} | columns
        if row["contact_id"] == "CONTACT":
            row["contact_id"] = str(self.project.insert("contacts", owner_id=self.user_id, phone_number="919876543210"))
        return str(self.project.insert("scheduled_messages", **row))

    def statuses(self) -> dict[str, str]:
        return {name: stored(self.db, row)["status"] for name, row in self.ids.items()}


@pytest.fixture(scope="module")
def upstream(stack, tmp_path_factory) -> Iterator[Older]:
    directory = tmp_path_factory.mktemp("upstream")
    with project(stack, "upstream", directory) as here:
        here.db.execute(sql_file("upstream.sql"))
        older = Older(here, UPSTREAM_ROWS, "owner_id")
        assert here.migrate() == [path.name for path in migrate.migrations()]
        yield older


@pytest.fixture(scope="module")
def documented(stack, tmp_path_factory) -> Iterator[Older]:
    directory = tmp_path_factory.mktemp("documented")
    with project(stack, "documented", directory) as here:
        here.db.execute(UPSTREAM_CONNECTIONS)
        here.db.execute(sql_file("feature_document.sql"))
        older = Older(here, DOCUMENT_ROWS, "created_by")
        assert here.migrate() == [path.name for path in migrate.migrations()]
        yield older


@pytest.fixture(params=["upstream", "documented"])
def older(request: pytest.FixtureRequest) -> Older:
    return request.getfixturevalue(request.param)


# The tests below tell one story and run in this order.


def test_1_every_row_is_kept_as_it_was(older):
    for name, row in older.ids.items():
        now = stored(older.db, row)
        assert {column: now[column] for column in older.before[name]} == older.before[name], name


def test_1_a_second_run_does_nothing(older):
    assert migrate.migrate(older.project.stack["DATABASE_URL"]) == []


def test_1_no_policy_and_no_privilege_of_before_is_left(older):
    ours = [f"scheduled_messages_{verb}_policy" for verb in ("delete", "insert", "member", "select", "update")]
    sql = (
        "select array_agg(policyname::text order by policyname) from pg_policies where tablename = 'scheduled_messages'"
    )
    assert one(older.db, sql) == ours
    with older.project.client("SUPABASE_ANON_KEY") as anon:
        assert anon.get("/scheduled_messages").status_code == 401
        assert anon.post("/rpc/get_pending_scheduled_messages", json={}).status_code == 401
        assert anon.post("/rpc/rescue_broadcast_jobs", json={}).status_code == 401


def test_2_the_dialog_goes_on_working(older):
    user, contact = older.user, "77"
    new = user.insert(
        connection_id=CONNECTION, contact_id=contact, message="", type="media", media_url="https://example.com/a.png",
        caption=None, scheduled_at=FUTURE, owner_id=user.id, status="pending", is_recurring=True,
        recurrence_pattern="monthly", next_scheduled_at="2030-02-01T00:00:00Z", asset_id=None,
    )  # fmt: skip
    listed = user.http.get("/scheduled_messages", params={"contact_id": f"eq.{contact}", "order": "created_at.desc"})
    assert [row["id"] for row in listed.json()] == [new["id"]]
    edited = user.update(
        new["id"], connection_id=CONNECTION, message="New", type="image", media_url="https://example.com/b.png",
        caption="New", scheduled_at=FUTURE, status="pending", is_recurring=False, recurrence_pattern=None,
        next_scheduled_at=None, asset_id=None,
    )  # fmt: skip
    assert (edited["status"], edited["type"], edited["message"]) == ("pending", "image", "New")
    counted = user.http.get(
        "/scheduled_messages",
        params={"select": "id,contact_id", "contact_id": f"in.({contact})", "owner_id": f"eq.{user.id}",
                "scheduled_at": f"gt.{DUE}", "status": "neq.sent"},
    )  # fmt: skip
    assert len(counted.json()) == 1
    connections = user.http.get(
        "/connections", params={"select": "id,name,phone_number", "connected": "eq.true", "user_id": f"eq.{user.id}"}
    )
    assert [row["id"] for row in connections.json()] == [CONNECTION]
    user.delete(new["id"])


def test_2_columns_of_the_applications_own_stay_its_users(upstream):
    row = {"connection_id": CONNECTION, "contact_id": "77", "message": "Hello", "scheduled_at": FUTURE}

    new = upstream.user.insert(**row, campaign="spring")
    assert upstream.user.update(new["id"], campaign="summer")["campaign"] == "summer"
    for forged in ({"sent_at": FUTURE}, {"revision": 7}, {"broadcast_job_id": str(uuid4())}):
        answer = upstream.user.http.patch("/scheduled_messages", params={"id": f"eq.{new['id']}"}, json=forged)
        assert answer.status_code == 403
    upstream.user.delete(new["id"])


def test_2_as_the_owner_another_tenants_connection_is_refused(older):
    row = {"connection_id": "bens", "contact_id": "1", "message": "Hello", "scheduled_at": FUTURE}

    assert older.user.http.post("/scheduled_messages", json=row).status_code == 403


def test_3_the_daemon_sends_what_is_due_and_leaves_the_rest_alone(older, tmp_path):
    older.project.once(tmp_path)

    assert older.statuses() == older.expected
    for name, row in older.ids.items():
        if older.expected[name] == "failed":
            assert stored(older.db, row)["error"] or older.before[name]["status"] == "failed", name
    untouched = [
        name for name in older.ids if older.before[name]["status"] != "pending" or older.expected[name] == "pending"
    ]
    for name in untouched:
        now = stored(older.db, older.ids[name])
        assert {column: now[column] for column in older.before[name]} == older.before[name], name


def test_3_the_owner_sees_the_rows_of_before(older):
    rows = older.user.http.get("/scheduled_messages", params={"select": "id"}).json()

    own = {row for name, row in older.ids.items() if name != "due, without an owner"}
    assert own <= {row["id"] for row in rows}


def test_4_the_node_worker_tells_under_the_anon_key_what_became_of_a_hand_over(upstream):
    """Upstream leaves the broadcast tables open, and its consumer finds a message by its job and the bare digits."""
    row, job = upstream.add({}, "owner_id"), str(uuid4())
    enqueue(upstream.db, row, job)
    [claimed] = upstream.db.execute(
        "select jobs from claim_broadcast_jobs(%s, 5, 60, 'bullmq')", (str(uuid4()),)
    ).fetchall()
    token = upstream.db.execute("select lease_token from broadcast_jobs where id = %s", (job,)).fetchone()[
        "lease_token"
    ]
    assert [one["id"] for one in claimed["jobs"]] == [job]
    calls.record(upstream.db, {"job_id": job, "token": token, "verdict": "handed_over", "wait": 600})

    with upstream.project.client("SUPABASE_ANON_KEY") as node:
        of_job, of_message = {"id": f"eq.{job}"}, {"job_id": f"eq.{job}", "contact": "eq.919876500000"}
        sent = {"status": "sent", "sent_at": "2026-11-22T03:00:00+00:00", "message_id": None, "error": None}
        for path, params, change in (
            ("/broadcast_jobs", of_job, {"status": "active", "progress": 0}),
            ("/broadcast_messages", of_message, sent),
            ("/broadcast_jobs", of_job, {"status": "completed", "progress": 100, "sent_count": 1, "failed_count": 0}),
        ):
            assert node.patch(path, params=params, json=change).status_code == 204, path

    now = stored(upstream.db, row)
    assert (now["status"], now["message_id"], now["sent_at"]) == ("sent", job, sent["sent_at"])


def enqueue(db: Database, row: str, job: str) -> None:
    """As the daemon does it."""
    revision = stored(db, row)["revision"]
    planned = {"id": row, "revision": revision, "job_id": job, "recipient": "+919876500000"}
    assert calls.enqueue(db, planned) == [row]


def test_5_the_node_worker_takes_over_again_and_gives_back(upstream, tmp_path):
    """What its queue worker writes, with the service key."""
    row, refused = upstream.add({}, "owner_id"), upstream.add({}, "owner_id")
    job = str(uuid4())
    with upstream.project.client("SUPABASE_SERVICE_ROLE_KEY") as node:

        def write(row: str, **columns: Any) -> None:
            answer = node.patch("/scheduled_messages", params={"id": f"eq.{row}"}, json=columns)
            assert answer.is_success, answer.text

        due = node.get(
            "/scheduled_messages", params={"status": "eq.pending", "scheduled_at": "lte.now", "select": "id"}
        )
        assert {row, refused} <= {each["id"] for each in due.json()}
        for each in (row, refused):
            write(each, status="in_queue", message_id=job, updated_at="2026-11-22T03:00:00Z")
        write(row, status="sent", sent_at="2026-11-22T03:00:00Z", message_id=job)
        write(row, next_scheduled_at="2026-01-02T00:00:00Z")
        write(refused, status="failed", error="Contact not found", updated_at="2026-11-22T03:00:00Z")
        following = {"connection_id": CONNECTION, "contact_id": "+919876500000", "message": "Hello", "type": "text",
                     "scheduled_at": DUE, "owner_id": upstream.user_id, "status": "pending"}  # fmt: skip
        successor = node.post(
            "/scheduled_messages", json=following, headers={"prefer": "return=representation"}
        ).json()[0]
    assert [stored(upstream.db, each)["status"] for each in (row, refused)] == ["sent", "failed"]

    upstream.project.once(tmp_path)

    assert stored(upstream.db, successor["id"])["status"] == "sent"
    assert [stored(upstream.db, each)["status"] for each in (row, refused)] == ["sent", "failed"]


def test_6_the_switch_over_of_the_documentation_takes_rows_out_of_the_old_queue(upstream, tmp_path):
    """docs/upgrading.md, once the Node worker is stopped and its queue is empty."""
    row = upstream.ids["in the queue"]

    upstream.db.execute(
        "update scheduled_messages set status = 'pending', scheduled_in_queue = false where status = 'in_queue'"
    )
    assert (stored(upstream.db, row)["status"], stored(upstream.db, row)["message_id"]) == ("pending", None)
    upstream.project.once(tmp_path)

    assert stored(upstream.db, row)["status"] == "sent"


@pytest.mark.parametrize("outcome", ["sent", "failed"])
def test_6_what_the_former_worker_left_in_the_middle_is_settled_by_hand(upstream, outcome):
    row = upstream.add({"status": "processing"}, "owner_id")
    told = "The former worker stopped while it was at this message."
    sql = "update scheduled_messages set status = 'unconfirmed', error = %s where status = 'processing' and id = %s"

    assert upstream.db.execute(f"{sql} and broadcast_job_id is null", (told, row)).rowcount == 1
    assert one(upstream.db, "select count(*) from resolve_scheduled_message(%s, %s)", row, outcome) == 1

    assert stored(upstream.db, row)["status"] == outcome


def test_7_the_checks_are_validated_as_the_documentation_says(older):
    older.db.execute(
        "update scheduled_messages set status = 'cancelled', error = 'Of no use.' where scheduled_at = 'infinity'"
    )
    older.db.execute(
        """
        update scheduled_messages set updated_at = now()
        where status not in ('pending', 'processing', 'sent', 'failed', 'unconfirmed', 'cancelled', 'in_queue')
            or (status = 'sent' and (sent_at is null or message_id is null))
            or (status in ('failed', 'unconfirmed') and error is null)
        """
    )
    names = older.db.execute(
        "select conname from pg_constraint where conrelid = 'scheduled_messages'::regclass and not convalidated"
    ).fetchall()
    assert len(names) == 11

    for name in names:
        older.db.execute(f"alter table scheduled_messages validate constraint {name['conname']}")

    now = {name: stored(older.db, row) for name, row in older.ids.items()}
    assert now["sent, nobody knows when"]["sent_at"] == now["sent, nobody knows when"]["scheduled_at"]
    assert now["failed, nobody knows why"]["error"] == "No reason was recorded."
    assert now["in a state of its own"]["status"] == "failed"


def test_8_deleting_a_user_works_whatever_is_in_the_rows_of_before(older):
    kept = older.db.execute("select count(*) as n from scheduled_messages").fetchone()
    older.db.execute("delete from contacts")  # upstream's own foreign key holds a user back

    with older.db.transaction():
        older.db.execute("set local role authenticator")
        assert older.db.execute("delete from auth.users where id = %s", (older.user_id,)).rowcount == 1

    assert older.db.execute("select count(*) as n from scheduled_messages").fetchone() == kept
    assert older.statuses()["future"] == "cancelled"
