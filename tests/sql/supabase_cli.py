"""The Supabase CLI of node_modules, for a database by URL: it needs no network, account or Docker."""

import os
import subprocess
from pathlib import Path

from local.api import NODE, ROOT

CLI = ROOT / "node_modules" / "supabase" / "dist" / "supabase.js"
SETTINGS = {"SUPABASE_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1", "SUPABASE_YES": "1"}


def supabase(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NODE, CLI, *arguments],
        env={**os.environ, **SETTINGS},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )
