"""What a stranger may do to others' messages: what one tenant, visitor or transaction does, at full size."""

import contextlib
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from typing import Any

import psycopg

from local.bench.ground import Daemon, Ground

ROWS = """
insert into public.scheduled_messages (
    connection_id, contact_id, message, caption, scheduled_at, owner_id, is_recurring, recurrence_pattern
)
select %(connection)s || case when %(connections)s > 1 then i %% %(connections)s else 0 end,
    '+9198' || lpad(i::text, 8, '0'), repeat('é', %(size)s), repeat('é', %(size)s - 1), %(at)s, %(owner)s,
    %(pattern)s::text is not null,
    replace(%(pattern)s::text, '#', (1 + i %% 27)::text || ',-' || (1 + i / 27 %% 27)::text)
from generate_series(1, %(number)s) as i
"""
OWNER = "00000000-0000-4000-8000-00000000dead"
FOREVER = 40  # seconds: longer than the victim's messages take
DEAR = "/preview?start=2026-01-01T09:00&timezone=UTC&count=1000&pattern="
PREVIEWS = (DEAR + "FREQ=YEARLY;INTERVAL=7;COUNT=2000", DEAR + "FREQ=MONTHLY;INTERVAL=84;BYDAY=1MO;COUNT=1001")
WEBHOOK = ("POST", "/webhook", b"{" + b" " * 1_000_000)
# With a webhook's secret the page that the bench reads asks for a token, too.
META: dict[str, object] = {
    "WHATSAPP_APP_SECRET": "secret", "WHATSAPP_VERIFY_TOKEN": "token", "HTTP_TOKEN": "the bench's own token"
}  # fmt: skip
IDS_TO_COME = """
insert into public.contacts (id, owner_id, phone_number)
select id + i, auth.uid(), '919876500000'
from (select coalesce(max(id), 0) as id from public.contacts) as last cross join generate_series(1, 1000) as i
"""
STRANGE_CONNECTION = """
insert into public.scheduled_messages (connection_id, contact_id, message, scheduled_at)
select 'victim', '1', 'Hello', now() from generate_series(1, 1000)
"""
RULE = "FREQ=MONTHLY;BYMONTHDAY=#;BYDAY=MO,TU,WE;COUNT=900;INTERVAL=7"

