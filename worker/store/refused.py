"""What the database refused of one call, and how the log tells of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

SPOKEN = 20  # lines about rows that one call was refused


@dataclass(frozen=True, slots=True)
class Refused:
    """A row, a job or a receipt that could not be written. code: SQLSTATE.

    became: of a row that was to be enqueued `series ended`, `failed` or `put aside`.
    """

    id: str
    code: str
    reason: str
    became: str = "put aside"


def say_refused(what: str, refused: Sequence[Refused]) -> None:
    """A line for each of the first."""
    logger = structlog.get_logger()
    for one in refused[:SPOKEN]:
        said = {"row": one.id, "sqlstate": one.code, "reason": one.reason, "became": one.became}
        logger.error(f"the database refuses {what}", **said)
    if len(refused) > SPOKEN:
        logger.error(f"the database refuses {what}, and others", count=len(refused) - SPOKEN)
