"""What comes to the minds of tenants who try everything: values, rows and requests, drawn at random."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from random import Random
from typing import Any
from uuid import uuid4

import httpx

from tests.helpers.accounts import User

JSON = {"content-type": "application/json"}
SHOW = {"prefer": "return=representation"}
TEXTS = [
    "", " ", "Hello", "Grüße 🙂", "مرحبا", "\u0000", "a\u0000b", "\u0001\u001b[31m\u007f", "\ud800", "\ufeff\u202e",
    "\r\n\t", "'; drop table scheduled_messages; --", "' or '1'='1", "$$; select pg_sleep(10); $$", "{}", "{a,b}", "\\",
    "%s %(x)s {0}", "null", "NaN", "x" * 5_000, "x" * 20_000, "{{name}}", "../../etc/passwd", "javascript:alert(1)",
    "https://example.com/a.png", "http://169.254.169.254/latest/meta-data", "https://user:secret@example.com/a.png",
    "+919876500000", "919876500000@c.us",
]  # fmt: skip
TIMES = [
    "2026-01-01T00:00:00Z", "2026-01-01", "now", "yesterday", "infinity", "-infinity", "epoch", "1899-01-01", "25:00",
    "2030-01-01T00:00:00+05:30", "9999-12-31T23:59:59Z", "294277-01-01", "2026-02-30", "", 0, -1, 1e300, None, [], {},
]  # fmt: skip
PATTERNS = [
    "daily", "weekly", "monthly", "yearly", "weekdays", "DAILY ", "RRULE:FREQ=MONTHLY;BYDAY=1MO", "FREQ=SECONDLY",
    "FREQ=YEARLY;BYMONTH=2", "FREQ=DAILY;COUNT=0", "FREQ=DAILY;UNTIL=20200101", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
    "every blue moon", "", "=", "FREQ=", None, "FREQ=WEEKLY;" * 90,
]  # fmt: skip
ZONES = ["Asia/Kolkata", "UTC", "Mars/Olympus", "", "../../etc/passwd", "Europe/Berlin", "x" * 100, None, 5]
STATUSES = [
    "pending", "pending", "pending", "cancelled", "processing", "sent", "failed", "unconfirmed", "in_queue", "lol", "",
    None, 1,
]  # fmt: skip
TYPES = ["text", "text", "media", "image", "document", "audio", "template", "banana", "TEXT", "", None, 3, []]
MEDIA = [
    None, {}, [], [{}], "x", 5, {"url": "https://example.com/a.png"}, {"name": "hello", "language": "en"}, [[[[1]]]],
    {"url": 5},
]  # fmt: skip
OTHERS = [None, True, False, 0, 1, -1, 2**31, 2**63, 1.5, [], {}, [1], {"a": 1}]
# What only the daemon may write, and what does not exist.
FORBIDDEN = ["sent_at", "message_id", "error", "series_id", "next_id", "revision", "created_at", "nonsense", "; drop"]
FILTERS = ["eq.' or 1=1 --", "neq.0", "is.null", "in.(1,2", "like.*", "gt.", "not.is.null", "eq.{}"]
BODIES = ["", "null", "[]", "{", '"x"', "[1,2]", "5", "{}" * 3, "\x00", "[[{}]]", '{"message":']
KINDS = ["application/json", "text/csv", "text/plain", "application/x-www-form-urlencoded"]


@dataclass
class Tenant:
    """One of two. All that they write bears their mark in `caption`; `alive`: its ids, less those that they deleted."""

    user: User
    mark: str
    phone: str
    contact: str
    random: Random
    alive: set[str] = field(default_factory=set)
    other: "Tenant" = field(init=False, repr=False)
    answers: Counter[int] = field(default_factory=Counter)

    def act(self) -> httpx.Response:
        """One request."""
        acts: list[Callable[[], httpx.Response]] = [
            self.insert,
            self.insert_many,
            self.update,
            self.delete,
            self.garbage,
        ]
        answer = self.random.choices(acts, [9, 1, 8, 2, 1])[0]()
        self.answers[answer.status_code] += 1
        return answer

    def insert(self) -> httpx.Response:
        return self.post(self.row())

    def insert_many(self) -> httpx.Response:
        row = self.row()
        return self.post([row | {"message": f"Hello {n}"} for n in range(self.random.randint(0, 5))])

    def post(self, rows: object) -> httpx.Response:
        answer = self.user.http.post("/scheduled_messages", content=json.dumps(rows), headers=SHOW | JSON)
        if answer.is_success:
            self.alive |= {row["id"] for row in answer.json()}
        return answer

    def update(self) -> httpx.Response:
        body = json.dumps(self.columns())
        return self.user.http.patch("/scheduled_messages", params=self.filters(), content=body, headers=JSON)

    def delete(self) -> httpx.Response:
        one = {"id": f"eq.{self.some_id()}"}
        answer = self.user.http.delete("/scheduled_messages", params=one, headers=SHOW)
        if answer.is_success:
            self.alive -= {row["id"] for row in answer.json()}
        return answer

    def garbage(self) -> httpx.Response:
        """What is no request at all."""
        kind = {"content-type": self.random.choice(KINDS)}
        return self.user.http.post("/scheduled_messages", content=self.random.choice(BODIES), headers=kind)

    def filters(self) -> dict[str, str]:
        if self.random.random() < 0.9:
            return {"id": f"eq.{self.some_id()}"}
        column = self.random.choice(["id", "message", "status", "nonsense", "or", "limit"])
        return {column: self.random.choice(FILTERS)}

    def row(self) -> dict[str, Any]:
        """A row that is mostly good, due at once."""
        good = {"connection_id": self.user.connection_id, "contact_id": "+919876500000", "message": "Hello"}
        return {**good, "scheduled_at": "2026-01-01T00:00:00Z", **self.columns()}

    def columns(self) -> dict[str, Any]:
        """A few columns with good, bad and absurd values."""
        drawn = self.values()
        names = self.random.sample(sorted(drawn), self.random.choice([0, 0, 1, 1, 2, 3, 6]))
        row = {name: drawn[name]() for name in names}
        if self.random.random() < 0.05:
            row[self.random.choice(FORBIDDEN)] = self.random.choice(TEXTS + OTHERS)
        return row | {"caption": self.mark}

    def values(self) -> dict[str, Callable[[], Any]]:
        def any_of(*choices: list[Any]) -> Callable[[], Any]:
            return lambda: self.random.choice([*chain(*choices)])

        return {
            "connection_id": self.connection,
            "contact_id": self.recipient,
            "message": any_of(TEXTS, OTHERS),
            "type": any_of(TYPES),
            "media_url": any_of([None] * 10, TEXTS),
            "media": any_of(MEDIA, TEXTS),
            "asset_id": any_of([None, None, str(uuid4()), "x"]),
            "scheduled_at": any_of(TIMES),
            "status": any_of(STATUSES),
            "is_recurring": any_of([None, True, False, False, "maybe", 5]),
            "recurrence_pattern": any_of(PATTERNS),
            "recurrence_end_at": any_of(TIMES),
            "next_scheduled_at": any_of(TIMES),
            "timezone": any_of(ZONES),
            "owner_id": any_of([self.user.id, self.user.id, self.other.user.id, None, "x"]),
            "created_by": any_of([self.user.id, self.user.id, self.other.user.id, None, "x"]),
            "id": lambda: self.random.choice([str(uuid4()), self.some_id(), "x", None]),
        }

    def some_id(self) -> str:
        """One of their own messages mostly, sometimes one of the other's, or nobody's."""
        pool = sorted(self.alive if self.random.random() < 0.7 else self.other.alive.copy())
        return self.random.choice(pool) if pool else str(uuid4())

    def connection(self) -> Any:
        own, foreign = self.user.connection_id, self.other.user.connection_id
        return self.random.choice([own] * 8 + [foreign, foreign, "", None, 5, "nowhere", str(uuid4())])

    def recipient(self) -> Any:
        known = ["+919876500000", "919876500000@c.us", self.contact, self.phone]
        return self.random.choice(known * 3 + [self.other.contact, "77", "9" * 18, "9" * 19, *TEXTS[:12], None, 5])
