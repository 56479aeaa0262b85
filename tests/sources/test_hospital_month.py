"""A hospital's month across a clock change: what should exist exists once, at its wall time, and nothing else."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tests.sources.hospital import FOLLOW_UP, REMINDER
from worker.recurrence.times import instant

# Europe's clocks go forward on 31 March 2030, New York's on 10 March; India's never.
ZONES = ("Asia/Kolkata", "Europe/Rome", "America/New_York")
FIRST = date(2030, 3, 5)
DAYS, DOWN = 31, range(9, 13)  # of the month; days on which no daemon runs


@dataclass
class Patient:
    """What the test knows of an appointment. `sent`: which rule's message went out, and for which day."""

    id: str
    zone: ZoneInfo
    date: date
    time: time
    status: str = "booked"
    followup_date: date | None = None
    sent: list[tuple[int, date]] = field(default_factory=list)

    def wanted(self) -> dict[int, datetime]:
        """What must be open: by document 003, less what went out for that day."""
        found = {}
        if self.status == "booked" and (REMINDER, self.date) not in self.sent:
            found[REMINDER] = self._at(self.date - timedelta(days=1), time(10))
        if self.followup_date and self.status != "cancelled" and (FOLLOW_UP, self.followup_date) not in self.sent:
            found[FOLLOW_UP] = self._at(self.followup_date, time(9))
        return found

    def _at(self, day: date, clock: time) -> datetime:
        return instant(datetime.combine(day, clock), self.zone)


def test_a_month_of_a_hospital(hospital, size):
    chance = random.Random(3)
    hospital.set_rule(1, enabled=False)  # confirmations go by the real clock
    patients = book(hospital, chance, size(400))

    for number in range(DAYS):
        today = FIRST + timedelta(days=number)
        if number not in DOWN:
            send(hospital, patients, datetime.combine(today, time(0), UTC))
        change(hospital, patients, chance, today)

        open_now = {
            (row["source_id"], row["source_position"]): row["scheduled_at"]
            for row in hospital.db.execute(
                "select source_id::text, source_position, scheduled_at from scheduled_messages where status = 'pending'"
            )
        }
        wanted = {(p.id, rule): at for p in patients.values() for rule, at in p.wanted().items()}
        assert open_now == wanted, today

    gone = hospital.db.execute(
        "select source_id::text as id, source_position as n from scheduled_messages where status = 'sent'"
    )
    assert Counter((row["id"], row["n"]) for row in gone) == Counter(
        (p.id, rule) for p in patients.values() for rule, _ in p.sent
    )


def book(hospital, chance: random.Random, count: int) -> dict[str, Patient]:
    rows = [
        {
            "connection_id": hospital.connection, "owner_id": hospital.user.id, "patient_name": f"Patient {n}",
            "mobile": f"98765{n:05}", "doctor_name": "Mehta", "timezone": chance.choice(ZONES),
            "date": str(FIRST + timedelta(days=chance.randrange(3, 34))),
            "time": chance.choice(["00:15", "02:30", "10:30", "23:45"]),
        }
        for n in range(count)
    ]  # fmt: skip
    answer = hospital.user.http.post("/appointments", json=rows, headers={"prefer": "return=representation"})
    answer.raise_for_status()
    return {
        row["id"]: Patient(
            row["id"], ZoneInfo(row["timezone"]), date.fromisoformat(row["date"]), time.fromisoformat(row["time"])
        )
        for row in answer.json()
    }


def send(hospital, patients: dict[str, Patient], now: datetime) -> None:
    """What a daemon would have done by `now`: each message that is due, unless its appointment has begun."""
    rows = hospital.db.execute(
        """
        update scheduled_messages set
            status = case when not_after > %(now)s then 'sent' else 'failed' end,
            error = case when not_after <= %(now)s then 'too late' end,
            sent_at = %(now)s, message_id = 'wamid'
        where status = 'pending' and scheduled_at <= %(now)s
        returning source_id::text as id, source_position as number, status
        """,
        {"now": now},
    )
    for row in rows.fetchall():
        patient = patients[row["id"]]
        day = patient.date if row["number"] == REMINDER else patient.followup_date
        assert day
        if row["status"] == "sent":
            patient.sent.append((row["number"], day))
        elif row["number"] == REMINDER:
            patient.status = "missed"  # it is over, whatever happens to it now
        else:
            patient.followup_date = None
    for patient in patients.values():
        if patient.status == "missed":
            hospital.db.execute("update appointments set status = 'no_show' where id = %s", (patient.id,))
            patient.status = "no_show"
        if patient.followup_date is None:
            hospital.db.execute(
                "update appointments set followup_date = null where id = %s and followup_date is not null",
                (patient.id,),
            )


def change(hospital, patients: dict[str, Patient], chance: random.Random, today: date) -> None:
    """Some are moved, visited or cancelled, as people at the desk do it."""
    for patient in chance.sample(list(patients.values()), max(2, len(patients) // 40)):
        what = chance.choice(["move", "move", "visit", "visit and follow up", "cancel"])
        if what == "move" and patient.status == "booked":
            patient.date = today + timedelta(days=chance.randrange(3, 20))
            patient.time = chance.choice([time(2, 30), time(9), time(23, 59)])
            hospital.change({"id": patient.id}, date=str(patient.date), time=str(patient.time))
        elif what.startswith("visit") and patient.status == "booked":
            patient.status = "visited"
            if what != "visit":
                patient.followup_date = today + timedelta(days=chance.randrange(2, 12))
            followup = patient.followup_date and str(patient.followup_date)
            hospital.change({"id": patient.id}, status="visited", followup_date=followup)
        elif what == "cancel":
            patient.status = "cancelled"
            hospital.change({"id": patient.id}, status="cancelled")
