"""What the daemon asks of the database for campaigns: one method for each of its functions in sql/."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.errors import BadMessage
from worker.jobs import Series, Written
from worker.recurrence.times import parse_time
from worker.store import findings, reading
from worker.store.answers import Overview
from worker.store.api import Api, Row
from worker.store.reading import Calls


@dataclass(frozen=True, slots=True)
class Attachment:
    """The file that a campaign sends, as its author wrote it. `gateway`: its connection's, None where it names none."""

    written: Written
    gateway: str | None


@dataclass(frozen=True, slots=True)
class Start:
    """A campaign whose next run begins within a minute, at `run_at`. `series`: None where it does not recur.

    attachment: None where it sends a text. fault: why its times cannot be read, such as an end in the year 12026.
    """

    campaign_id: str
    revision: int
    scheduled_at: datetime
    run_at: datetime
    series: Series | None
    attachment: Attachment | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run under way. `unmade`: recipients for whom there is no message yet; `pending` counts them too.

    waits_for_all: whether none is made before all are frozen.
    """

    id: str
    is_frozen: bool
    unmade: int
    pending: int
    waits_for_all: bool = False

    @property
    def under_way(self) -> int:
        """Messages that are made and not settled."""
        return self.pending - self.unmade


@dataclass(frozen=True, slots=True)
class CampaignAgenda:
    """What there is to do for campaigns."""

    starts: list[Start]
    runs: list[Run]
    has_ended: bool


@dataclass(frozen=True, slots=True)
class Freezing:
    """How far the freezing of a run came. `to_judge`: numbers as they were written, which nobody has judged yet.

    by_clock: whether it goes by the recipients' own clocks, so that their numbers' zones are wanted too.
    """

    is_done: bool
    frozen: int
    country_code: str
    by_clock: bool
    to_judge: list[str]


@dataclass(frozen=True, slots=True)
class Advanced:
    """How many messages of a run were made. `stopped`: why it paused itself; None where it goes on."""

    made: int
    stopped: str | None


@dataclass(frozen=True, slots=True)
class EndedRun:
    """How a run came out. `total`: None of one that was cancelled before its recipients were known."""

    id: str
    campaign_id: str
    connection_id: str
    status: str
    status_reason: str | None
    total: int | None
    sent: int
    failed: int
    unconfirmed: int
    skipped: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class RunUnderWay:
    """What an operator is shown of a run. total: None until all recipients are frozen."""

    id: str
    campaign_id: str
    name: str
    connection_id: str
    status: str
    status_reason: str | None
    started_at: str
    total: int | None
    pending: int
    sent: int
    failed: int
    unconfirmed: int
    skipped: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Judged:
    """A number as it was written, and its address, or why it has none. `timezone`: None where nobody asked."""

    raw: str
    address: str | None
    fault: str | None
    timezone: str | None = None


class Campaigns:
    """Its methods raise StoreRefused, StoreMisconfigured, and wait while Supabase is away, as long as the Api does."""

    def __init__(self, api: Api) -> None:
        self._calls, self.clock = Calls(api), api.clock

    async def get_agenda(self) -> CampaignAgenda:
        """Raises StoreAbsent where the database has the core alone."""
        return await self._calls.row("get_campaign_agenda", {}, _agenda, optional=True)

    async def start(
        self, start: Start, occurrence: datetime, next_at: datetime | None, anchor: datetime | None, refusal: str | None
    ) -> str | None:
        """Begins a run, or with a `refusal` one that has failed. Its id; None where an edit came first."""
        arguments: Row = {
            "p_campaign_id": start.campaign_id,
            "p_revision": start.revision,
            "p_occurrence_at": occurrence.isoformat(),
            "p_next_at": next_at and next_at.isoformat(),
            "p_anchor": anchor and anchor.isoformat(),
            "p_refusal": refusal,
        }
        return await self._calls.row("start_campaign_run", arguments, lambda row: row["run_id"])

    async def freeze(self, run_id: str, rules_version: str, gateway: str | None, limit: int) -> Freezing | None:
        """The next recipients of a run. None where somebody else is at it, or it is over or held."""
        arguments = {"p_run_id": run_id, "p_rules_version": rules_version, "p_gateway": gateway, "p_limit": limit}
        rows = await self._calls.rows("freeze_campaign_run", _freezing, arguments)
        return rows[0] if rows else None

    async def record_judged(self, country_code: str, rules_version: str, judged: Sequence[Judged]) -> None:
        arguments = {
            "p_country_code": country_code,
            "p_rules_version": rules_version,
            "p_raw": [one.raw for one in judged],
            "p_addresses": [one.address for one in judged],
            "p_faults": [one.fault for one in judged],
            "p_timezones": [one.timezone for one in judged],
        }
        await self._calls.row("record_judged_numbers", arguments, lambda row: int(row["recorded"]))

    async def advance(self, run_id: str, limit: int) -> Advanced:
        """Makes the next messages of a run."""
        arguments = {"p_run_id": run_id, "p_limit": limit}
        return await self._calls.row("advance_campaign_run", arguments, reading.reading(Advanced))

    async def estimate(self) -> int:
        """Tells some of the runs under way when they will be over. How many."""
        return await self._calls.row("estimate_campaign_runs", {}, lambda row: int(row["estimated"]))

    async def stop(self, run_id: str, why: str) -> None:
        """Pauses the campaign of a run that cannot go on."""
        await self._calls.call("stop_campaign_run", {"p_run_id": run_id, "p_why": why}, lambda data, _: data)

    async def finish(self, run_id: str) -> int | None:
        """Ends a run of which nothing is pending. By how much its counts were off; None where something is."""
        rows = await self._calls.rows("finish_campaign_run", lambda row: int(row["difference"]), {"p_run_id": run_id})
        return rows[0] if rows else None

    async def take_ended(self) -> list[EndedRun]:
        """Runs that have ended, whoever ended them: each is told of once, to one daemon."""
        return await self._calls.rows("take_ended_runs", reading.reading(EndedRun))

    async def get_status(self, stale_seconds: float) -> tuple[Overview, list[RunUnderWay]]:
        """What `status` shows, and the runs under way. Raises StoreAbsent where the database has the core alone."""
        read = reading.reading(RunUnderWay)
        return await self._calls.row(
            "get_status_with_runs",
            {"p_stale_seconds": stale_seconds},
            lambda row: (findings.overview(row["status"]), [read(run) for run in row["runs"] or []]),
            optional=True,
        )

    async def settle(self, run_id: str, outcome: str) -> int | None:
        """Settles whatever is unconfirmed of a run: how many that were. None where there is no such run."""
        arguments: Row = {"run_id": run_id, "outcome": outcome}
        return await self._calls.row("settle_run", arguments, lambda row: row["settled"])


def _agenda(row: Row) -> CampaignAgenda:
    runs = [_run(run) for run in row["runs"] or []]
    starts = [_start(start) for start in row["starts"] or []]
    return CampaignAgenda(starts, runs, row["has_ended"])


def _run(row: Row) -> Run:
    return Run(row["id"], row["is_frozen"], row["unmade"], row["pending"], row["waits_for_all"])


def _freezing(row: Row) -> Freezing:
    return Freezing(row["is_done"], row["frozen"], row["country_code"], row["by_clock"], row["to_judge"] or [])


def _start(row: Row) -> Start:
    run_at, series, fault = parse_time(row["next_run_at"]), None, None
    try:
        series = _series(row, run_at) if row["is_recurring"] else None  # else it does not matter what stands there
    except BadMessage as e:  # one campaign's, and no reason to read nobody's
        fault = str(e)
    return Start(
        campaign_id=row["id"],
        revision=row["revision"],
        scheduled_at=parse_time(row["scheduled_at"]),
        run_at=run_at,
        series=series,
        attachment=attachment(row["attachment"]),
        fault=fault,
    )


def _series(row: Row, run_at: datetime) -> Series:
    anchor, end = row["series_anchor"], row["recurrence_end_at"]
    return Series(
        recurrence_pattern=row["recurrence_pattern"],
        recurrence_end_at=parse_time(end) if end else None,
        timezone=row["timezone"],
        series_anchor=datetime.fromisoformat(anchor) if anchor else None,
        occurrence_at=run_at,
    )


def attachment(row: Row | None) -> Attachment | None:
    if row is None:
        return None
    return Attachment(Written(row["type"], None, row["media_url"], None, row["media"]), row["gateway"])
