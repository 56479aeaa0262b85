"""All of it at once, for `export`: the same lines as in the files, page by page."""

from collections.abc import AsyncIterator

from worker.sources import lines
from worker.store.audit import NO_ID, Audit, Place

PAGE = 1000


async def appointments(
    audit: Audit, region: str | None, connection_id: str | None, since: str | None
) -> AsyncIterator[str]:
    """since: when it was booked, moved or followed up, ISO 8601."""
    yield lines.line(lines.APPOINTMENT)
    place = Place()
    while entries := await audit.read(place, PAGE, connection_id, since):
        yield "".join(lines.appointment(entry.record, region) for entry in entries)
        place = entries[-1].place


async def messages(
    audit: Audit,
    region: str | None,  # noqa: ARG001  numbers stand there as they were written
    connection_id: str | None,
    since: str | None,
) -> AsyncIterator[str]:
    """since: when it is to be sent, ISO 8601."""
    yield lines.line(lines.MESSAGE)
    last = NO_ID
    while found := await audit.messages(last, PAGE, connection_id, since):
        yield "".join(lines.message(row) for row in found)
        last = found[-1]["id"]
