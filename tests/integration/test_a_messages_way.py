"""A message's way through the daemon, one text through WAHA: few files, few rooms, and never back.

Followed is each function of worker/ that takes a noun of the way or gives one, by itself or inside something else, such
as an answer of the store. The nouns' own modules are not places on the way, and what the database and the gateway say
in JSON is no noun yet.

Never back: once there is a decision no function takes the row, once there is a job none takes the decision, once there
is an outcome none takes the message, once there is a settlement none takes the outcome. The job alone goes along to the
end, within sending/: its settlement is its own. A room may be entered again, but with the next noun: the store lists,
enqueues, claims and records. What the author wrote is read twice, to decide and to send (docs/adr/0027).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, get_args

import worker
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.rows import add_connections, message, schedule
from worker.jobs import Decision, Due, Job, Settlement, Written
from worker.models import Message, Outcome

HOUSE = Path(worker.__file__).parent
NOUNS: dict[type, str] = {one: one.__name__ for one in (Due, Written, Decision, Job, Message, Settlement)}
NOUNS |= dict.fromkeys(get_args(Outcome), "Outcome")
THEIR_OWN = {"jobs.py", "models.py"}
WAY = [
    "store/reading.py", "store/store.py",
    "sending/planner.py", "planning/plan.py", "planning/content.py", "sending/enqueuer.py",
    "sending/dispatcher.py", "sending/sender.py",
    "gateway/posting.py", "gateway/waha.py",
    "sending/result.py", "sending/recorder.py",
]  # fmt: skip
KNOWN_IN = {
    "Due": {"store", "sending", "planning"},
    "Written": {"store", "planning"},
    "Decision": {"planning", "sending", "store"},
    "Job": {"store", "sending"},
    "Message": {"sending", "gateway"},
    "Outcome": {"gateway", "sending"},
    "Settlement": {"sending", "store"},
}


class Step(NamedTuple):
    """A function of this file took or gave this noun."""

    file: str
    noun: str
    is_taken: bool


@contextmanager
def followed() -> Iterator[list[Step]]:
    """The steps of what runs meanwhile in this thread. A coroutine that goes on after a pause takes nothing anew."""
    steps: list[Step] = []
    begun: set[FrameType] = set()

    def note(frame: FrameType, event: str, given: Any) -> None:
        place = Path(frame.f_code.co_filename)
        if event not in ("call", "return") or HOUSE not in place.parents or place.name in THEIR_OWN:
            return
        values = [given]
        if event == "call":
            if frame in begun:
                return
            begun.add(frame)
            code = frame.f_code
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            values = [frame.f_locals[name] for name in names if name in frame.f_locals]
        file = place.relative_to(HOUSE).as_posix()
        steps.extend(Step(file, noun, event == "call") for noun in held(values))

    sys.setprofile(note)
    try:
        yield steps
    finally:
        sys.setprofile(None)


def held(value: object, depth: int = 4) -> set[str]:
    """The nouns in a value, but not those within nouns."""
    if type(value) in NOUNS:
        return {NOUNS[type(value)]}
    inside: list[object] = []
    if isinstance(value, list | tuple | set | frozenset):
        inside = [*value]
    elif isinstance(value, dict):
        inside = [*value.values()]
    elif is_dataclass(value) and not isinstance(value, type):
        inside = [getattr(value, field.name) for field in fields(value)]
    return set().union(*(held(one, depth - 1) for one in inside)) if depth else set()


async def test_a_text_passes_twelve_files_in_four_rooms_and_never_goes_back(db, parts):
    add_connections(db, "shop")
    row = schedule(db)
    with CountingGateway() as waha:
        daemon = await parts(gateway="waha", waha_url=waha.url, waha_api_key="key")
        with followed() as steps:
            await daemon.scheduler.poll()
            await daemon.dispatcher.send_all()
        assert len(waha.received) == 1
    assert message(db, row)["status"] == "sent"

    files = list(dict.fromkeys(step.file for step in steps))
    assert files == WAY
    assert len(files) <= 12
    assert len({file.partition("/")[0] for file in files}) <= 6
    assert {noun: {step.file.partition("/")[0] for step in steps if step.noun == noun} for noun in KNOWN_IN} == KNOWN_IN
    for earlier, later in (("Due", "Decision"), ("Decision", "Job"), ("Message", "Outcome"), ("Outcome", "Settlement")):
        first = next(number for number, step in enumerate(steps) if step.noun == later)
        assert [step for step in steps[first:] if step.noun == earlier and step.is_taken] == [], (earlier, later)
