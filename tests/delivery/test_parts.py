"""A message of several parts: whatever the order of answers and webhooks, its row says what became of all of them."""

import json
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from tests.delivery.cloud_stub import CloudStub, refusal
from tests.helpers import calls
from tests.helpers.http_server import Reply
from tests.helpers.rows import Database, add_connections, message, one, schedule
from worker.http.webhook import parse_updates

Pass = Callable[..., Awaitable[None]]
RANKS = ("sent", "failed", "delivered", "read")


@dataclass(frozen=True)
class Answer:
    """The gateway took the first `taken` parts; `then` is what ended it, if it was not the end."""

    taken: int
    then: str = ""


@dataclass(frozen=True)
class Word:
    part: int
    told: str


@dataclass
class Story:
    """What happens to one message, in order, and what is known of it by then: the specification."""

    count: int
    events: tuple[Answer | Word, ...]
    job: str = field(default_factory=lambda: str(uuid4()))

    def fates(self, until: int) -> list[str]:
        """Of each part: out, lost or unknown."""
        answer = next((e for e in self.events[:until] if isinstance(e, Answer)), None)
        return [self._fate(part, answer, self.told(part, until)) for part in range(1, self.count + 1)]

    def told(self, part: int, until: int) -> str | None:
        words = [e.told for e in self.events[:until] if isinstance(e, Word) and e.part == part]
        return max(words, key=RANKS.index, default=None)

    def _fate(self, part: int, answer: Answer | None, told: str | None) -> str:
        if answer and (part > answer.taken + 1 or (part > answer.taken and answer.then == "failed")):
            return "lost"
        if (answer and part <= answer.taken) or told in ("sent", "delivered", "read"):
            return "out"
        return "lost" if told == "failed" else "unknown"

    def expected(self, until: int) -> tuple[str, str | None, str | None]:
        """Status, delivery_status (of a sent one) and how the error begins."""
        fates, answered = self.fates(until), any(isinstance(e, Answer) for e in self.events[:until])
        if not answered and set(fates) != {"out"}:
            return "processing", None, None
        if "unknown" in fates:
            return "unconfirmed", None, "It may have been sent: "
        if "lost" in fates:
            return "failed", None, f"{fates.count('out')} of {self.count} parts went out, then: "
        told = [self.told(part, until) for part in range(1, self.count + 1)]
        if "failed" in told:
            return "sent", "failed", "Accepted, but not delivered: part "
        return "sent", None if None in told else min((t for t in told if t), key=RANKS.index), None


def choices(count: int, words: list[tuple[str, ...]]) -> Iterator[tuple[int, tuple[Answer | Word, ...]]]:
    """Every answer, with every choice of words of each part that was asked for."""
    answers = [Answer(count), *(Answer(taken, "unconfirmed") for taken in range(count))]
    answers += [Answer(taken, "failed") for taken in range(1, count)]
    for answer in answers:
        dialled = min(count, answer.taken + (answer.then == "unconfirmed"))
        for told in product(words, repeat=dialled):
            yield count, (answer, *(Word(n, word) for n, some in enumerate(told, 1) for word in some))


def every_order(count: int, words: list[tuple[str, ...]]) -> list[Story]:
    return [Story(n, order) for n, events in choices(count, words) for order in permutations(events)]


def some_orders(count: int, number: int) -> list[Story]:
    chance = random.Random(3)
    words: list[tuple[str, ...]] = [(), ("sent",), ("delivered",), ("read", "delivered", "read"), ("failed",)]
    found = list(choices(count, words))
    made = []
    for _ in range(number):
        n, events = chance.choice(found)
        made.append(Story(n, tuple(chance.sample(events, len(events)))))
    return made


def begin(db: Database, stories: list[Story]) -> str:
    """Each has been claimed. Returns the token."""
    add_connections(db, "shop")
    token = str(uuid4())
    db.execute(
        """
        with row as (
            insert into scheduled_messages (
                id, connection_id, contact_id, message, scheduled_at, status, broadcast_job_id
            )
            select id, 'shop', '+919876543210', 'x', now(), 'processing', id from unnest(%(ids)s::uuid[]) as id
            returning *
        ), job as (
            insert into broadcast_jobs (
                id, scheduled_message_id, connection_id, recipient, available_at, send_at, status, gateway, lease_token,
                lease_until
            )
            select id, id, connection_id, contact_id, now(), now(), 'sending', 'cloud', %(token)s,
                now() + interval '1 hour'
            from row returning id
        )
        insert into broadcast_messages (id, job_id, scheduled_message_id, contact, status)
        select id, id, id, '', 'waiting' from job
        """,
        {"ids": [story.job for story in stories], "token": token},
    )
    return token


