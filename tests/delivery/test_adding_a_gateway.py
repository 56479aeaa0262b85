"""docs/adding-a-gateway.md does what it says: its file, row, settings and insert, and nothing else, make a gateway."""

import asyncio
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

import pytest

from local.api import ROOT
from tests.helpers.http_server import HttpServer, Reply, Request
from tests.helpers.rows import Database, add_connections, message, schedule

PAGE = (ROOT / "docs" / "adding-a-gateway.md").read_text()
THE_FILE, ROW, SETTINGS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(INSERT,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)


class Loft(HttpServer):
    """Answers as the page's gateway expects it, in its own time. most_busy: letters that a loft had at once."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[tuple[str, dict[str, str]]] = []
        self.keys: set[str] = set()
        self.busy = Counter[str]()
        self.most_busy = 0

    async def answer(self, request: Request) -> Reply:
        self.keys.add(request.headers["x-key"])
        if request.method == "GET":
            return Reply(body={"state": "open"})
        letter = request.json()
        self.letters.append((request.path, letter))
        self.busy[request.path] += 1
        self.most_busy = max(self.most_busy, *self.busy.values())
        await asyncio.sleep(0.02)
        self.busy[request.path] -= 1
        if letter["text"] == "To nowhere":
            return Reply(404, {"fault": "no such address"})
        return Reply(201, {"ring": f"ring-{letter['to']}"})


@pytest.fixture
def loft() -> Iterator[Loft]:
    with Loft() as running:
        yield running


@pytest.fixture
def known_to_the_database(db: Database) -> Iterator[None]:
    db.execute(INSERT)
    yield
    db.execute("delete from connection_settings where gateway = 'pigeon'")
    db.execute("delete from private.gateways where name = 'pigeon'")


def copied_with_it(directory: Path) -> None:
    """The daemon as it stands in the checkout, and what the page adds."""
    worker = directory / "worker"
    shutil.copytree(ROOT / "worker", worker, ignore=shutil.ignore_patterns("__pycache__"))
    (worker / "gateway" / "pigeon.py").write_text(THE_FILE)
    put_before(worker / "kinds.py", "    )\n}\n", f"{indent(ROW.rstrip(), ' ' * 8)},\n")
    put_before(worker / "config.py", "    redis_url: str", indent(SETTINGS, " " * 4))


def put_before(file: Path, place: str, text: str) -> None:
    before, found, after = file.read_text().partition(place)
    assert found
    file.write_text(before + text + found + after)


def test_what_the_page_adds_sends_messages_beside_the_other_gateways(
    db, daemon, loft, known_to_the_database, tmp_path: Path
):
    copied_with_it(tmp_path)
    add_connections(db, "loft-1", "loft-2", "other")
    db.execute(
        "insert into connection_settings (connection_id, gateway) values ('loft-1', 'pigeon'), ('loft-2', 'pigeon')"
    )
    sent = [schedule(db, connection_id="loft-1", contact_id=f"+91987654322{n}") for n in range(3)]
    rejected = schedule(db, connection_id="loft-2", contact_id="+919876543211", message="To nowhere")
    too_long = schedule(db, connection_id="loft-1", contact_id="+919876543212", message="x" * 201)
    inside = schedule(db, connection_id="loft-1", contact_id="+919876543213", media_url="https://10.0.0.1/a.png")
    others = schedule(db, connection_id="other", contact_id="+919876543214")

    worker = daemon("once", PIGEON_URL=loft.url, PIGEON_KEY="coo")

    assert worker.wait() == 0, worker.text
    assert [message(db, row)["message_id"] for row in sent] == [f"ring-91987654322{n}" for n in range(3)]
    assert message(db, others)["message_id"].startswith("mock-")
    assert sorted(loft.letters, key=str) == [
        *(("/lofts/loft-1/letters", {"to": f"91987654322{n}", "text": "Hello"}) for n in range(3)),
        ("/lofts/loft-2/letters", {"to": "919876543211", "text": "To nowhere"}),
    ]
    assert (loft.keys, loft.most_busy) == ({"coo"}, 1)
    errors = {row: message(db, row)["error"] for row in (rejected, too_long, inside)}
    assert errors[rejected].startswith("WhatsApp does not find this number")
    assert errors[too_long] == "The text has 201 characters; WhatsApp takes 200: shorten it."
    assert errors[inside].startswith("The attachment's address points into a private network")


def test_a_daemon_without_its_settings_says_what_it_needs(daemon, tmp_path: Path):
    copied_with_it(tmp_path)
    worker = daemon("doctor", GATEWAY="pigeon")

    assert worker.wait() == 1
    assert "GATEWAY=pigeon also needs PIGEON_URL" in worker.text


def test_the_database_refuses_a_gateway_that_it_does_not_know(db, service):
    add_connections(db, "loft-1")
    answer = service.post("/connection_settings", json={"connection_id": "loft-1", "gateway": "pigeon"})

    assert not answer.is_success
    assert "connection_settings_gateway_fkey" in answer.text
