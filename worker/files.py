"""Where the files are that belong to the program and are no Python: inside it where it is installed, or beside it."""

from pathlib import Path

HERE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """`sql` or `web`. A wheel carries them inside the package; in a checkout they stand at its top."""
    inside = HERE / name
    return inside if inside.is_dir() else HERE.parent / name