def answer(db: Database, token: str, told: list[tuple[Story, Answer]]) -> None:
    calls.record(
        db,
        *(
            {
                "job_id": story.job,
                "token": token,
                "verdict": given.then or "sent",
                "message_id": None if given.then else "wamid.1",
                "error": explained(story, given),
                "parts": json.dumps({"of": story.count, "ids": [f"wamid.{n}" for n in range(1, given.taken + 1)]}),
            }
            for story, given in told
        ),
    )


def explained(story: Story, given: Answer) -> str | None:
    """As worker/gateway/posting.py and worker/sending/result.py word it."""
    if not given.then:
        return None
    error = f"{given.taken} of {story.count} parts went out, then: why" if given.taken else "why"
    return f"It may have been sent: {error}" if given.then == "unconfirmed" else error


def tell(db: Database, told: list[tuple[Story, Word]]) -> None:
    calls.tell(
        db,
        *(
            {
                "job_id": story.job,
                "message_id": f"wamid.{word.part}",
                "status": word.told,
                "error": "1: no" if word.told == "failed" else None,
                "part": word.part,
                "parts": story.count,
            }
            for story, word in told
        ),
    )


def play(db: Database, stories: list[Story]) -> None:
    """The n-th event of all of them at a time, and then what the rows say."""
    token = begin(db, stories)
    for until in range(1, max(len(story.events) for story in stories) + 1):
        now = [(story, story.events[until - 1]) for story in stories if len(story.events) >= until]
        answers = [(story, event) for story, event in now if isinstance(event, Answer)]
        words = [(story, event) for story, event in now if isinstance(event, Word)]
        if answers:
            answer(db, token, answers)
        if words:
            tell(db, words)
        check(db, stories, until)


def check(db: Database, stories: list[Story], until: int) -> None:
    rows = {str(row["id"]): row for row in db.execute("select * from scheduled_messages")}
    for story in stories:
        status, delivery, error = story.expected(until)
        row, context = rows[story.job], (story.events[:until], story)
        assert row["status"] == status, context
        if status == "sent":
            assert row["delivery_status"] == delivery, context
            assert row["message_id"] == "wamid.1", context
        assert (row["error"] or "").startswith(error) if error else row["error"] is None, (row["error"], context)


def test_two_parts_in_every_order(db: Database) -> None:
    play(db, every_order(2, [(), ("delivered",), ("sent", "read"), ("failed",)]))


def test_three_parts_in_many_orders(db: Database, size: Callable[[int], int]) -> None:
    play(db, some_orders(3, size(10_000)))


def test_everything_may_come_twice(db: Database) -> None:
    stories = every_order(2, [(), ("delivered",), ("failed",)])
    doubled = [Story(s.count, tuple(e for e in s.events for _ in range(1 + isinstance(e, Word)))) for s in stories]
    play(db, doubled)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ((), "unconfirmed"),
        ((Word(1, "read"),), "unconfirmed"),
        ((Word(1, "failed"),), "unconfirmed"),
        ((Word(1, "delivered"), Word(2, "failed")), "failed"),
        ((Word(2, "sent"), Word(1, "delivered")), "sent"),
    ],
)
@pytest.mark.parametrize("is_dead_first", [True, False])
def test_what_a_dead_daemon_left_is_settled_by_all_words(
    db: Database, words: tuple[Word, ...], status: str, is_dead_first: bool
) -> None:
    story = Story(2, words)
    begin(db, [story])
    for when in (is_dead_first, not is_dead_first):
        if when:
            db.execute("update broadcast_jobs set lease_until = now() - interval '1 second'")
            db.execute("select rescue_broadcast_jobs()")
        else:
            for word in words:
                tell(db, [(story, word)])
    assert message(db, story.job)["status"] == status


def test_words_of_jobs_that_were_sent_before_are_understood(db: Database) -> None:
    """They carry the job's id alone, whatever part they are of."""
    story = Story(2, ())
    begin(db, [story])
    calls.tell(db, {"job_id": story.job, "message_id": "wamid.9", "status": "delivered"})
    row = message(db, story.job)
    assert (row["status"], row["delivery_status"], row["message_id"]) == ("sent", "delivered", "wamid.9")


