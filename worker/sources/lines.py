"""Pure: appointments and messages as lines of CSV, and the names of their files."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable
from typing import Any

from worker.errors import BadRecipient
from worker.planning import recipient
from worker.text.characters import plain

# Document 003, "CSV File Format".
APPOINTMENT = ("name", "mobile", "date", "time_slot", "doctor", "specialty", "followup_date")
MESSAGE = (
    "id", "connection_id", "contact_id", "type", "message", "scheduled_at", "status", "sent_at", "delivery_status",
    "message_id", "error",
)  # fmt: skip
LONGEST_NAME = 100  # characters of a connection's id in the name of a file
FORMULAS = "=@-\t\n\uff1d\uff20\uff0d\uff0b"  # the last four as East Asian keyboards write them
NUMBER = re.compile(r"\+[\d\s().-]+")


def line(cells: Iterable[object]) -> str:
    """One line, which ends with a line feed; what stands in it is data to a spreadsheet."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow([harmless(cell) for cell in cells])
    return written.getvalue()


def harmless(cell: object) -> str:
    """A spreadsheet takes what begins so for a formula (OWASP, "CSV Injection"); a phone number is none."""
    text = "" if cell is None else str(cell).replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    begins = text.lstrip(" \u00a0")[:1]
    if begins in tuple(FORMULAS) or (begins == "+" and not NUMBER.fullmatch(text)):
        return f"'{text}"
    return text


def appointment(record: dict[str, Any], region: str | None) -> str:
    """An appointment as the audit log keeps it. region: the country of numbers that name none."""
    return line((
        record.get("patient_name"),
        mobile(record.get("mobile"), record.get("country_code") or region),
        record.get("date"),
        record.get("time"),
        record.get("doctor_name"),
        record.get("specialty"),
        record.get("followup_date"),
    ))  # fmt: skip


def mobile(written: str | None, region: str | None) -> str:
    """With its plus and country code; what leads to nobody stays as it was written."""
    try:
        return recipient.resolve(plain(written or ""), region)
    except BadRecipient:
        return written or ""


def message(row: dict[str, Any]) -> str:
    return line(row.get(column) for column in MESSAGE)


def file_name(connection_id: str) -> str:
    """Of a connection's appointments; what is no letter or digit is percent-encoded, what is long has a digest."""
    encoded = "".join(
        c if re.fullmatch("[A-Za-z0-9_-]", c) else "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "replace"))
        for c in connection_id
    )
    if len(encoded) > LONGEST_NAME:
        digest = hashlib.sha256(connection_id.encode("utf-8", "replace")).hexdigest()[:16]
        encoded = f"{encoded[: LONGEST_NAME - 17]}-{digest}"
    return f"hospital_{encoded}_appointments.csv"
