"""When a loop has something to do next, and what it does about calls that fail."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable

import structlog

from worker.errors import WorkerError

log = structlog.get_logger()

IDLE_SECONDS = 20.0  # a loop with nothing to do says at least so often that it is alive
FIRST_SECONDS = 1.0


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


class Alarm:
    """When a loop has something to do next. Anybody may bring that nearer; it rings once for all who did.

    beat: called whenever the loop looks at it, to say that the loop is alive.
    first: seconds until it rings first. every: seconds from one ring to the next, if nobody sets it.
    """

    def __init__(self, beat: Callable[[], None], first: float = 0.0, every: float = math.inf) -> None:
        self.beat, self._every = beat, every
        self._moved = asyncio.Event()
        self.at = time.monotonic() + first

    def wake(self) -> None:
        """Rings now."""
        self.at = 0.0
        self._moved.set()

    def within(self, seconds: float) -> None:
        """Rings in so many seconds, if not before."""
        if (at := time.monotonic() + seconds) < self.at:
            self.at = at
            self._moved.set()

    def reset(self, seconds: float) -> None:
        """Rings in so many seconds, whatever was set before."""
        self.at = time.monotonic() + seconds
        self._moved.set()

    async def rings(self, stop: asyncio.Event | None = None) -> bool:
        """Waits until it does. False once `stop` is set, which alone does not end the waiting: wake it."""
        while not (stop and stop.is_set()):
            self.beat()
            self._moved.clear()
            now = time.monotonic()
            if self.at <= now:
                self.at = now + self._every
                return True
            await wait_for(self._moved, min(self.at - now, IDLE_SECONDS))
        return False


class Patience:
    """What a loop does about calls that fail: it comes back after a second, then later each time, and says so once.

    longest: seconds between two tries, at most. complaint: what the log says.
    """

    def __init__(self, complaint: str, longest: float) -> None:
        self._complaint, self._longest = complaint, max(FIRST_SECONDS, longest)
        self._wait, self._said = 0.0, ""

    async def attempt(self, work: Awaitable[object]) -> float:
        """Does it. Returns the seconds until it wants to be tried again, infinity where it worked."""
        try:
            await work
        except WorkerError as e:
            if (reason := str(e)) != self._said:
                log.error(self._complaint, reason=reason)
            self._wait, self._said = min(max(FIRST_SECONDS, 2 * self._wait), self._longest), reason
            return self._wait
        self._wait, self._said = 0.0, ""
        return math.inf
