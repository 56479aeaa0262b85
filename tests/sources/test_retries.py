"""retry_campaign_run, as the owner of the run sees it: who gets another try, who does not and why, and the counts."""

import pytest

from tests.sources.conftest import Shop, join

PASSING = "WhatsApp had a passing fault (given up after 3 tries)"
NO_ACCOUNT = "No WhatsApp account has this number"


def outcome(shop: Shop, status: str, positions: str, error: str | None = None) -> None:
    """As if the daemon had had that answer for those of the latest try."""
    shop.db.execute(
        f"""
        update scheduled_messages set status = %s, error = %s,
            sent_at = case when %s then now() end, message_id = case when %s then 'wamid.' || source_position end
        where status = 'pending' and source_position in ({positions})
        """,
        (status, error, status == "sent", status == "sent"),
    )


def retry(shop: Shop, run_id: str, **arguments) -> dict:
    answer = shop.user.http.post("/rpc/retry_campaign_run", json={"run_id": run_id, **arguments})
    assert answer.is_success, answer.text
    [told] = answer.json()
    return told


def refused(shop: Shop, run_id: str, **arguments) -> tuple[int, str]:
    answer = shop.user.http.post("/rpc/retry_campaign_run", json={"run_id": run_id, **arguments})
    assert not answer.is_success, answer.text
    return answer.status_code, answer.json()["message"]


def counts(run: dict) -> dict[str, int]:
    names = ("pending", "sent", "failed", "unconfirmed", "skipped", "cancelled")
    assert run["total"] == sum(run[name] for name in names)
    assert min(run[name] for name in names) >= 0
    return {name: run[name] for name in names if run[name]}


async def ended(shop: Shop, forward, **positions: str) -> dict:
    """A run of ten that is over; of each outcome those positions, the rest was sent."""
    shop.contacts(10)
    campaign = shop.campaign()
    await forward(send=False)
    for status, these in positions.items():
        outcome(shop, status, these, f"It may have been sent: {PASSING}" if status == "unconfirmed" else PASSING)
    outcome(shop, "sent", ", ".join(map(str, range(1, 11))))
    await forward(send=False)
    return campaign


async def test_those_that_failed_are_tried_again_with_the_same_text_and_nobody_else(shop, forward):
    campaign = await ended(shop, forward, failed="2, 5, 9", unconfirmed="3")
    run = shop.run(campaign)
    assert (run["status"], counts(run)) == ("partial", {"sent": 6, "failed": 3, "unconfirmed": 1})

    assert retry(shop, run["id"]) == {"retried": 3, "left_out": []}
    again = shop.run(campaign)
    assert (again["status"], again["finished_at"], counts(again)) == (
        "processing", None, {"sent": 6, "pending": 3, "unconfirmed": 1},
    )  # fmt: skip
    assert shop.seen(campaign)["status"] == "scheduled"

    await forward()

    run = shop.run(campaign)
    assert (run["status"], counts(run)) == ("partial", {"sent": 9, "unconfirmed": 1})
    assert shop.seen(campaign)["status"] == "completed"
    tries = [m for m in shop.messages(campaign) if m["source_try"] == 1]
    assert [(m["source_position"], m["message"], m["status"]) for m in tries] == [
        (2, "Hello Name 1", "sent"), (5, "Hello Name 4", "sent"), (9, "Hello Name 8", "sent"),
    ]  # fmt: skip
    assert len(shop.messages(campaign)) == 13


async def test_asked_twice_they_get_one_more_try_and_a_third_is_numbered_on(shop, forward):
    campaign = await ended(shop, forward, failed="4")
    run_id = shop.run(campaign)["id"]

    assert retry(shop, run_id)["retried"] == 1
    assert retry(shop, run_id) == {"retried": 0, "left_out": []}
    await forward(send=False)
    outcome(shop, "failed", "4", PASSING)
    await forward(send=False)
    assert counts(shop.run(campaign)) == {"sent": 9, "failed": 1}
    assert retry(shop, run_id)["retried"] == 1
    await forward()

    assert [m["source_try"] for m in shop.messages(campaign) if m["source_position"] == 4] == [0, 1, 2]
    assert (shop.run(campaign)["status"], counts(shop.run(campaign))) == ("completed", {"sent": 10})


