"""What the database's functions answer. Times are aware datetimes in UTC unless said otherwise."""

from dataclasses import dataclass
from datetime import datetime

from worker.jobs import Due, HandOver, Job
from worker.store.refused import Refused


@dataclass(frozen=True, slots=True)
class Done:
    """What a call that writes rows says of them. ids: of rows that were enqueued, or of jobs that were fenced out.

    again_at: when what was put aside is to be written; None where nothing is.
    """

    ids: list[str]
    refused: list[Refused]
    again_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """A transaction of somebody's that holds what we lock. words: for people, with what to do about it.

    seconds, state: None where our role may not see them. transaction: tells one from another.
    """

    pid: int
    role: str
    application: str | None
    seconds: float | None
    state: str | None
    tables: list[str]
    blocks: int
    transaction: str
    words: str


@dataclass(frozen=True, slots=True)
class Agenda:
    """What comes next, by the database's clock, which `Clock` has observed.

    complete_until: up to when `upcoming` holds every row, None where it does to the end.
    """

    upcoming: list[Due]
    stale_hand_overs: int
    next_due_at: datetime | None
    next_ready_at: datetime | None
    next_expiry_at: datetime | None
    next_probe_at: datetime | None
    complete_until: datetime | None = None
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """Jobs that are ours to send now. asked_at: monotonic."""

    jobs: list[Job]
    next_ready_at: datetime | None
    asked_at: float
    refused: list[Refused]


@dataclass(frozen=True, slots=True)
class Rescued:
    """What a pass found. rescued, expired: how many. next_expiry_at: when there may be more."""

    rescued: int
    expired: int
    refused: list[Refused]
    hand_overs: list[HandOver]
    next_expiry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A job that lies in somebody else's queue and need not be done any more."""

    id: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Connection:
    """Through which gateway a connection goes, and as whom; None where the environment or its id says."""

    connection_id: str
    gateway: str | None
    sender: str | None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was known of the attempt of a message that was unconfirmed. send_at: when it began."""

    connection_id: str
    gateway: str
    attempts: int
    send_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding about the database. level: ok, warning or failure."""

    level: str
    what: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many jobs of a connection wait for the same reason. until: as the API gives it, here and below."""

    connection_id: str
    reason: str
    number: int
    until: str | None


@dataclass(frozen=True, slots=True)
class Halted:
    """A connection that may not send now. until: when that may change."""

    connection_id: str
    state: str
    until: str | None
    sent_today: int | None
    daily_limit: int | None


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A message that may have been sent."""

    id: str
    connection_id: str
    error: str | None
    gateway: str | None
    attempts: int | None
    send_at: str | None
    lease_until: str | None


@dataclass(frozen=True, slots=True)
class PutAside:
    """A message of which the database refused something, and when that is tried again. step: what; code: SQLSTATE."""

    id: str
    step: str
    code: str
    reason: str
    tries: int
    first_at: str
    again_at: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What `status` shows. Times as the API gives them, because programs are given them as they are."""

    db_now: str
    counts: dict[str, int]
    due: int
    next_due_at: str | None
    oldest_overdue_at: str | None
    waiting: list[Waiting]
    connections: list[Halted]
    unconfirmed: list[Doubtful]
    stale_hand_overs: int
    refused: list[PutAside]
