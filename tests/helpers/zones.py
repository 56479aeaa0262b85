"""Where a test is that counts by the day: midnight comes in the middle of any test, once a day."""

from datetime import UTC, datetime


def where_it_is_noon() -> str:
    """A zone whose day neither begins nor ends while a test counts what goes out in it."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"
