"""What bookings cost beside the plain insert of the messages that they cause, both by the same signed-in user."""

import statistics
import time
from collections.abc import Iterator

from local.bench.figures import Figure, Size
from local.bench.ground import Ground, ground

USER = "00000000-0000-4000-8000-000000000001"
BOOKINGS, MOVED = 10_000, 1_000
BOOK_GOAL, MOVE_GOAL = 150.0, 200.0  # per cent
CONTENT = """
connection_id, contact_id, message, caption, type, media_url, scheduled_at, timezone, not_after, created_by, owner_id,
category
"""
SET_UP = f"""
insert into auth.users (id) values ('{USER}');
insert into connections (id, name, user_id) values ('clinic', 'City Hospital', '{USER}');
insert into connection_settings (connection_id, timezone, country_code) values ('clinic', 'Asia/Kolkata', 'IN');
"""
BOOK = f"""
insert into appointments (owner_id, connection_id, patient_name, mobile, date, time, doctor_name)
select '{USER}', 'clinic', 'Patient ' || n, '98765' || lpad(n::text, 5, '0'), current_date + 10 + n % 90,
    time '09:00' + n % 16 * interval '30 minutes', 'Mehta'
from generate_series(1, {BOOKINGS}) as n
"""
MOVE = f"""
update appointments set date = date + 1
where id in (select id from appointments order by id limit {MOVED})
"""
KEEP = """
drop table if exists kept;
create table kept as select * from scheduled_messages;
grant select on kept to authenticated;
"""
PLAIN = f"insert into scheduled_messages ({CONTENT}) select {CONTENT} from kept"
PLAIN_MOVE = f"""
update scheduled_messages set scheduled_at = scheduled_at + interval '1 day', message = message || ' '
where id in (
    select id from scheduled_messages where scheduled_at > now() + interval '1 day' order by id limit {MOVED}
)
"""


def appointments(size: Size) -> Iterator[Figure]:
    with ground() as place:
        place.db.execute(SET_UP)
        _as_user(place, "select set_up_reminders('clinic')")
        rounds = [_one_round(place) for _ in range(size.runs)]
    booked, plain, moved, plain_moved = (statistics.median(column) for column in zip(*rounds, strict=True))
    settings = f"{BOOKINGS:,} bookings with two messages each, as one signed-in user"
    yield Figure(
        "appointments", "bookings in one insert", 100 * booked / plain, "%", booked / plain, "plain insert", settings,
        BOOK_GOAL,
    )  # fmt: skip
    yield Figure(
        "appointments", f"moving {MOVED:,}", 100 * moved / plain_moved, "%", moved / plain_moved, "plain update",
        settings, MOVE_GOAL,
    )  # fmt: skip


def _one_round(place: Ground) -> tuple[float, float, float, float]:
    """Seconds: bookings, the same messages, moves, the same updates."""
    place.db.execute("truncate appointments, audit_log, scheduled_messages, broadcast_jobs, broadcast_messages")
    booked = _as_user(place, BOOK)
    moved = _as_user(place, MOVE)
    place.db.execute(KEEP)
    place.db.execute("truncate scheduled_messages, broadcast_jobs, broadcast_messages")
    plain = _as_user(place, PLAIN)
    return booked, plain, moved, _as_user(place, PLAIN_MOVE)


def _as_user(place: Ground, statement: str) -> float:
    """Seconds that it takes."""
    with place.db.transaction():
        place.db.execute("select set_config('request.jwt.claim.sub', %s, true)", (USER,))
        place.db.execute("set local role authenticated")
        began = time.monotonic()
        place.db.execute(statement)
        return time.monotonic() - began
