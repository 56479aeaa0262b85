"""Document 004 (a message sending service), sentence by sentence, as a signed-in user through the API.

docs/documents.md has each sentence with its test.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.helpers.calls import tell
from tests.helpers.polling import until
from tests.helpers.zones import where_it_is_noon
from tests.sources.conftest import Shop, soon

TEXT = "Dear {name}, your gold loan of {amount} is due on {date}."


@pytest.fixture
def jeweller(shop: Shop) -> Shop:
    """A jeweller with 25 contacts of the segment gold_loan, and others."""
    shop.contacts(25, "gold_loan")
    shop.contacts(10, "sip", first=100)
    return shop


def utility(jeweller: Shop, **columns: Any) -> dict[str, Any]:
    """The document's "Test Campaign": a template with fields, a segment, a language."""
    template = jeweller.template(TEXT, language="en", category="utility", defaults={"date": "1 February"})
    draft = {
        "name": "Test Campaign", "template_id": template, "message": "", "variables": {"Amount": "₹50,000"},
        "audience": {"labels": ["gold_loan"]}, "status": "draft", **columns,
    }  # fmt: skip
    return jeweller.campaign(**draft)


async def test_user_creates_campaign_activates_it_and_all_25_of_the_segment_get_theirs(jeweller, forward):
    """Campaign Execution Flow, 1 to 10."""
    campaign = utility(jeweller)
    assert (jeweller.seen(campaign)["status"], jeweller.user.http.get("/campaign_runs").json()) == ("draft", [])
    await forward()
    assert jeweller.user.http.get("/scheduled_messages").json() == []  # not before it is activated

    assert jeweller.set(campaign, status="scheduled", scheduled_at=soon(0))["status"] == "scheduled"
    await forward(send=False)

    run = jeweller.run(campaign)
    assert (run["status"], run["total"], run["pending"]) == ("processing", 25, 25)
    queued = jeweller.messages(campaign)
    assert [(m["status"], m["category"]) for m in queued] == [("pending", "utility")] * 25

    await forward()

    messages = jeweller.messages(campaign)
    assert {(m["status"], m["sent_at"] is not None, m["message_id"] is not None) for m in messages} == {
        ("sent", True, True)
    }
    assert messages[7]["message"] == "Dear Name 7, your gold loan of ₹50,000 is due on 1 February."
    run = jeweller.run(campaign)
    assert (run["status"], run["sent"], run["failed"], run["finished_at"] is not None) == ("completed", 25, 0, True)
    assert jeweller.seen(campaign)["status"] == "completed"


async def test_webhook_receives_updates_delivered_then_read(jeweller, forward):
    """Campaign Execution Flow, 11; Message Lifecycle."""
    campaign = utility(jeweller, status="scheduled", scheduled_at=soon(0))
    await forward()
    messages = jeweller.messages(campaign)

    def told(message: dict[str, Any], status: str) -> dict[str, Any]:
        return {"job_id": message["broadcast_job_id"], "message_id": message["message_id"], "status": status}

    tell(jeweller.db, *(told(message, "delivered") for message in messages[:20]))
    tell(jeweller.db, *(told(message, "read") for message in messages[:5]))

    run = jeweller.run(campaign)
    assert (run["sent"], run["delivered"], run["read"]) == (25, 20, 5)
    assert Counter(m["delivery_status"] for m in jeweller.messages(campaign)) == {"read": 5, "delivered": 15, None: 5}


def test_development_mode_needs_no_credentials_and_the_log_tells_what_happened(jeweller, daemon):
    """Testing: Development Mode; Create Test Campaign, 4; Expected Logs. The daemon as a process of its own."""
    campaign = utility(jeweller, status="scheduled", scheduled_at=soon(0))

    worker = daemon(GATEWAY="", WHATSAPP_PHONE_NUMBER_ID="", WHATSAPP_ACCESS_TOKEN="")

    worker.until_said("GATEWAY=mock: no message leaves this machine, and rows are marked as sent")
    begun = worker.until_said("a campaign begins")
    over = worker.until_said("a run is over", 30)
    assert (begun["campaign"], begun["run"]) == (campaign["id"], over["run"])
    assert (over["status"], over["sent"], over["of"]) == ("completed", 25, 25)
    assert {m["status"] for m in jeweller.messages(campaign)} == {"sent"}
    assert all(m["message_id"] for m in jeweller.messages(campaign))
    assert "+9198765" not in worker.text  # no number in full


