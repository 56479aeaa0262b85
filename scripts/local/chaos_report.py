"""Writes docs/reliability.md from the lines that the chaos suite notes down (tests/chaos/conftest.py)."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.api import ROOT

PAGE = ROOT / "docs" / "reliability.md"
COLUMNS = ("messages", "sent", "unconfirmed", "failed", "received")
TEXT = """# Reliability: what happens on bad days

    ./scripts/chaos-report      the chaos suite in its long form, and this page

Made on {when} ({machine}). Real parts: PostgreSQL, the API server, Redis, daemons as processes, and a gateway of WAHA's
shape that counts what it is asked to send. Everything is done to them from outside: signals, servers that are killed,
a proxy that cuts, delays, loses and garbles. Each line's test fails unless, for each of its messages,

* `sent` means that the gateway got it once, and the row has the id that the gateway gave it;
* `unconfirmed` means that the gateway got it at most once, and the row says that it may have gone out;
* `failed` means that the gateway never got it, and the row says why;
* and nothing is left `pending` or `processing`, without anybody restarting anything by hand.

A line stands here only if its test found all of that, so no message was lost and none went out twice undeclared,
among {messages:,}. A test that fails has one more try, since other programs use the machine too, and its line is of
that. `got` is what the gateway counted. `after` is the throughput afterwards, in parts of that before, where it was
measured: with a gateway that takes half a second, so that seats are the limit and a lost one shows, while a busy
machine does not; the best of up to five; a test fails below 0.95.

| what happened | messages | sent | unconfirmed | failed | got | kills | after |
|---|--:|--:|--:|--:|--:|--:|--:|
{rows}
"""


def line(one: dict[str, Any]) -> str:
    recovered = one.get("recovered")
    cells = [one["what"], *(f"{one[name]:,}" for name in COLUMNS), str(one.get("kills", ""))]
    return f"| {' | '.join([*cells, '' if recovered is None else f'{recovered:.2f}'])} |"


def page(found: Sequence[dict[str, Any]]) -> str:
    """The sums are over all lines."""
    total = {name: sum(one[name] for one in found) for name in COLUMNS}
    total |= {"what": "**all**", "kills": sum(one.get("kills", 0) for one in found)}
    return TEXT.format(
        when=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=f"{os.cpu_count()} cores, Python {platform.python_version()}",
        messages=total["messages"],
        rows="\n".join(line(one) for one in [*found, total]),
    )


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text().splitlines()
    PAGE.write_text(page([json.loads(one) for one in lines]))
    print(f"chaos-report: wrote {PAGE.relative_to(ROOT)}")
