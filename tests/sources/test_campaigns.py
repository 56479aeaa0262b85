"""A campaign from its activation to its end, as its owner sees it through the API."""

from datetime import datetime, timedelta

import pytest

from tests.helpers.rows import one
from tests.pacing.limiter import Queue
from tests.sources.conftest import soon


async def test_everybody_with_the_label_gets_one_message_and_the_counts_add_up(shop, forward):
    shop.contacts(30)
    campaign = shop.campaign(name="Gold loan offer")

    await forward()

    run = shop.run(campaign)
    assert (run["status"], run["total"], run["sent"], run["pending"]) == ("completed", 30, 30, 0)
    messages = shop.messages(campaign)
    assert [m["message"] for m in messages] == [f"Hello Name {n}" for n in range(30)]
    assert {m["status"] for m in messages} == {"sent"}
    assert {m["owner_id"] for m in messages} == {shop.user.id}
    assert shop.seen(campaign)["status"] == "completed"


async def test_who_cannot_be_written_to_is_skipped_with_the_reason(shop, forward):
    shop.contacts(2)
    shop.db.execute(
        """
        insert into contacts (owner_id, phone_number, contact_name, labels, is_blocked) values
        (%(me)s, '+919876500001', 'Twice', '{gold}', false), (%(me)s, null, 'None', '{gold}', false),
        (%(me)s, '+919876511111', 'Blocked', '{gold}', true), (%(me)s, '12', 'Short', '{gold}', false),
        (%(me)s, '+919876522222', ' ', '{gold}', false)
        """,
        {"me": shop.user.id},
    )
    campaign = shop.campaign()

    await forward()

    run = shop.run(campaign)
    assert (run["status"], run["total"], run["sent"], run["skipped"]) == ("completed", 7, 2, 5)
    params = {"run_id": f"eq.{run['id']}", "order": "position", "fault": "not.is.null"}
    faults = [row["fault"] for row in shop.user.http.get("/campaign_recipients", params=params).json()]
    assert faults[0] == "This number is in the audience already."
    assert faults[1] == "This contact has no phone number."
    assert faults[2] == "This contact is blocked."
    assert "12 is neither a contact nor a full phone number" in faults[3]
    assert faults[4] == "No value for {name}."


async def test_a_value_that_looks_like_a_place_is_text(shop, forward):
    shop.contacts(1)
    template = shop.template("Hi {{ NAME }}, {doctor-name} on {date}. {not a place! {1}", defaults={"date": "Monday"})
    campaign = shop.campaign(template_id=template, message="", variables={"Doctor Name": "{date}"})

    await forward()

    [message] = shop.messages(campaign)
    assert message["message"] == "Hi Name 0, {date} on Monday. {not a place! {1}"


async def test_paused_nothing_more_goes_out_and_resumed_the_rest_does_in_order(shop, forward):
    shop.contacts(120)
    campaign = shop.campaign()
    shop.settings(messages=1, period_seconds=60)
    await forward(send=False)

    assert shop.set(campaign, status="paused")["status"] == "paused"
    waiting = [m for m in shop.messages(campaign) if m["status"] == "pending"]
    assert len(waiting) == 50  # the window of so slow a connection
    assert {(m["due_at"], m["waiting_reason"]) for m in waiting} == {(None, "The campaign is paused.")}
    shop.db.execute("delete from connection_settings")
    await forward()
    assert {m["status"] for m in shop.messages(campaign)} == {"pending"}

    assert shop.set(campaign, status="scheduled")["status"] == "scheduled"
    await forward()

    run = shop.run(campaign)
    assert (run["status"], run["sent"], run["pending"]) == ("completed", 120, 0)
    assert len({m["contact_id"] for m in shop.messages(campaign)}) == 120


async def test_a_window_is_filled_up_once_half_of_it_is_free_and_its_last_ones_at_once(shop, forward):
    """Few at a time would each cost a call, a poll and a claim."""
    shop.contacts(90)
    campaign = shop.campaign()
    slow = "insert into connection_settings (connection_id, messages, period_seconds) values (%s, 1, 60)"
    shop.db.execute(slow, (shop.connection,))
    sent = """
        update scheduled_messages set status = 'sent', sent_at = now(), message_id = id::text
        where id in (select id from scheduled_messages where status = 'pending' order by scheduled_at limit %s)
    """
    made = []
    for count in (0, 24, 1, 35, 24, 1, 5):
        shop.db.execute(sent, (count,))
        await forward(send=False)
        made.append(len(shop.messages(campaign)))

    assert made == [50, 50, 75, 90, 90, 90, 90]
    assert shop.run(campaign)["status"] == "completed"


