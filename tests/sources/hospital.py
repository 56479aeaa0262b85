"""A hospital: a signed-in user with a connection and document 003's reminders, who books through the API."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.accounts import User, only, sign_up
from tests.helpers.rows import Database

SHOWN = {"prefer": "return=representation"}
CONFIRMATION, REMINDER, FOLLOW_UP = 1, 2, 3
ZONE = "Asia/Kolkata"


def day(days: int) -> str:
    """So many days from today in India."""
    return str((datetime.now(UTC) + timedelta(hours=5, minutes=30)).date() + timedelta(days=days))


def at(day: str, clock: str, offset: str = "+05:30") -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}:00{offset}")


@dataclass(frozen=True)
class Hospital:
    user: User
    db: Database

    @property
    def connection(self) -> str:
        return self.user.connection_id

    def book(self, **columns: Any) -> dict[str, Any]:
        """The appointment as the API gives it back."""
        row = {
            "connection_id": self.connection, "owner_id": self.user.id, "patient_name": "Rahul Sharma",
            "mobile": "9876543210", "date": day(10), "time": "10:30", "doctor_name": "Mehta", **columns,
        }  # fmt: skip
        return self.user.insert("appointments", **row)

    def change(self, appointment: dict[str, Any], **columns: Any) -> dict[str, Any]:
        params = {"id": f"eq.{appointment['id']}"}
        return only(self.user.http.patch("/appointments", params=params, json=columns, headers=SHOWN))

    def read(self, appointment: dict[str, Any]) -> dict[str, Any]:
        return only(self.user.http.get("/appointments", params={"id": f"eq.{appointment['id']}"}))

    def delete(self, appointment: dict[str, Any]) -> None:
        self.user.http.delete("/appointments", params={"id": f"eq.{appointment['id']}"}).raise_for_status()

    def messages(self, appointment: dict[str, Any]) -> list[dict[str, Any]]:
        """All that it has caused, by rule and try."""
        params = {"source_id": f"eq.{appointment['id']}", "order": "source_position,source_try"}
        return list(self.user.http.get("/scheduled_messages", params=params).json())

    def open(self, appointment: dict[str, Any]) -> dict[int, datetime]:
        """Which rules' messages wait, and until when."""
        return {
            m["source_position"]: datetime.fromisoformat(m["scheduled_at"])
            for m in self.messages(appointment)
            if m["status"] == "pending"
        }

    def message(self, appointment: dict[str, Any], number: int) -> dict[str, Any]:
        """A rule's latest."""
        return [m for m in self.messages(appointment) if m["source_position"] == number][-1]

    def rule(self, body: str, **columns: Any) -> dict[str, Any]:
        """One more rule, with a text of its own."""
        text = self.user.insert(
            "message_templates", owner_id=self.user.id, connection_id=self.connection, name="A text", body=body
        )
        row = {"owner_id": self.user.id, "connection_id": self.connection, "name": "A rule", "anchor": "date"}
        return self.user.insert("reminder_rules", **(row | columns), template_id=text["id"])

    def set_text(self, number: int, **columns: Any) -> None:
        params = {"connection_id": f"eq.{self.connection}", "number": f"eq.{number}"}
        rule = only(self.user.http.get("/reminder_rules", params=params))
        params = {"id": f"eq.{rule['template_id']}"}
        only(self.user.http.patch("/message_templates", params=params, json=columns, headers=SHOWN))

    def set_rule(self, number: int, **columns: Any) -> None:
        params = {"connection_id": f"eq.{self.connection}", "number": f"eq.{number}"}
        only(self.user.http.patch("/reminder_rules", params=params, json=columns, headers=SHOWN))

    def settings(self, **columns: Any) -> None:
        """What the hospital itself may set."""
        row = {"connection_id": self.connection, **columns}
        headers = {"prefer": "return=representation,resolution=merge-duplicates"}
        only(self.user.http.post("/connection_settings", json=row, headers=headers))

    def past(self, appointment: dict[str, Any], number: int, status: str = "sent", error: str | None = None) -> None:
        """As if the daemon had sent this message when it was due."""
        self.db.execute(
            """
            update scheduled_messages set status = %s, error = %s, sent_at = now(), message_id = 'wamid'
            where source_id = %s and source_position = %s and status = 'pending'
            """,
            (status, error, appointment["id"], number),
        )


@pytest.fixture(scope="session")
def doctors(stack: dict[str, str]) -> Iterator[tuple[User, User]]:
    users = sign_up(stack), sign_up(stack)
    yield users
    for user in users:
        user.http.close()


def opened(db: Database, user: User, name: str = "City Hospital") -> Hospital:
    """With the document's reminders, which its owner sets up."""
    db.execute("insert into connections (id, name, user_id) values (%s, %s, %s)", (user.connection_id, name, user.id))
    hospital = Hospital(user, db)
    hospital.settings(timezone=ZONE, country_code="IN")
    user.http.post("/rpc/set_up_reminders", json={"connection_id": hospital.connection}).raise_for_status()
    return hospital


@pytest.fixture
def hospital(db: Database, doctors: tuple[User, User]) -> Hospital:
    return opened(db, doctors[0])


@pytest.fixture
def other_hospital(db: Database, doctors: tuple[User, User]) -> Hospital:
    return opened(db, doctors[1], "Lake Clinic")
