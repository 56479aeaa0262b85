"""What may stand in the log."""

import pytest

from worker.log import redact

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
        ("try 2 of 3 at 10:05 UTC: (#131016) overloaded", "try 2 of 3 at 10:05 UTC: (#131016) overloaded"),
    ],
)
def test_numbers_are_shortened_and_secrets_hidden_but_ids_and_times_stay(text: str, redacted: str) -> None:
    assert redact(text) == redacted
