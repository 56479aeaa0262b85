"""mutmut on the modules that need neither a database nor a clock."""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

from local.mutate.lane import LINKED, copy

# module → the tests that hold it, below tests/
PURE = {
    "worker/store/clock.py": ["unit/test_clock.py"],
    "worker/planning/content.py": ["unit/test_content.py"],
    "worker/recurrence/patterns.py": ["unit/test_patterns.py", "unit/test_recurrence.py"],
    "worker/planning/plan.py": ["unit/test_plan.py"],
    "worker/planning/recipient.py": ["unit/test_recipient.py"],
    "worker/recurrence/series.py": [
        "unit/test_recurrence.py",
        "unit/test_recurrence_laws.py",
        "unit/test_recurrence_cost.py",
    ],
    "worker/sending/result.py": ["unit/test_result.py"],
    "worker/recurrence/rules.py": [
        "unit/test_recurrence.py",
        "unit/test_recurrence_agreement.py",
        "unit/test_recurrence_cost.py",
    ],
    "worker/recurrence/times.py": ["unit/test_times.py"],
    "worker/kinds.py": ["unit/test_content.py"],
    "worker/gateway/meta.py": ["gateways/test_words.py"],
    "worker/gateway/numbers.py": ["gateways/test_numbers.py"],
    "worker/gateway/words.py": ["gateways/test_words.py"],
}
# Tables that are made while their modules are imported, before mutmut chooses a mutant: gateways/test_words.py meets
# each of their rows.
TABLES = [r'^ +\((?:None|\d+), (?:SAID|r"|LOCK)', r'^ +r"(?:failed to |save cached)']
# Bytes that a mutant may take: a loop that collects for ever has an error of its own before it has taken the memory of
# the machine from everybody. Node stays below it: what it only reserves does not count.
MOST_MEMORY = 2 << 30
# mutmut's own `show` takes one name, and seconds to begin.
SHOW = """
import sys
from mutmut.mutation.diff_apply import get_diff_for_mutant
for name in sys.argv[1:]:
    print(name, *get_diff_for_mutant(name).splitlines()[3:], sep="\\n", end="\\n\\n")
"""


def mutate(names: list[str]) -> Counter[tuple[str, str]]:
    """How many mutants of each module came to which end. names: as for `choose`."""
    chosen = choose(names)
    with tempfile.TemporaryDirectory(prefix="mutate-") as directory:
        root = copy(Path(directory))
        configure(root, chosen)
        mutmut = partial(run, root, {**os.environ, "PYTHONPATH": f"{root}:{root / 'scripts'}"})
        mutmut("-m", "mutmut", "run")
        ends = mutmut("-m", "mutmut", "results", "--all", "true")
        print(mutmut("-c", SHOW, *re.findall(r"^\s*(\S+): (?:survived|no tests)$", ends, re.M)))
        return tally(ends)


def choose(names: list[str]) -> dict[str, list[str]]:
    """The modules of these names, such as `rules` or `recurrence/rules`; all of them where none is given.

    Raises SystemExit where one names no module: with none chosen, mutmut would change all of `worker/`.
    """
    known = {name: module for module in PURE for name in (Path(module).stem, module[len("worker/") : -len(".py")])}
    if unknown := [name for name in names if name not in known]:
        raise SystemExit(f"{', '.join(unknown)}: no pure module; there are {', '.join(sorted(known))}")
    return {module: PURE[module] for module in (map(known.__getitem__, names) if names else PURE)}


def run(root: Path, environment: dict[str, str], *words: str) -> str:
    """What Python prints with these words, without the progress that mutmut draws."""
    limited = partial(resource.setrlimit, resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, preexec_fn=limited)
    if done.returncode:
        raise SystemExit(f"python {words[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def configure(root: Path, chosen: dict[str, list[str]]) -> None:
    options = {
        "source_paths": ["worker/"],
        "only_mutate": sorted(chosen),
        "pytest_add_cli_args_test_selection": sorted({f"tests/{test}" for tests in chosen.values() for test in tests}),
        "pytest_add_cli_args": ["-p", "local.mutate.forgetful"],
        "do_not_mutate_patterns": TABLES,
        "also_copy": ["tests", "scripts", "sql", "pyproject.toml", ".env.example"],
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    with (root / "pyproject.toml").open("a") as file:
        file.write("\n[tool.mutmut]\n" + "\n".join(lines) + "\n")
    (root / "mutants").mkdir()
    for name in LINKED:  # mutmut would copy them, which takes longer than most of the modules
        (root / "mutants" / name).symlink_to(root / name)


def tally(said: str) -> Counter[tuple[str, str]]:
    """mutmut's lines: `    worker.planning.recipient.x_mask__mutmut_3: survived`."""
    found = re.findall(r"^\s*(\S+)\.\S+__mutmut_\d+: (.+)$", said, re.M)
    return Counter((module, end.strip()) for module, end in found if end.strip() != "not checked")
