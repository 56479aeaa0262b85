"""When a campaign would begin and end, and a test message to oneself: what its owner is told through the API."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.zones import where_it_is_noon
from tests.sources.conftest import Shop, soon

START = "2030-12-02T04:30:00+00:00"  # a Monday, 10:00 in India


def estimate(shop: Shop, campaign: dict[str, Any]) -> dict[str, Any]:
    [row] = shop.user.http.post("/rpc/estimate_campaign", json={"id": campaign["id"]}).json()
    return row


def ends(row: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(row["ends_at"])


def after(start: str, **parts: float) -> datetime:
    return datetime.fromisoformat(start) + timedelta(**parts)


NEAR = timedelta(seconds=30)  # the pace is stretched by 3 %


@pytest.mark.parametrize(
    ("columns", "begins", "last"),
    [
        pytest.param({}, START, after(START, seconds=3), id="nothing spaces them"),
        pytest.param({"messages": 60, "period_seconds": 60}, START, after(START, seconds=309), id="one a second"),
        pytest.param(
            {"messages": 60, "period_seconds": 60, "jitter_seconds": 2}, START, after(START, seconds=609),
            id="and up to two more",
        ),
        pytest.param(
            {"daily_limit": 100, "timezone": "Asia/Kolkata"}, START, "2030-12-03T18:30:00.99+00:00", id="100 a day",
        ),
        pytest.param(
            {"daily_limit": 300, "warm_up_from": "2030-12-02", "warm_up_days": 10, "warm_up_limit": 50},
            START, "2030-12-05T00:00:00+00:00", id="a new number: 50, 75, 100, 125",
        ),
        pytest.param(
            {"messages": 60, "period_seconds": 3600, "window_start": "09:00", "window_end": "11:00"},
            "2030-12-02T09:00:00+00:00", after("2030-12-04T09:00:00+00:00", seconds=61.8 * 65),
            id="60 an hour, from 9 to 11",
        ),
        pytest.param(
            {"window_start": "22:00", "window_end": "02:00", "timezone": "Asia/Kolkata"},
            "2030-12-02T16:30:00+00:00", after("2030-12-02T16:30:00+00:00", seconds=3), id="at night",
        ),
    ],
)  # fmt: skip
def test_it_goes_by_pace_limits_hours_and_warm_up(shop, columns, begins, last):
    shop.contacts(300)
    if columns:
        shop.settings(**columns)
    row = estimate(shop, shop.campaign(scheduled_at=START, give_up_after="7 days"))

    assert (row["number"], row["is_exact"], row["too_late"], row["reason"]) == (300, False, 0, None)
    assert abs(datetime.fromisoformat(row["begins_at"]) - datetime.fromisoformat(begins)) < NEAR
    assert abs(ends(row) - datetime.fromisoformat(str(last))) < NEAR, row


def test_what_the_connection_has_sent_today_counts(shop):
    shop.contacts(100)
    zone = where_it_is_noon()
    shop.settings(daily_limit=100, timezone=zone)
    campaign = shop.campaign(scheduled_at=soon(0), give_up_after="7 days")
    shop.db.execute(
        """
        insert into private.connection_state (connection_id, day, sent_today)
        values (%s, (now() at time zone %s)::date, 70)
        on conflict (connection_id) do update set day = excluded.day, sent_today = excluded.sent_today
        """,
        (shop.connection, zone),
    )
    there = ZoneInfo(zone)
    tomorrow = (datetime.now(there) + timedelta(days=1)).date()
    assert ends(estimate(shop, campaign)).astimezone(there).date() in (tomorrow, tomorrow + timedelta(days=1))
    shop.db.execute("update private.connection_state set sent_today = 0")
    assert ends(estimate(shop, campaign)).astimezone(there).date() < tomorrow


def test_what_else_the_connection_has_to_send_puts_it_off(shop, other_shop):
    """Single messages before and between, another campaign's in turns; another connection's not at all."""
    shop.contacts(100)
    shop.settings(messages=1, period_seconds=60)
    start, minute = datetime.fromisoformat(START), timedelta(minutes=1.03)
    campaign = shop.campaign(scheduled_at=START, give_up_after="7 days")
    alone = ends(estimate(shop, campaign))

    def write(one: Shop, at: datetime, count: int) -> None:
        one.db.execute(
            """
            insert into scheduled_messages (connection_id, owner_id, contact_id, message, scheduled_at)
            select %s, %s, '+919876500000', 'Hello', %s from generate_series(1, %s)
            """,
            (one.connection, one.user.id, at, count),
        )

    write(shop, start, 10)  # with it
    write(shop, start + 20 * minute, 5)  # between
    write(shop, start + timedelta(days=3), 7)  # long after
    write(other_shop, start, 50)
    with shop.unguarded():  # two that wait for their turn, and three of this campaign's own
        shop.db.execute(
            """
            insert into broadcast_jobs (
                id, scheduled_message_id, connection_id, recipient, available_at, schedule, send_at, gateway, status,
                priority
            )
            select gen_random_uuid(), gen_random_uuid(), %s, '+919876500000', now(), now(), now(), 'mock', 'queued',
                case when n <= 2 then 0 else 1 end
            from generate_series(1, 5) as n
            """,
            (shop.connection,),
        )
    assert estimate(shop, campaign)["ahead"] == 17
    shop.db.execute("delete from broadcast_jobs")
    row = estimate(shop, campaign)
    assert row["ahead"] == 15
    assert abs(ends(row) - alone - 15 * minute) < NEAR
    assert abs(datetime.fromisoformat(row["begins_at"]) - start - 10 * minute) < NEAR


def test_what_would_come_too_late_is_said(shop):
    shop.contacts(300)
    shop.settings(messages=60, period_seconds=3600)
    row = estimate(shop, shop.campaign(scheduled_at=START, give_up_after="2 hours"))

    assert row["number"] == 300
    assert 180 <= row["too_late"] <= 185
    assert ends(row) == after(START, hours=2)


async def test_a_rehearsal_makes_it_exact_and_tells_its_departures(shop, rehearsed):
    shop.contacts(10)
    shop.db.execute("update contacts set phone_number = null where contact_name in ('Name 3', 'Name 4')")
    shop.settings(messages=1, period_seconds=60)
    campaign = shop.campaign(scheduled_at=START)
    assert (estimate(shop, campaign)["number"], estimate(shop, campaign)["is_exact"]) == (10, False)

    shop.rehearse(campaign)
    await rehearsed()

    row, head = estimate(shop, campaign), shop.rehearsal(campaign)
    assert (row["number"], row["is_exact"]) == (8, True)
    assert (head["first_departure_at"], head["last_departure_at"]) == (row["begins_at"], row["ends_at"])

    shop.set(campaign, audience={"labels": ["gold", "silver"]})
    assert (estimate(shop, campaign)["number"], estimate(shop, campaign)["is_exact"]) == (10, False)


async def test_a_run_says_when_it_will_be_over_while_it_is_on(shop, forward):
    shop.contacts(120)
    shop.settings(messages=1, period_seconds=60)
    campaign = shop.campaign()
    await forward(send=False)

    finish = datetime.fromisoformat(shop.run(campaign)["estimated_finish_at"])
    assert abs(finish - datetime.now(UTC) - 119 * timedelta(minutes=1.03)) < timedelta(minutes=3)
    row = estimate(shop, campaign)
    assert (row["number"], row["is_exact"]) == (120, True)

    shop.set(campaign, status="paused")
    assert shop.run(campaign)["estimated_finish_at"] is None
    shop.db.execute("delete from connection_settings")
    shop.set(campaign, status="scheduled")
    await forward()
    assert shop.run(campaign)["estimated_finish_at"] is None
    assert estimate(shop, campaign)["reason"] == "This campaign is over."


def test_of_another_campaign_that_is_on_as_many_go_out_between_as_of_this_one(shop):
    """They take turns."""
    shop.contacts(100)
    shop.settings(messages=1, period_seconds=60)
    campaign = shop.campaign(scheduled_at=soon(0), status="draft", audience={"labels": ["silver"]})
    shop.contacts(10, "silver", first=200)
    assert estimate(shop, campaign)["ahead"] == 0
    shop.db.execute(
        """
        insert into campaign_runs (campaign_id, owner_id, connection_id, occurrence_at, total, pending, unmade)
        select id, owner_id, connection_id, now(), 100, 100, 50 from campaigns where id = %s
        """,
        (shop.campaign(scheduled_at=soon(3600))["id"],),
    )
    assert estimate(shop, campaign)["ahead"] == 10


def test_why_nothing_goes_out_is_said(shop):
    shop.contacts(1)
    draft = shop.campaign(status="draft", scheduled_at=None, audience={})
    assert estimate(shop, draft)["reason"] == "Say who is to get it: contacts, labels or numbers."
    campaign = shop.campaign(scheduled_at=START)
    shop.db.execute("update connections set connected = false where id = %s", (shop.connection,))
    assert "not connected" in estimate(shop, campaign)["reason"]
    shop.settings(daily_limit=0)
    assert estimate(shop, campaign)["too_late"] == 1


def send_a_try(shop: Shop, campaign: dict[str, Any], address: str = "+91 98765 00099") -> Any:
    return shop.user.http.post("/rpc/send_test", json={"campaign_id": campaign["id"], "address": address})


async def test_a_test_is_one_plain_message_of_the_callers(shop, parts, rehearsed):
    shop.contacts(2)
    template = shop.template("Dear {name}, {offer} until {day}. {who}?", defaults={"day": "Friday"})
    campaign = shop.campaign(
        template_id=template, message="", variables={"offer": "10 %"}, status="draft", scheduled_at=START
    )
    row = shop.user.row(send_a_try(shop, campaign).json())
    assert row["message"] == "Dear {name}, 10 % until Friday. {who}?"
    assert (row["created_by"], row["source_id"], row["status"]) == (shop.user.id, None, "pending")

    shop.set(campaign, variables={"offer": "10 %", "who": "you"})
    shop.rehearse(campaign)
    row = shop.user.row(send_a_try(shop, campaign).json())
    assert row["message"] == "Dear Name 0, 10 % until Friday. you?"

    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert shop.user.row(row["id"])["status"] == "sent"


def test_a_test_through_the_cloud_api_is_the_approved_template(shop):
    shop.settings(gateway="cloud")
    cloud = {"name": "offer", "language": "en", "parameters": ["name", "Ends-On"]}
    template = shop.template("Dear {name}", cloud=cloud)
    campaign = shop.campaign(
        template_id=template, message="", variables={"ends on": "Friday"}, status="draft", scheduled_at=START
    )
    row = shop.user.row(send_a_try(shop, campaign).json())
    assert row["message"] == "Dear {name}"
    [body] = row["template"]["components"]
    assert [parameter["text"] for parameter in body["parameters"]] == ["{name}", "Friday"]


def test_a_test_has_the_file_that_the_approved_templates_header_names(shop):
    shop.settings(gateway="cloud")
    header = {"type": "document", "link": "https://e.com/{plan}.pdf"}
    template = shop.template("Hello", cloud={"name": "offer", "language": "en", "header": header})
    campaign = shop.campaign(
        template_id=template, message="", variables={"plan": "gold"}, status="draft", scheduled_at=START
    )
    row = shop.user.row(send_a_try(shop, campaign).json())
    [component] = row["template"]["components"]
    assert component["parameters"][0]["document"]["link"] == "https://e.com/gold.pdf"


def test_a_test_of_a_file_has_its_caption(shop):
    shop.contacts(1)
    campaign = shop.campaign(
        type="image", media_url="https://example.com/a.png", caption="For {name}", message="", status="draft"
    )
    row = shop.user.row(send_a_try(shop, campaign).json())
    assert (row["type"], row["media_url"], row["caption"]) == ("image", "https://example.com/a.png", "For {name}")


@pytest.mark.parametrize("address", ["12", "98765 00099", "", "Asha", "+", "me@"])
def test_a_test_goes_to_a_number_and_never_to_somebodys_contact(shop, address):
    shop.contacts(20)
    answer = send_a_try(shop, shop.campaign(), address)
    assert (answer.status_code, "country code" in answer.json()["message"]) == (400, True)
    assert shop.user.http.get("/scheduled_messages").json() == []


def test_a_test_of_another_tenants_campaign_is_refused(shop, other_shop):
    shop.contacts(1)
    campaign = shop.campaign()
    answer = send_a_try(other_shop, campaign)
    assert (answer.status_code, answer.json()["message"]) == (403, "There is no such campaign of yours.")
    assert shop.db.execute("select count(*) as n from scheduled_messages").fetchone()["n"] == 0
