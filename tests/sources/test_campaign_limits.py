"""What a campaign does at its connection's daily limit."""

import pytest

from tests.helpers.zones import where_it_is_noon
from tests.sources.conftest import soon
from tests.sources.test_retries import counts, retry


def limit(shop, daily_limit, used=0, **columns):
    zone = where_it_is_noon()
    shop.settings(daily_limit=daily_limit, timezone=zone, **columns)
    shop.db.execute(
        """
        insert into private.connection_state (connection_id, day, sent_today)
        values (%s, (now() at time zone %s)::date, %s)
        on conflict (connection_id) do update set day = excluded.day, sent_today = excluded.sent_today
        """,
        (shop.connection, zone, used),
    )


async def test_where_it_is_to_fail_a_run_that_is_too_big_sends_nothing_and_says_both_numbers(shop, forward):
    shop.contacts(5)
    limit(shop, 10, used=6)
    campaign = shop.campaign(at_daily_limit="fail")

    await forward()

    run, words = shop.run(campaign), (
        "Nothing was sent: these are 5 messages, and today's limit of the connection leaves 4 (10 a day, 6 used)."
    )  # fmt: skip
    assert (run["status"], run["status_reason"], counts(run)) == ("failed", words, {"failed": 5})
    assert (shop.seen(campaign)["status"], shop.seen(campaign)["status_reason"]) == ("failed", words)
    assert shop.messages(campaign) == []

    assert retry(shop, run["id"]) == {
        "retried": 0, "left_out": [{"reason": words, "count": 5, "positions": []}],
    }  # fmt: skip
    limit(shop, 10, used=0)
    assert retry(shop, run["id"])["retried"] == 5
    await forward()
    assert (shop.run(campaign)["status"], counts(shop.run(campaign))) == ("completed", {"sent": 5})


async def test_those_who_are_skipped_need_no_room(shop, forward):
    shop.contacts(5)
    shop.db.execute("update contacts set is_blocked = true where contact_name = 'Name 1'")
    limit(shop, 10, used=6)
    campaign = shop.campaign(at_daily_limit="fail")
    await forward()
    assert counts(shop.run(campaign)) == {"sent": 4, "skipped": 1}


async def test_one_that_recurs_goes_on_tomorrow(shop, forward):
    shop.contacts(5)
    limit(shop, 4)
    columns = {"is_recurring": True, "recurrence_pattern": "daily", "timezone": "UTC"}
    campaign = shop.campaign(at_daily_limit="fail", **columns)
    await forward()
    assert (shop.run(campaign)["status"], shop.seen(campaign)["status"]) == ("failed", "scheduled")

    limit(shop, 5)
    shop.a_day_passes()
    await forward()

    assert (shop.run(campaign)["status"], counts(shop.run(campaign))) == ("completed", {"sent": 5})


@pytest.mark.parametrize("of_connection", ["defer", "fail"])
async def test_where_it_is_to_wait_what_is_beyond_waits(shop, forward, of_connection):
    shop.contacts(5)
    limit(shop, 3, at_daily_limit=of_connection)
    campaign = shop.campaign()

    await forward()

    assert counts(shop.run(campaign)) == {"sent": 3, "pending": 2}
    waiting = [m["waiting_reason"] for m in shop.messages(campaign) if m["status"] == "processing"]
    assert waiting == ["the daily limit of 3 messages is reached"] * 2


async def test_a_campaigns_limit_goes_before_the_connections_and_concerns_its_own_messages_alone(shop, forward):
    shop.contacts(3)
    limit(shop, 3, at_daily_limit="fail")
    campaign = shop.campaign()
    await forward()
    single = shop.user.insert(
        connection_id=shop.connection, contact_id="+919876599999", message="Hello", scheduled_at=soon(0)
    )
    more = shop.campaign(name="More")

    await forward()

    assert shop.user.row(single["id"])["error"] == "Not sent: the daily limit of 3 messages is reached."
    assert counts(shop.run(campaign)) == {"sent": 3}
    assert counts(shop.run(more)) == {"pending": 3}
