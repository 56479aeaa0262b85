"""The command line: `python -m worker run | once | status | preview | resolve | connection | doctor`."""

import asyncio
import sys
from typing import Annotated

import click
import typer

from worker import config, log
from worker.errors import ConfigError, WorkerError

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


def _settings() -> config.Settings:
    settings = config.load()
    log.configure(settings.log_level)
    return settings


@app.command()
def run() -> None:
    """The daemon, until SIGTERM or SIGINT."""
    from worker import daemon

    asyncio.run(daemon.run(_settings()))


@app.command()
def once() -> None:
    """One pass: everything due now is scheduled and sent; what is paced or deferred is left for the next."""
    from worker import daemon

    asyncio.run(daemon.once(_settings()))


@app.command()
def preview(
    start: Annotated[str, typer.Option(help="A local time in the zone, or one with an offset")],
    pattern: Annotated[str, typer.Option(help="daily, weekly, monthly, yearly, weekdays, or an RFC 5545 rule")],
    timezone: Annotated[str, typer.Option(help="An IANA zone")],
    count: Annotated[int, typer.Option(min=1, max=10000)],
    end: Annotated[str | None, typer.Option(help="No occurrence after this")] = None,
) -> None:
    """The next occurrences of a series, the start itself being the first. Needs no database."""
    from worker.preview import preview_lines

    for line in preview_lines(start, pattern, timezone, count, end):
        typer.echo(line)


def main() -> int:
    try:
        app(standalone_mode=False)
    except ConfigError as e:
        print(e, file=sys.stderr)  # noqa: T201
        return EXIT_CONFIG
    except WorkerError as e:
        print(f"error: {e}", file=sys.stderr)  # noqa: T201
        return 1
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except (click.exceptions.Exit, SystemExit):
        return 0
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
