"""A raw HTTP server in the test process: it answers a documented body, or misbehaves on the wire."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Server"], Awaitable[None]]


@dataclass
class Server:
    """Each request meets the next of `script`; the last one stays."""

    script: list[Behaviour]
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    open: dict[asyncio.StreamWriter, asyncio.Task[None]] = field(default_factory=dict)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.release()

    async def release(self) -> None:
        """Gives up on every connection that is open."""
        self.released.set()
        for writer in self.open:
            writer.transport.abort()
        await asyncio.gather(*self.open.values())
        self.released.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open[writer] = asyncio.current_task()  # type: ignore[assignment]
        try:
            while not writer.is_closing() and not self.released.is_set():
                behave = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                await behave(reader, writer, self)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()
            del self.open[writer]

    async def hold(self, seconds: float = 60.0) -> None:
        """Until the test is over, or for a while."""
        try:
            async with asyncio.timeout(seconds):
                await self.released.wait()
        except TimeoutError:
            pass


async def take(reader: asyncio.StreamReader, server: Server) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    request, *lines = head.strip().split("\r\n")
    method, path, _ = request.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    received = Received(method, path, headers, json.loads(raw) if raw else None)
    server.received.append(received)
    server.asked.set()
    return received


def head(status: int, length: int, content_type: str, headers: Mapping[str, str] = {}) -> bytes:
    lines = {"Content-Type": content_type, "Content-Length": str(length), **headers}
    written = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Whatever\r\n{written}\r\n".encode()


def raw(status: int, body: bytes, content_type: str, headers: Mapping[str, str] = {}) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
        await take(reader, server)
        writer.write(head(status, len(body), content_type, headers) + body)
        await writer.drain()

    return behave


def answer(status: int, body: object, headers: Mapping[str, str] = {}) -> Behaviour:
    return raw(status, json.dumps(body).encode(), "application/json; charset=utf-8", headers)


def html(status: int) -> Behaviour:
    return raw(status, b"<html><h1>Something</h1></html>", "text/html")


def nonsense(status: int, megabytes: int = 5) -> Behaviour:
    return raw(status, b"\xff" * megabytes * 1_000_000, "application/json")


async def slow_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    await take(reader, server)
    await server.hold()


async def dribbling_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    """A byte now and then, so that no single read ever times out."""
    await take(reader, server)
    writer.write(head(200, 10_000, "application/json"))
    while not server.released.is_set():
        writer.write(b" ")
        await writer.drain()
        await server.hold(0.02)


async def cut_off_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    await take(reader, server)
    writer.write(head(200, 10_000, "application/json") + b'{"messages":[{"id":"wa')
    await writer.drain()
    writer.close()


async def reset_before_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    reset(writer)


async def reset_after_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    await take(reader, server)
    reset(writer)


async def no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    await take(reader, server)
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
    await writer.drain()
    writer.close()


async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Server) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """With a zero linger the kernel sends RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def truncated(status: int) -> Behaviour:
    return raw(status, b'{"messages":[{"id":"wamid', "application/json")
