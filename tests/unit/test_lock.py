"""requirements.lock is what ./scripts/lock makes of pyproject.toml's pins; bootstrap installs nothing else."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([\w.-]+)(?:\[\w+\])?==(\S+)$")


def pins(lines):
    """Version by name, in the one spelling of names that all tools agree on (PEP 503)."""
    return {
        re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (PIN.match(line).groups() for line in lines)
    }


def test_every_dependency_is_pinned_and_locked_at_that_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = pins(project["project"]["dependencies"] + project["dependency-groups"]["dev"])
    locked = pins((ROOT / "requirements.lock").read_text().splitlines())

    assert wanted.items() <= locked.items(), "run ./scripts/lock"


def test_what_single_tools_need_is_locked_apart():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = pins(project["dependency-groups"]["tools"])
    locked = pins((ROOT / "requirements.tools.lock").read_text().splitlines())

    assert wanted.items() <= locked.items(), "run ./scripts/lock"
    assert not locked.keys() & pins((ROOT / "requirements.lock").read_text().splitlines()).keys()


@pytest.mark.long
def test_every_released_python_has_a_wheel_of_everything():
    done = subprocess.run([ROOT / "scripts" / "lock", "--check"], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
