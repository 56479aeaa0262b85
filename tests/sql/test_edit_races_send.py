"""An edit that races a send: the old text goes out and the edit is refused, or the new one and it is accepted."""

import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import local as thread_local

import httpx
import psycopg
import pytest

from tests.helpers.accounts import User
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.rows import Database, one, settled
from tests.sql.states import job_of, row_in, status

EVERY = 0.01  # seconds between two messages that fall due
CONNECTIONS = 40  # each of which sends one message at a time
LEAD = 2.0  # seconds from the first insert until the first message falls due
FROM, TO = -1.2, 0.4  # when an edit comes, seconds from its message's instant: a message is claimed up to 0.9 s early


class Race:
    """`number` messages of one user, each to a number of its own, each edited at about the moment that it is sent."""

    def __init__(self, db: Database, user: User, number: int) -> None:
        random = Random(6)
        self.http, self.moments = user.http, [n * EVERY + random.uniform(FROM, TO) for n in range(number)]
        shops = "select 'shop-' || n, 'shop', %s from generate_series(0, %s) as n"
        db.execute(f"insert into connections (id, name, user_id) {shops}", (user.id, CONNECTIONS - 1))
        sql = """
            insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, created_by, owner_id)
            select 'shop-' || n %% %s, '+9198' || lpad(n::text, 8, '0'), 'old ' || n,
                now() + make_interval(secs => %s + n * %s), %s, %s
            from generate_series(0, %s - 1) as n returning id::text
        """
        rows = db.execute(sql, (CONNECTIONS, LEAD, EVERY, user.id, user.id, number))
        self.ids = [row["id"] for row in rows]
        self.start = time.monotonic() + LEAD
        self._clients = thread_local()

    def edit(self, n: int) -> int:
        """The HTTP status of the n-th message's edit: 204, or 409 where it comes too late."""
        time.sleep(max(0.0, self.start + self.moments[n] - time.monotonic()))
        if not hasattr(self._clients, "http"):
            self._clients.http = httpx.Client(base_url=self.http.base_url, headers=self.http.headers, trust_env=False)
        answer = self._clients.http.patch(
            "/scheduled_messages",
            params={"id": f"eq.{self.ids[n]}"},
            json={"message": f"new {n}", "status": "pending"},
        )
        return int(answer.status_code)

    def run(self) -> dict[int, int]:
        in_turn = sorted(range(len(self.moments)), key=self.moments.__getitem__)
        with ThreadPoolExecutor(16) as pool:
            return dict(zip(in_turn, pool.map(self.edit, in_turn), strict=True))


def test_an_edit_that_races_a_send_wins_or_is_refused_and_nothing_in_between(db, tenants, daemon, size):
    number, user = size(2_000), tenants[0]
    with CountingGateway(delay=0.03) as gateway:
        worker = daemon(GATEWAY="waha", WAHA_URL=gateway.url, CONCURRENCY=50)
        worker.until_said("started")
        race = Race(db, user, number)

        answers = race.run()
        until(lambda: settled(db), 60, "everything sent")

        texts = defaultdict(list)
        for one_sent in gateway.received:
            texts[int(one_sent.chat_id[4:12])].append(one_sent.text)
        assert worker.stop() == 0
    for n, answer in answers.items():
        assert answer in (204, 409)
        assert texts[n] == [f"new {n}" if answer == 204 else f"old {n}"], f"{n} was answered {answer}"
    outcomes = Counter(answers.values())
    assert min(outcomes[204], outcomes[409]) > number / 20, f"no race: {outcomes}"
    told = """
        select count(*) from scheduled_messages
        where status = 'sent' and message = %s || ' ' || right(contact_id, 8)::integer
    """
    assert [one(db, told, "new"), one(db, told, "old")] == [outcomes[204], outcomes[409]]


@pytest.mark.parametrize("does", ["edits", "cancels", "deletes"])
def test_who_comes_while_a_claim_is_deciding_is_refused_at_once(db, stack, tenants, does):
    """The claim wants the row in the end: if the edit waited for the job, each would wait for the other."""
    mine = tenants[0]
    row = row_in(db, "waiting", mine.connection_id, mine.id)
    of_the_row = {"params": {"id": f"eq.{row}"}, "timeout": 10}
    with psycopg.connect(stack["DATABASE_URL"]) as claim:
        claim.execute("select from broadcast_jobs where id = %s for update", (job_of(db, row)["id"],))
        if does == "deletes":
            answer = mine.http.delete("/scheduled_messages", **of_the_row)
        else:
            change = {"message": "New"} if does == "edits" else {"status": "cancelled"}
            answer = mine.http.patch("/scheduled_messages", json=change, **of_the_row)

    assert answer.status_code == 409
    assert "being sent right now" in answer.json()["message"]
    assert (status(db, row), job_of(db, row)["status"]) == ("processing", "queued")