@pytest.mark.parametrize("status", ["unconfirmed", "cancelled"])
async def test_what_may_have_gone_out_or_was_cancelled_is_tried_only_by_name(shop, forward, status):
    campaign = await ended(shop, forward, **{status: "7"})
    run_id = shop.run(campaign)["id"]

    assert retry(shop, run_id)["retried"] == 0
    assert shop.run(campaign)["finished_at"]
    assert retry(shop, run_id, statuses=[status])["retried"] == 1
    await forward()

    assert counts(shop.run(campaign)) == {"sent": 10}


async def test_whose_reason_is_the_same_is_left_out_and_told(shop, forward):
    campaign = await ended(shop, forward)
    error = {
        1: NO_ACCOUNT, 2: NO_ACCOUNT, 3: "131050: The recipient has opted out of these messages",
        4: "The text has 5000 characters; WhatsApp takes 4096: shorten it.", 5: PASSING, 6: PASSING, 7: PASSING,
    }  # fmt: skip
    for position, words in error.items():
        shop.db.execute(
            "update scheduled_messages set status = 'failed', error = %s where source_position = %s", (words, position)
        )
    ids = [m["contact_id"] for m in shop.messages(campaign)]
    shop.db.execute("update contacts set phone_number = '+919876599999' where id::text = %s", (ids[1],))
    shop.db.execute("update contacts set is_blocked = true where id::text = %s", (ids[4],))
    shop.db.execute("update contacts set phone_number = ' ' where id::text = %s", (ids[5],))
    shop.db.execute("delete from contacts where id::text = %s", (ids[6],))

    told = retry(shop, shop.run(campaign)["id"])

    assert told["retried"] == 1  # whose number is another one now
    assert {one["reason"]: (one["count"], one["positions"]) for one in told["left_out"]} == {
        "The number has no WhatsApp account, and is the same as before.": (1, [1]),
        "They have opted out.": (1, [3]),
        f"The message itself is at fault, and a new try would have the same: {error[4]}": (1, [4]),
        "This contact is blocked.": (1, [5]),
        "This contact has no phone number.": (1, [6]),
        "This contact does not exist any more.": (1, [7]),
    }
    await forward()
    assert counts(shop.run(campaign)) == {"sent": 4, "failed": 6}


async def test_what_somebody_sets_going_by_hand_meanwhile_goes_out_once(shop, forward):
    campaign = await ended(shop, forward, failed="2, 3")
    assert retry(shop, shop.run(campaign)["id"])["retried"] == 2
    by_hand = next(m for m in shop.messages(campaign) if m["source_position"] == 2)
    shop.user.update(by_hand["id"], status="pending")
    assert counts(shop.run(campaign)) == {"sent": 8, "pending": 2}

    await forward()

    assert counts(shop.run(campaign)) == {"sent": 10}
    assert [m["source_try"] for m in shop.messages(campaign) if m["source_position"] in (2, 3)] == [0, 0, 1]


async def test_a_late_answer_to_the_try_before_changes_no_count(shop, forward):
    campaign = await ended(shop, forward, unconfirmed="2")
    retry(shop, shop.run(campaign)["id"], statuses=["unconfirmed"])
    shop.db.execute(
        "update scheduled_messages set status = 'sent', error = null, sent_at = now(), message_id = 'x' "
        "where status = 'unconfirmed'"
    )
    assert counts(shop.run(campaign)) == {"sent": 9, "pending": 1}
    await forward()
    assert counts(shop.run(campaign)) == {"sent": 10}


async def test_cancelled_before_the_new_tries_are_made_they_are_what_they_were(shop, forward):
    campaign = await ended(shop, forward, failed="2, 5", unconfirmed="6")
    retry(shop, shop.run(campaign)["id"], statuses=["failed", "unconfirmed"])

    shop.set(campaign, status="cancelled")

    run = shop.run(campaign)
    assert (run["status"], counts(run)) == ("cancelled", {"sent": 7, "failed": 2, "unconfirmed": 1})
    await forward()
    assert len(shop.messages(campaign)) == 10
    assert refused(shop, run["id"]) == (
        409, "This campaign was cancelled. Make a new one for those who are left.",
    )  # fmt: skip


