"""Who may read which page of HTTP_PORT: anybody next to the daemon, elsewhere whoever knows HTTP_TOKEN or is a user."""

import asyncio
import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Key = TypeVar("Key")
Value = TypeVar("Value")
Ask = Callable[[str], Awaitable[str | None]]

KEPT_SECONDS = 60  # an answer of the auth server
MOST_KEPT = 1000  # answers, and users whose calls are counted
CALLS_A_SECOND = 5  # of one user
QUESTIONS_A_SECOND = 20  # to the auth server, whoever causes them
ASK_SECONDS = 5
A_JWT = re.compile(r"[\w-]{1,4096}(\.[\w-]{1,8192}){2}", re.ASCII)
# A proxy stands between us and whoever asks; loopback says nothing about them then.
FORWARDED = ("forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip")
NAMES_OF_LOOPBACK = ("localhost", "")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, for whoever asked and, where it is the operator's to mend, for the operator."""

    status: int
    reason: str


UNSET = Refusal(403, "Set HTTP_TOKEN in the daemon's environment and give it: Authorization: Bearer … or ?token=…")
UNKNOWN = Refusal(401, "Give HTTP_TOKEN: Authorization: Bearer … or ?token=…")
TOO_MANY = Refusal(429, f"More than {CALLS_A_SECOND} calls a second. Wait a moment.")
BUSY = Refusal(503, "Too many unknown tokens at the moment. Try again in a second.")
UNREACHABLE = Refusal(503, "The token cannot be checked at the moment. Try again in a second.")


def refuse(refusal: Refusal) -> Response:
    headers = {401: {"www-authenticate": "Bearer"}, 429: {"retry-after": "1"}, 503: {"retry-after": "1"}}
    return JSONResponse({"error": refusal.reason}, refusal.status, headers.get(refusal.status))


class Access:
    """guarded: nobody is trusted for being near: a webhook makes the port public, or it does not listen on loopback."""

    def __init__(self, token: str | None = None, *, guarded: bool = False, users: "Users | None" = None) -> None:
        self._token, self._guarded, self._users = token, guarded or token is not None, users

    def is_operator(self, request: Request) -> bool:
        if self._token is None:
            return not (self._guarded or is_forwarded(request))
        return hmac.compare_digest(given(request).encode("utf-8", "replace"), self._token.encode())

    def refusal(self, request: Request) -> Refusal | None:
        """Of a page for operators."""
        if self.is_operator(request):
            return None
        return UNKNOWN if self._token is not None else UNSET

    async def refusal_of_user(self, request: Request) -> Refusal | None:
        """Of a page that users may see too."""
        refusal = self.refusal(request)
        if refusal is None or self._users is None or not A_JWT.fullmatch(token := given(request)):
            return refusal
        return await self._users.refusal(token)


class Users:
    """Whose access tokens these are: the auth server is asked once a minute for each, a few times a second for all."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._known: OrderedDict[bytes, tuple[float, asyncio.Future[str | None]]] = OrderedDict()
        self._calls: OrderedDict[str, list[float]] = OrderedDict()
        self._questions: list[float] = []

    async def refusal(self, token: str) -> Refusal | None:
        """None for a user, at most five times a second."""
        key, now = hashlib.sha256(token.encode()).digest(), self._clock()
        answer = self._answer(key, now)
        if answer is None:
            if not _within(self._questions, now, QUESTIONS_A_SECOND):
                return BUSY
            answer = asyncio.ensure_future(self._ask(token))
            _keep(self._known, key, (now + KEPT_SECONDS, answer))
        try:
            user = await asyncio.shield(answer)
        except (httpx.HTTPError, OSError, ValueError):
            self._known.pop(key, None)
            return UNREACHABLE
        if user is None:
            return UNKNOWN
        calls = self._calls.get(user, [])
        _keep(self._calls, user, calls)
        return None if _within(calls, now, CALLS_A_SECOND) else TOO_MANY

    def _answer(self, key: bytes, now: float) -> "asyncio.Future[str | None] | None":
        until, answer = self._known.get(key, (0.0, None))
        return answer if until > now else None


def asking(supabase_url: str, key: str) -> Ask:
    """Asks the auth server (GET /auth/v1/user) for the id of a token's user, None where it knows none.

    Raises httpx.HTTPError or ValueError where it does not say.
    """

    async def ask(token: str) -> str | None:
        headers = {"apikey": key, "authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(timeout=ASK_SECONDS) as client:
            answer = await client.get(f"{supabase_url}/auth/v1/user", headers=headers)
        if answer.is_success:
            user = answer.json()
            return str(user["id"]) if isinstance(user, dict) and user.get("id") else None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise ValueError("the auth server does not say")
        return None

    return ask


def given(request: Request) -> str:
    """The token of a request, "" where it brings none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else request.query_params.get("token", "")


def is_forwarded(request: Request) -> bool:
    """Whether it came through a proxy, or from a page that had another name resolved to loopback."""
    if any(name in FORWARDED or name.startswith("x-forwarded") for name in request.headers):
        return True
    try:
        return not is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname or "")
    except ValueError:
        return True


def is_loopback(host: str) -> bool:
    """Whether an address or a name means this machine alone."""
    try:
        return ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return host.lower().rstrip(".") in NAMES_OF_LOOPBACK or host.lower().endswith(".localhost")


def _within(calls: list[float], now: float, most: int) -> bool:
    """Counts a call, unless there were as many within the last second."""
    calls[:] = [at for at in calls if at > now - 1]
    if len(calls) >= most:
        return False
    calls.append(now)
    return True


def _keep(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > MOST_KEPT:
        kept.popitem(last=False)
