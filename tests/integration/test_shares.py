"""What one tenant writes costs that tenant: who comes first, how much is read, what is nobody's fault."""

import asyncio
import errno
import json
from dataclasses import asdict

import pytest

from tests.helpers.rows import add_connections, message, one, schedule
from worker.errors import Shortage
from worker.planning import plan
from worker.sending import planner
from worker.sending.planner import SHARE

MANY, FEW = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"
LONGEST = 8192  # characters of a message


def rows(db, number, owner, *, seconds, connections=1, size=1):
    """`number` rows of an owner, due in so many seconds."""
    name = "many" if owner == MANY else "few"
    add_connections(db, *(f"{name}-{n}" for n in range(connections)))
    db.execute(
        "insert into scheduled_messages (connection_id, contact_id, message, caption, scheduled_at, owner_id)"
        " select %s || '-' || n %% %s, '+9198' || lpad(n::text, 8, '0'), repeat('é', %s), repeat('é', %s),"
        " now() + make_interval(secs => %s + n * 0.00001), %s from generate_series(0, %s - 1) as n",
        (name, connections, size, size, seconds, owner, number),
    )


def ids(db, owner):
    found = db.execute("select id::text from scheduled_messages where owner_id = %s", (owner,)).fetchall()
    return {row["id"] for row in found}


@pytest.fixture
def enqueued(monkeypatch):
    """enqueued(daemon): the ids of each call, in order, as they are made."""

    def watch(daemon):
        calls, real = [], daemon.store.enqueue

        async def enqueue(given, early=0.0):
            calls.append([planned.id for planned in given])
            return await real(given, early)

        monkeypatch.setattr(daemon.store, "enqueue", enqueue)
        return calls

    return watch


@pytest.mark.parametrize("connections", [1, 150])
async def test_a_due_row_comes_before_the_hundred_and_first_of_somebody_else(db, parts, enqueued, connections):
    rows(db, 2_500, MANY, seconds=-60, connections=connections)
    rows(db, 3, FEW, seconds=-1)
    daemon = await parts(batch_size=250)
    calls = enqueued(daemon)

    await daemon.scheduler.poll()

    order = [row_id for call in calls for row_id in call]
    assert len(order) == len(set(order)) == 2_503
    assert {order.index(row_id) for row_id in ids(db, FEW)} <= set(range(SHARE + 3))


async def test_rows_that_fall_due_meanwhile_are_in_the_next_batch_but_one(db, parts, enqueued, monkeypatch):
    """While a batch is written the next is ready; the one after it has what has just come."""
    rows(db, 2_000, MANY, seconds=-60)
    daemon = await parts(batch_size=250)
    calls = enqueued(daemon)
    listed, real = 0, daemon.store.get_due_of_others

    async def come_later(payers):
        nonlocal listed
        listed += 1
        if listed == 3:
            rows(db, 3, FEW, seconds=-1)
        return await real(payers)

    monkeypatch.setattr(daemon.store, "get_due_of_others", come_later)
    await daemon.scheduler.poll()
    place = next(n for n, call in enumerate(calls) if ids(db, FEW) & set(call))
    assert place == 2


async def test_a_long_pass_looks_ahead_on_its_way(db, parts, enqueued, monkeypatch):
    """What falls due meanwhile is prepared: at the start, and as often as polls are wanted."""
    rows(db, 1_000, MANY, seconds=-60)
    rows(db, 3, FEW, seconds=60)
    daemon = await parts(batch_size=100)
    calls = enqueued(daemon)
    looked, real = [], daemon.store.get_agenda

    async def look(*arguments):
        looked.append(len(calls))
        return await real(*arguments)

    monkeypatch.setattr(daemon.store, "get_agenda", look)
    await daemon.scheduler.poll()
    assert looked == [1, 10]
    assert {one.due.id for one in daemon.scheduler.releaser.prepared} == ids(db, FEW)


async def test_what_fits_into_a_batch_is_listed_with_one_call(db, parts, monkeypatch):
    rows(db, 20, MANY, seconds=-60)
    daemon = await parts()

    async def never(_):
        raise AssertionError("there is nobody to look for")

    monkeypatch.setattr(daemon.store, "get_due_of_others", never)
    asked, real = 0, daemon.store.get_pending

    async def counting(after=None):
        nonlocal asked
        asked += 1
        return [] if after else await real(after)

    monkeypatch.setattr(daemon.store, "get_pending", counting)
    await daemon.scheduler.poll()
    assert asked == 2


async def test_a_look_ahead_is_two_megabytes_and_has_everybody_s_next_rows(db, parts):
    rows(db, 300, MANY, seconds=30, size=LONGEST)
    rows(db, 5, FEW, seconds=40)
    daemon = await parts()
    agenda = await daemon.store.get_agenda(90, 500)
    assert (
        len(json.dumps([asdict(row) for row in agenda.upcoming], ensure_ascii=False, default=str).encode()) < 2_500_000
    )
    assert ids(db, FEW) <= {row.id for row in agenda.upcoming}
    reach = max(row.scheduled_at for row in agenda.upcoming if row.owner_id == MANY)
    assert agenda.complete_until is not None
    assert agenda.complete_until.isoformat()[:23] == reach.isoformat()[:23]


async def test_a_look_ahead_in_which_all_is_says_so(db, parts):
    rows(db, 30, MANY, seconds=30)
    daemon = await parts()
    agenda = await daemon.store.get_agenda(90, 500)
    assert (len(agenda.upcoming), agenda.complete_until) == (30, None)
    full = await daemon.store.get_agenda(90, 30)
    assert full.complete_until is not None


