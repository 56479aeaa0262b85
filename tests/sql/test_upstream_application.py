"""What the upstream application does beside the daemon: its dialog, its REST service, its main server, its lists."""

from collections.abc import Awaitable, Callable

import pytest

from tests.helpers.accounts import User
from tests.helpers.rows import Database, add_connections, message, one, schedule
from tests.sql.states import STATES, answered, job_of, row_in, status
from worker.daemon import Parts

# Server/src/api/services/scheduledMessageService.js, processPendingMessage: by id, whatever the row has become.
TAKE = "update scheduled_messages set status = 'in_queue', message_id = %s, updated_at = now() where id = %s"
UUID = "5f7d0000-0000-4000-8000-000000000000"


@pytest.mark.parametrize("state", STATES)
def test_its_main_server_takes_what_waits_and_nothing_else(state: str, db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, state, "shop", None)
    before = message(db, row)
    db.execute(TAKE, (UUID, row))
    after = message(db, row)
    if state in ("pending", "in_queue"):
        assert (after["status"], after["message_id"], after["due_at"]) == ("in_queue", UUID, None)
    else:
        assert (after["status"], after["message_id"]) == (before["status"], before["message_id"])
    if state == "sending":
        answered(db, row, "sent")
        assert status(db, row) == "sent"


def test_a_row_that_was_taken_while_it_had_a_job_is_settled(db: Database) -> None:
    """As a database may hold it that was not guarded yet."""
    add_connections(db, "shop")
    row = row_in(db, "sending", "shop", None)
    db.execute("set session_replication_role = replica")
    db.execute(TAKE, (UUID, row))
    db.execute("set session_replication_role = origin")
    assert status(db, row) == "in_queue"
    answered(db, row, "sent")
    assert status(db, row) == "sent"


def test_what_it_has_taken_is_shown_with_what_to_do(db: Database) -> None:
    add_connections(db, "shop")
    asked = "select what || coalesce(remedy, '') as line from diagnose() where what like '%%in_queue%%'"
    assert db.execute(asked).fetchall() == []
    row_in(db, "in_queue", "shop", None)
    (found,) = db.execute(asked).fetchall()
    assert "1 message(s) are in_queue" in found["line"]
    assert "docs/upgrading.md" in found["line"]


async def test_our_jobs_are_in_none_of_its_lists(db: Database, parts: Callable[..., Awaitable[Parts]]) -> None:
    """BroadcastListPage.tsx and BroadcastAnalyticsPage.tsx select those with isprivatemessage = false."""
    add_connections(db, "shop")
    schedule(db)
    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert one(db, "select array_agg(isprivatemessage) from broadcast_jobs") == [True]


@pytest.mark.parametrize("whose", ["the connection's owner", "another's"])
async def test_a_row_of_nobodys_finds_the_contacts_of_its_connections_owner(
    whose: str, db: Database, user: Callable[[], User], parts: Callable[..., Awaitable[Parts]]
) -> None:
    owner, other = user(), user()
    contact = (owner if whose == "the connection's owner" else other).insert("contacts", phone_number="+919876543210")
    row = row_in(db, "pending", owner.connection_id, None, contact_id=str(contact["id"]))
    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    if whose == "another's":
        assert "neither a contact" in message(db, row)["error"]
    else:
        assert (status(db, row), job_of(db, row)["recipient"]) == ("sent", "+919876543210")


@pytest.mark.parametrize(
    ("before", "edit", "caption"),
    [
        ({"message": "OLD", "caption": "OLD"}, {"message": "NEW", "caption": "OLD"}, "NEW"),
        ({"message": "OLD", "caption": "OLD"}, {"message": "NEW"}, "NEW"),
        ({"message": "OLD", "caption": "OLD"}, {"message": "", "caption": "OLD"}, None),
        ({"message": "OLD", "caption": "OLD"}, {"message": "OLD", "caption": "NEW"}, "NEW"),
        ({"message": "OLD", "caption": "OLD"}, {"message": "A", "caption": "B"}, "B"),
        ({"message": "Title", "caption": "OLD"}, {"message": "Another", "caption": "OLD"}, "OLD"),
        ({"message": "OLD", "caption": None}, {"message": "NEW", "caption": None}, None),
    ],
)
def test_an_edit_through_its_dialog_sends_what_was_edited(
    before: dict[str, str], edit: dict[str, str], caption: str | None, user: Callable[[], User]
) -> None:
    owner = user()
    row = owner.insert(
        connection_id=owner.connection_id, contact_id="+919876543210", type="media", media_url="https://e.com/a.png",
        scheduled_at="2030-01-01T00:00:00Z", **before,
    )  # fmt: skip
    assert owner.update(row["id"], status="pending", type="image", **edit)["caption"] == caption
