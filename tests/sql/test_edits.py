"""What counts as an edit of a message: it takes back the job that waits, and is refused while that is being sent."""

import json
from uuid import uuid4

import pytest

from tests.helpers.rows import message
from tests.sql.states import job_of, row_in, status
from tests.sql.test_state_machine import patch, refused

WRITTEN = {
    "contact_id": "+919876500000", "message": "Look", "type": "image", "media_url": "https://example.com/a.png",
    "caption": "At this", "media": json.dumps([{"url": "https://example.com/b.png"}]), "asset_id": str(uuid4()),
    "scheduled_at": "2026-01-01T00:00:00Z", "is_recurring": True, "recurrence_pattern": "FREQ=DAILY",
    "recurrence_end_at": "2100-01-01T00:00:00Z", "next_scheduled_at": "2026-01-02T00:00:00Z",
    "timezone": "Asia/Kolkata",
}  # fmt: skip
OTHERWISE = {
    "contact_id": "+919876500001", "message": "New", "type": "video", "media_url": "https://example.com/c.png",
    "caption": "New", "media": [{"url": "https://example.com/d.png"}], "asset_id": str(uuid4()),
    "scheduled_at": "2030-01-01T00:00:00Z", "is_recurring": False, "recurrence_pattern": "FREQ=WEEKLY",
    "recurrence_end_at": "2100-01-02T00:00:00Z", "next_scheduled_at": "2026-01-03T00:00:00Z", "timezone": "UTC",
}  # fmt: skip
EMPTIED = ("media_url", "caption", "media", "asset_id", "recurrence_end_at", "next_scheduled_at", "timezone")


@pytest.mark.parametrize(
    ("column", "value"),
    [*OTHERWISE.items(), *((name, None) for name in EMPTIED), ("connection_id", "another")],
    ids=lambda given: given if isinstance(given, str) and len(given) < 20 else "",
)
def test_any_column_of_the_authors_that_changes_is_an_edit(db, tenants, column, value):
    mine = tenants[0]
    if column == "connection_id":
        value = mine.insert("connections", name="second")["id"]
    waiting, sending = (row_in(db, state, mine.connection_id, mine.id, **WRITTEN) for state in ("waiting", "sending"))
    job = job_of(db, sending)

    assert patch(mine.http, waiting, **{column: value}).is_success
    refused(patch(mine.http, sending, **{column: value}))

    after = message(db, waiting)
    assert (after["status"], after["revision"], job_of(db, waiting)) == ("pending", 1, {})
    assert (status(db, sending), job_of(db, sending)) == ("processing", job)


@pytest.mark.parametrize(("column", "value"), WRITTEN.items(), ids=WRITTEN)
def test_a_column_that_is_written_back_as_it_was_is_none(db, tenants, column, value):
    mine = tenants[0]
    row = row_in(db, "waiting", mine.connection_id, mine.id, **WRITTEN)

    written = json.loads(value) if column == "media" else value
    assert patch(mine.http, row, **{column: written}).is_success

    assert (status(db, row), message(db, row)["revision"], job_of(db, row)["status"]) == ("processing", 0, "queued")


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        (("Hello", "Hello"), {"message": "New"}, ("New", "New")),
        (("Hello", "Hello"), {"message": ""}, ("", None)),
        (("Hello", "Hello"), {"message": "New", "caption": "Own"}, ("New", "Own")),
        (("Hello", "Hello"), {"caption": "Own"}, ("Hello", "Own")),
        (("Hello", "Hello"), {"message": "New", "caption": None}, ("New", None)),
        (("Hello", "Own"), {"message": "New"}, ("New", "Own")),
        (("Hello", "Own"), {"message": "Own"}, ("Own", "Own")),
        (("Hello", None), {"message": "New"}, ("New", None)),
    ],
)
def test_a_caption_follows_the_message_that_it_repeats_and_no_other(db, tenants, before, edit, after):
    """The upstream application's dialog writes a text into both columns and edits only one of them."""
    mine = tenants[0]
    columns = {"type": "image", "media_url": "https://example.com/a.png", "message": before[0], "caption": before[1]}
    row = row_in(db, "pending", mine.connection_id, mine.id, **columns)

    assert patch(mine.http, row, **edit).is_success

    assert (message(db, row)["message"], message(db, row)["caption"]) == after


DEEDS = {
    "read": lambda who, row: who.http.get("/scheduled_messages", params={"id": f"eq.{row}"}).json() != [],
    "edit": lambda who, row: bool(patch(who.http, row, message="New").json()),
    "delete": lambda who, row: who.http.delete(
        "/scheduled_messages", params={"id": f"eq.{row}"}, headers={"prefer": "return=representation"}
    ).json() != [],
}  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize(
    ("whose", "may"),
    [(("me", "me"), True), (("me", "other"), True), (("other", "me"), True), (("me", None), True), ((None, "me"), True),
     (("other", "other"), False), (("other", None), False), ((None, None), False)],
    ids=lambda given: "-".join(map(str, given)) if isinstance(given, tuple) else "",
)  # fmt: skip
def test_a_message_is_its_owners_and_its_authors(db, tenants, whose, may, deed):
    me, other = tenants
    owner, author = ({"me": me.id, "other": other.id}.get(one) for one in whose)
    row = row_in(db, "failed", me.connection_id, None, owner_id=owner, created_by=author)

    assert DEEDS[deed](me, row) == may

    left = db.execute("select message from scheduled_messages where id = %s", (row,)).fetchone()
    assert left == (
        None if (deed, may) == ("delete", True) else {"message": "New" if (deed, may) == ("edit", True) else "Hello"}
    )


@pytest.mark.parametrize("state", ["pending", "waiting", "failed", "cancelled", "in_queue"])
def test_a_message_goes_to_no_connection_that_its_author_cannot_see(db, tenants, state):
    """Also one that is not to be sent now: later nobody would ask again."""
    me, other = tenants
    row = row_in(db, state, me.connection_id, me.id)
    before = message(db, row)

    for strange in (other.connection_id, "unheard of"):
        for more in ({}, {"status": "cancelled"}):
            answer = patch(me.http, row, connection_id=strange, **more)
            assert answer.status_code in (403, 409), (strange, more)

    assert message(db, row) == before