async def test_a_one_time_campaign_executes_once_at_its_time_and_never_repeats(jeweller, forward):
    campaign = utility(jeweller, status="scheduled", scheduled_at=soon(3600))
    await forward()
    assert jeweller.user.http.get("/campaign_runs").json() == []

    jeweller.time_comes()
    for _ in range(2):
        await forward()
        jeweller.a_day_passes()
    await forward()

    assert [run["sent"] for run in jeweller.user.http.get("/campaign_runs").json()] == [25]
    assert (jeweller.seen(campaign)["status"], jeweller.seen(campaign)["next_run_at"]) == ("completed", None)


async def test_a_daily_campaign_executes_once_per_day_until_its_end_date(jeweller, forward):
    campaign = utility(
        jeweller, status="scheduled", scheduled_at=soon(0), is_recurring=True, recurrence_pattern="daily",
        recurrence_end_at=soon(86400 * 2 + 3600), timezone="Asia/Kolkata",
    )  # fmt: skip
    for day in range(5):
        await forward()
        await forward()
        if day == 1:  # whoever joins the segment in between gets the next, and whoever left does not
            jeweller.contacts(1, "gold_loan", first=200)
            jeweller.db.execute("update contacts set labels = '{}' where contact_name in ('Name 0', 'Name 1')")
        jeweller.a_day_passes()

    params = {"campaign_id": f"eq.{campaign['id']}", "order": "occurrence_at"}
    runs = jeweller.user.http.get("/campaign_runs", params=params).json()
    assert [(run["status"], run["total"], run["sent"]) for run in runs] == [
        ("completed", 25, 25), ("completed", 25, 25), ("completed", 24, 24),
    ]  # fmt: skip
    assert jeweller.seen(campaign)["status"] == "completed"


@pytest.mark.parametrize(("pattern", "days"), [("weekly", {7}), ("monthly", {28, 29, 30, 31})])
async def test_weekly_and_monthly_campaigns_come_again_then(jeweller, forward, pattern, days):
    start = soon(0)
    campaign = utility(
        jeweller, status="scheduled", scheduled_at=start, is_recurring=True, recurrence_pattern=pattern,
    )  # fmt: skip
    await forward()

    again = datetime.fromisoformat(jeweller.seen(campaign)["next_run_at"]) - datetime.fromisoformat(start)
    assert jeweller.run(campaign)["sent"] == 25
    # Where a month has no such day, its last.
    assert round(again / timedelta(days=1)) in days


async def test_view_campaign_runs_messages_and_the_message_status_distribution(jeweller, forward):
    """Monitoring: Check Database, as a front end reads it."""
    jeweller.db.execute("update contacts set phone_number = '+919876500' where contact_name in ('Name 3', 'Name 4')")
    campaign = utility(jeweller, status="scheduled", scheduled_at=soon(0))
    await forward(send=False)
    jeweller.db.execute(
        """
        update scheduled_messages set status = 'failed', error = 'The number is not on WhatsApp.'
        where source_position = 10
        """
    )
    await forward()

    http = jeweller.user.http
    [run] = http.get("/campaign_runs", params={"order": "started_at.desc", "limit": "10"}).json()
    assert (run["status"], run["total"], run["sent"], run["failed"], run["skipped"]) == ("partial", 25, 22, 1, 2)
    columns = "id,source_id,source_position,contact_id,status,sent_at,error"
    params = {"select": columns, "source_id": f"eq.{run['id']}", "order": "created_at.desc", "limit": "20"}
    rows = http.get("/scheduled_messages", params=params).json()
    assert (len(rows), set(rows[0])) == (20, set(columns.split(",")))
    distribution = Counter(m["status"] for m in jeweller.messages(campaign))
    assert distribution == {"sent": run["sent"], "failed": run["failed"]}
    # The two without a usable number have a row of their own, with the reason.
    params = {"run_id": f"eq.{run['id']}", "fault": "not.is.null", "order": "position"}
    faulty = http.get("/campaign_recipients", params=params).json()
    assert [row["name"] for row in faulty] == ["Name 3", "Name 4"]
    assert all("too few or too many digits" in row["fault"] for row in faulty)


