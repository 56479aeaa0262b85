"""requirements.lock is what ./scripts/lock makes of pyproject.toml's pins; bootstrap installs nothing else."""

import re
import tomllib
from pathlib import Path

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
