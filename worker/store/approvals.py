"""What the daemon tells the database of the Cloud API's templates."""

from collections.abc import Sequence
from dataclasses import fields

from worker.models import ApprovedTemplate, TemplateStatus
from worker.store.api import Api, Row
from worker.store.reading import Calls
from worker.store.store import objects, p_rows

TEMPLATE = tuple(field.name for field in fields(ApprovedTemplate))
STATUS = tuple(field.name for field in fields(TemplateStatus))


class Approvals:
    """Its methods raise StoreRefused, StoreMisconfigured, and wait while Supabase is away, as long as the Api does.

    They raise StoreAbsent where the database has the core alone, and return how many campaigns were held by what was
    told. is_default: whether connections that name no gateway go through the Cloud API.
    """

    def __init__(self, api: Api) -> None:
        self._calls = Calls(api)

    async def record(self, account_id: str, listed: Sequence[ApprovedTemplate], is_default: bool) -> int:
        """The whole list of an account."""
        arguments: Row = {
            "p_account_id": account_id,
            "p_is_default": is_default,
            **p_rows(objects(listed, TEMPLATE)),
        }
        return await self._calls.row("record_approved_templates", arguments, _held, optional=True)

    async def record_statuses(self, told: Sequence[TemplateStatus], is_default: bool) -> int:
        """What a webhook says of some."""
        arguments: Row = {"p_is_default": is_default, **p_rows(objects(told, STATUS))}
        return await self._calls.row("record_template_statuses", arguments, _held, optional=True)


def _held(row: Row) -> int:
    return int(row["held"])
