"""Paused connections are asked for as many at a time as there are, each owner's in turn, each sender once."""

from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.helpers.four_gateways import FourGateways
from tests.helpers.http_server import Reply
from tests.helpers.rows import Database, one
from worker.daemon import Parts
from worker.sending import probe

STRANGERS, VICTIM = 1000, "victim~"
PAUSED = """
with made as (
    insert into connections (id, name, user_id) select id, id, %(owner)s from unnest(%(ids)s::text[]) as id returning id
), set as (
    insert into connection_settings (connection_id, sender) select id, coalesce(%(sender)s, id) from made
)
insert into private.connection_state (connection_id, paused_reason, probe_at)
select id, 'away', now() - make_interval(secs => %(late)s) from made
"""
TAKEN = "select array(select p ->> 'connection_id' from take_probes(%s), json_array_elements(probes) as p)"


class Shared(FourGateways):
    """Sessions of strangers do not exist; that of the victim does."""

    def well(self, gateway: str, session: str) -> Reply:
        if session.startswith("stranger"):
            return Reply(404, {"message": "Session not found", "statusCode": 404})
        return super().well(gateway, session)


@pytest.fixture
def gateway() -> Iterator[Shared]:
    with Shared() as running:
        yield running


def pause(db: Database, owner: str, ids: list[str], late: float = 60, sender: str | None = None) -> None:
    db.execute(PAUSED, {"owner": owner, "ids": ids, "late": late, "sender": sender})


def is_paused(db: Database, connection: str) -> bool:
    sql = "select paused_reason is not null from private.connection_state where connection_id = %s"
    return bool(one(db, sql, connection))


def strangers(number: int) -> list[str]:
    return [f"stranger-{n}~" for n in range(number)]


def test_nobody_s_many_make_another_s_one_wait(db: Database) -> None:
    pause(db, "stranger", strangers(STRANGERS))
    pause(db, "another", [f"other-{n}~" for n in range(3)], late=1)
    pause(db, "victim", [VICTIM], late=0)
    taken = one(db, TAKEN, 6)
    assert len(taken) == 6
    assert {VICTIM, "other-0~", "other-1~", "other-2~"} < set(taken) or {VICTIM, "other-0~", "other-1~"} < set(taken)
    assert sum(name.startswith("stranger") for name in taken) <= 3


def test_all_that_are_due_are_taken_and_none_twice(db: Database) -> None:
    pause(db, "stranger", strangers(STRANGERS))
    found = [name for _ in range(STRANGERS // 100) for name in one(db, TAKEN, 100)]
    assert sorted(found) == sorted(strangers(STRANGERS))
    assert one(db, TAKEN, 100) == []
    soon = "select next_probe_at - now() between '3 s' and '5 s' from take_probes(100)"
    assert one(db, soon)


async def test_a_thousand_dead_sessions_of_a_stranger_do_not_hold_up_who_is_back(
    db: Database, parts: Callable[..., Awaitable[Parts]], gateway: Shared
) -> None:
    pause(db, "stranger", strangers(STRANGERS))
    pause(db, "victim", [VICTIM], late=0)
    daemon = await parts(gateway="waha", waha_url=gateway.url, waha_api_key="key")
    await daemon.probe.probe()
    assert not is_paused(db, VICTIM)
    assert gateway.checks[VICTIM] == 1
    assert sum(gateway.checks.values()) == probe.SEATS
    for _ in range(STRANGERS // probe.SEATS):
        await daemon.probe.probe()
    assert set(gateway.checks) == {VICTIM, *strangers(STRANGERS)}
    assert one(db, "select count(*) from private.connection_state where paused_reason is null") == 1


async def test_a_sender_is_asked_once_for_all_its_connections(
    db: Database, parts: Callable[..., Awaitable[Parts]], gateway: Shared
) -> None:
    shops = [f"shop-{n}" for n in range(80)]
    pause(db, "chain", shops, sender=VICTIM)
    daemon = await parts(gateway="waha", waha_url=gateway.url, waha_api_key="key")
    await daemon.probe.probe()
    assert gateway.checks == {VICTIM: 1}
    assert not any(is_paused(db, shop) for shop in shops)


async def test_a_session_that_hangs_is_not_waited_for_by_others(
    db: Database, parts: Callable[..., Awaitable[Parts]], gateway: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "LONGEST_CHECK", 0.5)
    monkeypatch.setattr(gateway, "well", hang(gateway))
    pause(db, "stranger", strangers(20))
    pause(db, "victim", [VICTIM], late=0)
    daemon = await parts(gateway="waha", waha_url=gateway.url, waha_api_key="key")
    await daemon.probe.probe()
    assert not is_paused(db, VICTIM)
    assert all(is_paused(db, name) for name in strangers(20))


def hang(gateway: Shared) -> Callable[[str, str], Reply]:
    well = gateway.well
    return lambda name, session: Reply(delay=60) if session.startswith("stranger") else well(name, session)


def test_the_doctor_says_who_is_paused_and_why(db: Database) -> None:
    said = "select what from diagnose() where what like '%%paused%%'"
    assert db.execute(said).fetchall() == []
    pause(db, "stranger", strangers(2))
    assert one(db, said) == "2 connection(s) paused by what their gateway answered, such as stranger-0~: away"
