"""Measures the daemon, beside others doing the same work."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local.api import ROOT
from local.bench import figures
from local.bench.appointments import appointments
from local.bench.calls import calls
from local.bench.campaign import campaign
from local.bench.cost import cost
from local.bench.figures import Figure, Size
from local.bench.hostile import hostile
from local.bench.lateness import lateness
from local.bench.memory import memory
from local.bench.pace import pace
from local.bench.recurrence import recurrence
from local.bench.throughput import throughput
from local.stack import tidy_up_when_ended

SUBJECTS: dict[str, Callable[[Size], Iterator[Figure]]] = {
    subject.__name__: subject
    for subject in (throughput, lateness, cost, calls, memory, pace, recurrence, hostile, appointments, campaign)
}
PICTURE = ROOT / "docs" / "bench.png"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/bench", description=__doc__)
    parser.add_argument("subject", nargs="*", help=f"{', '.join(SUBJECTS)}; all of them if none is named")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="small sizes, once: to see that it runs")
    sizes.add_argument("--full", action="store_true", help="also with ten million rows; takes most of an hour")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    given = parser.parse_args()
    if unknown := set(given.subject) - set(SUBJECTS):
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    return given


def machine() -> str:
    at, load = datetime.now(UTC), os.getloadavg()[0]
    return f"{os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, {at:%Y-%m-%d %H:%M} UTC"


def table(found: Sequence[Figure], title: str) -> Table:
    """One section for each set of settings."""
    shown = Table("what", "value", "ratio", title=title, title_justify="left")
    shown.columns[1].justify = "right"
    settings = None
    for f in found:
        if settings != f"{f.subject}: {f.settings}":
            settings = f"{f.subject}: {f.settings}"
            shown.add_section()
            shown.add_row(f"[bold]{settings}")
        value = f"{f.value:,.0f}" if f.value >= 100 else f"{f.value:,.2f}"
        shown.add_row(f"  {f.what}", f"{value} {f.unit}".strip(), f"{f.ratio:.2f} {f.against}" if f.ratio else "")
    return shown


def missed(found: Sequence[Figure]) -> list[str]:
    """The goals that were not met, a sentence each."""
    return [
        f"{f.subject}: {f.what}: {f.value:,.0f} {f.unit}, and the goal is {f.goal:,.0f}" for f in found if f.is_missed
    ]


def main() -> None:
    given = arguments()
    tidy_up_when_ended()
    size = figures.QUICK if given.quick else figures.FULL if given.full else figures.USUAL
    where, began, found = machine(), time.monotonic(), list[Figure]()
    for name in given.subject or SUBJECTS:
        print(f"bench: {name} …", flush=True)
        found += SUBJECTS[name](size)
    caption = f"{where}; {size.runs} run{'s' if size.runs > 1 else ''}, medians; in {time.monotonic() - began:.0f} s"
    Console(width=None if os.isatty(1) else 140).print(table(found, caption))
    if given.json:
        given.json.write_text(
            json.dumps({"machine": where, "runs": size.runs, "figures": [asdict(f) for f in found]}, indent=1)
        )
    if {"throughput", "lateness"} <= {f.subject for f in found} and not given.quick:
        from local.bench.picture import draw  # matplotlib takes its time

        draw(found, caption, PICTURE)
        print(f"bench: {PICTURE.relative_to(ROOT)} drawn")
    if faults := missed(found):
        raise SystemExit("bench: goals missed:\n" + "\n".join(f"  - {fault}" for fault in faults))


if __name__ == "__main__":
    main()
