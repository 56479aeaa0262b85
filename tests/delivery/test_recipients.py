"""Who gets it, what, and through which gateway: from the row that a user wrote to the request that a gateway got."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.delivery.cloud_stub import CloudStub
from tests.delivery.jobs import job
from tests.helpers.accounts import User
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.rows import Database, add_connections, message, schedule
from worker.daemon import Parts

Pass = Callable[..., Awaitable[None]]
NewUser = Callable[[], User]
DUE = "2026-01-01T00:00:00Z"


def write(owner: User, contact_id: str | int, **columns: Any) -> str:
    """A due row, written as the dialog does. Returns its id."""
    given = {"connection_id": owner.connection_id, "message": "Hello", "scheduled_at": DUE, **columns}
    return str(owner.insert(contact_id=contact_id, **given)["id"])


def add_contact(owner: User, phone_number: str, **columns: Any) -> str:
    return str(owner.insert("contacts", phone_number=phone_number, contact_name="Asha", **columns)["id"])


async def test_a_contacts_id_means_the_contacts_number(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass
) -> None:
    owner = user()
    contact = add_contact(owner, "+91 98765-43210")
    rows = [write(owner, contact), write(owner, int(contact))]  # the dialog writes both
    await by_waha()
    assert {message(db, row)["status"] for row in rows} == {"sent"}
    assert waha.counts == {"919876543210@c.us": 2}


async def test_another_tenants_contact_is_nobody(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass
) -> None:
    owner, stranger = user(), user()
    row = write(owner, add_contact(stranger, "+919876543210"))
    await by_waha()
    after = message(db, row)
    assert (after["status"], waha.received) == ("failed", [])
    assert "is neither a contact nor a full phone number" in after["error"]


async def test_a_blocked_contact_is_not_written_to(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass
) -> None:
    owner = user()
    row = write(owner, add_contact(owner, "+919876543210", is_blocked=True))
    await by_waha()
    assert (message(db, row)["status"], waha.received) == ("failed", [])
    assert message(db, row)["error"] == "This contact is blocked. Unblock the contact to write to it."


async def test_numbers_and_ids_in_any_common_form(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    expected = {
        "+91 98765 43210": "919876543210@c.us",
        "0091-98765-43211": "919876543211@c.us",
        "919876543212": "919876543212@c.us",
        "(098765) 43213": "919876543213@c.us",  # with DEFAULT_COUNTRY_CODE
        "9876543214": "919876543214@c.us",
        "919876543215@c.us": "919876543215@c.us",
        "919876543216@s.whatsapp.net": "919876543216@c.us",
        "120363025246125486@g.us": "120363025246125486@g.us",
    }
    rows = {written: schedule(db, contact_id=written) for written in expected}
    nonsense = schedule(db, contact_id="Asha")
    await by_waha(default_country_code="IN")
    assert {written: message(db, row)["status"] for written, row in rows.items()} == dict.fromkeys(expected, "sent")
    assert sorted(waha.counts) == sorted(expected.values())
    assert message(db, nonsense)["status"] == "failed"


async def test_a_connection_may_be_of_another_country(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    add_connections(db, "berlin")
    db.execute("insert into connection_settings (connection_id, country_code) values ('berlin', 'DE')")
    schedule(db, contact_id="030 901820", connection_id="berlin")
    schedule(db, contact_id="9876543210")
    await by_waha(default_country_code="IN")
    assert {(one.session, one.chat_id) for one in waha.received} == {
        ("berlin", "4930901820@c.us"),
        ("shop", "919876543210@c.us"),
    }


async def test_attachments_go_out_as_what_they_are(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    listed = '[{"url": "https://e.com/a.png", "caption": "one"}, {"url": "https://e.com/b.mp4", "caption": "two"}]'
    given: list[dict[str, Any]] = [
        {"type": "media", "media_url": "https://e.com/a.jpg", "message": "", "caption": "Look"},
        {"type": "media", "media": '{"url": "https://e.com/r", "mimetype": "application/pdf"}', "message": "Read"},
        {"type": "media", "media": listed, "message": ""},
        {"type": "video", "media_url": "https://e.com/v", "message": "Watch"},
    ]
    rows = [schedule(db, contact_id=f"+91987654321{n}", **columns) for n, columns in enumerate(given)]
    await by_waha()
    assert [message(db, row)["status"] for row in rows] == ["sent"] * 4
    assert sorted((one.chat_id[11:12], one.path, one.text) for one in waha.received) == [
        ("0", "/api/sendImage", "Look"),
        ("1", "/api/sendFile", "Read"),
        ("2", "/api/sendImage", "one"),
        ("2", "/api/sendVideo", "two"),
        ("3", "/api/sendVideo", "Watch"),
    ]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"asset_id": "5f7d0000-0000-4000-8000-000000000000"}, "Only the Node worker can look up asset_id"),
        ({"media_url": "http://e.com/a.png"}, "must begin with https://"),
        ({"media_url": "https://169.254.169.254/latest/meta-data"}, "points into a private network"),
        ({"media_url": "https://127.0.0.1/a.png"}, "points into a private network"),
        ({"media_url": "https://[::ffff:10.0.0.1]/a.png"}, "points into a private network"),
        ({"media_url": "https://2130706433/a.png"}, "points into a private network"),
        ({"media": '[{"url": "https://e.com/a.png"}, {"url": "https://10.0.0.1/b.png"}]'}, "points into a private"),
        ({}, "There is no attachment"),
    ],
)
async def test_an_attachment_that_must_not_or_cannot_be_fetched_fails_the_row(
    columns: dict[str, Any], error: str, db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    row = schedule(db, type="media", **columns)
    await by_waha()
    assert (message(db, row)["status"], waha.received) == ("failed", [])
    assert error in message(db, row)["error"]


async def test_each_connection_goes_through_its_own_gateway_and_sender(
    db: Database, shop: str, waha: CountingGateway, cloud: CloudStub, by_waha: Pass, hand_over: Pass
) -> None:
    add_connections(db, "official", "second", "node")
    db.execute(
        "insert into connection_settings (connection_id, gateway, sender) values"
        " ('official', 'cloud', '2077'), ('second', null, 'phone-2'), ('node', 'bullmq', null)"
    )
    names = ("shop", "official", "second", "node")
    rows = {name: schedule(db, connection_id=name, contact_id="+919876543210") for name in names}
    asset = schedule(
        db, connection_id="node", type="media", message="", asset_id="5f7d0000-0000-4000-8000-000000000000"
    )
    given = {"whatsapp_phone_number_id": "1066", "whatsapp_access_token": "secret", "whatsapp_api_base": cloud.url}
    await hand_over(gateway="waha", waha_url=waha.url, **given)
    assert {one.session for one in waha.received} == {"shop", "phone-2"}
    assert [path for path, _ in cloud.received] == ["/2077/messages"]
    assert [message(db, rows[name])["status"] for name in names] == ["sent", "sent", "sent", "processing"]
    assert job(db, rows["node"])["status"] == job(db, asset)["status"] == "handed_over"


async def test_a_connection_whose_gateway_is_not_set_up_waits_and_says_so(
    db: Database, shop: str, by_waha: Pass
) -> None:
    db.execute("insert into connection_settings (connection_id, gateway) values ('shop', 'evolution')")
    row = schedule(db)
    await by_waha()
    after = message(db, row)
    assert after["status"] == "processing"
    assert "evolution also needs EVOLUTION_URL" in after["waiting_reason"]


CHANGES = {
    "blocked": ("is_blocked = true", "This contact is blocked"),
    "a new number": ("phone_number = '+919876543299'", None),
    "another owner's": ("owner_id = %(stranger)s", "is neither a contact nor a full phone number"),
    "nothing": ("contact_name = 'Usha'", None),
}


@pytest.mark.parametrize("whose", ["the owner's", "the author's", "nobody's"])
@pytest.mark.parametrize("change", CHANGES)
async def test_what_becomes_of_a_contact_between_plan_and_job_counts(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass, parts: Callable[..., Awaitable[Parts]],
    change: str, whose: str,
) -> None:  # fmt: skip
    owner, stranger = user(), user()
    row = write(owner, add_contact(owner, "+919876543210"))
    if whose == "the owner's":
        db.execute("update scheduled_messages set created_by = %s", (stranger.id,))
    elif whose == "the author's":
        db.execute("update scheduled_messages set owner_id = %s", (stranger.id,))
    elif whose == "nobody's":  # then it is the connection's owner who knows the contact
        db.execute("update scheduled_messages set owner_id = null, created_by = null")
    daemon = await parts(gateway="waha", waha_url=waha.url)
    plans = await daemon.scheduler.enqueuer.planner.plan(await daemon.store.get_pending())
    columns, refusal = CHANGES[change]
    other = user().id
    db.execute(f"update contacts set {columns}", {"stranger": other} if "%(" in columns else None)

    assert await daemon.scheduler.enqueuer.enqueue(plans) == (1 if change == "nothing" else 0)
    assert message(db, row)["status"] == ("processing" if change == "nothing" else "pending")
    await by_waha()

    after = message(db, row)
    if refusal:
        assert (after["status"], waha.received) == ("failed", [])
        assert refusal in after["error"]
    else:
        number = "919876543299" if change == "a new number" else "919876543210"
        assert (after["status"], waha.counts) == ("sent", {f"{number}@c.us": 1})


async def test_a_contact_that_is_deleted_between_plan_and_job_is_nobody(
    db: Database, user: NewUser, waha: CountingGateway, by_waha: Pass, parts: Callable[..., Awaitable[Parts]]
) -> None:
    owner = user()
    row = write(owner, add_contact(owner, "+919876543210"))
    daemon = await parts(gateway="waha", waha_url=waha.url)
    plans = await daemon.scheduler.enqueuer.planner.plan(await daemon.store.get_pending())
    db.execute("delete from contacts")

    assert await daemon.scheduler.enqueuer.enqueue(plans) == 0
    await by_waha()
    assert (message(db, row)["status"], waha.received) == ("failed", [])
