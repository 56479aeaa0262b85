"""Whether SUPABASE_URL is the server's own address."""

import httpx

from worker.config import Settings
from worker.errors import ConfigError


async def refuse_redirect(settings: Settings) -> None:
    """Raises ConfigError where SUPABASE_URL leads to the same path at another address, from http to https for one.

    Only for that: whatever else the server answers, or does not, may be over in a moment.
    """
    path = "/rest/v1/"
    try:
        async with httpx.AsyncClient(timeout=5) as http:
            answer = await http.get(
                settings.supabase_url + path, headers={"apikey": settings.supabase_service_role_key}
            )
    except (httpx.HTTPError, OSError):
        return
    given, final = answer.url, answer.next_request.url if answer.next_request else answer.url
    if final.path == given.path and (final.scheme, final.netloc) != (given.scheme, given.netloc):
        address = str(final).partition("?")[0].removesuffix(path)
        raise ConfigError(f"SUPABASE_URL: the server there redirects to {address}: set it to that")
