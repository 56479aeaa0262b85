"""What the names in media links resolve to, asked before a gateway inside our network is told to fetch them."""

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from worker.planning.links import Links, host_of, refuse_inside

PATIENCE_SECONDS = 2.0
REMEMBERED_SECONDS = 60.0
MOST = 4096  # names
THREADS = 8  # of their own: a name server that does not answer holds up nothing else

# Name → its addresses; none where it does not resolve.
LookUp = Callable[[str], Awaitable[list[str]]]


class Resolver:
    """Judges links by where their hosts' names lead. A name that does not resolve here passes: its fetcher will see."""

    def __init__(self, look_up: LookUp | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up, self._clock = look_up or SystemNames().look_up, clock
        self._known: OrderedDict[str, tuple[list[str], float]] = OrderedDict()  # with the time of forgetting

    async def refuse_inside(self, urls: Iterable[str], links: Links) -> None:
        """Raises BadMessage for a link whose host is inside, or has any address that is."""
        hosts = {host_of(url) for url in urls} - links.trusted
        for host in hosts:
            for address in await self._addresses(host):
                refuse_inside(address, links)

    async def _addresses(self, host: str) -> list[str]:
        found, until = self._known.get(host, ([], 0.0))
        if self._clock() < until:
            return found
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await self._look_up(host)
        except (OSError, UnicodeError):  # also a TimeoutError
            found = []
        self._known[host] = (found, self._clock() + REMEMBERED_SECONDS)
        self._known.move_to_end(host)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return found


class SystemNames:
    """The system's resolver, which blocks, in a few threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="names")

    async def look_up(self, host: str) -> list[str]:
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._threads, socket.getaddrinfo, host, None, 0, socket.SOCK_STREAM)
        return [str(answer[4][0]) for answer in await asked]
