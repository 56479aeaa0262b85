"""What nobody can tell any more, an operator settles."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
from redis import Redis

from tests.delivery.cloud_stub import CloudStub
from tests.delivery.jobs import end_leases, job
from tests.helpers.calls import record
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.http_server import Reply
from tests.helpers.polling import auntil
from tests.helpers.process import environment
from tests.helpers.rows import Database, message, one, schedule
from tests.sql.states import STATES, row_in
from worker.config import Settings
from worker.daemon import Parts
from worker.errors import StoreRefused, WorkerError
from worker.operating import operate

Pass = Callable[..., Awaitable[None]]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(stack: dict[str, str], tmp_path: object) -> Command:
    """command("resolve", id, "sent"): the process, when it has ended."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-m", "worker", *arguments]
        env = environment(stack, {"GATEWAY": "mock"})
        return subprocess.run(call, env=env, cwd=str(tmp_path), capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture
async def unconfirmed(db: Database, shop: str, waha: CountingGateway, by_waha: Pass) -> str:
    """A row whose request was taken and never answered."""
    waha.behaviour = lambda *_: Reply(cut=0)
    row = schedule(db)
    await by_waha()
    waha.behaviour = None
    assert message(db, row)["status"] == "unconfirmed"
    return row


def test_status_lists_it_and_resolve_settles_it_as_sent(db: Database, unconfirmed: str, command: Command) -> None:
    report = json.loads(command("status", "--json").stdout)
    [listed] = report["unconfirmed"]
    assert (listed["id"], listed["gateway"], listed["attempts"]) == (unconfirmed, "waha", 1)
    assert "did not answer" in listed["error"]

    done = command("resolve", unconfirmed, "sent")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert f"{unconfirmed} on connection shop: attempt 1 through waha began at" in told
    after = message(db, unconfirmed)
    assert (after["status"], after["error"]) == ("sent", None)
    assert after["message_id"] == str(after["broadcast_job_id"])
    assert after["sent_at"] == job(db, unconfirmed)["send_at"]  # the best that is known of it
    again = command("resolve", unconfirmed, "failed")
    assert (again.returncode, "is neither unconfirmed nor handed over" in again.stderr) == (1, True)
    assert message(db, unconfirmed)["status"] == "sent"


async def test_a_wrong_word_or_id_changes_nothing(
    db: Database, unconfirmed: str, settings: Callable[..., Settings], parts: Callable[..., Awaitable[Parts]]
) -> None:
    with pytest.raises(WorkerError, match="not the id of a row"):
        await operate.resolve(settings(), "42", "sent")
    with pytest.raises(StoreRefused, match="one of sent, failed, resend"):
        await (await parts()).store.resolve(unconfirmed, "perhaps")
    assert message(db, unconfirmed)["status"] == "unconfirmed"


async def test_resolved_as_failed_it_says_who_found_out(
    db: Database, unconfirmed: str, parts: Callable[..., Awaitable[Parts]]
) -> None:
    known = await (await parts()).store.resolve(unconfirmed, "failed")
    assert known is not None
    after = message(db, unconfirmed)
    assert (after["status"], after["error"]) == ("failed", "The operator found that it was not sent.")
    assert (after["sent_at"], job(db, unconfirmed)["status"]) == (None, "failed")


async def test_resent_it_goes_out_once_more_as_another_job(
    db: Database, unconfirmed: str, waha: CountingGateway, by_waha: Pass, parts: Callable[..., Awaitable[Parts]]
) -> None:
    first = message(db, unconfirmed)["broadcast_job_id"]
    store = (await parts()).store
    assert await store.resolve(unconfirmed, "resend")
    assert await store.resolve(unconfirmed, "resend") is None  # as when the reply of the first was lost
    assert message(db, unconfirmed)["status"] == "pending"
    for _ in range(2):
        await by_waha()
    assert message(db, unconfirmed)["status"] == "sent"
    assert message(db, unconfirmed)["broadcast_job_id"] != first
    assert len(waha.received) == 2


async def test_an_answer_after_the_operators_word_changes_nothing(
    db: Database, shop: str, waha: CountingGateway, parts: Callable[..., Awaitable[Parts]]
) -> None:
    waha.delay = 1.0
    row = schedule(db)
    slow, other = await parts(gateway="waha", waha_url=waha.url), await parts()
    await slow.scheduler.poll()
    async with asyncio.TaskGroup() as group:
        group.create_task(slow.dispatcher.send_all())
        await auntil(lambda: len(waha.received) == 1)
        end_leases(db)
        await other.rescue.rescue()
        await other.store.resolve(row, "failed")
    assert message(db, row)["status"] == "failed"


@pytest.mark.parametrize(("outcome", "status"), [("sent", "sent"), ("failed", "failed"), ("resend", "pending")])
def test_whoever_still_has_the_job_is_told_that_it_is_not_theirs_any_more(
    outcome: str, status: str, db: Database, shop: str
) -> None:
    row = row_in(db, "unconfirmed", shop, None)
    held = job(db, row)
    db.execute("select resolve_scheduled_message(%s, %s)", (row, outcome))
    late = {"job_id": held["id"], "token": held["lease_token"], "verdict": "sent", "message_id": "late"}
    assert [str(fenced) for fenced in record(db, late)["fenced_out"]] == [str(held["id"])]
    assert (message(db, row)["status"], message(db, row)["message_id"] == "late") == (status, False)


@pytest.mark.parametrize("outcome", ["sent", "failed", "resend"])
async def test_a_hand_over_of_which_no_word_comes_can_be_settled_too(
    outcome: str, db: Database, shop: str, redis: "Redis[str]", hand_over: Pass, parts: Callable[..., Awaitable[Parts]]
) -> None:
    row = schedule(db)
    await hand_over()
    store = (await parts()).store
    known = await store.resolve(row, outcome)
    assert known is not None
    assert known.gateway == "bullmq"
    assert message(db, row)["status"] == {"resend": "pending"}.get(outcome, outcome)
    assert message(db, row)["error"] == {"failed": "The operator found that it was not sent."}.get(outcome)
    end_leases(db)
    await hand_over()
    # What was settled is taken from the queue; sent again, it is another job.
    assert redis.zcard("bull:broadcast:prioritized") == (1 if outcome == "resend" else 0)


async def test_what_is_being_sent_is_not_settled_by_hand(
    db: Database, shop: str, cloud: CloudStub, by_cloud: Pass, parts: Callable[..., Awaitable[Parts]]
) -> None:
    row = schedule(db, contact_id="+919876543210")
    store = (await parts()).store
    assert await store.resolve(row, "sent") is None
    assert message(db, row)["status"] == "pending"
    await by_cloud()
    assert await store.resolve(row, "resend") is None
    assert one(db, "select count(*) from broadcast_jobs") == 1


async def test_a_hand_over_that_nobody_has_finished_is_stale_whether_it_was_begun_or_not(
    db: Database, shop: str, parts: Callable[..., Awaitable[Parts]]
) -> None:
    for state in STATES:
        row_in(db, state, shop, None)
    store = (await parts()).store
    db.execute("update broadcast_jobs set send_at = now() - interval '20 min'")
    stale = [(await store.get_status(after)).stale_hand_overs for after in (600, 1800)]
    agendas = [(await store.get_agenda(60, 10, stale=after)).stale_hand_overs for after in (600, 1800)]
    assert (stale, agendas) == ([2, 0], [2, 0])
