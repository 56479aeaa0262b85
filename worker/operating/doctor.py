"""Checks everything that the daemon depends on, without sending anything: one line each, with the remedy."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

from worker.config import Settings
from worker.errors import ConfigError, StoreError, StoreMisconfigured, StoreRefused, WorkerError
from worker.gateway import Gateways, sender_of
from worker.kinds import kind_of
from worker.recurrence.times import ZONE_DATA
from worker.recurrence.zonecheck import disagreements
from worker.sending.wake import listen_once
from worker.store.answers import Holder
from worker.store.store import Store

SKEW_SECONDS = 5
LATE_SECONDS = 30  # a due message that has waited for longer is late
CONNECTIONS = 20  # are asked for their state: a sample where there are more


@dataclass(frozen=True, slots=True)
class Finding:
    """`level`: ok, warning (the daemon works) or failure."""

    level: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.level:7}  {self.what}"
        return f"{line}\n         → {self.remedy}" if self.remedy and self.level != "ok" else line


def ok(what: str) -> Finding:
    return Finding("ok", what)


def warning(what: str, remedy: str) -> Finding:
    return Finding("warning", what, remedy)


def failure(what: str, remedy: str) -> Finding:
    return Finding("failure", what, remedy)


async def examine(settings: Settings, store: Store) -> AsyncIterator[Finding]:
    """Every finding, as it is made."""
    yield ok(f"configuration read; gateway {settings.gateway}")
    if kind_of(settings.gateway).sends_nothing:
        yield warning(
            f"the {settings.gateway} gateway sends nothing and marks rows as sent", "Set GATEWAY for production."
        )
    held: list[Holder] = []
    try:
        held = await store.get_holders()
        agenda = await store.get_agenda(0, 1)
    except (StoreMisconfigured, StoreRefused) as e:
        yield failure(f"Supabase refuses the daemon's calls: {e}", "Check SUPABASE_SERVICE_ROLE_KEY; run `migrate`.")
        return
    except StoreError as e:
        suspect = "SUPABASE_SERVICE_ROLE_KEY" if "SUPABASE_SERVICE_ROLE_KEY" in str(e) else "SUPABASE_URL"
        yield failure(f"Supabase does not answer: {e}", f"Check {suspect}, the network and the project's state.")
        for finding in holders(held, late=True):
            yield finding
        return
    yield ok("Supabase answers, and the daemon's functions are there")
    yield clock(store)
    late = agenda.next_due_at is not None and store.clock.until(agenda.next_due_at) < -LATE_SECONDS
    for finding in holders(held, late):
        yield finding
    async for finding in zones(settings, store):
        yield finding
    async for finding in database(store):
        yield finding
    async for finding in gateway(settings, store):
        yield finding
    yield await realtime(settings)


def holders(held: list[Holder], late: bool) -> Iterator[Finding]:
    """Transactions of others that hold what the daemon needs; a failure where messages are late."""
    for one in held:
        what, _, remedy = one.words.partition(": end it with ")
        found = failure if late else warning
        yield found(what, f"What it holds waits for its end. If it does not end by itself: {remedy}")


def clock(store: Store) -> Finding:
    seconds = store.clock.skew.total_seconds()
    if abs(seconds) < SKEW_SECONDS:
        return ok(f"this machine's clock agrees with the database's ({seconds:+.1f} s)")
    return warning(
        f"this machine's clock is {seconds:+.0f} s off the database's",
        "Messages still go out on time; logs will mislead: run NTP.",
    )


async def zones(settings: Settings, store: Store) -> AsyncIterator[Finding]:
    """Whether the database's time zone data says the same as ours of the zones in use, over the coming ten years."""
    try:
        used = await store.get_timezones(settings.default_timezone)
    except WorkerError as e:
        yield failure(f"the time zones in use cannot be compared: {e}", "Run `migrate`.")
        return
    wrong = [Finding(*found) for found in disagreements(used)]
    for finding in wrong:
        yield finding
    if not wrong:
        names = ", ".join(zone.name for zone in used[:5]) + (" …" if len(used) > 5 else "")
        yield ok(f"time zone data {ZONE_DATA}; the database agrees about {names}")


async def database(store: Store) -> AsyncIterator[Finding]:
    """What the function `diagnose` finds: missing migrations, grants, policies, indexes, the publication."""
    try:
        diagnosed = await store.diagnose()
    except WorkerError as e:
        yield failure(f"the database cannot be examined: {e}", "Run `migrate`.")
        return
    for found in diagnosed:
        yield Finding(found.level, found.what, found.remedy or "")


async def gateway(settings: Settings, store: Store) -> AsyncIterator[Finding]:
    """Each sender once; a gateway with sessions has one for each connection."""
    try:
        gateways = Gateways(settings)
    except ConfigError as e:
        yield failure(str(e), "Complete the environment.")
        return
    try:
        found = await senders(gateways, store)
        findings = [await session(gateways, name, sender) for name, sender in found]
        some_work = any(finding.level == "ok" for finding in findings)
        for finding, (_, sender) in zip(findings, found, strict=True):
            # One phone that is not paired is its owner's matter; if none is, it is the operator's.
            is_owners = some_work and sender and finding.level == "failure"
            yield replace(finding, level="warning") if is_owners else finding
        if not found:
            yield warning(f"gateway {gateways.default.name}: no connection whose session could be asked", "Add one.")
    except WorkerError as e:
        yield failure(f"the connections cannot be read: {e}", "Run `migrate`.")
    finally:
        await gateways.aclose()


async def senders(gateways: Gateways, store: Store) -> list[tuple[str, str]]:
    """The gateway and the sender of the first connections, and the environment's own where it needs no connection."""
    default = gateways.default.name
    found = [] if kind_of(default).one_at_a_time else [(default, "")]
    for connection in await store.get_connections(CONNECTIONS):
        name = connection.gateway or default
        sender = sender_of(name, connection.sender, connection.connection_id)
        found.append((name, sender if kind_of(name).has_senders else ""))
    return [*dict.fromkeys(found)]


async def session(gateways: Gateways, name: str, sender: str) -> Finding:
    shown = sender.partition(":")[0]  # of wppconnect's `session:token` the rest is a secret
    what = f"gateway {name}" + (f", {shown}" if shown else "")
    try:
        health = await gateways.of(name).check(sender)
    except ConfigError as e:
        return failure(str(e), "Complete the environment.")
    if health.ok:
        return ok(f"{what}: {health.detail or 'answers'}")
    return failure(f"{what}: {health.detail}", "Check its address, its credentials and the session's state.")


async def realtime(settings: Settings) -> Finding:
    if settings.realtime == "off":
        return ok("Realtime is switched off; polls and timers do the work")
    trouble = await listen_once(settings.supabase_url, settings.supabase_service_role_key)
    if trouble is None:
        return ok("Realtime tells of changes")
    what = "this server has no Realtime" if trouble.absent else f"Realtime does not tell of changes: {trouble.reason}"
    return warning(what, "New messages that are due at once wait for the next poll; nothing else changes.")
