"""Ends a process one of whose loops is stuck; what supervises it starts a new one."""

import os
import sys
import threading
from collections.abc import Callable

import structlog

from worker.watch.vitals import Beat, Vitals

log = structlog.get_logger()
EXIT_STUCK = 70  # EX_SOFTWARE of sysexits.h


class Watchdog:
    """A thread, since a blocked event loop can hardly watch itself.

    It counts its own ticks instead of reading a clock: a process that was suspended for an hour has missed as
    many ticks as its loops have missed rounds, and is not stuck.
    """

    def __init__(self, vitals: Vitals, *, tick: float = 1.0, end: Callable[[int], object] = os._exit) -> None:
        self._vitals, self._tick, self._end = vitals, tick, end
        self._idle: dict[str, tuple[Beat, float]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(self._tick + 1)

    def _watch(self) -> None:
        while not self._stopped.wait(self._tick):
            self.look()

    def look(self) -> None:
        """One tick: ends the process if a loop has used up the time that it promised its next beat within."""
        for loop, beat in self._vitals.beats.copy().items():
            last, idle = self._idle.get(loop, (beat, 0.0))
            idle = idle + self._tick if last is beat else 0.0
            self._idle[loop] = (beat, idle)
            if idle > beat.within:
                self._give_up(loop, idle)

    def _give_up(self, loop: str, idle: float) -> None:
        # The log itself may be what everything waits for.
        anyway = threading.Timer(2, self._end, (EXIT_STUCK,))
        anyway.daemon = True
        anyway.start()
        try:
            log.critical(f"{loop} has made no progress for {idle:.0f} s; ending", action="stuck", loop=loop)
            sys.stdout.flush()
        finally:
            anyway.cancel()
            self._end(EXIT_STUCK)
