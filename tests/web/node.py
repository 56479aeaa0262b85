"""The pages' modules without a browser."""

import json
import subprocess
from pathlib import Path
from typing import Any

from local.api import NODE


def in_node(folder: Path, name: str, expression: str, given: list[Any]) -> list[Any]:
    """JavaScript for each value of `given`, which it calls `one`; `module` is parts/<name>."""
    code = f"""
        import * as module from {json.dumps(str(folder / "parts" / name))}
        const given = JSON.parse(process.argv[1])
        console.log(JSON.stringify(given.map((one) => {expression})))
    """
    done = subprocess.run(
        [str(NODE), "--input-type=module", "-e", code, json.dumps(given)], capture_output=True, text=True, check=True
    )
    told: list[Any] = json.loads(done.stdout)
    return told
