"""Supabase Realtime as its Python client sees it (Phoenix, vsn 1.0.0), on a free port, with faults on demand.

async with RealtimeDouble() as server:
    Wake(server.url, "key", ...)
    await server.publish("INSERT", {"id": "…", "scheduled_at": "…", "status": "pending"})
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response


@dataclass
class Channel:
    """One joined topic: where its changes go and which it asked for."""

    connection: ServerConnection
    topic: str
    join_ref: str | None
    bindings: list[dict[str, Any]] = field(default_factory=list)


class RealtimeDouble:
    """refuse: the status that answers every handshake, while set.
    joins: what the next joins meet, one each: "error", "silence", "late", "mismatch", "no_changes" or
    "duplicate"; "ok" when it is empty.
    """

    def __init__(self, late: float = 0.2) -> None:
        self.refuse: HTTPStatus | None = None
        self.joins: deque[str] = deque()
        self.error = "Unknown Error on Channel"  # of a join
        self.late = late
        self.handshakes: list[str] = []
        self.heartbeats = 0
        self.channels: dict[tuple[ServerConnection, str], Channel] = {}
        self._server: Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await serve(
            self._converse,
            "127.0.0.1",
            self._port,
            process_request=self._handshake,
            ping_interval=None,
            close_timeout=0.1,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            await self.abort()
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    # What the database does

    async def publish(self, kind: str, record: dict[str, Any], old_record: dict[str, Any] | None = None) -> None:
        """A committed INSERT, UPDATE or DELETE of public.scheduled_messages."""
        for channel in list(self.channels.values()):
            wanted = [b for b in channel.bindings if _matches(b, kind, record)]
            if wanted:
                select = wanted[0].get("select") or record.keys()
                data = {
                    "schema": "public",
                    "table": "scheduled_messages",
                    "commit_timestamp": "2026-11-22T01:20:17.899Z",
                    "type": kind,
                    "columns": [{"name": name, "type": "text"} for name in select],
                    "record": {name: record[name] for name in select if name in record},
                    "errors": None,
                }
                if old_record is not None:
                    data["old_record"] = old_record
                await _send(channel, "postgres_changes", {"ids": [b["id"] for b in wanted], "data": data})

    # What the server does to those who are connected

    async def abort(self) -> None:
        for connection in self._connections():
            connection.transport.abort()

    async def close(self, code: int) -> None:
        await asyncio.gather(*(connection.close(code) for connection in self._connections()))

    async def fall_silent(self) -> None:
        """Half-open: the sockets stay, nothing is read and so nothing answered, not even a ping."""
        for connection in self._connections():
            connection.transport.pause_reading()

    async def phx_error(self) -> None:
        await self._to_all("phx_error", {})

    async def phx_close(self) -> None:
        await self._to_all("phx_close", {})

    async def system(self, extension: str, status: str, message: str) -> None:
        for channel in list(self.channels.values()):
            payload = {"channel": channel.topic, "extension": extension, "message": message, "status": status}
            await _send(channel, "system", payload)

    async def unknown_event(self) -> None:
        await self._to_all("from_the_future", {"what": "?"})

    async def garbage(self) -> None:
        for connection in self._connections():
            await connection.send('{"topic": "realtime:sched')

    # The protocol

    def _connections(self) -> set[ServerConnection]:
        return set(self._server.connections) if self._server else set()

    async def _to_all(self, event: str, payload: dict[str, Any]) -> None:
        for channel in list(self.channels.values()):
            await _send(channel, event, payload)

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(request.path)
        return connection.respond(self.refuse, "no\n") if self.refuse else None

    async def _converse(self, connection: ServerConnection) -> None:
        answers: dict[str, Callable[[ServerConnection, dict[str, Any]], Any]] = {
            "heartbeat": self._on_heartbeat,
            "phx_join": self._on_join,
            "phx_leave": self._on_leave,
        }
        try:
            async for frame in connection:
                message = json.loads(frame)
                if answer := answers.get(message["event"]):
                    await answer(connection, message)
        except ConnectionClosed:
            pass
        finally:
            self.channels = {k: c for k, c in self.channels.items() if c.connection is not connection}

    async def _on_heartbeat(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        self.heartbeats += 1
        await _reply(connection, message, "ok", {})

    async def _on_leave(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        channel = self.channels.pop((connection, message["topic"]), None)
        await _reply(connection, message, "ok", {})
        if channel:
            await _send(channel, "phx_close", {})

    async def _on_join(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        fault = self.joins.popleft() if self.joins else "ok"
        if fault == "silence":
            return
        if fault == "error":
            await _reply(connection, message, "error", {"reason": self.error})
            return
        if fault == "late":
            await asyncio.sleep(self.late)
        await self._accept(connection, message, fault)

    async def _accept(self, connection: ServerConnection, message: dict[str, Any], fault: str) -> None:
        topic = message["topic"]
        former = self.channels.get((connection, topic))
        asked = message["payload"]["config"].get("postgres_changes", [])
        bindings = [{**binding, "id": number} for number, binding in enumerate(asked, start=40_001)]
        channel = Channel(connection, topic, message["join_ref"], bindings)
        self.channels[connection, topic] = channel
        echoed = bindings[1:] if fault == "mismatch" else bindings
        await _reply(connection, message, "ok", {"postgres_changes": echoed})
        # Phoenix ends the former channel of the topic after it has answered the new one.
        if former or fault == "duplicate":
            await _send(former or channel, "phx_close", {})
        if fault != "no_changes":
            payload = {"channel": topic, "extension": "postgres_changes", "status": "ok"}
            await _send(channel, "system", payload | {"message": "Subscribed to PostgreSQL"})


def _matches(binding: dict[str, Any], kind: str, record: dict[str, Any]) -> bool:
    column, _, value = binding.get("filter", "").partition("=eq.")
    return binding["event"] in (kind, "*") and (not column or str(record.get(column)) == value)


async def _reply(connection: ServerConnection, to: dict[str, Any], status: str, response: dict[str, Any]) -> None:
    payload = {"status": status, "response": response}
    frame = {"topic": to["topic"], "event": "phx_reply", "payload": payload, "ref": to["ref"]}
    await connection.send(json.dumps(frame))


async def _send(channel: Channel, event: str, payload: dict[str, Any]) -> None:
    await channel.connection.send(json.dumps({"topic": channel.topic, "event": event, "payload": payload, "ref": None}))