async def test_paused_the_new_tries_wait_and_resumed_they_go(shop, forward):
    campaign = await ended(shop, forward, failed="2, 5")
    run_id = shop.run(campaign)["id"]
    retry(shop, run_id)
    shop.set(campaign, status="paused")
    assert refused(shop, run_id) == (409, "This campaign is paused. Resume it first.")
    await forward()
    assert counts(shop.run(campaign)) == {"sent": 8, "pending": 2}

    shop.set(campaign, status="scheduled")
    await forward()

    assert counts(shop.run(campaign)) == {"sent": 10}


async def test_many_are_tried_again_a_window_at_a_time_and_old_failures_do_not_stop_them(shop, forward):
    shop.contacts(130)
    campaign = shop.campaign(stop_at_failures=1)
    await forward(send=False)
    outcome(shop, "failed", "select n from generate_series(1, 130) as n", PASSING)
    await forward(send=False)
    assert shop.run(campaign)["status"] == "failed"
    assert shop.seen(campaign)["status"] == "failed"
    shop.settings(messages=1, period_seconds=60)
    shop.set(campaign, name="Renamed")
    shop.db.execute("update campaigns set stop_at_failures = 0.3")

    assert retry(shop, shop.run(campaign)["id"])["retried"] == 130
    await forward(send=False)

    assert len(shop.messages(campaign)) == 130 + 50
    assert shop.seen(campaign)["status"] == "scheduled"
    shop.db.execute("delete from connection_settings")
    await forward()
    assert counts(shop.run(campaign)) == {"sent": 130}
    assert shop.seen(campaign)["status"] == "completed"


async def test_new_tries_of_which_too_many_fail_stop_it_too(shop, forward):
    shop.contacts(130)
    campaign = shop.campaign(stop_at_failures=1)
    await forward(send=False)
    everybody = "select n from generate_series(1, 130) as n"
    outcome(shop, "failed", everybody, PASSING)
    await forward(send=False)
    shop.db.execute("update campaigns set stop_at_failures = 0.3")
    shop.settings(messages=1, period_seconds=1)
    retry(shop, shop.run(campaign)["id"])
    await forward(send=False)
    outcome(shop, "failed", everybody, PASSING)
    await forward(send=False)

    assert "of its last 100 messages 100 failed" in shop.seen(campaign)["status_reason"]
    assert counts(shop.run(campaign)) == {"failed": 120, "pending": 10}


async def test_who_may_and_when(shop, other_shop, forward, staff_and_admin, service):
    campaign = await ended(shop, forward, failed="2")
    run_id = shop.run(campaign)["id"]
    nobody = "00000000-0000-0000-0000-000000000000"
    for stranger, run in ((other_shop, run_id), (shop, nobody)):
        assert refused(stranger, run) == (403, "There is no such run of yours.")
    written = {"run_id": run_id, "owner_id": other_shop.user.id, "retried": 1, "connection_id": "x"}
    assert other_shop.user.http.post("/campaign_retries", json=written).status_code == 403
    for statuses in (["sent"], ["failed", "pending"], []):
        assert refused(shop, run_id, statuses=statuses)[0] == 400
    shop.db.execute("update connections set connected = false where id = %s", (shop.connection,))
    assert refused(shop, run_id) == (400, "The WhatsApp connection is not connected. Connect its phone first.")
    shop.db.execute("update connections set connected = true where id = %s", (shop.connection,))

    staff, _ = staff_and_admin
    join(shop, staff, "staff")
    assert staff.http.post("/rpc/retry_campaign_run", json={"run_id": run_id}).json()[0]["retried"] == 1
    [kept] = shop.user.http.get("/campaign_retries").json()
    assert (kept["created_by"], kept["owner_id"], kept["retried"]) == (staff.id, shop.user.id, 1)
    assert other_shop.user.http.get("/campaign_retries").json() == []
    assert service.post("/rpc/retry_campaign_run", json={"run_id": run_id}).json()[0]["retried"] == 0
