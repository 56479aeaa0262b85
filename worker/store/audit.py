"""What is read of the audit log and of messages, to be written out."""

from dataclasses import dataclass
from typing import Any

from worker.store.api import Api, Row
from worker.store.reading import Calls, listed

KINDS_OF_LINES = ("booked", "moved", "followup_set")
NO_ID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the audit log: after this entry."""

    transaction: str = "0"
    id: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened to an appointment; `record` is the appointment as it was then."""

    place: Place
    connection_id: str
    kind: str
    record: dict[str, Any]


class Audit:
    """Its methods raise StoreRefused, StoreMisconfigured, and wait while Supabase is away, as long as the Api does."""

    def __init__(self, api: Api) -> None:
        self._calls = Calls(api)

    async def read(
        self, after: Place, limit: int, connection_id: str | None = None, since: str | None = None
    ) -> list[Entry]:
        """The next entries that are lines of an appointment's file, in the order that never changes.

        Raises StoreAbsent where the database has the core alone.
        """
        arguments: Row = {
            "p_after_transaction": after.transaction,
            "p_after_id": after.id,
            "p_kinds": list(KINDS_OF_LINES),
            "p_limit": limit,
            "p_connection_id": connection_id,
            "p_since": since,
        }
        return await self._calls.row(
            "read_audit_log", arguments, lambda row: [_entry(entry) for entry in listed(row["entries"])], optional=True
        )

    async def messages(
        self, after_id: str, limit: int, connection_id: str | None = None, since: str | None = None
    ) -> list[Row]:
        """The next messages by their ids. Begin with NO_ID."""
        arguments: Row = {
            "p_after_id": after_id,
            "p_limit": limit,
            "p_connection_id": connection_id,
            "p_since": since,
        }
        return await self._calls.row("read_messages", arguments, lambda row: listed(row["entries"]))


def _entry(row: Row) -> Entry:
    return Entry(Place(row["transaction"], row["id"]), row["connection_id"], row["kind"], row["record"])
