"""An HTTP proxy in front of Supabase that can be cut, slow, forgetful or mad.

with Proxy(stack["SUPABASE_URL"]) as proxy:
    daemon(SUPABASE_URL=proxy.url)
    proxy.fault = slow(2)      # every call takes two seconds longer
    proxy.fault = forgetful    # calls are carried out, their replies are lost
    proxy.fault = answering(Reply(502, "<html>Bad gateway</html>"))
    proxy.fault = only("rpc/record_outcomes", forgetful)
    proxy.cut(); proxy.restore()
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import httpx

from tests.helpers.http_server import HttpServer, Reply, Request

HOP_BY_HOP = {"connection", "content-length", "content-encoding", "transfer-encoding", "keep-alive", "host"}

# From a request and what Supabase answered (None: it was not asked yet) to what the client gets; None asks Supabase.
Fault = Callable[[Request, Reply | None], Reply | None]


class Proxy(HttpServer):
    """`fault` may be changed at any time. `calls` counts requests by path, those that a fault met too."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target
        self.fault: Fault | None = None
        self.calls: Counter[str] = Counter()
        self._client: httpx.AsyncClient | None = None

    async def answer(self, request: Request) -> Reply:
        self.calls[request.path.partition("?")[0]] += 1
        fault = self.fault
        if fault and (instead := fault(request, None)):
            return instead
        reply = await self._forward(request)
        return (fault and fault(request, reply)) or reply

    async def _forward(self, request: Request) -> Reply:
        self._client = self._client or httpx.AsyncClient(base_url=self.target, timeout=60, trust_env=False)
        headers = {k: v for k, v in request.headers.items() if k not in HOP_BY_HOP}
        try:
            answer = await self._client.request(request.method, request.path, headers=headers, content=request.body)
        except httpx.TransportError:
            return Reply(cut=0)  # as a proxy does whose server has gone
        kept = {k: v for k, v in answer.headers.items() if k not in HOP_BY_HOP}
        return Reply(answer.status_code, answer.content, kept)

    async def _close(self) -> None:
        await super()._close()
        if self._client:
            await self._client.aclose()


def answering(reply: Reply) -> Fault:
    """Supabase is not asked; this comes instead."""
    return lambda _, answer: reply if answer is None else None


def slow(seconds: float) -> Fault:
    return lambda _, answer: replace(answer, delay=seconds) if answer else None


def forgetful(_: Request, answer: Reply | None) -> Reply | None:
    """The call is carried out and committed, the connection closed before a byte of the answer."""
    return replace(answer, cut=0) if answer else None


def truncated(_: Request, answer: Reply | None) -> Reply | None:
    """Half of the answer, then the end of the connection."""
    return replace(answer, cut=max(1, len(answer.body) // 2)) if answer else None


def halved(_: Request, answer: Reply | None) -> Reply | None:
    """Half of the answer as if it were the whole: JSON that does not parse."""
    return replace(answer, body=answer.body[: len(answer.body) // 2]) if answer else None


def cut_at(rows: int) -> Fault:
    """Supabase's "max rows": no answer holds more, and none says that it would."""

    def cut(request: Request, answer: Reply | None) -> Reply | None:
        if answer is None or "/rest/v1/" not in request.path or answer.status >= 300 or not answer.body:
            return None
        data = json.loads(answer.body)
        return replace(answer, body=json.dumps(data[:rows]).encode()) if isinstance(data, list) else None

    return cut


def only(path: str, fault: Fault, times: int | None = None) -> Fault:
    """`fault` for calls whose path contains `path`; `times`: for so many of them, then no more."""
    left = [times]

    def chosen(request: Request, answer: Reply | None) -> Reply | None:
        if path not in request.path or left[0] == 0:
            return None
        instead = fault(request, answer)
        if instead and left[0] is not None:
            left[0] -= 1
        return instead

    return chosen
