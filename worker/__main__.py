"""The command line: `python -m worker COMMAND` in a checkout, `scheduled-messages COMMAND` where it was installed."""

import asyncio
import io
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from worker import config
from worker.errors import ConfigError, WorkerError
from worker.watch import log

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h


class Outcome(StrEnum):
    sent = "sent"
    failed = "failed"
    resend = "resend"


class Exported(StrEnum):
    appointments = "appointments"
    messages = "messages"


app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


def _settings() -> config.Settings:
    settings = config.load()
    log.configure(settings.log_level)
    return settings


@app.command()
def run() -> None:
    """The daemon, until SIGTERM or SIGINT."""
    settings = _settings()
    from worker import daemon

    asyncio.run(daemon.run(settings))


@app.command()
def once() -> None:
    """One pass: everything due now is scheduled and sent; what is paced or deferred is left for the next."""
    settings = _settings()
    from worker import daemon

    asyncio.run(daemon.once(settings))


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False) -> None:
    """Counts by status, what is next, what is late, what waits and why, connections that may not send."""
    from worker.operating import operate

    settings = config.load()
    asyncio.run(operate.status(settings, as_json))


@app.command()
def resolve(
    message_id: Annotated[str, typer.Argument(metavar="ID")],
    outcome: Outcome,
    run: Annotated[bool, typer.Option("--run", help="ID is a campaign's run: all of it that is unconfirmed")] = False,
) -> None:
    """Settles an unconfirmed message by hand: it was sent, it was not, or send it again."""
    from worker.operating import operate

    settle = operate.resolve_run if run else operate.resolve
    asyncio.run(settle(config.load(), message_id, outcome.value))


@app.command()
def connection(
    connection_id: Annotated[str, typer.Argument(metavar="ID")],
    changes: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]…")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs")] = False,
    forget: Annotated[bool, typer.Option(help="End all that is kept of this id, and release it")] = False,
) -> None:
    """Shows a connection's settings, or changes them: `messages=15 period_seconds=60`. Empty: the default.

    `reminders=hospital` gives it the rules and texts of a hospital's appointments.
    """
    from worker.operating import operate

    if forget:
        asyncio.run(operate.forget(config.load(), connection_id))
        return
    asyncio.run(operate.connection(config.load(), connection_id, changes or [], as_json))


@app.command()
def export(
    what: Exported,
    connection_id: Annotated[str | None, typer.Option("--connection", metavar="ID")] = None,
    since: Annotated[str | None, typer.Option(help="A date or a time, UTC unless it says otherwise")] = None,
) -> None:
    """Writes appointments, as the files of EXPORT_DIR have them, or messages as CSV to standard output."""
    from worker.operating import operate

    asyncio.run(operate.export(config.load(), what.value, connection_id, since))


@app.command()
def doctor() -> None:
    """Checks configuration, database, Realtime, clock and gateway; exit 1 if any fails. Sends nothing."""
    from worker.operating import operate

    try:
        settings = config.load()
    except ConfigError as e:
        raise WorkerError(str(e)) from e
    asyncio.run(operate.doctor(settings))


@app.command()
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Shows what would run, and changes nothing")] = False,
    core: Annotated[bool, typer.Option("--core", help="Without campaigns, appointments and the like")] = False,
) -> None:
    """Applies the SQL of this version to the database of DATABASE_URL; what has run there already is left alone."""
    from worker.operating.migrate import MigrateRefused, report

    def tell(words: str) -> None:
        typer.echo(f"migrate: {words}", err=True)

    try:
        for line in report(os.environ.get("DATABASE_URL"), dry_run, core, tell):
            typer.echo(line)
    except MigrateRefused as e:
        tell(str(e))
        raise typer.Exit(1) from e


@app.command()
def pages(directory: Path) -> None:
    """Copies the pages into a folder, for any server of static files: SUPABASE_URL, SUPABASE_ANON_KEY, PREVIEW_URL."""
    from worker.operating.pages import export

    export(directory, os.environ)
    typer.echo(f"pages: in {directory}; see web/README.md for the headers they want")


@app.command()
def preview(
    start: Annotated[str, typer.Option(help="A local time in the zone, or one with an offset")],
    pattern: Annotated[str, typer.Option(help="daily, weekly, monthly, yearly, weekdays, or an RFC 5545 rule")],
    timezone: Annotated[str, typer.Option(help="An IANA zone")],
    count: Annotated[int, typer.Option(min=1, max=10000)],
    end: Annotated[str | None, typer.Option(help="No occurrence after this")] = None,
) -> None:
    """The next occurrences of a series, the start itself being the first. Needs no database."""
    from worker.recurrence.preview import preview_lines

    for line in preview_lines(start, pattern, timezone, count, end):
        typer.echo(line)


def main() -> int:
    """Exit codes: 0, 1 for what went wrong, 2 for wrong usage, 78 for an unusable configuration."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks an arrow or a name's letters is no fault
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except ConfigError as e:
        print(e, file=sys.stderr)  # noqa: T201
        return EXIT_CONFIG
    except WorkerError as e:
        print(f"error: {e}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
