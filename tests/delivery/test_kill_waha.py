"""Daemons that are killed at random while they send through a gateway that counts."""

import random
import time
from collections.abc import Callable

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.process import Worker
from tests.helpers.rows import Database, one, schedule_many, settled, statuses

CONCURRENCY = 5
LEASE_SECONDS = 5


def at_work(workers: list[Worker], waha: CountingGateway, count: int) -> Worker | None:
    """The first that has sent something; None when nearly all is sent."""

    def found() -> list[Worker | None]:
        return [w for w in workers if w.said("sent")] + ([None] if len(waha.received) > count * 0.9 else [])

    return until(found, 30, "a daemon at work")[0]


def test_whatever_is_killed_nobody_is_written_to_twice(
    db: Database, waha: CountingGateway, daemon: Callable[..., Worker], size: Callable[[int], int]
) -> None:
    count, chance = size(3000), random.Random(41)
    waha.delay = 0.15
    schedule_many(db, count, connections=8)

    def start() -> Worker:
        given = {"CONCURRENCY": CONCURRENCY, "LEASE_SECONDS": LEASE_SECONDS}
        return daemon(GATEWAY="waha", WAHA_URL=waha.url, **given)

    workers, kills = [start() for _ in range(3)], 0
    while kills < size(40) and (victim := at_work(workers, waha, count)):
        time.sleep(chance.uniform(0, 0.5))  # the moment is what is random
        victim.kill()
        kills += 1
        workers.remove(victim)
        workers.append(start())
    assert kills > size(20)
    until(lambda: settled(db), LEASE_SECONDS + size(900), "every row having an outcome")

    assert waha.repeated == {}
    found = statuses(db)
    assert set(found) <= {"sent", "unconfirmed"}
    assert found.get("unconfirmed", 0) <= 2 * CONCURRENCY * kills
    sent = one(db, "select array_agg(ltrim(contact_id, '+') || '@c.us') from scheduled_messages where status = 'sent'")
    assert set(sent) <= set(waha.counts)
    left = "select count(*) from broadcast_jobs where status in ('queued', 'sending')"
    assert one(db, left) == 0
