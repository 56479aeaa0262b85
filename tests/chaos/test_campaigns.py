"""A campaign in bad times: daemons killed at any instant, the database restarted, paused and resumed in the middle."""

import random
import re
import signal
import time
from collections import Counter
from typing import Any

from tests.chaos.town import CONCURRENCY, Town, Verdict, chat, size
from tests.helpers.polling import until

DAEMONS = 3
CAMPAIGN = """
    insert into campaigns (owner_id, connection_id, name, message, audience, scheduled_at, status, stop_at_failures)
    values (gen_random_uuid(), 'shop-1', 'To many', 'Hello', jsonb_build_object('numbers', (
        select jsonb_agg('+9198' || lpad(n::text, 8, '0') order by n) from generate_series(1, %s) as n
    )), now(), 'scheduled', 1)
    returning id::text
"""
MESSAGES = """
    select contact_id, status, error, source_position, source_try from scheduled_messages
    where source_id = (select id from campaign_runs)
"""
UNDER_WAY = "select count(*) as n from scheduled_messages where status = 'processing'"


def run_of(town: Town) -> dict[str, Any]:
    [run] = town.query("select * from campaign_runs") or [{"status": None, "finished_at": None}]
    return run


def pause_and_resume(town: Town) -> None:
    """After its commit the gateway gets nothing that was not named as on its way."""
    [paused] = town.query("update campaigns set status = 'paused' where status = 'scheduled' returning status_reason")
    named = re.search(r"(\d+) on their way", paused["status_reason"])
    before = len(town.gateway.received)
    until(lambda: town.count(UNDER_WAY) == 0, 30, "what was on its way being settled")
    # Somebody else's message, which every daemon might send, shows that they go on.
    town.query(
        "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at) "
        "values ('shop-2', '+919700000000', 'Meanwhile', now())"
    )
    until(lambda: town.gateway.counts["919700000000@c.us"] > others(town), 30, "somebody else's being sent")
    later = [one for one in town.gateway.received[before:] if not one.chat_id.startswith("9197")]
    assert len(later) <= (int(named[1]) if named else 0)
    town.query("update campaigns set status = 'scheduled'")


def others(town: Town) -> int:
    """How many of the messages of somebody else the last pauses have seen sent."""
    return town.count("select count(*) - 1 as n from scheduled_messages where connection_id = 'shop-2'")


def restart(town: Town) -> None:
    town.supabase.postgres.stop(random.choice((signal.SIGINT, signal.SIGQUIT)))
    town.supabase.postgres.spawn()


def verdict(town: Town, count: int) -> Verdict:
    """Fails unless each recipient has one message that says what is true, and the run's counts are theirs."""
    rows, got = town.query(MESSAGES), town.gateway.counts
    assert sorted(row["source_position"] for row in rows) == list(range(1, count + 1))
    for row in rows:
        received = got[chat(row)]
        true = {"sent": received == 1, "unconfirmed": received <= 1, "failed": received == 0}
        assert true[row["status"]], f"the gateway got {received}, but the row says {row}"
    tally, run = Counter(row["status"] for row in rows), run_of(town)
    counted = {name: run[name] for name in ("pending", "sent", "failed", "unconfirmed", "skipped", "cancelled")}
    assert +Counter(counted) == tally
    assert run["total"] == count
    received = sum(got[chat(row)] for row in rows)
    return Verdict(count, tally["sent"], tally["unconfirmed"], tally["failed"], received)


def test_paused_resumed_killed_and_restarted_in_its_middle_a_campaign_reaches_everybody_once(town, note):
    count, kills = size(300, 20_000), size(5, 60)
    pauses, restarts = {kills // 3, kills * 2 // 3}, {kills // 2}
    town.gateway.delay = 0.005
    daemons = [town.start() for _ in range(DAEMONS)]
    town.query(CAMPAIGN, count)
    begun = time.monotonic()
    for number, sent in enumerate(sorted(random.sample(range(count * 4 // 5), kills))):
        until(lambda more=sent: len(town.gateway.received) >= more, 300, f"{sent} being sent")
        if number in pauses:
            pause_and_resume(town)
        if number in restarts:
            restart(town)
        daemons.pop(0).kill()
        daemons.append(town.start())
    until(lambda: run_of(town)["finished_at"], 120 + count / 20, "the run's end")
    town.until_settled(60)

    found = verdict(town, count)
    assert found.unconfirmed <= 2 * CONCURRENCY * (kills + len(restarts))
    what = (
        f"a campaign, three daemons of which one after the other is killed, {len(pauses)} pauses, a restarted database"
    )
    note(what, found, kills=kills, seconds=round(time.monotonic() - begun))
