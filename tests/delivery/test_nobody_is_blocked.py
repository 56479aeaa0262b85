"""Whatever a gateway says of one message, the others of its connection go out: real rows, a running daemon."""

import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import is_long
from tests.helpers.four_gateways import GATEWAYS, FourGateways, stopping
from tests.helpers.http_server import Reply
from tests.helpers.polling import until
from tests.helpers.process import Worker
from tests.helpers.rows import Database, add_connections, one

WORDS = {
    "waha": "The moon is in the way",
    "evolution": "quota of silence exceeded",
    "wppconnect": "o gato comeu a mensagem",
    "cloud": "Sent to the wrong century",
}
GROUP = "120363000000000000@g.us"


@pytest.fixture
def gateways() -> Iterator[FourGateways]:
    with FourGateways() as running:
        yield running


def fill(db: Database, connection: str, gateway: str, recipients: list[str]) -> None:
    """Rows that are due now, in this order; the session is called `<connection>~`."""
    add_connections(db, connection)
    db.execute(
        "insert into connection_settings (connection_id, gateway, sender) values (%s, %s, %s)",
        (connection, gateway, f"{connection}~"),
    )
    db.execute(
        "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at)"
        " select %s, who, 'Hello', now() - make_interval(secs => 60 - place * 0.1)"
        " from unnest(%s::text[]) with ordinality as given (who, place)",
        (connection, recipients),
    )


def people(count: int) -> list[str]:
    return [f"+9198{n:08d}" for n in range(count)]


def statuses(db: Database, connection: str) -> dict[str, str]:
    """By recipient."""
    sql = "select contact_id, status from scheduled_messages where connection_id = %s"
    return {row["contact_id"]: row["status"] for row in db.execute(sql, (connection,))}


def test_a_hundred_others_go_out_and_the_one_that_is_refused_fails_with_both_reasons(
    db: Database, daemon: Callable[..., Worker], gateways: FourGateways
) -> None:
    """At each gateway: a bad person first, two of them apart, a bad group in the middle."""
    hundred = people(100)
    bad = {"first": [hundred[0]], "two": [hundred[0], hundred[40]], "group": [GROUP]}
    if is_long():
        bad["many"] = hundred[:30:3]
    everybody = {"group": [*hundred[:50], GROUP, *hundred[50:]]}
    refused = {
        (f"{kind}-{gateway}~", who.lstrip("+")) for kind, some in bad.items() for who in some for gateway in GATEWAYS
    }

    def behave(gateway: str, session: str, recipient: str) -> Reply | None:
        return stopping(gateway, WORDS[gateway]) if (session, recipient) in refused else None

    gateways.behaviour = behave
    kinds = [
        (f"{kind}-{gateway}", kind, gateway)
        for kind in bad
        for gateway in GATEWAYS
        if (kind, gateway) != ("group", "cloud")
    ]
    for connection, kind, gateway in kinds:
        fill(db, connection, gateway, everybody.get(kind, hundred))
    workers = [daemon(GATEWAY="mock", **gateways.environment) for _ in range(2)]

    def all_settled() -> bool:
        return not one(db, "select exists (select from scheduled_messages where status in ('pending', 'processing'))")

    until(all_settled, 150, lambda: workers[0].text)
    for connection, kind, gateway in kinds:
        told = statuses(db, connection)
        assert {who for who, status in told.items() if status == "failed"} == set(bad[kind]), connection
        assert set(told.values()) == {"sent", "failed"}, connection
        sql = "select distinct error from scheduled_messages where connection_id = %s and status = 'failed'"
        [row] = db.execute(sql, (connection,)).fetchall()
        assert WORDS[gateway] in row["error"]
        assert "others got through on it since this message was first refused" in row["error"]
    assert max(Counter(gateways.accepted).values()) == 1
    assert all(2 <= count <= 4 for one_post, count in Counter(gateways.posts).items() if one_post in refused)


ANSWERS = (None, None, 200, 201, 400, 401, 403, 404, 405, 408, 409, 422, 429, 500, 501, 502, 503)


def test_no_connection_rests_with_work_while_its_probe_is_well_whatever_is_answered(
    db: Database, daemon: Callable[..., Worker], gateways: FourGateways
) -> None:
    """Each recipient has an answer of its own, for ever: a status and words at random. People are taken."""
    chance = random.Random(1615)
    words = ["session", "connected", "no lid", "timed out", "not registered", "Evaluation failed", "463", "rate", "x"]
    odd = people(240 if is_long() else 24)
    answers = {
        (f"{gateway}~", who.lstrip("+")): (
            chance.choice(ANSWERS),
            {"message": " ".join(chance.sample(words, 3)), "error": {"code": chance.choice([1, 4, 100, 190, 131042])}},
            chance.choice([{}, {}, {"retry-after": chance.choice(["0", "1"])}]),
        )
        for gateway in GATEWAYS
        for who in odd
    }

    def behave(_: str, session: str, recipient: str) -> Reply | None:
        status, body, headers = answers.get((session, recipient), (None, {}, {}))
        return Reply(status, body, headers) if status else None

    gateways.behaviour = behave
    good = [f"+9199{n:08d}" for n in range(len(odd))]
    for gateway in GATEWAYS:
        mixed = [*odd, *good]
        chance.shuffle(mixed)
        fill(db, gateway, gateway, mixed)
    worker = daemon(GATEWAY="mock", RETRY_DELAY_SECONDS=1, **gateways.environment)

    def all_good_sent() -> bool:
        sql = "select count(*) from scheduled_messages where contact_id like '+9199%%' and status = 'sent'"
        return one(db, sql) == len(good) * len(GATEWAYS)

    until(all_good_sent, 400 if is_long() else 120, lambda: worker.text)
    # Whatever is left has been refused in a way that costs no try, and says so.
    silent = "select count(*) from scheduled_messages where status = 'processing' and waiting_reason is null"
    silent += " and error is null"
    until(lambda: one(db, silent) == 0, 20, "every row that waits saying why")
    counts = Counter(gateways.accepted)
    assert max(counts.values()) == 1