async def test_cancelled_what_waits_is_cancelled_and_what_went_out_stays(shop, forward):
    shop.contacts(120)
    campaign = shop.campaign()
    shop.settings(messages=1, period_seconds=60)
    await forward(send=False)
    first = shop.messages(campaign)[0]["id"]
    shop.db.execute(
        "update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'x' where id = %s", (first,)
    )

    assert shop.set(campaign, status="cancelled")["status"] == "cancelled"

    run = shop.run(campaign)
    assert (run["status"], run["total"], run["sent"], run["cancelled"], run["pending"]) == ("cancelled", 120, 1, 119, 0)


async def test_a_daily_campaign_has_a_run_each_day_and_never_two_of_one(shop, forward):
    shop.contacts(3)
    campaign = shop.campaign(is_recurring=True, recurrence_pattern="daily", timezone="Asia/Kolkata")
    await forward()
    assert shop.run(campaign)["status"] == "completed"
    assert shop.seen(campaign)["status"] == "scheduled"

    shop.a_day_passes()
    await forward()
    await forward()

    runs = shop.db.execute("select status, sent, occurrence_at from campaign_runs order by occurrence_at").fetchall()
    assert [(run["status"], run["sent"]) for run in runs] == [("completed", 3), ("completed", 3)]
    assert runs[1]["occurrence_at"] - runs[0]["occurrence_at"] == timedelta(days=1)
    sent = shop.db.execute("select contact_id, count(*) as n from scheduled_messages group by contact_id").fetchall()
    assert [row["n"] for row in sent] == [2, 2, 2]


def test_a_time_that_is_changed_while_it_is_paused_is_the_new_one(shop):
    shop.contacts(1)
    campaign = shop.campaign(scheduled_at=soon(600))
    shop.set(campaign, status="paused")
    later = soon(7200)
    shop.set(campaign, scheduled_at=later)
    shop.set(campaign, status="scheduled")

    assert datetime.fromisoformat(shop.seen(campaign)["next_run_at"]) == datetime.fromisoformat(later)


async def test_a_text_that_is_changed_between_two_runs_leaves_their_times(shop, forward):
    shop.contacts(1)
    campaign = shop.campaign(is_recurring=True, recurrence_pattern="daily", timezone="Asia/Kolkata")
    await forward()
    shop.a_day_passes()
    await forward()
    before = shop.seen(campaign)["next_run_at"]

    shop.set(campaign, message="Good day {name}")

    assert shop.seen(campaign)["next_run_at"] == before


async def test_one_that_the_service_key_writes_starts_as_a_users_does(shop, service, forward):
    shop.contacts(2)
    row = {
        "connection_id": shop.connection, "name": "By a backend", "message": "Hello {name}",
        "audience": {"labels": ["gold"]}, "scheduled_at": soon(0), "status": "scheduled",
    }  # fmt: skip
    answer = service.post("/campaigns", json=row, headers={"prefer": "return=representation"})
    assert answer.is_success, answer.text
    [campaign] = answer.json()
    assert (
        service.post("/campaigns", json={**row, "message": " "}).json()["message"].startswith("The campaign has noth")
    )

    await forward()

    assert (shop.run(campaign)["sent"], campaign["owner_id"]) == (2, shop.user.id)


async def test_a_run_that_the_database_refuses_stops_alone(shop, other_shop, forward):
    """A project's own check, or what nobody thought of: here a list of labels that is none any more."""
    for keeper in (shop, other_shop):
        keeper.contacts(1)
    broken, good = shop.campaign(), other_shop.campaign()
    with shop.unguarded():
        shop.db.execute("update campaigns set audience = '{\"labels\": 1}' where id = %s", (broken["id"],))

    await forward()

    assert other_shop.run(good)["status"] == "completed"
    assert shop.seen(broken)["status"] == "paused"
    assert "the database refused it" in shop.seen(broken)["status_reason"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"message": " "}, "nothing to send"),
        ({"scheduled_at": None}, "when the campaign is to be sent"),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, "time of the campaign has passed"),
        ({"audience": {}}, "Say who is to get it"),
        ({"audience": {"labels": ["nobody"]}}, "Nobody is in this audience"),
        ({"audience": {"contacts": [999_999]}}, "There are no such contacts: 999999"),
        ({"audience": {"numbers": ["+919876500000"]}}, "Nothing can fill {name}"),
        ({"message": "Hi {doctor}"}, "Nothing can fill {doctor}"),
        ({"max_recipients": 2}, "more than 2 recipients"),
        ({"is_recurring": True, "recurrence_pattern": "now and then"}, "The recurrence pattern must be"),
        ({"connection_id": "nowhere"}, "no such connection of yours"),
        ({"status": "completed"}, "starts as draft or scheduled"),
        ({"audience": {"labels": ["gold"], "except": {"labels": "staff"}}}, "an object of lists"),
    ],
)
def test_what_cannot_start_is_refused_with_words(shop, columns, words):
    shop.contacts(3)
    assert words in shop.refusal(**columns)


