"""Has numbers judged that the database meets for the first time: whom each leads to, as for a single message."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import timezone

from worker.config import Settings
from worker.errors import BadRecipient
from worker.planning import recipient
from worker.store.campaigns import Campaigns, Judged
from worker.text.characters import plain

# What `recipient` makes of a number hangs on the numbering plans, on its own rules and on the default country.
RULES = f"2/{phonenumbers.__version__}"
SEASONS = [datetime(2026, month, 15, 12, tzinfo=UTC) for month in (1, 7)]
AT_ONCE = 100  # until others have their turn: three milliseconds


class Numbers:
    """rules: the version under which the database keeps what was found."""

    def __init__(self, campaigns: Campaigns, settings: Settings) -> None:
        self._campaigns, self._region = campaigns, settings.default_country_code
        self.rules = f"{RULES}/{self._region or ''}"

    async def judge(self, country_code: str, numbers: Sequence[str], with_zones: bool = True) -> None:
        """country_code: the connection's, "" where it has none."""
        judged: list[Judged] = []
        for start in range(0, len(numbers), AT_ONCE):
            region = country_code or self._region
            judged += [judge(raw, region, with_zones) for raw in numbers[start : start + AT_ONCE]]
            await asyncio.sleep(0)
        await self._campaigns.record_judged(country_code, self.rules, judged)


def judge(raw: str, region: str | None, with_zone: bool = False) -> Judged:
    """region: the country of a number without one, ISO 3166."""
    try:
        address = recipient.resolve(plain(raw), region)
    except BadRecipient as e:
        return Judged(raw, None, str(e), "" if with_zone else None)
    return Judged(raw, address, None, zone_of(address) if with_zone else None)


def zone_of(address: str) -> str:
    """The IANA zone that a number's prefix stands for; "" where it stands for clocks that differ, or is no number."""
    if not address.startswith("+"):
        return ""
    return alike(timezone.time_zones_for_number(phonenumbers.parse(address)))


@lru_cache(maxsize=1024)
def alike(zones: tuple[str, ...]) -> str:
    """One of these zones, if their clocks show the same in winter and in summer."""
    if timezone.UNKNOWN_TIMEZONE in zones:
        return ""
    clocks = {tuple(noon.astimezone(ZoneInfo(zone)).utcoffset() for noon in SEASONS) for zone in zones}
    return zones[-1] if len(clocks) == 1 else ""
