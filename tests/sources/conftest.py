"""People with contacts, templates and campaigns, and the daemon's part of it in this process."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.accounts import User, only, sign_up
from tests.helpers.rows import Database
from tests.sources.hospital import Hospital, doctors, hospital, other_hospital  # noqa: F401  fixtures
from worker.daemon import Parts

SHOWN = {"prefer": "return=representation"}
# A campaign that is not activated yet, and has its time.
DRAFT = {"status": "draft", "scheduled_at": "2030-12-01T04:30:00Z"}


def soon(seconds: float = 30) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


@dataclass(frozen=True)
class Shop:
    """A signed-in user with a connection, who writes to many."""

    user: User
    db: Database

    @property
    def connection(self) -> str:
        return self.user.connection_id

    def contacts(self, count: int, label: str = "gold", first: int = 0) -> list[int]:
        """So many contacts called "Name 0" …, each with a number of its own. Their ids."""
        sql = """
            insert into contacts (owner_id, phone_number, contact_name, labels)
            select %s, '+9198765' || lpad(n::text, 5, '0'), 'Name ' || n, array[%s]
            from generate_series(%s::integer, %s::integer) as n
            returning id
        """
        rows = self.db.execute(sql, (self.user.id, label, first, first + count - 1))
        return [row["id"] for row in rows]

    def template(self, body: str, **columns: Any) -> str:
        row = {"name": "A text", "body": body, "owner_id": self.user.id, **columns}
        return str(self.user.insert("message_templates", **row)["id"])

    def campaign(self, **columns: Any) -> dict[str, Any]:
        """One that is scheduled for now, to everybody with the label gold, unless `columns` say otherwise."""
        row = {
            "connection_id": self.connection, "name": "A campaign", "message": "Hello {name}",
            "audience": {"labels": ["gold"]}, "scheduled_at": soon(0), "status": "scheduled",
            "owner_id": self.user.id, **columns,
        }  # fmt: skip
        return self.user.insert("campaigns", **row)

    def refusal(self, **columns: Any) -> str:
        """What the API says instead of taking such a campaign."""
        row = {
            "connection_id": self.connection, "name": "A campaign", "message": "Hello {name}",
            "audience": {"labels": ["gold"]}, "scheduled_at": soon(), "status": "scheduled",
            "owner_id": self.user.id, **columns,
        }  # fmt: skip
        answer = self.user.http.post("/campaigns", json=row, headers=SHOWN)
        assert answer.status_code in (400, 403, 409), answer.text
        return str(answer.json()["message"])

    def set(self, campaign: dict[str, Any], **columns: Any) -> dict[str, Any]:
        answer = self.user.http.patch("/campaigns", params={"id": f"eq.{campaign['id']}"}, json=columns, headers=SHOWN)
        return only(answer)

    @contextmanager
    def unguarded(self) -> Iterator[None]:
        """What is written here no trigger sees."""
        self.db.execute("set session_replication_role = replica")
        try:
            yield
        finally:
            self.db.execute("set session_replication_role = origin")

    def settings(self, **columns: Any) -> None:
        """What the operator sets for its connection; what is not named stays."""
        names, places = ", ".join(columns), ", %s" * len(columns)
        again = ", ".join(f"{name} = excluded.{name}" for name in columns)
        self.db.execute(
            f"insert into connection_settings (connection_id, {names}) values (%s{places}) "
            f"on conflict (connection_id) do update set {again}",
            (self.connection, *columns.values()),
        )

    def time_comes(self, ago: str = "0 seconds") -> None:
        """The time of all campaigns has come, so long ago."""
        with self.unguarded():
            self.db.execute("update campaigns set scheduled_at = now() - %s::interval", (ago,))
            self.db.execute("update campaigns set next_run_at = scheduled_at")

    def a_day_passes(self) -> None:
        """For campaigns and their runs: they are as old as if it were tomorrow."""
        with self.unguarded():
            self.db.execute(
                """
                update campaigns set scheduled_at = scheduled_at - interval '1 day',
                    recurrence_end_at = recurrence_end_at - interval '1 day',
                    next_run_at = next_run_at - interval '1 day', series_anchor = series_anchor - interval '1 day'
                """
            )
            # Far away and back, because no two of a campaign may be at one instant.
            for days in (-1001, 1000):
                self.db.execute(
                    "update campaign_runs set occurrence_at = occurrence_at + make_interval(days => %s)", (days,)
                )

    def rehearse(self, campaign: dict[str, Any]) -> dict[str, Any]:
        """Asks for a rehearsal, as a page does; its head, as it is by then."""
        headers = {"prefer": "resolution=merge-duplicates,return=representation"}
        return only(self.user.http.post("/campaign_rehearsals", json={"campaign_id": campaign["id"]}, headers=headers))

    def rehearsal(self, campaign: dict[str, Any]) -> dict[str, Any]:
        return only(self.user.http.get("/campaign_rehearsals", params={"campaign_id": f"eq.{campaign['id']}"}))

    def lines(self, campaign: dict[str, Any], after: int = 0, lines: int = 50) -> list[dict[str, Any]]:
        """A page of its rehearsal."""
        asked = {"id": campaign["id"], "after": after, "lines": lines}
        answer = self.user.http.post("/rpc/rehearse_campaign", json=asked)
        answer.raise_for_status()
        return list(answer.json())

    def seen(self, campaign: dict[str, Any]) -> dict[str, Any]:
        return only(self.user.http.get("/campaigns", params={"id": f"eq.{campaign['id']}"}))

    def run(self, campaign: dict[str, Any]) -> dict[str, Any]:
        """The latest run, as its owner sees it."""
        params = {"campaign_id": f"eq.{campaign['id']}", "order": "occurrence_at.desc", "limit": "1"}
        return only(self.user.http.get("/campaign_runs", params=params))

    def messages(self, campaign: dict[str, Any]) -> list[dict[str, Any]]:
        """Those of its latest run, in the order of its recipients."""
        params = {"source_id": f"eq.{self.run(campaign)['id']}", "order": "source_position"}
        return list(self.user.http.get("/scheduled_messages", params=params).json())


@pytest.fixture(scope="session")
def shopkeepers(stack: dict[str, str]) -> tuple[User, User]:
    return sign_up(stack), sign_up(stack)


@pytest.fixture
def shop(db: Database, shopkeepers: tuple[User, User]) -> Shop:
    return opened(db, shopkeepers[0])


@pytest.fixture
def other_shop(db: Database, shopkeepers: tuple[User, User]) -> Shop:
    return opened(db, shopkeepers[1])


@pytest.fixture(scope="session")
def staff_and_admin(stack: dict[str, str]) -> Iterator[tuple[User, User]]:
    people = sign_up(stack), sign_up(stack)
    yield people
    for one in people:
        one.http.close()


def invite(of: Shop | Hospital, role: str = "staff") -> str:
    """The token that makes somebody a member."""
    invited = {"connection_id": of.connection, "role": role}
    return str(of.user.http.post("/rpc/invite_member", json=invited).raise_for_status().json())


def join(of: Shop | Hospital, person: User, role: str = "staff") -> None:
    person.insert("connection_members", invitation=invite(of, role))


def opened(db: Database, user: User) -> Shop:
    db.execute("insert into connections (id, name, user_id) values (%s, 'shop', %s)", (user.connection_id, user.id))
    return Shop(user, db)


async def take_forward(daemon: Parts, send: bool = True) -> None:
    """What the daemon does for campaigns, and sends meanwhile, until there is nothing to do for now."""
    idle = 0
    for _ in range(200):
        wait = await daemon.sources.campaigns.advance()
        dealt_with = await daemon.scheduler.poll() if send else 0
        if send:
            await daemon.dispatcher.send_all()
        idle = 0 if wait == 0 or dealt_with else idle + 1
        if idle == 1 + send:
            return
    raise AssertionError("it goes on for ever")


@pytest.fixture
async def forward(parts: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[None]]:
    """await forward(): `take_forward` of one daemon. Settings, such as batch_size=10, are heeded the first time."""
    built: list[Parts] = []

    async def until_nothing_moves(send: bool = True, **settings: Any) -> None:
        if not built:
            built.append(await parts(**settings))
        await take_forward(built[0], send)

    return until_nothing_moves


@pytest.fixture
async def rehearsed(parts: Callable[..., Awaitable[Any]], db: Database) -> Callable[..., Awaitable[int]]:
    """await rehearsed(): what the daemon does for rehearsals, until none is open. How many turns it took."""
    built: dict[str, Any] = {}

    async def until_all_are_over(**settings: str) -> int:
        daemon = built.get(str(settings)) or built.setdefault(str(settings), await parts(**settings))
        for turn in range(500):
            db.execute("update private.rehearsal_turns set turn_at = '-infinity'")
            if await daemon.sources.rehearsals.advance() > 1:
                return turn
        raise AssertionError("it goes on for ever")

    return until_all_are_over
