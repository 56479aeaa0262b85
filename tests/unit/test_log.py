"""What may stand in the log."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from worker.watch.log import configure, info_many, redact

ID = "0f2a3a29-9046-4d4b-bc0f-ee11a9e1f2e9"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("to +919876543210", "to …3210"),
        ("to +91 98765 43210 again", "to …3210 again"),
        ("919876543210@c.us", "…3210@c.us"),
        (f"row {ID} at 2026-11-22 10:05 to +919876543210", f"row {ID} at 2026-11-22 10:05 to …3210"),
        ("2026-11-22T10:05:59.123456+00:00", "2026-11-22T10:05:59.123456+00:00"),
        ("apikey=sb_secret_abc.def", "[hidden]"),
        ("Authorization: Bearer EAAGm0PX4ZCpsBA", "Authorization: [hidden]"),
        ("record_outcomes: 400 23502 null value", "record_outcomes: 400 23502 null value"),
        ("record_outcomes: HTTP 400, code 23502: null", "record_outcomes: HTTP 400, code 23502: null"),
        ("call 400 23502 now", "call …3502 now"),
        ("try 2 of 3 at 10:05 UTC: (#131016) overloaded", "try 2 of 3 at 10:05 UTC: (#131016) overloaded"),
    ],
)
def test_numbers_are_shortened_and_secrets_hidden_but_ids_and_times_stay(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.fixture
def clean() -> Iterator[None]:
    """What `configure` does to the process ends with the test."""
    before = logging.getLogger().handlers
    yield
    logging.getLogger().handlers = before
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("clean")
def test_what_a_library_warns_of_is_json_and_redacted_like_ours(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers = []  # pytest's
    configure()
    logging.getLogger("httpx").warning('a "quoted" text for +919876543210\nBearer abc.def')
    [line] = lines(capsys)
    assert line["reason"] == 'a "quoted" text for …3210\n[hidden]'
    assert (line["logger"], line["level"]) == ("httpx", "warning")


@pytest.mark.usefixtures("clean")
def test_lines_written_together_are_like_those_written_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    event = {"event": "failed", "message": ID, "to": "…3210", "late_ms": 7, "reason": "no account for +919876543210"}
    structlog.get_logger().info(**event)
    info_many([event, event])
    first, *others = lines(capsys)
    for line in others:
        assert {**line, "timestamp": None} == {**first, "timestamp": None}
        assert line["timestamp"][:16] == first["timestamp"][:16]
