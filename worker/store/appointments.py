"""What the daemon asks of the database for appointments."""

from dataclasses import dataclass

from worker.store.api import Api
from worker.store.reading import Calls, listed, reading


@dataclass(frozen=True, slots=True)
class Asked:
    """Numbers as they were written, of one country: '' where the daemon's own default counts."""

    country_code: str
    raw: list[str]


asked = reading(Asked)


class Appointments:
    """Its methods raise StoreRefused, StoreMisconfigured, and wait while Supabase is away, as long as the Api does."""

    def __init__(self, api: Api) -> None:
        self._calls = Calls(api)

    async def numbers_asked(self, limit: int) -> list[Asked]:
        """What appointments write to and nobody has judged yet. Raises StoreAbsent where there is the core alone."""
        return await self._calls.row(
            "get_numbers_asked",
            {"p_limit": limit},
            lambda row: [asked(one) for one in listed(row["numbers"])],
            optional=True,
        )
