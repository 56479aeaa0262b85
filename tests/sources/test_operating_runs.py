"""What an operator sees of campaigns' runs: in status, in the log, in the metrics; and settles all at once."""

import json
import subprocess
import sys
from datetime import datetime
from uuid import uuid4

import pytest
import structlog

from tests.helpers.process import environment
from tests.helpers.rows import one, schedule
from tests.sources.conftest import take_forward
from worker.errors import WorkerError
from worker.operating import operate


@pytest.fixture
def command(stack, tmp_path):
    """command("resolve", "--run", id, "sent"): the process, when it has ended."""

    def run(*arguments):
        call = [sys.executable, "-m", "worker", *arguments]
        env = environment(stack, {"GATEWAY": "mock", "COLUMNS": "200"})
        return subprocess.run(call, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


def become(shop, campaign, status, count):
    """So many of its messages that wait are settled as this."""
    shop.db.execute(
        """
        update scheduled_messages set status = %s, message_id = 'x', error = 'who knows' where id in (
            select id from scheduled_messages where source_id = %s and status = 'pending'
            order by source_position limit %s
        )
        """,
        (status, shop.run(campaign)["id"], count),
    )


async def under_way(shop, forward, count=10, unconfirmed=0, **columns):
    """A campaign whose messages are made and wait; of the first nobody knows."""
    shop.contacts(count)
    campaign = shop.campaign(**columns)
    await forward(send=False)
    become(shop, campaign, "unconfirmed", unconfirmed)
    return campaign


async def test_status_shows_a_run_under_way_and_not_one_that_is_over(shop, forward, command):
    campaign = await under_way(shop, forward, count=5, unconfirmed=2, name="Gold loan offer")

    [run] = json.loads(command("status", "--json").stdout)["runs"]
    counts = {"total": 5, "pending": 3, "unconfirmed": 2, "sent": 0, "failed": 0, "skipped": 0, "cancelled": 0}
    assert run.items() >= {"connection_id": shop.connection, "status": "processing", **counts}.items()
    assert (run["id"], run["campaign_id"], run["name"]) == (
        shop.run(campaign)["id"], campaign["id"], "Gold loan offer",
    )  # fmt: skip
    assert datetime.fromisoformat(run["started_at"]).tzinfo
    table = command("status").stdout
    assert run["id"] in table
    assert "Gold loan offer" in table

    await forward()
    assert json.loads(command("status", "--json").stdout)["runs"] == []


async def test_a_database_with_the_core_alone_has_its_status(shop, forward, settings, capsys):
    db = shop.db
    db.execute("alter function get_status_with_runs(double precision) rename to put_away")
    try:
        await operate.status(settings(), as_json=True)
    finally:
        db.execute("alter function put_away(double precision) rename to get_status_with_runs")
    shown = json.loads(capsys.readouterr().out)
    assert shown["runs"] == []
    assert shown["counts"]["pending"] == 0


@pytest.mark.parametrize(
    ("outcome", "words", "counts", "state"),
    [
        ("sent", "sent", {"sent": 10, "unconfirmed": 0, "pending": 0}, "completed"),
        ("failed", "failed", {"sent": 6, "failed": 4, "unconfirmed": 0}, "partial"),
    ],
)
async def test_all_that_is_unconfirmed_of_a_run_is_settled_at_once(
    shop, other_shop, forward, command, outcome, words, counts, state
):
    campaign = await under_way(shop, forward, unconfirmed=4)
    other = await under_way(other_shop, forward, unconfirmed=2)
    await forward()
    assert shop.run(campaign)["status"] == "partial"

    done = command("resolve", "--run", shop.run(campaign)["id"], outcome)

    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{shop.run(campaign)['id']}: 4 unconfirmed → {words}\n"
    run = shop.run(campaign)
    assert run.items() >= {"status": state, **counts}.items()
    assert {m["status"] for m in shop.messages(campaign)} == {"sent", outcome}
    assert other_shop.run(other)["unconfirmed"] == 2
    again = command("resolve", "--run", run["id"], outcome)
    assert again.returncode == 1
    assert "nothing of this run is unconfirmed" in again.stderr


async def test_what_is_sent_again_opens_its_run_and_goes_out(shop, forward, settings):
    campaign = await under_way(shop, forward, unconfirmed=4)
    await forward()

    await operate.resolve_run(settings(), shop.run(campaign)["id"], "resend")

    assert shop.run(campaign).items() >= {"status": "processing", "pending": 4, "finished_at": None}.items()
    await forward()
    assert shop.run(campaign).items() >= {"status": "completed", "sent": 10, "unconfirmed": 0}.items()


async def resend(settings, shop, campaign, *, at_once):
    """What is unconfirmed of it, or the first of them."""
    if at_once:
        await operate.resolve_run(settings(), shop.run(campaign)["id"], "resend")
    else:
        await operate.resolve(settings(), first(shop, campaign)["id"], "resend")


def first(shop, campaign):
    return next(m for m in shop.messages(campaign) if m["status"] == "unconfirmed")


@pytest.mark.parametrize("at_once", [True, False])
async def test_of_a_paused_campaign_nothing_goes_out_by_being_sent_again(shop, forward, settings, at_once):
    campaign = await under_way(shop, forward, unconfirmed=4 if at_once else 1)
    shop.set(campaign, status="paused")

    await resend(settings, shop, campaign, at_once=at_once)

    await forward()
    assert {m["status"] for m in shop.messages(campaign)} == {"pending"}
    assert {m["waiting_reason"] for m in shop.messages(campaign)} == {"The campaign is paused."}
    shop.set(campaign, status="scheduled")
    await forward()
    assert shop.run(campaign).items() >= {"status": "completed", "sent": 10}.items()


@pytest.mark.parametrize("at_once", [True, False])
async def test_of_a_cancelled_campaign_nothing_is_sent_again(shop, forward, settings, at_once):
    campaign = await under_way(shop, forward, unconfirmed=4)
    shop.set(campaign, status="cancelled")

    with pytest.raises(WorkerError, match="This campaign was cancelled"):
        await resend(settings, shop, campaign, at_once=at_once)

    assert shop.run(campaign)["unconfirmed"] == 4
    await operate.resolve_run(settings(), shop.run(campaign)["id"], "sent")
    assert shop.run(campaign).items() >= {"status": "cancelled", "sent": 4, "cancelled": 6}.items()


@pytest.mark.parametrize(("status", "becomes"), [("paused", "pending"), ("cancelled", "cancelled")])
async def test_whose_job_is_lost_goes_out_no_more_than_its_campaign(shop, forward, status, becomes):
    """Jobs that were put back for another try when somebody restored, or emptied, the table of jobs."""
    campaign = await under_way(shop, forward, count=2)
    shop.set(campaign, status=status)
    for was in ("processing", "pending"):
        shop.db.execute("update scheduled_messages set status = %s, held = null where source_try = 0", (was,))
    assert {(m["status"], m["due_at"]) for m in shop.messages(campaign)} == {(becomes, None)}


@pytest.mark.parametrize(
    ("run_id", "outcome", "words"),
    [
        ("42", "sent", "is not the id of a row of campaign_runs"),
        ("00000000-0000-0000-0000-000000000000", "sent", "there is no such run"),
    ],
)
async def test_a_run_that_is_none_is_said_to_be_none(settings, db, run_id, outcome, words):
    with pytest.raises(WorkerError, match=words):
        await operate.resolve_run(settings(), run_id, outcome)


async def test_settling_is_for_the_service_key_alone_and_knows_three_outcomes(shop, service, forward):
    campaign = await under_way(shop, forward, unconfirmed=1)
    run_id = shop.run(campaign)["id"]
    call = {"run_id": run_id, "outcome": "sent"}
    assert shop.user.http.post("/rpc/settle_run", json=call).status_code in (401, 403, 404)
    for wrong in ("lost", None):
        answer = service.post("/rpc/settle_run", json=call | {"outcome": wrong})
        assert answer.status_code == 400, answer.text
        assert "The outcome is one of sent, failed, resend" in answer.text
    assert shop.run(campaign)["unconfirmed"] == 1
    assert service.post("/rpc/settle_run", json=call).json() == [{"settled": 1}]


async def test_the_log_and_the_metrics_tell_of_each_run_once_whoever_ended_it(shop, other_shop, parts, forward):
    daemon = await parts()
    shop.contacts(12)
    shop.contacts(1, label="ill", first=50)
    shop.db.execute("update contacts set phone_number = '+91' where 'ill' = any(labels)")
    other_shop.contacts(3)
    with structlog.testing.capture_logs() as said:
        went_out = shop.campaign(name="To +919876543210")
        cancelled = other_shop.campaign()
        await daemon.sources.campaigns.advance()
        other_shop.set(cancelled, status="cancelled")
        await take_forward(daemon)
    began = [line for line in said if line["event"] == "a campaign begins"]
    ended = {line["campaign"]: line for line in said if line["event"] == "a run is over"}
    assert {line["campaign"] for line in began} == {went_out["id"], cancelled["id"]}
    assert len([line for line in said if line["event"] == "a run is over"]) == 2
    assert ended[went_out["id"]].items() >= {
        "run": shop.run(went_out)["id"], "connection": shop.connection, "status": "completed", "sent": 12, "of": 12,
    }.items()  # fmt: skip
    assert ended[cancelled["id"]].items() >= {"status": "cancelled", "reason": "The campaign was cancelled."}.items()
    assert "9876543210" not in str(said)
    registry = daemon.metrics.registry
    counted = {
        outcome: registry.get_sample_value("scheduled_messages_campaign_runs_total", {"outcome": outcome})
        for outcome in ("completed", "cancelled")
    }
    assert counted == {"completed": 1, "cancelled": 1}


async def test_a_run_that_pauses_itself_says_so_and_a_second_daemon_tells_nothing_twice(shop, parts):
    first, second = await parts(), await parts()
    shop.contacts(200)
    shop.settings(messages=100, period_seconds=100)
    campaign = shop.campaign()
    with structlog.testing.capture_logs() as said:
        for _ in range(6):
            await first.sources.campaigns.advance()
        become(shop, campaign, "failed", 110)
        for _ in range(6):
            await second.sources.campaigns.advance()
            await first.sources.campaigns.advance()
        [paused] = [line for line in said if line["event"] == "a run has paused itself"]
        assert "of its last 100 messages 100 failed" in paused["reason"]
        shop.set(campaign, status="cancelled")
        for _ in range(6):
            await second.sources.campaigns.advance()
            await first.sources.campaigns.advance()
    assert len([line for line in said if line["event"] == "a run is over"]) == 1
    assert one(shop.db, "select count(*) from campaign_runs where told_at is null") == 0


async def test_the_metrics_tell_what_was_sent_by_hand_by_a_campaign_and_by_a_source_to_one(shop, parts):
    daemon = await parts()
    shop.contacts(3)
    schedule(shop.db, connection_id=shop.connection, contact_id="+919876500001")
    schedule(shop.db, connection_id=shop.connection, contact_id="+91")
    for n in range(2):
        schedule(
            shop.db, connection_id=shop.connection, contact_id=f"+91987651000{n}", source_id=uuid4(),
            source_position=1, source_try=0,
        )  # fmt: skip
    shop.campaign()
    await take_forward(daemon)
    sent = {
        source: daemon.metrics.registry.get_sample_value(
            "scheduled_messages_settled_total", {"source": source, "outcome": "sent"}
        )
        for source in ("single", "reminder", "campaign")
    }
    assert sent == {"single": 1, "reminder": 2, "campaign": 3}