@pytest.mark.parametrize("part", [0, 3, 4])
@pytest.mark.parametrize("told", ["failed", "read"])
def test_a_word_of_a_part_that_there_is_not_changes_nothing(db: Database, part: int, told: str) -> None:
    """Nor what is told of the others afterwards."""
    story = Story(2, (Answer(2), Word(1, "delivered"), Word(2, "read")))
    answer(db, begin(db, [story]), [(story, Answer(2))])
    for word, until in ((Word(1, "delivered"), 2), (Word(part, told), 2), (Word(2, "read"), 3)):
        tell(db, [(story, word)])
        check(db, [story], until)


@pytest.fixture
def album(db: Database, shop: str) -> str:
    """A row with two pictures."""
    media = [{"url": f"https://e.com/{n}.jpg", "type": "image", "mimetype": "image/jpeg"} for n in (1, 2)]
    return schedule(db, contact_id="+919876543210", type="image", message="", media=Jsonb(media))


def heard(stub: CloudStub, n: int, status: str) -> dict[str, Any]:
    """What the webhook makes of a status of the n-th post."""
    told = {
        "id": f"wamid.{n}", "status": status, "timestamp": "1750030073",
        "biz_opaque_callback_data": stub.received[n][1]["biz_opaque_callback_data"],
    }  # fmt: skip
    change = {"field": "messages", "value": {"statuses": [told]}}
    [update] = parse_updates(json.dumps({"entry": [{"changes": [change]}]}).encode())
    return {"job": update.job_id, "part": update.part, "parts": update.parts, "status": update.status}


async def test_each_part_is_told_of_by_itself(db: Database, album: str, cloud: CloudStub, by_cloud: Pass) -> None:
    await by_cloud()
    job = str(message(db, album)["broadcast_job_id"])
    assert [heard(cloud, n, "read") for n in (0, 1)] == [
        {"job": job, "part": 1, "parts": 2, "status": "read"},
        {"job": job, "part": 2, "parts": 2, "status": "read"},
    ]
    for part, shown in ((1, None), (2, "read")):
        tell(db, [(Story(2, (), job), Word(part, "read"))])
        assert (message(db, album)["status"], message(db, album)["delivery_status"]) == ("sent", shown)
    assert one(db, "select message_ids from broadcast_messages") == ["wamid.0", "wamid.1"]


@pytest.mark.parametrize(
    ("second", "status", "error"),
    [
        (refusal(131053), "failed", "1 of 2 parts went out, then: WhatsApp cannot use the attachment"),
        (Reply(cut=0), "unconfirmed", "It may have been sent: 1 of 2 parts went out, then: The gateway did not answer"),
    ],
)
async def test_word_of_the_first_part_while_the_second_is_under_way_settles_nothing(
    db: Database, album: str, cloud: CloudStub, by_cloud: Pass, second: Reply, status: str, error: str
) -> None:
    job = []

    def behave(n: int, body: dict[str, Any]) -> Reply | None:
        if n == 0:
            return None
        job.append(body["biz_opaque_callback_data"].partition(":")[0])
        tell(db, [(Story(2, (), job[0]), Word(1, "delivered"))])
        return second

    cloud.behaviour = behave
    await by_cloud()
    assert message(db, album)["status"] == status
    assert message(db, album)["error"].startswith(error)
    tell(db, [(Story(2, (), job[0]), Word(1, "read"))])
    assert message(db, album)["status"] == status
    if status == "unconfirmed":
        tell(db, [(Story(2, (), job[0]), Word(2, "delivered"))])
        after = message(db, album)
        assert (after["status"], after["delivery_status"], after["error"]) == ("sent", "delivered", None)


@pytest.mark.parametrize("is_answered", [False, True])
@pytest.mark.parametrize("part", [-1, 0, 3, 7])
def test_word_of_a_part_that_there_is_not_says_nothing(db: Database, part: int, is_answered: bool) -> None:
    story = Story(2, (Answer(2), Word(1, "read"), Word(2, "delivered")))
    token = begin(db, [story])
    if is_answered:
        answer(db, token, [(story, Answer(2))])
    for word in ("read", "failed"):
        tell(db, [(story, Word(part, word))])
    found = message(db, story.job)
    assert (found["status"], found["delivery_status"]) == ("sent" if is_answered else "processing", None)
    if not is_answered:
        answer(db, token, [(story, Answer(2))])
    tell(db, [(story, Word(1, "read")), (story, Word(2, "delivered"))][:1])
    tell(db, [(story, Word(2, "delivered"))])
    assert message(db, story.job)["delivery_status"] == "delivered"
