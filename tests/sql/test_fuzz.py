"""Two tenants who write whatever comes to their minds, through the API, while a daemon runs beside them."""

import os
from concurrent.futures import ThreadPoolExecutor
from random import Random

import httpx
import pytest

from tests.helpers.polling import until
from tests.helpers.rows import Database, one
from tests.sql.fuzzing import Tenant

SEED = int(os.environ.get("FUZZ_SEED", "6"))
UNFINISHED = """
    select count(*) from scheduled_messages
    where status = 'processing' or (status = 'pending' and scheduled_at <= now())
"""
# Rows of a tenant that somebody else has had a hand in.
STRAY = """
    select count(*) from scheduled_messages where %s in (owner_id, created_by)
    and (owner_id <> created_by or caption is distinct from %s or connection_id <> %s)
"""
LOST = """
    select count(*) from unnest(%s::uuid[]) as mine (id)
    where not exists (select from scheduled_messages as s where s.id = mine.id)
"""
# Jobs of somebody else that reach a tenant's contact or use a tenant's connection.
INTRUDING = "select count(*) from broadcast_jobs where user_id <> %s and (recipient = %s or connection_id = %s)"


@pytest.fixture
def people(db: Database, tenants) -> list[Tenant]:
    both = []
    for n, user in enumerate(tenants):
        phone = f"+91987000000{n}"
        sql = "insert into contacts (owner_id, phone_number) values (%s, %s) returning id::text"
        both.append(Tenant(user, f"by {n}", phone, one(db, sql, user.id, phone), Random(SEED + n)))
    both[0].other, both[1].other = both[1], both[0]
    return both


def write(person: Tenant, times: int) -> None:
    """Nothing that anybody writes is an error of the server's."""
    for _ in range(times):
        answer = person.act()
        wrong = answer.status_code >= 500 and not is_the_drivers(answer)
        assert not wrong, f"{answer.text}\n{answer.request.method} {answer.request.content[:500]!r}"


def is_the_drivers(answer: httpx.Response) -> bool:
    """The local API server's driver takes no number, list or object for a time; PostgREST answers that with 400."""
    return str(answer.json()["message"]).startswith("TypeError [ERR_INVALID_ARG_TYPE]")


def test_whatever_two_tenants_write_stays_their_own_and_the_daemon_comes_to_an_end_with_it(db, people, daemon, size):
    times = size(10_000) // 2
    worker = daemon(CONCURRENCY=20, RETRY_DELAY_SECONDS=0)
    worker.until_said("started")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, person, times) for person in people]:
            done.result()
    until(lambda: one(db, UNFINISHED) == 0, 60, "everything that is due being sent or failed")

    assert worker.stop() == 0
    assert worker.said("a row cannot be enqueued") == []
    assert worker.said("a pass of the scheduler failed") == []
    for person in people:
        assert person.answers[201] > times / 5, person.answers
        assert one(db, STRAY, person.user.id, person.mark, person.user.connection_id) == 0
        assert one(db, LOST, list(person.alive)) == 0
        assert one(db, INTRUDING, person.user.id, person.phone, person.user.connection_id) == 0
    ends = db.execute("select status, count(*) as n, count(error) as reasons from scheduled_messages group by status")
    ended = {row["status"]: row for row in ends}
    assert set(ended) <= {"sent", "failed", "cancelled", "pending"}
    assert ended["sent"]["n"] > 0
    assert ended["failed"]["n"] == ended["failed"]["reasons"] > 0