async def test_the_other_loops_have_their_turns_while_rows_are_planned(db, parts, monkeypatch):
    """Each row here takes longer than a turn is: the clock that planning goes by says so."""
    rows(db, 50, MANY, seconds=-1)
    daemon = await parts()
    turns, planned, real = 0, [], plan.decide

    def slow(*arguments):
        planned.append(turns)
        return real(*arguments)

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(planner, "TURN_SECONDS", 0)
    monkeypatch.setattr(plan, "decide", slow)
    beside = asyncio.create_task(others())
    await daemon.scheduler.poll()
    beside.cancel()
    assert len(set(planned)) == 50


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ENFILE, "File table overflow"),
        MemoryError(),
        ModuleNotFoundError("No module named 'phonenumbers.data.region_IN'"),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_what_this_machine_lacks_while_it_plans_is_no_row_s_fault(db, parts, monkeypatch, fault):
    add_connections(db, "shop")
    unlucky, good = schedule(db), schedule(db)
    daemon, real, lacking = await parts(), plan.decide, True

    def lack(row, *arguments):
        if lacking and row.id == unlucky:
            raise fault
        return real(row, *arguments)

    monkeypatch.setattr(plan, "decide", lack)
    await daemon.scheduler.poll()
    row = message(db, unlucky)
    assert (row["status"], row["error"]) == ("pending", None)
    assert message(db, good)["status"] == "processing"

    lacking = False
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert {message(db, row_id)["status"] for row_id in (unlucky, good)} == {"sent"}


@pytest.mark.parametrize("fault", [Shortage("this machine lacks descriptors"), OSError(errno.EMFILE, "EMFILE")])
async def test_what_this_machine_lacks_while_it_sends_is_no_try(db, parts, monkeypatch, fault):
    add_connections(db, "shop")
    row_id = schedule(db)
    daemon = await parts(retry_attempts=1)
    gateway = daemon.gateways.of("mock")
    real, tries = gateway.send, []

    async def lack(given):
        tries.append(given.attempt)
        if len(tries) < 3:
            raise fault
        return await real(given)

    if isinstance(fault, Shortage):
        monkeypatch.setattr(gateway, "send", lack)
    else:  # before anybody is dialled
        monkeypatch.setattr(daemon.gateways, "of", lambda _: (_ for _ in ()).throw(fault))
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert message(db, row_id)["status"] == "processing"
    assert one(db, "select attempts from broadcast_jobs") == 0

    monkeypatch.undo()
    db.execute("update broadcast_jobs set available_at = now()")
    db.execute("update private.connection_state set ready_at = now()")
    await daemon.dispatcher.send_all()
    assert message(db, row_id)["status"] == "sent"


async def test_a_fault_of_ours_before_anybody_was_dialled_is_no_doubt(db, parts, monkeypatch):
    add_connections(db, "shop")
    row_id = schedule(db)
    daemon = await parts()
    monkeypatch.setattr(daemon.gateways, "of", lambda _: {}["no such key"])
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    row = message(db, row_id)
    assert row["status"] == "failed"
    assert "could not be prepared" in row["error"]


async def test_of_others_with_big_rows_a_few_each_are_listed(db, parts):
    """Two hundred thousand bytes of each, of everybody, and two million in all."""
    for owner in (MANY, FEW):
        rows(db, 60, owner, seconds=-60, size=8000)
    listed = await (await parts()).store.get_due_of_others([])
    numbers = {owner: sum(row.owner_id == owner for row in listed) for owner in (MANY, FEW)}
    assert numbers == {MANY: 7, FEW: 7}  # of 32,000 bytes each


async def test_what_somebody_else_writes_to_many_is_found_beside_what_they_write_to_one(db, parts):
    """Behind whoever has more due than a batch holds, both are somebody else's."""
    rows(db, 200, MANY, seconds=-60)
    rows(db, 3, FEW, seconds=-2)
    single = schedule(db, connection_id="few-0", owner_id=FEW)
    db.execute("update scheduled_messages set priority = 1 where owner_id = %s and id <> %s", (FEW, single))
    listed = await (await parts()).store.get_due_of_others([])
    assert ids(db, FEW) <= {row.id for row in listed}


async def test_many_due_rows_of_a_campaign_do_not_fill_the_batch_before_a_message_to_one(db, parts, enqueued, size):
    """Of the same owner, through the same connection, and written before it."""
    rows(db, size(50_000), MANY, seconds=-60)
    db.execute("update scheduled_messages set priority = 1")
    single = schedule(db, connection_id="many-0", owner_id=MANY)
    daemon = await parts(batch_size=250)
    calls = enqueued(daemon)

    decisions = await anext(daemon.scheduler.enqueuer._due(250))
    assert single in {decision.id for decision in decisions}
    await daemon.scheduler.poll()

    assert single in calls[0]
    assert len({row_id for call in calls for row_id in call}) == size(50_000) + 1


async def test_a_look_ahead_full_of_a_campaign_has_the_next_message_to_one(db, parts):
    rows(db, 2_000, MANY, seconds=30)
    db.execute("update scheduled_messages set priority = 1")
    single = schedule(db, connection_id="many-0", owner_id=MANY, scheduled_at=one(db, "select now() + interval '40 s'"))
    agenda = await (await parts()).store.get_agenda(90, 500)
    assert single in {row.id for row in agenda.upcoming}
