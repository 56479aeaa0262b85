"""schedule_to_contacts: one text to some contacts in one call."""

from datetime import datetime, timedelta

import pytest

from tests.sources.conftest import Shop, join, soon


def call(shop: Shop, contacts: list[int] | None, at: str | None = None, **arguments):
    json = {"contact_ids": contacts, "message": "Hello {name}", "scheduled_at": at or soon(3600), **arguments}
    return shop.user.http.post("/rpc/schedule_to_contacts", json=json)


def made(shop: Shop, contacts: list[int], at: str | None = None, **arguments) -> dict:
    answer = call(shop, contacts, at, **arguments)
    assert answer.is_success, answer.text
    [row] = answer.json()
    return row


def refused(shop: Shop, *given, **arguments) -> str:
    answer = call(shop, *given, **arguments)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["message"])


async def test_it_makes_a_campaign_that_goes_out_to_them(shop, forward):
    contacts = shop.contacts(3)

    bulk = made(shop, [*contacts, contacts[0]], soon(0), message="See you\n tomorrow, {name}")

    campaign = {"id": bulk["id"]}
    assert bulk["recipient_count"] == 3
    seen = shop.seen(campaign)
    assert (seen["status"], seen["name"], seen["max_recipients"]) == ("scheduled", "See you tomorrow, {name}", 50)
    assert (seen["owner_id"], seen["created_by"]) == (shop.user.id, shop.user.id)
    await forward()
    assert [m["message"] for m in shop.messages(campaign)] == [f"See you\n tomorrow, Name {n}" for n in range(3)]


@pytest.mark.parametrize(
    ("written", "zone", "instant"),
    [
        ("2030-01-15T14:30:00", "Asia/Kolkata", "2030-01-15T09:00:00+00:00"),
        ("2030-01-15 14:30", "America/New_York", "2030-01-15T19:30:00+00:00"),
        ("2030-01-15T14:30:00.250", None, "2030-01-15T14:30:00.25+00:00"),
        ("2030-01-15T14:30:00Z", "Asia/Kolkata", "2030-01-15T14:30:00+00:00"),
        ("2030-01-15T14:30:00.000+05:30", "America/New_York", "2030-01-15T09:00:00+00:00"),
        # A time that comes twice is the first, one that does not exist moves on by the gap.
        ("2030-11-03T01:30:00", "America/New_York", "2030-11-03T05:30:00+00:00"),
        ("2030-03-10T02:30:00", "America/New_York", "2030-03-10T07:30:00+00:00"),
    ],
)
def test_a_time_without_an_offset_is_the_connections(shop, written, zone, instant):
    shop.settings(timezone=zone)
    seen = shop.seen(made(shop, shop.contacts(1), written))
    assert datetime.fromisoformat(seen["scheduled_at"]) == datetime.fromisoformat(instant)


@pytest.mark.parametrize(
    "written", ["tomorrow", "", "2030-13-01T10:00:00", "2030-01-01", "now", "2030-01-01T25:00", "1"]
)
def test_what_is_no_time_is_refused(shop, written):
    assert "must be written like 2026-12-01T14:30:00" in refused(shop, shop.contacts(1), written or " ")


def test_it_says_when_the_last_goes_out(shop):
    shop.settings(messages=1, period_seconds=12)
    bulk = made(shop, shop.contacts(50), "2030-01-15T14:30:00Z")
    takes = datetime.fromisoformat(bulk["estimated_finish_at"]) - datetime.fromisoformat("2030-01-15T14:30:00Z")
    assert timedelta(minutes=9) < takes < timedelta(minutes=11)


def test_all_is_refused_with_the_names_of_those_who_cannot_be_written_to(shop, other_shop):
    ours, theirs = shop.contacts(3), other_shop.contacts(1)
    shop.db.execute("update contacts set phone_number = ' ' where id = %s", (ours[0],))
    shop.db.execute("update contacts set phone_number = null, contact_name = ' ' where id = %s", (ours[1],))

    assert refused(shop, [*ours, *theirs, 99_999]) == f"There are no such contacts: {theirs[0]}, 99999."
    words = f"No phone number: Name 0, {ours[1]}. Add it, or leave them out."
    assert refused(shop, ours) == words
    assert refused(shop, []) == refused(shop, None) == "Choose somebody to write to."
    assert refused(shop, list(range(1, 52))) == "At most 50 at once can be written to; these are 51."
    assert "nothing to send" in refused(shop, ours[2:], message=" ")
    assert "has passed" in refused(shop, ours[2:], "2024-01-15T14:30:00")
    assert shop.user.http.get("/campaigns").json() == []


def test_without_a_connection_it_is_the_only_one_that_the_caller_may_use(shop, other_shop, staff_and_admin):
    contacts = shop.contacts(2)
    assert shop.seen(made(shop, contacts[:1]))["connection_id"] == shop.connection
    second = shop.user.insert("connections", name="another")["id"]
    assert "Say which one sends it" in refused(shop, contacts[1:])
    assert shop.seen(made(shop, contacts[1:], connection_id=second))["connection_id"] == second
    for strange in (other_shop.connection, "nowhere"):
        answer = call(shop, contacts, connection_id=strange)
        assert (answer.status_code, answer.json()["message"]) == (403, "There is no such connection of yours.")

    staff, _ = staff_and_admin
    arguments = {"contact_ids": contacts, "message": "Hello", "scheduled_at": soon(600)}
    answer = staff.http.post("/rpc/schedule_to_contacts", json=arguments)
    assert (answer.status_code, answer.json()["message"]) == (400, "You have no WhatsApp connection yet.")
    join(other_shop, staff, "staff")
    arguments["contact_ids"] = other_shop.contacts(1)
    [bulk] = staff.http.post("/rpc/schedule_to_contacts", json=arguments).json()
    assert other_shop.seen(bulk)["owner_id"] == other_shop.user.id


def test_a_button_that_is_pressed_twice_makes_one(shop):
    contacts, at = shop.contacts(2), soon(3600)
    first, second = made(shop, contacts, at), made(shop, contacts[::-1], at)
    assert first["id"] == second["id"]
    assert made(shop, contacts, at, message="Another")["id"] != first["id"]
    shop.set(first, status="cancelled")
    assert made(shop, contacts, at)["id"] != first["id"]
