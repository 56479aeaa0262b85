"""Keeps what WhatsApp says of its approved templates, so that a campaign with one that it does not send is held."""

import asyncio
from collections.abc import Awaitable, Sequence

import structlog

from worker.config import Settings
from worker.errors import StoreMisconfigured, StoreRefused
from worker.gateway import ApprovedTemplates
from worker.models import TemplateStatus
from worker.store.approvals import Approvals
from worker.waiting import Alarm, Patience
from worker.watch.vitals import Vitals

log = structlog.get_logger()

READ_SECONDS = 3600.0  # between two looks at the whole list; what changes meanwhile a webhook tells


class ApprovalSource:
    """`listed` is None where no business account is named: then only what a webhook tells is known."""

    def __init__(
        self, approvals: Approvals, listed: ApprovedTemplates | None, settings: Settings, vitals: Vitals
    ) -> None:
        self._approvals, self._listed = approvals, listed
        self._is_default = settings.gateway == "cloud"
        self.alarm = Alarm(lambda: vitals.beat("approvals"), every=READ_SECONDS)
        self._patience = Patience("WhatsApp's templates cannot be read", READ_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. What Meta or Supabase refuses is logged once, and tried again."""
        if self._listed is None:
            return
        while await self.alarm.rings(stop):
            self.alarm.within(await self._patience.attempt(self.read()))

    async def read(self) -> None:
        """The whole list, once. Raises WorkerError."""
        if self._listed is None:
            return
        found = await self._listed.read(self.alarm.beat)
        await self._keep(self._approvals.record(self._listed.account_id, found, self._is_default))

    async def hear(self, told: Sequence[TemplateStatus]) -> None:
        """What a webhook says."""
        for one in told:
            log.info("a template has changed", template=one.name, language=one.language, status=one.status)
        await self._keep(self._approvals.record_statuses(told, self._is_default))

    async def _keep(self, recording: Awaitable[int]) -> None:
        """A database that has the core alone has no use for it; what is refused would be so the next time, too."""
        try:
            held = await recording
        except (StoreMisconfigured, StoreRefused) as e:
            log.warning("what became of templates is not kept", reason=str(e))
            return
        if held:
            log.warning("campaigns are held, because WhatsApp does not send their template", campaigns=held)
