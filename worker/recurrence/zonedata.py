"""The newest time zone data wins: the system's or that of the pinned package `tzdata`.

Zones change several times a year, and a system's files may be years old; Python prefers them all the same. Looked at
once, before the first zone is made.
"""

import os
import re
import zoneinfo
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import tzdata


@dataclass(frozen=True, slots=True)
class ZoneData:
    """Which data is in use: its version ("2026f", "" where nobody knows), and whose it is."""

    version: str
    source: str
    other: str = ""

    def __str__(self) -> str:
        beside = f"; {self.other}" if self.other else ""
        return f"{self.version or 'of an unknown version'} ({self.source}{beside})"


def choose(environ: dict[str, str] | None = None) -> ZoneData:
    """Makes Python use the newer data. What PYTHONTZPATH says is its user's wish and stays."""
    ours, system = tzdata.IANA_VERSION, system_version(zoneinfo.TZPATH)
    if (os.environ if environ is None else environ).get("PYTHONTZPATH"):
        return ZoneData(system or "", "PYTHONTZPATH")
    if system and rank(system) > rank(ours):
        return ZoneData(system, "the system's", f"the package's is {ours}")
    zoneinfo.reset_tzpath(to=())
    zoneinfo.ZoneInfo.clear_cache()
    return ZoneData(ours, "the package tzdata", f"the system's is {system}" if system else "")


def system_version(paths: tuple[str, ...]) -> str | None:
    """Of the first directory that has zones: what its own files say, "2025b". None where there is none that tells."""
    for path in map(Path, paths):
        if not (path / "UTC").exists():
            continue
        for name, pattern in (("tzdata.zi", r"# version (\S+)"), ("+VERSION", r"(\S+)"), ("version", r"(\S+)")):
            if found := re.match(pattern, head(path / name)):
                return found[1]
        return None
    return None


def head(path: Path) -> str:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.readline()
    except OSError:
        return ""


def rank(version: str) -> tuple[int, str]:
    """2025c comes before 2026a; what is no version comes first."""
    found = re.match(r"(\d{4})([a-z]{0,2})", version)
    return (int(found[1]), found[2]) if found else (0, "")


def principal_zones() -> list[str]:
    """One name for each zone that differs since 1970 from all others, those that speak for most of a country first."""
    table = files("tzdata.zoneinfo").joinpath("zone1970.tab").read_text()
    rows = [line.split("\t") for line in table.splitlines() if not line.startswith("#")]
    return [row[2] for row in sorted(rows, key=lambda row: "most areas" not in "".join(row[3:]))]
