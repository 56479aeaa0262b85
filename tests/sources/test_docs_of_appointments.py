"""The blocks of docs/appointments.md, run as one program of a signed-in user."""

import re
import subprocess

from local.api import NODE, ROOT
from tests.helpers.process import environment
from tests.sources.hospital import at, opened

HEAD = """
import { createClient } from '@supabase/supabase-js'
const { SUPABASE_URL, SUPABASE_ANON_KEY, TOKEN, userId, connection } = process.env
const headers = { Authorization: `Bearer ${TOKEN}` }
const supabase = createClient(SUPABASE_URL, SUPABASE_ANON_KEY, { global: { headers } })
"""


def test_the_blocks_of_the_page_do_what_it_says(db, doctors, stack):
    hospital = opened(db, doctors[0])
    blocks = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / "appointments.md").read_text(), re.DOTALL)
    caller = {"TOKEN": hospital.user.token, "userId": hospital.user.id, "connection": hospital.connection}

    done = subprocess.run(
        [NODE, "--input-type=module", "-"], input=HEAD + "\n".join(blocks), cwd=ROOT, env=environment(stack, caller),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    rows = hospital.user.http.get("/appointments", params={"order": "date"}).json()
    booked, payment, delivery, birthday, visit = rows
    assert hospital.message(booked, 2)["message"] == (
        "Namaste Rahul Sharma, see you tomorrow at 4:00 PM. Ortho - City Hospital"
    )
    assert hospital.open(booked) == {3: at("2030-02-19", "09:00")}
    texts = {
        m["message"]: m["scheduled_at"] for row in rows[1:4] for m in hospital.messages(row) if m["source_position"] > 3
    }
    assert texts.keys() == {
        "Asha: ₹4,500 is due on March 10, 2030.", "Asha: ₹4,500 is due today.",
        "Your washing machine arrives at about 3:00 PM.", "Happy birthday, Meera! Your next check-up is free.",
    }  # fmt: skip
    # … and those of the old system's calls all others off, and the hospital's on again.
    assert [set(hospital.open(row)) for row in (payment, delivery, birthday)] == [{2}, set(), {2}]
    assert (visit["status"], visit["followup_date"]) == ("visited", "2030-06-08")
    assert hospital.open(visit) == {3: at("2030-06-08", "09:00")}
    assert hospital.message(visit, 3)["message"] == "Ravi: come again."
    assert hospital.message(visit, 1)["message"] == "Ravi: confirmed."
    assert [m["scheduled_at"][:16] for m in hospital.messages(birthday) if m["source_position"] > 3] == [
        "2030-05-01 03:30"
    ]
    assert [m["scheduled_at"][:16] for m in hospital.messages(payment) if m["source_position"] > 3] == [
        "2030-03-07 04:30",
        "2030-03-10 03:30",
    ]
    assert [m["scheduled_at"][:16] for m in hospital.messages(delivery) if m["source_position"] > 3] == [
        "2030-03-11 07:30"
    ]
