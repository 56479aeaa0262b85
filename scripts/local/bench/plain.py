"""The worker that the feature document describes: due rows through the API, then one row after the other."""

from typing import Any, cast
from uuid import uuid4

from supabase import create_client

from local.bench.ground import Ground


def measure(place: Ground, rows: int) -> float:
    """Seconds for `rows` rows that are due: two updates through the API for each."""
    client = create_client(place.stack.environment["SUPABASE_URL"], place.stack.keys["service_key"])
    place.add(rows, ahead=0)
    began = place.one("select clock_timestamp()")
    while due := cast(list[dict[str, Any]], client.rpc("get_pending_scheduled_messages").execute().data):
        for row in due:
            table = client.table("scheduled_messages")
            table.update({"status": "processing"}).eq("id", row["id"]).execute()
            outcome = {"status": "sent", "message_id": f"mock-{uuid4()}", "sent_at": "now"}
            table.update(outcome).eq("id", row["id"]).execute()
    return place.seconds_since(began)
