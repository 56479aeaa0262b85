"""A message's way: `Due`, `Decision`, `Job`; then a Message and its Outcome (models.py); then its `Settlement`.

All frozen; times are aware datetimes in UTC unless said otherwise.
"""

import time
from dataclasses import field
from datetime import datetime
from typing import Literal

from worker.values import value


@value(frozen=True, slots=True)
class Written:
    """The columns in which a row says what is to be sent, as its author wrote them: planning makes a Content of them.

    media, template: JSON of any shape, as text or decoded.
    """

    type: str | None = None
    message: str | None = None
    media_url: str | None = None
    caption: str | None = None
    media: object = None
    asset_id: str | None = None
    template: object = None


@value(frozen=True, slots=True)
class Series:
    """How a row recurs: its columns of these names. series_anchor: a naive wall time, None before the first occurrence.

    next_id: of the row that follows it already, where this one is a retry.
    """

    recurrence_pattern: str | None
    recurrence_end_at: datetime | None = None
    timezone: str | None = None
    series_anchor: datetime | None = None
    occurrence_at: datetime | None = None
    next_id: str | None = None


@value(frozen=True, slots=True)
class Due:
    """A pending row of scheduled_messages that is due, or soon will be.

    series: None where it does not recur.
    priority: 0 goes before 1 on its connection; 1 is what is written to many.
    not_after: the message would come too late after it; None where it never does.
    fault: why one of its times cannot be read, for its author; it can only fail then.
    """

    id: str
    revision: int
    connection_id: str
    owner_id: str | None
    contact_id: str
    scheduled_at: datetime
    written: Written
    priority: int = 0
    series: Series | None = None
    not_after: datetime | None = None
    fault: str | None = None

    @property
    def place(self) -> tuple[datetime, str]:
        """Where it stands among the rows that are due; the same while it is pending."""
        return self.scheduled_at, self.id

    @property
    def payer(self) -> str:
        """Whose row it is, who pays for what it costs: as in the index scheduled_messages_payer_idx.

        What somebody writes to many is not theirs there, so that it keeps nothing of theirs waiting.
        """
        return (self.owner_id or self.connection_id) + "*" * self.priority


@value(frozen=True, slots=True)
class Known:
    """What is known of a row's contact and connection; None where nobody says.

    phone_number: "" of a contact without one, None where there is no such contact.
    """

    phone_number: str | None = None
    is_blocked: bool = False
    connection_exists: bool = True
    timezone: str | None = None
    country_code: str | None = None
    gateway: str | None = None


@value(frozen=True, slots=True)
class Decision:
    """What becomes of a due row, as `enqueue_broadcast_jobs` wants it: a job, or its failure where `error` says why.

    anchor: a naive wall time in `timezone`.
    missed: how many occurrences were passed over in favour of `occurrence`.
    phone: the contact's number as it was looked up, None where none was.
    """

    id: str
    revision: int
    job_id: str
    recipient: str | None = None
    error: str | None = None
    timezone: str | None = None
    anchor: datetime | None = None
    occurrence: datetime | None = None
    missed: int = 0
    next_at: datetime | None = None
    next_after: datetime | None = None
    expires_at: datetime | None = None
    phone: str | None = None


@value(frozen=True, slots=True)
class Order:
    """What a job is to send, and to whom. `attempts` counts the present one; `sender` is None where no setting says."""

    id: str
    scheduled_message_id: str
    connection_id: str
    owner_id: str | None
    gateway: str
    sender: str | None
    api_key: str | None = field(repr=False)
    recipient: str
    written: Written
    attempts: int
    throttled: int


@value(frozen=True, slots=True)
class HandOver(Order):
    """A job that the Node worker was given and has not told of: it is given it once more."""


@value(frozen=True, slots=True)
class Job(Order):
    """A job that is ours to send, on its slot: from `send_at`, before `send_until` (None: nothing paces it).

    priority: as in Due. is_of_a_source: nobody wrote it by hand.
    scheduled_at: when its row fell due. claimed_at, lease_ends: monotonic seconds.
    """

    token: str
    scheduled_at: datetime
    send_at: datetime
    send_until: datetime | None
    claimed_at: float
    lease_ends: float
    priority: int = 0
    is_of_a_source: bool = False

    @property
    def source(self) -> str:
        """What the metrics call it: one message to many, one that something caused, or one that somebody wrote."""
        if not self.is_of_a_source:
            return "single"
        return "campaign" if self.priority else "reminder"

    @property
    def payer(self) -> str:
        """As in private.connection_state."""
        return self.owner_id or self.connection_id


Verdict = Literal[
    "sent", "handed_over", "failed", "unconfirmed", "retry", "locked_recipient", "throttled_recipient",
    "throttled_connection", "stopped", "released",
]  # fmt: skip


@value(frozen=True, slots=True)
class Settlement:
    """What an outcome means for its job, as `record_outcomes` wants it.

    verdict: see that function; `released`: it was not dialled and goes back as it was.
    wait: seconds until it is tried again. answered_at: monotonic.
    late: seconds from when its row fell due until it was settled.
    parts: JSON, see the function.
    """

    job: Job
    verdict: Verdict
    message_id: str | None = None
    error: str | None = None
    wait: float | None = None
    answered_at: float = field(default_factory=time.monotonic)
    late: float = 0.0
    parts: str | None = None

    @property
    def job_id(self) -> str:
        return self.job.id

    @property
    def token(self) -> str:
        return self.job.token
