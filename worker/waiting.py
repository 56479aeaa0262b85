"""Waiting for an event, but not for ever."""

import asyncio

FIRST_SECONDS = 1.0


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


class Patience:
    """What a loop does about calls that fail: it comes back after a second, then later each time, and says so once."""

    def __init__(self, longest: float) -> None:
        self._longest, self._wait, self._said = longest, 0.0, ""

    def failed(self, reason: str) -> tuple[float, bool]:
        """Seconds to wait, and whether this has not been said yet."""
        self._wait = min(max(FIRST_SECONDS, 2 * self._wait), max(FIRST_SECONDS, self._longest))
        is_news, self._said = reason != self._said, reason
        return self._wait, is_news

    def worked(self) -> None:
        self._wait, self._said = 0.0, ""
