"""What an operator looks at: a page that tells nothing by itself, and status.json: all but texts and numbers."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.errors import WorkerError
from worker.http.access import Access, refuse
from worker.watch.log import redact
from worker.watch.metrics import Metrics
from worker.watch.recent import STEP_SECONDS
from worker.watch.vitals import Vitals

Facts = dict[str, Any]
Ask = Callable[[], Awaitable[Facts]]

EVERY_SECONDS, MOST_SECONDS = 5.0, 60.0  # between two questions to the database, whoever looks
SHARE = 20  # and so many times as long as the last one took
FIRST_SECONDS = 1.0  # that somebody waits who looks when there is nothing to show yet

STATIC = Path(__file__).with_name("static")
FILES = {"/": "index.html", "/operator.css": "operator.css", "/operator.js": "operator.js", "/icon.svg": "icon.svg"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
# Of lists that people settle by id: what others have written may hold the text of a message.
WORDS_OF_OTHERS = {"unconfirmed": {"error"}, "refused": {"reason"}, "runs": {"name", "status_reason"}}


class Figures:
    """What the database said last, and how old that is. It is asked when somebody looks, and never twice at a time.

    ask: raises WorkerError where there is no answer.
    """

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._asking: asyncio.Task[None] | None = None
        self._next_at = 0.0
        self._found: Facts | None = None
        self._found_at, self._trouble = 0.0, ""

    async def look(self) -> Facts:
        """At once, whatever the database does: `figures` (None: none yet), `age_seconds`, `trouble`."""
        if self._asking is None and self._clock() >= self._next_at:
            self._asking = asyncio.create_task(self._refresh())
        if self._asking and self._found is None and not self._trouble:
            await asyncio.wait({self._asking}, timeout=FIRST_SECONDS)
        age = None if self._found is None else round(self._clock() - self._found_at, 1)
        return {"figures": self._found, "age_seconds": age, "trouble": self._trouble}

    async def _refresh(self) -> None:
        began = self._clock()
        try:
            self._found = await self._ask()
            self._found_at, self._trouble = self._clock(), ""
        except WorkerError as e:
            self._trouble = str(e)
        except Exception as e:  # nobody awaits this task
            self._trouble = type(e).__name__
        finally:
            now = self._clock()
            self._next_at = now + min(MOST_SECONDS, max(EVERY_SECONDS, SHARE * (now - began)))
            self._asking = None


class OperatorsPage:
    """facts: what does not change while this process lives."""

    def __init__(self, vitals: Vitals, metrics: Metrics, access: Access, figures: Figures, facts: Facts) -> None:
        self._vitals, self._metrics, self._access = vitals, metrics, access
        self._figures, self._facts = figures, facts
        # Read once: a page that is there when nothing else is.
        self._files = {path: (STATIC / name).read_bytes() for path, name in FILES.items()}

    async def file(self, request: Request) -> Response:
        """The page itself, which anybody may have: it asks for the token."""
        path = request.url.path
        kind = TYPES[Path(FILES[path]).suffix]
        return Response(self._files[path], media_type=kind, headers=HEADERS)

    async def status(self, request: Request) -> Response:
        if refusal := self._access.refusal(request):
            return refuse(refusal)
        database = await self._figures.look()
        return JSONResponse(masked(self._report() | {"database": without_words(database)}), headers=HEADERS)

    def _report(self) -> Facts:
        lateness = self._metrics.recent.lateness()
        return {
            "health": self._vitals.report(),
            "daemon": {**self._facts, "up_seconds": round(self._vitals.clock() - self._vitals.began)},
            "so_far": self._metrics.so_far,
            "last_quarter_hour": {
                "step_seconds": STEP_SECONDS,
                "sent_per_second": self._metrics.recent.per_second(),
                "lateness": {
                    "up_to_seconds": lateness.up_to,
                    "counts": lateness.counts,
                    "p50_seconds": lateness.quantile(0.5),
                    "p99_seconds": lateness.quantile(0.99),
                },
            },
        }


def without_words(database: Facts) -> Facts:
    """The lists without their columns of others' words; `status` and the rows have them."""
    if database["figures"] is None:
        return database
    lists = {
        name: [
            {key: value for key, value in row.items() if key not in words} for row in database["figures"].get(name, ())
        ]
        for name, words in WORDS_OF_OTHERS.items()
    }
    return database | {"figures": database["figures"] | lists}


def masked(value: Any) -> Any:
    """Whatever stands in it, no secret and no whole number."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: masked(one) for key, one in value.items()}
    return [masked(one) for one in value] if isinstance(value, list | tuple) else value
