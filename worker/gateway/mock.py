"""Marks everything as sent and sends nothing: for development, demonstrations and measurements."""

import asyncio
import random
from uuid import uuid4

from worker.config import Settings
from worker.models import Health, Message, Outcome, Rejected, Sent

FAILED = Rejected("The mock gateway fails some messages on purpose (MOCK_FAILURE_RATE)")
MARGIN = 1.0  # seconds beyond the delay, for a busy event loop


class Mock:
    """failure_rate: 0 to 1. delay: seconds for each message."""

    name = "mock"

    def __init__(self, *, failure_rate: float = 0.0, delay: float = 0.0) -> None:
        self.failure_rate = failure_rate
        self.delay = delay
        self.timeout = delay + MARGIN

    async def send(self, message: Message) -> Outcome:  # noqa: ARG002
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.failure_rate and random.random() < self.failure_rate:
            return FAILED
        return Sent(f"mock-{uuid4()}")

    async def check(self, sender: str) -> Health:  # noqa: ARG002
        return Health(True, "the mock gateway sends nothing")

    async def aclose(self) -> None:
        pass


def build(settings: Settings) -> Mock:
    return Mock(failure_rate=settings.mock_failure_rate, delay=settings.mock_delay_ms / 1000)
