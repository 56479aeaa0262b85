"""Waiting for a condition instead of a time."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

EVERY = 0.02  # seconds


def told(of: str | Callable[[], str]) -> str:
    return (of() if callable(of) else of) or "the condition"


def until(condition: Callable[[], T], seconds: float = 10.0, of: str | Callable[[], str] = "") -> T:
    """The first true value of `condition`. Fails the test after `seconds`, naming `of` and the last value.

    of: what is waited for, or who tells of it when the time is over, such as a daemon's log.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {told(of)} (last: {value!r})"
        time.sleep(EVERY)
    return value


async def auntil(condition: Callable[[], T], seconds: float = 10.0, of: str | Callable[[], str] = "") -> T:
    """The same where what is waited for runs on this event loop."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {told(of)} (last: {value!r})"
        await asyncio.sleep(EVERY)
    return value
