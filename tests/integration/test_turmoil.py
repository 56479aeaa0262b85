"""Connections that are deleted, given away and renamed, users who are banned, again and again, while two daemons send:
nobody waits for anybody in a ring, and every message goes out once.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg
import pytest

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.process import Worker
from tests.helpers.rows import Database, add_connections, one, settled, statuses

QUIET, TROUBLED = [f"quiet-{n}" for n in range(4)], [f"troubled-{n}" for n in range(4)]
# What is done to a connection (its owner is %(user)s) and undone; each statement is a transaction of its own.
CHANGES = {
    "delete": (
        "delete from connections where id = %(id)s",
        "insert into connections (id, name, user_id) values (%(id)s, 'shop', %(user)s)",
    ),
    "give away": (
        "update connections set user_id = %(other)s where id = %(id)s",
        "update connections set user_id = %(user)s where id = %(id)s",
    ),
    "rename": (
        "update connections set id = %(id)s || '-new' where id = %(id)s",
        "update connections set id = %(id)s where id = %(id)s || '-new'",
    ),
    "ban": (
        "update auth.users set banned_until = now() + interval '1 hour' where id = %(user)s",
        "update auth.users set banned_until = null where id = %(user)s",
    ),
}
AGAIN = "update scheduled_messages set status = 'pending' where status = 'cancelled' and connection_id = %(id)s"
MESSAGES = """
    insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, created_by, owner_id)
    select co.id, '+9198' || lpad((row_number() over ())::text, 8, '0'), 'Hello', now() + n * interval '100 ms',
        co.user_id::uuid, co.user_id::uuid
    from connections as co cross join generate_series(1, %s) as n
"""
ROUNDS = 12  # of all changes, for each of the troubled


@dataclass
class Turmoil:
    """Who changes what; the owners of the troubled connections, and somebody to give them to."""

    url: str
    users: dict[str, str]
    other: str
    faults: list[psycopg.Error] = field(default_factory=list)

    def stir(self, name: str) -> None:
        given = {"id": name, "user": self.users[name], "other": self.other}
        changes = itertools.islice(itertools.cycle(CHANGES.values()), ROUNDS * len(CHANGES))
        with psycopg.connect(self.url, autocommit=True) as session:
            try:
                for there, back in changes:
                    for statement in (there, back, AGAIN):
                        session.execute(statement, given)
            except psycopg.Error as e:
                self.faults.append(e)

    def run(self) -> None:
        """All at once, until each has had enough."""
        with ThreadPoolExecutor(len(self.users)) as pool:
            list(pool.map(self.stir, self.users))


@pytest.fixture
def turmoil(db: Database, stack: dict[str, str]) -> Turmoil:
    made = Turmoil(stack["DATABASE_URL"], {name: str(uuid4()) for name in TROUBLED}, str(uuid4()))
    add_connections(db, *QUIET)
    for each in [*made.users.values(), made.other]:
        db.execute("insert into auth.users (id) values (%s)", (each,))
    for name, user in made.users.items():
        db.execute("insert into connections (id, name, user_id) values (%s, 'shop', %s)", (name, user))
    return made


def deadlocks(db: Database) -> int:
    db.execute("select pg_stat_force_next_flush()")
    return int(one(db, "select deadlocks from pg_stat_database where datname = current_database()"))


def test_whatever_changes_hands_meanwhile_nobody_waits_in_a_ring_and_all_goes_out_once(
    db: Database, turmoil: Turmoil, daemon: Callable[..., Worker], size: Callable[[int], int]
) -> None:
    db.execute(MESSAGES, (size(300),))
    number, before = len(QUIET + TROUBLED) * size(300), deadlocks(db)

    with CountingGateway() as gateway:
        workers = [daemon(GATEWAY="waha", WAHA_URL=gateway.url) for _ in range(2)]
        for worker in workers:
            worker.until_said("started")
        turmoil.run()
        assert turmoil.faults == []
        for name in TROUBLED:
            db.execute(AGAIN, {"id": name})
        until(lambda: settled(db), 60, f"all of {number} being over: {statuses(db)}")
        assert statuses(db) == {"sent": number}
        assert len(gateway.received) == number
        assert gateway.repeated == {}
        assert [worker.stop() for worker in workers] == [0, 0]

    assert deadlocks(db) == before
