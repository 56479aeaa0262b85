"""What `status` shows of a database, whether it has what writes messages or the core alone."""

from worker.errors import StoreMisconfigured
from worker.store.answers import Overview
from worker.store.campaigns import Campaigns, RunUnderWay
from worker.store.store import Store


async def overview(store: Store, campaigns: Campaigns, stale_seconds: float) -> tuple[Overview, list[RunUnderWay]]:
    """One call, or two where there are no campaigns. Raises StoreError, StoreRefused."""
    try:
        return await campaigns.get_status(stale_seconds)
    except StoreMisconfigured:
        return await store.get_status(stale_seconds), []
