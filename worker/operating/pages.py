"""The pages as a folder for any server of static files, with the libraries that they load."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from worker.files import folder

WEB = folder("web")
# What the pages load beside their own files: as npm delivers them, in node_modules of a checkout.
VENDOR = {
    "supabase.js": "@supabase/supabase-js/dist/umd/supabase.js",
    "preact.js": "preact/dist/preact.min.umd.js",
    "hooks.js": "preact/hooks/dist/hooks.umd.js",
    "htm.js": "htm/dist/htm.umd.js",
}


def vendored(name: str) -> Path:
    """A library of VENDOR."""
    inside = WEB / "vendor" / name
    return inside if inside.exists() else folder("node_modules") / VENDOR[name]


def configuration(url: str, key: str, preview: str, *, realtime: bool, poll: float = 3) -> str:
    """The file config.js: an empty `url` is the pages' own address, an empty `preview` none; `poll` in seconds."""
    values = {"url": url, "key": key, "preview": preview, "realtime": realtime, "poll": poll}
    return f"export default {json.dumps(values, indent=2)}\n"


def export(directory: Path, environment: Mapping[str, str]) -> None:
    """Writes them there. config.js is written only where there is none yet."""
    for path in sorted(WEB.rglob("*")):
        if path.is_file() and path.name not in ("README.md", "config.js"):
            target = directory / path.relative_to(WEB)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    (directory / "vendor").mkdir(exist_ok=True)
    for name in VENDOR:
        shutil.copy(vendored(name), directory / "vendor" / name)
    if not (directory / "config.js").exists():
        values = (environment.get(name, "") for name in ("SUPABASE_URL", "SUPABASE_ANON_KEY", "PREVIEW_URL"))
        (directory / "config.js").write_text(configuration(*values, realtime=True))