def test_a_connection_that_cannot_send_starts_no_campaign(shop):
    shop.contacts(1)
    shop.db.execute("update connections set connected = false where id = %s", (shop.connection,))
    assert "not connected" in shop.refusal()
    shop.db.execute("update connections set connected = true where id = %s", (shop.connection,))
    for switch in ("enabled", "active"):
        shop.db.execute("delete from connection_settings")
        shop.settings(**{switch: False})
        assert "switched off" in shop.refusal(), switch


async def test_another_tenants_contacts_labels_and_templates_are_like_none(shop, other_shop, forward):
    theirs = other_shop.contacts(2)
    template = other_shop.template("Ours")
    assert f"There are no such contacts: {theirs[0]}" in shop.refusal(audience={"contacts": theirs})
    assert "Nobody is in this audience" in shop.refusal()
    answer = shop.user.http.post("/campaigns", json={
        "connection_id": shop.connection, "name": "x", "owner_id": shop.user.id, "template_id": template,
    })  # fmt: skip
    assert answer.status_code in (400, 403, 409)

    campaign = other_shop.campaign(scheduled_at=soon(0))
    await forward()
    for table in ("campaigns", "campaign_runs", "campaign_recipients", "message_templates"):
        assert shop.user.http.get(f"/{table}").json() == []
    assert other_shop.run(campaign)["sent"] == 2


async def test_a_run_of_which_too_many_fail_pauses_itself_and_goes_on_when_it_is_resumed(shop, forward):
    shop.contacts(300)
    shop.settings(messages=1, period_seconds=2)
    campaign = shop.campaign()
    failing = """
        update scheduled_messages set status = 'failed', error = 'No such number.'
        where source_position % 2 = 0 and status = 'pending'
    """
    sending = (
        "update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'x' where status = 'pending'"
    )
    await forward(send=False)
    for _ in range(2):
        shop.db.execute(failing)
        shop.db.execute(sending)
        await forward(send=False)

    seen = shop.seen(campaign)
    assert seen["status"] == "paused"
    assert "of its last 100 messages 50 failed" in seen["status_reason"]
    made = len(shop.messages(campaign))
    assert made < 300

    shop.set(campaign, status="scheduled")
    await forward(send=False)
    assert len(shop.messages(campaign)) > made


async def test_counts_that_are_off_are_put_right_when_the_run_ends(shop, forward):
    """Whatever took them: a restore, somebody's own hand."""
    shop.contacts(5)
    campaign = shop.campaign()
    await forward(send=False)
    with shop.unguarded():
        shop.db.execute(
            """
            update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'x', due_at = null
            where source_position <= 3
            """
        )
    shop.db.execute("update campaign_runs set pending = pending - 3, cancelled = cancelled + 3")
    await forward()

    run = shop.run(campaign)
    assert (run["status"], run["sent"], run["cancelled"], run["total"]) == ("completed", 5, 0, 5)


async def test_with_a_campaign_at_15_a_minute_a_reminder_leaves_at_the_connections_next_slot(shop, parts):
    """All that is under way of the campaign has its jobs before the reminder is written; it fell due earlier, too."""
    shop.contacts(200)
    shop.settings(messages=15, period_seconds=60)
    campaign = shop.campaign()
    daemon, queue = await parts(), Queue(shop.db)
    for _ in range(4):
        await daemon.sources.campaigns.advance()
    await daemon.scheduler.poll()
    now = one(shop.db, "select clock_timestamp()")
    first = queue.claim(now)
    assert (len(first.jobs), len([m for m in shop.messages(campaign) if m["status"] == "processing"])) == (1, 50)

    reminder = {"connection_id": shop.connection, "contact_id": "+919999999999", "message": "At ten"}
    row = shop.user.insert(**reminder, scheduled_at=soon(0))
    await daemon.scheduler.poll()

    assert first.next_ready_at
    after = queue.claim(first.next_ready_at)
    assert [job["scheduled_message_id"] for job in after.jobs] == [row["id"]]
    assert after.slots[0] - first.slots[0] < timedelta(seconds=5)
    assert after.next_ready_at
    assert queue.claim(after.next_ready_at).jobs[0]["recipient"] != "+919999999999"
