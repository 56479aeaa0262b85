"""`zone_of = 'recipient'`: everybody gets it at that time of their own day."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.sources.conftest import Shop

INDIA, NEW_YORK, TOKYO = "Asia/Kolkata", "America/New_York", "Asia/Tokyo"
NUMBERS = ["+12125550123", "+819012345678", "+919876512345", "+61412345678"]  # Australia has many clocks


def soonest(seconds: float) -> datetime:
    """A time of day in India that comes in so many seconds in Tokyo."""
    return (datetime.now(ZoneInfo(TOKYO)) + timedelta(seconds=seconds)).replace(tzinfo=ZoneInfo(INDIA))


def campaign(shop: Shop, at: datetime, **columns):
    columns = {"audience": {"numbers": NUMBERS}, "message": "Good morning", "timezone": INDIA} | columns
    return shop.campaign(zone_of="recipient", scheduled_at=at.isoformat(), **columns)


def times_pass(shop: Shop, by: timedelta) -> None:
    """For runs and who is still to get a message: all their times come so much sooner."""
    moved = "{0} set {1} = {1} - %s"
    with shop.unguarded():
        for table, column in (("campaign_runs", "rests_until"), ("campaign_runs", "made_due_at"),
                              ("campaign_recipients", "due_at")):  # fmt: skip
            shop.db.execute("update " + moved.format(table, column), (by,))


async def test_each_gets_it_at_that_time_by_their_own_clock_one_zone_after_the_other(shop, forward):
    at = soonest(-5)
    sent = campaign(shop, at)
    made = []
    for zone, before in ((TOKYO, TOKYO), (INDIA, TOKYO), (NEW_YORK, INDIA)):
        times_pass(shop, at.replace(tzinfo=ZoneInfo(zone)) - at.replace(tzinfo=ZoneInfo(before)))
        await forward(send=False)
        made.append([m["contact_id"] for m in shop.messages(sent)])

    tokyo, new_york, india, australia = NUMBERS[1], NUMBERS[0], NUMBERS[2], NUMBERS[3]
    assert made == [[tokyo], [tokyo, india, australia], [new_york, tokyo, india, australia]]
    zones = {m["contact_id"]: m["timezone"] for m in shop.messages(sent)}
    assert zones == {new_york: NEW_YORK, tokyo: TOKYO, india: "Asia/Calcutta", australia: INDIA}
    assert shop.run(sent)["pending"] == 4
    await forward()
    assert (shop.run(sent)["status"], shop.run(sent)["sent"]) == ("completed", 4)


async def test_a_message_is_due_at_that_time_on_the_recipients_wall(shop, forward):
    at = soonest(5)
    sent = campaign(shop, at)
    await forward(send=False)

    [message] = shop.messages(sent)
    due = datetime.fromisoformat(message["scheduled_at"]).astimezone(ZoneInfo(TOKYO))
    assert abs(due.replace(tzinfo=None) - at.replace(tzinfo=None)) < timedelta(milliseconds=1)
    params = {"run_id": f"eq.{shop.run(sent)['id']}", "order": "due_at"}
    due = [
        datetime.fromisoformat(r["due_at"]) for r in shop.user.http.get("/campaign_recipients", params=params).json()
    ]
    expected = [at.replace(tzinfo=ZoneInfo(zone)) for zone in (TOKYO, INDIA, INDIA, NEW_YORK)]
    assert [one.astimezone(UTC) for one in due] == [one.astimezone(UTC) for one in expected]


async def test_a_contacts_own_zone_goes_before_its_numbers(shop, forward):
    shop.db.execute("alter table contacts add column if not exists timezone text")
    try:
        shop.contacts(3)
        shop.db.execute(
            "update contacts set timezone = case contact_name "
            "when 'Name 0' then 'europe/berlin' when 'Name 1' then 'no zone' end"
        )
        at = datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(hours=9)
        sent = campaign(shop, at, timezone="Europe/Berlin", audience={"labels": ["gold"]})
        await forward(send=False)
        params = {"run_id": f"eq.{shop.run(sent)['id']}", "order": "position"}
        zones = [r["timezone"] for r in shop.user.http.get("/campaign_recipients", params=params).json()]
    finally:
        shop.db.execute("alter table contacts drop column timezone")
    assert zones == ["Europe/Berlin", "Europe/Berlin", "Asia/Calcutta"]


async def test_whose_time_had_passed_when_it_was_activated_is_skipped_and_told(shop, forward):
    sent = campaign(shop, datetime.now(UTC) + timedelta(hours=1), timezone="UTC")
    await forward(send=False)

    run = shop.run(sent)
    params = {"run_id": f"eq.{run['id']}", "fault": "not.is.null", "order": "position"}
    faults = [(r["address"], r["fault"]) for r in shop.user.http.get("/campaign_recipients", params=params).json()]
    wall = datetime.fromisoformat(sent["scheduled_at"]).astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    assert faults == [
        ("+819012345678", f"{wall} in Asia/Tokyo had passed already when the campaign was activated."),
        ("+919876512345", f"{wall} in Asia/Calcutta had passed already when the campaign was activated."),
    ]
    assert (run["total"], run["skipped"], run["pending"]) == (4, 2, 2)


def test_it_needs_to_know_which_clock_the_time_is_written_by(shop):
    words = shop.refusal(zone_of="recipient", timezone=None, message="Hi", audience={"numbers": NUMBERS})
    assert "in which time zone the time is written" in words


@pytest.mark.parametrize("paused", [False, True])
async def test_between_two_zones_the_run_rests_and_nobody_asks_for_it(shop, forward, paused):
    sent = campaign(shop, datetime.now(UTC) + timedelta(hours=1), timezone="UTC")
    await forward(send=False)
    [run] = shop.db.execute("select rests_until from campaign_runs").fetchall()
    assert run["rests_until"] > datetime.now(UTC)
    if paused:
        shop.set(sent, status="paused")
        shop.set(sent, status="scheduled")
        await forward(send=False)
        [again] = shop.db.execute("select rests_until from campaign_runs").fetchall()
        assert again["rests_until"] == run["rests_until"]
    [agenda] = shop.db.execute("select runs from get_campaign_agenda()").fetchall()
    assert agenda["runs"] is None
