"""Appointments that are moved while their reminders are being sent: the move succeeds, and the rest follows."""

import asyncio
from collections import Counter

from tests.sources.hospital import REMINDER, at, day


async def test_each_move_succeeds_and_leaves_one_reminder_for_the_new_day(hospital, parts, size):
    daemon = await parts(batch_size=50)
    hospital.set_rule(1, enabled=False)
    rows = [
        {"connection_id": hospital.connection, "owner_id": hospital.user.id, "patient_name": f"P {n}",
         "mobile": f"98765{n:05}", "date": day(10), "time": "10:30", "doctor_name": "Mehta"}
        for n in range(size(2000))
    ]  # fmt: skip
    answer = hospital.user.http.post("/appointments", json=rows, headers={"prefer": "return=representation"})
    booked = answer.json()
    hospital.db.execute("update scheduled_messages set scheduled_at = now() where source_position = 2")

    async def send() -> None:
        for _ in range(len(booked) // 50 + 2):
            await daemon.scheduler.poll()
            await daemon.dispatcher.send_all()

    def move(some: list[dict]) -> None:
        for appointment in some:
            hospital.change(appointment, date=day(20))

    await asyncio.gather(send(), *(asyncio.to_thread(move, booked[n::3]) for n in range(3)))
    await send()

    found: dict[str, list[tuple[int, str]]] = {appointment["id"]: [] for appointment in booked}
    for row in hospital.db.execute("select * from scheduled_messages order by source_try"):
        found[str(row["source_id"])].append((row["source_try"], row["status"]))
        assert row["status"] == "sent" or row["scheduled_at"] == at(day(19), "10:00")
        assert row["source_position"] == REMINDER
    shapes = Counter(map(tuple, found.values()))
    assert shapes.keys() <= {((0, "pending"),), ((0, "sent"), (1, "pending"))}
    faults = "select count(*) as n from appointments where reminder_fault like 'The reminders could not be made%%'"
    assert hospital.db.execute(faults).fetchone()["n"] == 0
