"""README.md as a stranger follows it: every command exists, and those of "Production" work in the printed order."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from local.at import AT
from tests.helpers.rows import add_connections
from worker.__main__ import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
SHELL = re.findall(r"^```\n(.*?)^```", TEXT, re.M | re.S)
# Also the code in running text; a table's escaped bars are bars.
PRINTED = [code.replace("\\|", "|") for code in re.findall(r"`([^`\n]+)`", TEXT)] + "".join(SHELL).splitlines()
COMMANDS = [code for code in PRINTED if re.match(r"(\./|curl |python|supervisor|\.venv)", code)]


def commands(title):
    """The lines of the first shell block under a heading, comments away, continued lines as one."""
    block = re.search(rf"^#+ {title}$.*?^```\n(.*?)^```", TEXT, re.M | re.S)[1].replace("\\\n", " ")
    return [line.partition("  #")[0].strip() for line in block.splitlines()]


def test_every_command_is_one_of_ours_and_exists():
    names = get_command(app).commands

    for command in COMMANDS:
        program, *words = command.split()
        assert program == "curl" or (program.startswith("./scripts/") and (ROOT / program).exists()), command
        if program == "./scripts/worker":
            assert words[0] in names, command
            known = {option for parameter in names[words[0]].params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, command


def test_every_page_that_it_names_exists():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / link).exists(), link


@pytest.fixture
def checkout(tmp_path):
    """What git has, with what bootstrap installs."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in listed:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name, follow_symlinks=False)
    for name in (".venv", "node_modules"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".local").mkdir()
    yield tmp_path
    subprocess.run(["./scripts/supervisorctl", "shutdown"], cwd=tmp_path, capture_output=True)


def test_production_works_as_printed(stack, db, checkout):
    add_connections(db, "sales")
    environment = {"PATH": os.environ["PATH"], "HOME": str(checkout), "TMPDIR": str(checkout), **AT}
    ran = []
    for command in commands("Production") + commands("One row of settings for each connection"):
        if command.startswith("export DATABASE_URL="):
            environment["DATABASE_URL"] = stack["DATABASE_URL"]
            continue
        done = subprocess.run(command, shell=True, cwd=checkout, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if command.startswith("cp .env.example"):
            fill_in(checkout / ".env", {**stack, "GATEWAY": "mock"})
        ran.append(command.split()[0])

    assert ran.count("./scripts/migrate") == 2
    assert {"./scripts/worker", "./scripts/supervisord", "./scripts/supervisorctl"} <= {*ran}


def fill_in(file, values):
    """As a person does: after the names that stand there."""
    text = file.read_text()
    for name in ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "GATEWAY"):
        text = re.sub(rf"^{name}=$", f"{name}={values[name]}", text, flags=re.M)
    file.write_text(text)
