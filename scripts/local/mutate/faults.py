"""The faults of tests/mutations/*.toml, each one edit of one file."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.api import ROOT

FOLDER = ROOT / "tests" / "mutations"


@dataclass(frozen=True, slots=True)
class Fault:
    """`before` stands exactly once in `file`, a glob that names one file; `after` takes its place.

    tests: what is run against it, paths below tests/, with `-k` words where a file has too many.
    reason: why no test can notice it; "" for one that must be noticed.
    """

    name: str
    area: str
    about: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    reason: str = ""

    def apply(self, root: Path) -> tuple[Path, str]:
        """Edits the file below `root`. Returns it and what what it held. Raises ValueError where the place is gone."""
        found = list(root.glob(self.file))
        if len(found) != 1:
            raise ValueError(f"{self.file} names {len(found)} files")
        text = found[0].read_text()
        if text.count(self.before) != 1:
            raise ValueError(f"{self.before[:60]!r} stands {text.count(self.before)} times in {self.file}")
        found[0].write_text(text.replace(self.before, self.after))
        return found[0], text


def load(areas: list[str], names: list[str]) -> list[Fault]:
    """Those of these areas (the files' names) and names; all of them where none is given."""
    faults = [Fault(area=area, **fields) for area, fields in _listed()]
    return [f for f in faults if (not areas or f.area in areas) and (not names or f.name in names)]


def _listed() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.glob("*.toml")):
        for fields in tomllib.loads(path.read_text())["fault"]:
            yield path.stem, {**fields, "tests": tuple(fields["tests"])}