async def test_faults_by_row_and_each_recipients_text_before_anything_is_sent(jeweller, rehearsed):
    """Variable replacement & personalization, seen beforehand: next and previous recipient."""
    jeweller.db.execute("update contacts set phone_number = null where contact_name = 'Name 3'")
    jeweller.db.execute("update contacts set contact_name = '' where contact_name = 'Name 5'")
    campaign = utility(jeweller)
    jeweller.rehearse(campaign)
    await rehearsed()

    head = jeweller.rehearsal(campaign)
    assert (head["total"], head["will_be_sent"], head["faults"]) == (25, 23, {"no_number": 1, "missing_value": 1})
    faulty = [(line["position"], line["fault"]) for line in jeweller.lines(campaign) if line["fault"]]
    assert faulty == [(4, "This contact has no phone number."), (6, "No value for {name}.")]

    def one(after: int) -> tuple[int, str]:
        [line] = jeweller.lines(campaign, after=after, lines=1)
        return line["position"], line["text"]

    second = one(1)
    assert second == (2, "Dear Name 1, your gold loan of ₹50,000 is due on 1 February.")
    assert [one(second[0])[0], one(second[0] - 2)[0]] == [3, 1]  # the next, the one before
    assert jeweller.user.http.get("/scheduled_messages").json() == []


async def test_marketing_campaigns_can_be_scheduled_and_executed_beside(jeweller, forward):
    """Summary: utility messages (gold loan reminders, SIP updates) and marketing campaigns."""
    gold = utility(jeweller, status="scheduled", scheduled_at=soon(0))
    sip = utility(jeweller, name="SIP update", audience={"labels": ["sip"]}, status="scheduled", scheduled_at=soon(0))
    offer = jeweller.campaign(
        name="Diwali", message="10 % for {name}", audience={"labels": ["gold_loan", "sip"]}, scheduled_at=soon(0)
    )
    await forward()

    assert [jeweller.run(c)["sent"] for c in (gold, sip, offer)] == [25, 10, 35]
    assert {m["category"] for m in jeweller.messages(sip)} == {"utility"}
    assert {m["category"] for m in jeweller.messages(offer)} == {"marketing"}


async def test_messages_that_are_stuck_in_pending_say_why(jeweller, forward):
    """Troubleshooting: the row has the reason, so that nobody has to read a log."""
    campaign = utility(jeweller, status="scheduled", scheduled_at=soon(0))
    await forward(send=False)
    jeweller.set(campaign, status="paused")
    assert {m["waiting_reason"] for m in jeweller.messages(campaign)} == {"The campaign is paused."}

    jeweller.settings(daily_limit=5, timezone=where_it_is_noon())
    jeweller.set(campaign, status="scheduled")
    await forward()
    reasons = Counter(m["waiting_reason"] for m in jeweller.messages(campaign))
    assert reasons == {None: 5, "the daily limit of 5 messages is reached": 20}
    assert jeweller.run(campaign)["status"] == "processing"


def test_what_does_not_trigger_says_why_when_it_is_activated(jeweller):
    """Troubleshooting: what the document has its reader verify is asked by the database."""
    jeweller.db.execute("update connections set connected = false where id = %s", (jeweller.connection,))
    campaign = utility(jeweller)
    params = {"id": f"eq.{campaign['id']}"}
    for columns, words in (
        ({"scheduled_at": None}, "Say when the campaign is to be sent."),
        ({"scheduled_at": "2026-02-01T10:00:00Z"}, "has passed"),
        ({"scheduled_at": soon(60), "audience": {"labels": ["platinum"]}}, "Nobody is in this audience"),
        ({"scheduled_at": soon(60)}, "not connected"),
    ):
        body = {"status": "scheduled", **columns}
        answer = jeweller.user.http.patch("/campaigns", params=params, json=body)
        assert (answer.status_code, words in answer.json()["message"]) == (400, True), answer.text


def test_a_campaign_that_was_due_while_nothing_ran_is_sent_when_it_runs_again(jeweller, daemon):
    """Retry and restart: what Celery's queues are for here is in the rows."""
    campaign = utility(jeweller, status="scheduled", scheduled_at=soon(0))
    jeweller.time_comes("2 hours")

    daemon()

    until(lambda: jeweller.seen(campaign)["status"] == "completed", 30)
    assert jeweller.run(campaign)["sent"] == 25
