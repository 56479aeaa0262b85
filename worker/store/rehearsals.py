"""What the daemon asks of the database for rehearsals: one method for each of its functions in sql/."""

from dataclasses import dataclass

from worker.store.api import Api, Row
from worker.store.campaigns import Attachment, attachment
from worker.store.reading import Calls


@dataclass(frozen=True, slots=True)
class Turn:
    """The campaign whose rehearsal is next, None where none is ready. `is_waiting`: whether any will be soon.

    attachment: the file that it would send, None where it sends a text.
    """

    campaign_id: str | None
    is_waiting: bool
    attachment: Attachment | None


@dataclass(frozen=True, slots=True)
class Portion:
    """What was worked out. `to_judge`: numbers as they were written, which nobody has judged yet; then nothing was."""

    is_done: bool
    worked: int
    country_code: str
    to_judge: list[str]


class Rehearsals:
    """Its methods raise StoreRefused, StoreMisconfigured, and wait while Supabase is away, as long as the Api does."""

    def __init__(self, api: Api) -> None:
        self._calls = Calls(api)

    async def take(self) -> Turn:
        """Raises StoreAbsent where the database has the core alone."""
        return await self._calls.row("take_rehearsal", {}, _turn, optional=True)

    async def advance(
        self, campaign_id: str, rules_version: str, gateway: str | None, fault: str | None, limit: int
    ) -> Portion | None:
        """The next recipients. None where somebody else is at it, or it is over. fault: why none of it can be sent."""
        arguments = {
            "p_campaign_id": campaign_id, "p_rules_version": rules_version, "p_gateway": gateway, "p_fault": fault,
            "p_limit": limit,
        }  # fmt: skip
        rows = await self._calls.rows("advance_rehearsal", _portion, arguments)
        return rows[0] if rows else None

    async def stop(self, campaign_id: str, why: str) -> None:
        """Ends one that the database refuses."""
        await self._calls.call("stop_rehearsal", {"p_campaign_id": campaign_id, "p_why": why}, lambda data, _: data)


def _turn(row: Row) -> Turn:
    return Turn(row["campaign_id"], row["is_waiting"], attachment(row["attachment"]))


def _portion(row: Row) -> Portion:
    return Portion(row["is_done"], row["worked"], row["country_code"], row["to_judge"] or [])
