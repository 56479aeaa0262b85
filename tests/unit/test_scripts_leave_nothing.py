"""Whatever ends a program of scripts/, a kill included, what it has started does not go on without it."""

import ast
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from local.api import ROOT
from tests.helpers.polling import until

# Of what stays, `up` is told to; of what `exec` runs, the program itself minds the end.
WITHOUT = {("stack.py", "execute"), ("stack.py", "up")}
AWAY = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k"}
STARTED = {
    "a measured daemon": f"""
from pathlib import Path
from local.bench.ground import Daemon
print(Daemon({AWAY}, Path("daemon.log")).process.pid, flush=True)
""",
    "what keeps a core awake": """
from local.bench import lateness
popen = lateness.subprocess.Popen
def told(*words, **how):
    child = popen(*words, **how)
    print(child.pid, flush=True)
    return child
lateness.subprocess.Popen = told
held = lateness.awake()
held.__enter__()
""",
}


def started_with() -> dict[tuple[str, str], str]:
    """By file and function, the preexec_fn of each process that scripts/local starts and does not wait for."""
    found = {}
    for path in (ROOT / "scripts" / "local").rglob("*.py"):
        text = path.read_text()
        for function in ast.walk(ast.parse(text)):
            for call in ast.walk(function) if isinstance(function, ast.FunctionDef) else ():
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "subprocess.Popen":
                    how = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                    found[(path.name, function.name)] = how.get("preexec_fn", "")
    return found


def test_each_process_is_told_to_end_with_its_parent() -> None:
    found = started_with()
    assert {place for place, how in found.items() if not how} == WITHOUT
    assert len(found) > len(WITHOUT) + 4


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize("what", STARTED)
def test_what_a_bench_has_started_ends_when_it_is_killed(what: str, tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", f"{STARTED[what]}\nimport signal; signal.pause()"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT}"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    try:
        until(lambda: not is_alive(child))
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    """A zombie is not: whoever takes up orphans may be slow to look."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
