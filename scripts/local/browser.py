"""A real Chromium, driven by Playwright in Node: calls have the names that Playwright gives them there.

page.getByRole("button", name="Save").click(): keyword arguments are the options, the last argument in JavaScript.
"""

import base64
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.api import NODE, ROOT
from local.postgres import dies_with_parent

HOME = ROOT / ".local" / "chromium"  # where Chromium is unpacked, once
FONTS = ("node_modules/@expo-google-fonts/inter", "node_modules/@expo-google-fonts/noto-sans-devanagari")
FONT_CONFIGURATION = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  {directories}
  <cachedir>{cache}</cachedir>
  <alias binding="strong"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="strong"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
</fontconfig>
"""


class BrowserError(AssertionError):
    """What Playwright said instead of an answer."""


class Remote:
    """An object of Playwright's. An attribute is a method there; what it returns is a value or a Remote again."""

    def __init__(self, browser: "Browser", number: int) -> None:
        self._browser, self._number = browser, number

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            return self._browser.call(self._number, name, [*arguments, options] if options else [*arguments])

        return call


class Browser(Remote):
    """The process; ends with `with`."""

    def __init__(self) -> None:
        super().__init__(self, 0)
        HOME.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [str(NODE), str(Path(__file__).with_name("browser.mjs"))],
            env={**os.environ, "TMPDIR": str(HOME), "HOME": str(HOME), "FONTCONFIG_FILE": str(write_fonts())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=dies_with_parent(signal.SIGTERM),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(20)

    def call(self, on: int, name: str, arguments: list[Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"on": on, "call": name, "with": [_sent(a) for a in arguments]}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BrowserError(f"the browser has ended ({self._process.wait(5)})")
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserError(f"{name}{tuple(arguments)}: {answer['error']}")
        if "object" in answer:
            return Remote(self, answer["object"])
        if "objects" in answer:
            return [Remote(self, number) for number in answer["objects"]]
        return answer["value"]


def picture(page: Remote, **options: Any) -> bytes:
    return base64.b64decode(page.screenshot(**options))


def write_fonts() -> Path:
    """What letters look like does not depend on the machine: the system's fonts come after those of the checkout."""
    path = HOME / "fonts.conf"
    directories = "".join(f"<dir>{ROOT / name}</dir>" for name in FONTS) + "<dir>/usr/share/fonts</dir>"
    path.write_text(FONT_CONFIGURATION.format(directories=directories, cache=HOME / "fontconfig"))
    return path


def _sent(value: Any) -> Any:
    if isinstance(value, Remote):
        return {"object": value._number}
    if isinstance(value, re.Pattern):
        return {"regexp": value.pattern}
    if isinstance(value, dict):
        return {name: _sent(one) for name, one in value.items()}
    return [_sent(one) for one in value] if isinstance(value, list) else value
