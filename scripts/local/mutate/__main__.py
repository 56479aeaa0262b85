"""The command line; scripts/mutate says how to use it."""

import argparse
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue

from local.mutate import faults, pure
from local.mutate.faults import Fault
from local.mutate.lane import Lane, lane


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/mutate")
    parser.add_argument("--pure", action="store_true", help="mutmut on the pure modules")
    parser.add_argument("--only", action="extend", nargs="+", default=[], help="the faults of these names")
    parser.add_argument("--lanes", type=int, default=2, help="how many at a time")
    parser.add_argument("what", nargs="*", help="areas; with --pure, modules such as recipient")
    given = parser.parse_args()
    if given.pure:
        return report_pure(pure.mutate(given.what))
    chosen = faults.load(given.what, given.only)
    if not chosen:
        parser.error("there is no such fault: see tests/mutations")
    return report(chosen, run(chosen, min(given.lanes, len(chosen))))


def run(chosen: list[Fault], lanes: int) -> dict[str, str]:
    """By the fault's name, the test that noticed it, or ""."""
    free: SimpleQueue[Lane] = SimpleQueue()
    with ExitStack() as opened, ThreadPoolExecutor(lanes) as pool:
        for _ in range(lanes):
            directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="mutate-")))
            free.put(opened.enter_context(lane(directory)))
        return dict(pool.map(lambda fault: (fault.name, attempt(fault, free)), chosen))


def attempt(fault: Fault, free: "SimpleQueue[Lane]") -> str:
    taken = free.get()
    try:
        noticed = taken.notices(fault)
    except ValueError as gone:
        print(f"{fault.name:6} NOT PUT IN: {gone}", flush=True)
        return ""
    finally:
        free.put(taken)
    print(f"{fault.name:6} {'caught by ' + noticed if noticed else 'SURVIVED'}  ({fault.about})", flush=True)
    return noticed


def report(chosen: list[Fault], noticed: dict[str, str]) -> int:
    """A line for each area, then what no test noticed. 1 where one of those has no reason."""
    caught = Counter(fault.area for fault in chosen if noticed[fault.name])
    print("\narea                     caught  of")
    for area, number in sorted(Counter(fault.area for fault in chosen).items()):
        print(f"{area:24} {caught[area]:6} {number:3}")
    print(f"{'all':24} {caught.total():6} {len(chosen):3}")
    survivors = [fault for fault in chosen if not noticed[fault.name]]
    for fault in survivors:
        print(f"{fault.name}: {fault.about}: {fault.reason or 'no test notices it'}")
    return int(any(not fault.reason for fault in survivors))


def report_pure(ends: Counter[tuple[str, str]]) -> int:
    print("\nmodule                   caught  of")
    for module in sorted({module for module, _ in ends}):
        counted = {end: number for (of, end), number in ends.items() if of == module}
        caught = sum(number for end, number in counted.items() if end not in ("survived", "no tests"))
        print(f"{module:24} {caught:6} {sum(counted.values()):4}  {caught / sum(counted.values()):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
