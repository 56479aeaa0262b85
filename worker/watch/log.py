"""Logs: one JSON object a line, or readable text on a terminal. Never a key, a text or a whole number."""

import contextlib
import io
import json
import logging
import re
import sys
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO, cast

import structlog

SECRET = re.compile(r"(sb_secret_|sb_publishable_|eyJ|Bearer |apikey=)[\w.~+/=-]+", re.I)
# Identifiers and times are long runs of digits too, and stay; so does an HTTP status with a SQLSTATE.
NUMBER = re.compile(
    r"(?P<keep>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d[\d:.+Z-]*)?"
    r"|(?<=: )[1-5]\d\d \d[\dA-Z]{4}(?=[: ]|$))"
    r"|\+?\d[\d ()-]{6,}\d",
    re.I,
)
# Our own, or shortened already; redacting them for each message would take longer than sending it.
SAFE = frozenset({"timestamp", "level", "event", "message", "job", "to", "gateway", "occurrence"})

JSON = structlog.processors.JSONRenderer(ensure_ascii=False)
encode = json.JSONEncoder(default=str, ensure_ascii=False).encode


@lru_cache(maxsize=4096)
def redact(text: str) -> str:
    """Hides secrets and shortens what looks like a phone number; identifiers and times stay."""
    return NUMBER.sub(_shorten, SECRET.sub("[hidden]", text))


def _shorten(match: re.Match[str]) -> str:
    return match["keep"] or "…" + re.sub(r"\D", "", match.group())[-4:]


def _redact_values(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key not in SAFE and isinstance(value, str):
            event[key] = redact(value)
    return event


class _Lossy(io.TextIOBase):
    """A full disk or a closed pipe costs lines of the log, never a message."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _Foreign(logging.Handler):
    """What a library warns of becomes a line like ours."""

    def emit(self, record: logging.LogRecord) -> None:
        said = {"logger": record.name, "reason": record.getMessage(), "exc_info": record.exc_info}
        structlog.get_logger().log(record.levelno, "a library warns", **said)


def info_many(events: Sequence[dict[str, Any]]) -> None:
    """`log.info` for each, with one write: telling of a message must not take longer than sending it."""
    logger = structlog.get_logger()
    if not logger.is_enabled_for(logging.INFO):
        return
    if structlog.get_config()["processors"][-1] is not JSON:
        for event in events:
            logger.info(**event)
        return
    common = {"level": "info", "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
    out = _Lossy(sys.stdout)
    out.write("".join(f"{encode({**_redact_values(None, '', event), **common})}\n" for event in events))
    out.flush()


def configure(level: str = "info") -> None:
    """Sends our logs, and warnings of the libraries, to standard output."""
    terminal, stream = sys.stdout.isatty(), cast("TextIO", _Lossy(sys.stdout))
    if not terminal and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # whatever the locale of who started us
    processors: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_values,
        structlog.dev.ConsoleRenderer() if terminal else JSON,
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    # At DEBUG these print headers and addresses with keys in them.
    logging.basicConfig(level=logging.WARNING, handlers=[_Foreign()])
    for name in ("websockets", "httpcore", "httpx", "hpack", "h2", "realtime"):
        logging.getLogger(name).setLevel(logging.CRITICAL if name == "realtime" else logging.WARNING)
