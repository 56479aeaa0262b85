"""Has numbers judged that the database meets for the first time: whom each leads to, as for a single message."""

import asyncio
from collections.abc import Sequence

import phonenumbers

from worker.config import Settings
from worker.errors import BadRecipient
from worker.planning import recipient
from worker.store.campaigns import Campaigns, Judged
from worker.text.characters import plain

# What `recipient` makes of a number hangs on the numbering plans, on its own rules and on the default country.
RULES = f"1/{phonenumbers.__version__}"
AT_ONCE = 100  # until others have their turn: three milliseconds


class Numbers:
    """rules: the version under which the database keeps what was found."""

    def __init__(self, campaigns: Campaigns, settings: Settings) -> None:
        self._campaigns, self._region = campaigns, settings.default_country_code
        self.rules = f"{RULES}/{self._region or ''}"

    async def judge(self, country_code: str, numbers: Sequence[str]) -> None:
        """country_code: the connection's, "" where it has none."""
        judged: list[Judged] = []
        for start in range(0, len(numbers), AT_ONCE):
            judged += [judge(raw, country_code or self._region) for raw in numbers[start : start + AT_ONCE]]
            await asyncio.sleep(0)
        await self._campaigns.record_judged(country_code, self.rules, judged)


def judge(raw: str, region: str | None) -> Judged:
    """region: the country of a number without one, ISO 3166."""
    try:
        return Judged(raw, recipient.resolve(plain(raw), region), None)
    except BadRecipient as e:
        return Judged(raw, None, str(e))
