"""How often campaigns are looked at, and that whoever sends hears of new messages at once."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.helpers.loops import settings
from worker.sources import campaigns as campaigns_module
from worker.sources.campaigns import LOOK_SECONDS, CampaignSource
from worker.store.campaigns import Advanced, CampaignAgenda, Freezing, Run
from worker.store.clock import Clock


class ToldCampaigns:
    """made: by each call of `advance`, in turn; then nothing."""

    def __init__(self, *made: int) -> None:
        self.clock, self.made, self.asked, self.frozen = Clock(), [*made], 0, 0
        self.runs = [Run(id="run", is_frozen=True, unmade=100, pending=100)]

    async def get_agenda(self) -> CampaignAgenda:
        return CampaignAgenda(starts=[], runs=self.runs, has_ended=False)

    async def advance(self, *_: object) -> Advanced:
        self.asked += 1
        return Advanced(self.made.pop(0) if self.made else 0, None)

    async def freeze(self, *_: object) -> Freezing:
        self.frozen += 1
        return Freezing(False, 10, "", False, [])

    async def estimate(self) -> None:
        pass


def source(campaigns: ToldCampaigns, told: list[str], **given: float) -> CampaignSource:
    chosen = settings(gateway="mock", **given)
    parts = cast(Any, campaigns), cast(Any, SimpleNamespace(rules="1")), chosen, cast(Any, None)
    return CampaignSource(*parts, lambda: told.append("made"))


async def test_whoever_sends_is_told_of_each_batch_and_of_nothing_else() -> None:
    told = list[str]()
    campaigns = source(ToldCampaigns(50, 0, 50), told)
    assert [await campaigns.advance() == 0 for _ in range(4)] == [True, False, True, False]
    assert told == ["made", "made"]


async def test_a_window_that_stays_full_is_looked_at_ever_more_seldom_and_soon_again_after_it_moved() -> None:
    campaigns = source(ToldCampaigns(), [])
    waits = [await campaigns.advance() for _ in range(30)]
    assert waits == sorted(waits)
    assert waits[0] < 0.5
    assert waits[-1] == LOOK_SECONDS
    cast(Any, campaigns.campaigns).made = [1]
    assert await campaigns.advance() == 0
    assert await campaigns.advance() == waits[0]


@pytest.mark.parametrize(("gone", "is_longer"), [(5, True), (6, False)])
async def test_a_window_that_empties_fast_is_looked_at_as_soon_again(gone: int, is_longer: bool) -> None:
    told = ToldCampaigns()
    campaigns, waits = source(told, []), []
    for under_way in (100, 100 - gone):
        told.runs = [Run(id="run", is_frozen=True, unmade=0, pending=under_way)]
        waits.append(await campaigns.advance())
    assert (waits[1] > waits[0]) is is_longer


async def test_what_is_more_than_half_full_is_not_asked_for_more_but_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each time reads the last hundred that are settled, behind all that are under way."""
    now = 1000.0
    monkeypatch.setattr(campaigns_module, "time", SimpleNamespace(monotonic=lambda: now))
    told = ToldCampaigns(100)
    campaigns = source(told, [])
    asked = []
    looks = [(0, 0), (100, 0), (99, 0), (51, 0), (50, 0), (80, 0), (80, LOOK_SECONDS), (26, 0), (25, 0)]
    for under_way, seconds in looks:
        now += seconds
        told.runs = [Run(id="run", is_frozen=True, unmade=100, pending=100 + under_way)]
        await campaigns.advance()
        asked.append(told.asked)
    assert asked == [1, 2, 2, 2, 3, 3, 4, 5, 6]


@pytest.mark.parametrize(("waits_for_all", "asked"), [(False, 1), (True, 0)])
async def test_messages_are_made_while_others_are_frozen_unless_all_are_waited_for(
    waits_for_all: bool, asked: int
) -> None:
    told = ToldCampaigns(10)
    told.runs = [Run(id="run", is_frozen=False, unmade=10, pending=10, waits_for_all=waits_for_all)]
    assert await source(told, []).advance() == 0
    assert (told.asked, told.frozen) == (asked, 1)


async def test_few_under_way_may_be_all_whose_time_has_come_by_their_own_clocks() -> None:
    told = ToldCampaigns(1)
    campaigns = source(told, [])
    for under_way in (0, 1, 1, 25):
        told.runs = [Run(id="run", is_frozen=True, unmade=100, pending=100 + under_way)]
        await campaigns.advance()
    assert told.asked == 4


async def test_without_a_run_somebodys_start_is_waited_for_as_long_as_a_message_at_most() -> None:
    told = ToldCampaigns()
    told.runs = []
    assert await source(told, []).advance() == LOOK_SECONDS
    assert await source(told, [], poll_interval_seconds=1).advance() == 1


async def test_a_window_is_looked_at_again_before_as_long_has_passed_as_since_it_was_full() -> None:
    """Else it could be half empty just after one look, and empty long before the next."""
    campaigns = source(ToldCampaigns(), [])
    passed = await campaigns.advance()
    for _ in range(6):
        passed += (wait := await campaigns.advance())
        assert wait < passed - wait + 0.1
