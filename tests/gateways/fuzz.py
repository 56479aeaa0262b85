"""Random answers of a gateway: status, kind of content, shape of the body and words, known ones at random places."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.gateways.answers import ANSWERS
from tests.gateways.given import ACCEPTED

STATUSES = (200, 200, 201, 201, 202, 206, 301, 400, 400, 400, 401, 403, 404, 405, 408, 409, 413, 418, 422, 422, 429)
FAULTS = (500, 500, 500, 501, 502, 503, 504, 507, 520, 521, 522, 524, 599)
TYPES = ("application/json", "application/json; charset=utf-8", "text/html", "text/plain", "application/octet-stream")
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    7.5,
    "",
    " ",
    "ok",
    [],
    {},
    [[]],
    [None],
    {"a": {}},
    "ü😀\u202e",
    10**30,
)


@dataclass(frozen=True)
class Answer:
    """ids: whatever in its body may be the gateway's name of the message. doubtful: it proves nothing of what became
    of it, whoever reads it."""

    status: int
    content_type: str
    body: bytes
    ids: frozenset[str]
    doubtful: bool


def answers(name: str, seed: int) -> Iterator[Answer]:
    """Without end, and the same for the same seed."""
    dice = random.Random(f"{name} {seed}")
    while True:
        yield answer(name, dice)


def answer(name: str, dice: random.Random) -> Answer:
    status = dice.choice(STATUSES + FAULTS)
    kind = dice.choice((known, known, accepted, accepted, strange, buried))
    body = kind(name, dice)
    if kind is known and dice.random() < 0.7:
        status, body = dice.choice(ANSWERS[name])[:2]
    content_type = dice.choice(TYPES[:2] if dice.random() < 0.8 else TYPES)
    raw = json.dumps(body).encode()
    if dice.random() < 0.05:
        raw = raw[: dice.randrange(len(raw) + 1)]
    doubtful = kind is buried and name != "cloud" and status in (400, 409, 418, 422, 500, 502, 503, 504, 507, 599)
    return Answer(status, content_type, raw, frozenset(strings(body)), doubtful and b"463" not in raw)


def known(name: str, dice: random.Random) -> object:
    """What one of the sources writes, in any case of letters."""
    body = deepcopy(dice.choice(ANSWERS[name])[1])
    return changed(body, dice.choice((str, str, str.upper, str.lower)))


def accepted(name: str, dice: random.Random) -> object:
    """What it says of a message that it took, with something odd in its place."""
    body = deepcopy(ACCEPTED[name])
    if dice.random() < 0.6:
        spoil(body, dice)
    return body


def strange(name: str, dice: random.Random, depth: int = 3) -> object:
    """Any JSON, of words that gateways use."""
    words = (
        "id",
        "key",
        "error",
        "message",
        "response",
        "status",
        "exception",
        "code",
        "ack",
        "messages",
        "statusCode",
    )
    if not depth or dice.random() < 0.3:
        return dice.choice(ODD)
    if dice.random() < 0.3:
        return [strange(name, dice, depth - 1) for _ in range(dice.randrange(3))]
    return {word: strange(name, dice, depth - 1) for word in dice.sample(words, dice.randrange(1, 4))}


def buried(name: str, dice: random.Random) -> object:
    """Known words in the middle of others, as when a fault is told by what came after the message."""
    body = deepcopy(dice.choice([case[1] for case in ANSWERS[name] if case[0] >= 400]))
    return changed(body, lambda text: f"after it went out: {text} (at step {dice.randrange(99)})")


def changed(body: Any, change: Any) -> Any:
    if isinstance(body, dict):
        return {key: changed(value, change) for key, value in body.items()}
    if isinstance(body, list):
        return [changed(value, change) for value in body]
    return change(body) if isinstance(body, str) else body


def spoil(body: Any, dice: random.Random) -> None:
    """Puts something odd at a random place of it."""
    while isinstance(body, dict | list) and body:
        key = dice.choice(list(body) if isinstance(body, dict) else range(len(body)))
        if dice.random() < 0.5 or not isinstance(body[key], dict | list):
            body[key] = deepcopy(dice.choice(ODD))
            return
        body = body[key]


def strings(body: Any) -> Iterator[str]:
    """What stands where gateways name messages."""
    if isinstance(body, dict):
        for key, value in body.items():
            if key in ("id", "_serialized") and isinstance(value, str) and value.strip():
                yield value
            yield from strings(value)
    elif isinstance(body, list):
        for value in body:
            yield from strings(value)