Act = Callable[[Ground, Daemon], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Load:
    """rows: written before the daemon starts, due when the victim's first message is. act: what goes on from then."""

    name: str
    rows: Callable[[Ground, datetime], None] = lambda _, __: None
    act: Act = lambda _, __: contextlib.nullcontext()
    settings: dict[str, object] = field(default_factory=dict)


def rows(
    place: Ground, at: datetime, number: int, *, connections: int = 1, size: int = 1, pattern: str | None = None
) -> None:
    """Of one owner, through so many connections of theirs."""
    place.db.execute(
        "insert into public.connections (id, name) select 'h' || i, 'h' from generate_series(0, %s - 1) as i"
        " on conflict do nothing",
        (connections,),
    )
    place.db.execute(
        ROWS,
        {"connection": "h", "connections": connections, "size": size, "at": at, "owner": OWNER, "pattern": pattern,
         "number": number},
    )  # fmt: skip


def connected(port: int) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", port, timeout=30)


def asking(*requests: str | tuple[str, str, bytes], **headers: str) -> Act:
    """Forty visitors who ask these in turn, paths or (method, path, body), and again when they are answered."""
    said = {"authorization": "Bearer guess"} | {name.replace("_", "-"): value for name, value in headers.items()}

    @contextmanager
    def asked(_: Ground, daemon: Daemon) -> Iterator[None]:
        stop = threading.Event()

        def ask(number: int) -> None:
            """Without a client library and after everybody else: what the stranger's machine pays is not measured."""
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # of this thread alone: setpriority(2)
            request = requests[number % len(requests)]
            method, path, body = request if isinstance(request, tuple) else ("GET", request, b"")
            while not stop.is_set():
                with contextlib.suppress(OSError, HTTPException), closing(connected(daemon.port)) as connection:
                    connection.request(method, path, body or None, said)
                    connection.getresponse().read()

        threads = [threading.Thread(target=ask, args=(n,), daemon=True) for n in range(40)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()

    return asked


def trying(statement: str) -> Act:
    """A signed-in tenant who tries this again and again, whatever comes of it."""

    @contextmanager
    def tried(place: Ground, _: Daemon) -> Iterator[None]:
        stop = threading.Event()

        def insist() -> None:
            with psycopg.connect(place.stack.postgres.url(), autocommit=True) as other:
                other.execute("select set_config('request.jwt.claim.sub', %s, false)", (OWNER,))
                other.execute("set role authenticated")
                while not stop.is_set():
                    with contextlib.suppress(psycopg.Error):
                        other.execute(statement)

        thread = threading.Thread(target=insist, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(5)

    return tried


@contextmanager
def silence(_: Ground, daemon: Daemon) -> Iterator[None]:
    """1,100 connections that say nothing, to a process of 1,024 descriptors."""
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (1024, 1024))
    with ExitStack() as held:
        for _number in range(1_100):
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_connection(("127.0.0.1", daemon.port), timeout=5))
        yield


def lock(statement: str) -> Act:
    """A transaction that does this and then nothing."""

    @contextmanager
    def held(place: Ground, _: Daemon) -> Iterator[None]:
        with psycopg.connect(place.stack.postgres.url()) as other:
            other.execute(statement)
            yield
            other.rollback()

    return held


@contextmanager
def deletion(place: Ground, _: Daemon) -> Iterator[None]:
    """A connection goes while its messages fall due."""

    def delete() -> None:
        with psycopg.connect(place.stack.postgres.url()) as other, contextlib.suppress(psycopg.Error):
            other.execute("delete from public.connections where id = 'h0'")

    thread = threading.Thread(target=delete, daemon=True)
    thread.start()
    yield


def settled(place: Ground, at: datetime) -> None:
    rows(place, at, 200)
    place.db.execute("insert into public.connection_settings (connection_id) values ('h0') on conflict do nothing")


def dead(place: Ground, at: datetime) -> None:
    """Their gateway is not there: each stops with its first message, and is looked at again and again."""
    rows(place, at, 1_000, connections=1_000)
    place.db.execute(
        "insert into public.connection_settings (connection_id, gateway) select 'h' || i, 'waha'"
        " from generate_series(0, 999) as i"
    )


def heavy(place: Ground, at: datetime) -> None:
    """A picture of 60 MB in a column that is none of ours."""
    rows(place, at, 200)
    place.db.execute("alter table public.connections add column if not exists qr text")
    place.db.execute(
        "update public.connections set qr = (select string_agg(md5(i::text), '') from generate_series(1, 1900000) as i)"
        " where id = 'h0'"
    )


def heavy_contacts(place: Ground, at: datetime) -> None:
    """Pictures in a column that is none of ours, of those to whom messages go."""
    rows(place, at, 200)
    place.db.execute("alter table public.contacts add column if not exists picture text")
    place.db.execute(
        """
        insert into public.contacts (owner_id, phone_number, picture)
        select %s, '9198' || lpad(i::text, 8, '0'),
            (select string_agg(md5(n::text), '') from generate_series(1, 9500) as n)
        from generate_series(1, 200) as i
        """,
        (OWNER,),
    )
    place.db.execute(
        """
        update public.scheduled_messages as s set contact_id = c.id::text from public.contacts as c
        where s.owner_id = %s and s.contact_id = '+' || c.phone_number
        """,
        (OWNER,),
    )


def many(number: int, **what: Any) -> Callable[[Ground, datetime], None]:
    return lambda place, at: rows(place, at, number, **what)


LOADS = (
    Load("500 rows whose next occurrence lies beyond the table", many(500, pattern="FREQ=YEARLY;INTERVAL=200")),
    Load("forty visitors with the dearest previews", act=asking(*PREVIEWS)),
    Load("forty visitors asking for health, metrics and nothing", act=asking("/healthz", "/metrics", "/nothing")),
    Load("forty visitors with a webhook's megabyte", act=asking(WEBHOOK), settings=META),
    Load("forty visitors with a webhook's megabyte and a signature of their own",
         act=asking(WEBHOOK, x_hub_signature_256=f"sha256={0:064}"), settings=META),
    Load("a tenant tries ids to come of contacts", act=trying(IDS_TO_COME)),
    Load("a tenant tries to write through connections of others", act=trying(STRANGE_CONNECTION)),
    Load("2,500 rows with different costly rules", many(2_500, pattern=RULE)),
    Load("1,100 silent connections, 1,024 descriptors", act=silence),
    Load("a transaction holds one connection's settings", settled,
         lock("update public.connection_settings set burst = 1 where connection_id = 'h0'")),
    Load("a transaction holds one connection", settled,
         lock("update public.connections set name = 'held' where id = 'h0'")),
    Load("a transaction holds rows that are being sent", many(200),
         lock("select from public.scheduled_messages where connection_id = 'h0' limit 20 for update")),
    Load("a connection is deleted while 2,000 of its messages fall due", many(2_000), deletion),
    Load("20,000 rows of one tenant due at one second", many(20_000)),
    Load("3,000 connections with one message each", many(3_000, connections=3_000)),
    Load("1,000 connections whose gateway is not there", dead),
    Load("500 maximal rows ahead", many(500, size=8_192)),
    Load("60 MB in a column of a connection", heavy),
    Load("200 contacts with 300 kB each in a column", heavy_contacts),
)  # fmt: skip
