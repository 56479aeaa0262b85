"""What the sender needs of a gateway, and what the gateways share."""

from typing import Protocol, runtime_checkable

from worker.models import Health, Message, Outcome


class Gateway(Protocol):
    """One way of sending. A gateway passes media on as links and fetches nothing itself."""

    name: str
    timeout: float  # seconds; send() and check() never take longer

    async def send(self, message: Message) -> Outcome:
        """Try once. Faults are outcomes, never exceptions; a cancellation passes through."""

    async def check(self, sender: str) -> Health:
        """Credentials and session of this sender, without sending anything."""

    async def aclose(self) -> None:
        """Give the connections back."""


@runtime_checkable
class Queue(Protocol):
    """A gateway that hands jobs to somebody else's queue, where they may become needless."""

    async def withdraw(self, job_ids: list[str]) -> int:
        """Take these out, but for those that are being run. How many are out of it for certain."""


LONGEST_SEND = 45.0  # seconds; a gateway that fetches and converts a video takes its time


def timeout_within(lease_seconds: float) -> float:
    """Seconds for a whole send: an answer has to be recorded while the claim still holds."""
    return min(LONGEST_SEND, lease_seconds * 0.75)


def person(recipient: str) -> str | None:
    """The digits of a person's number; None where it is a group, a channel or an id without one (`@lid`, `BR.150…`)."""
    name, _, domain = recipient.lstrip("+").partition("@")
    return name if name.isdigit() and domain in ("", "c.us", "s.whatsapp.net") else None
