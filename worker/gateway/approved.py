"""The templates of a WhatsApp business account, as Meta lists them: developers.facebook.com/docs/graph-api/reference/
whats-app-business-account/message_templates. The token needs the permission whatsapp_business_management.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from worker.config import Settings
from worker.errors import WorkerError
from worker.gateway import meta
from worker.gateway.client import Answer, Http, clean, dig, first_text
from worker.models import ApprovedTemplate

FIELDS = "name,language,status,category,parameter_format,components,rejected_reason"
PAGE = 50  # templates; with their components and examples they are a few kilobytes each, those with carousels more
LONGEST_PAGE = 4 * 1024 * 1024  # bytes
MOST_PAGES = 200  # an account has at most 6,000 (Meta, "Template limits")
TIMEOUT = 30.0  # seconds for a page
PLACE = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")


class ApprovedTemplates:
    """One account's list. Reading it sends nothing."""

    def __init__(self, http: Http, account_id: str) -> None:
        self._http, self.account_id = http, account_id

    async def read(self, on_page: Callable[[], object] = lambda: None) -> list[ApprovedTemplate]:
        """All of them, whatever their status. Raises WorkerError with what Meta says.

        on_page: is told of each, since a list of many may take longer than a loop may be silent.
        """
        found, after = list[ApprovedTemplate](), ""
        for _ in range(MOST_PAGES):
            body = await self._page(after)
            on_page()
            listed = dig(body, "data")
            if not isinstance(listed, list):  # to take it for an empty one would stop every campaign
                raise WorkerError("WhatsApp was asked for its templates and answered with something that is no list")
            found += [one for entry in listed if (one := template(entry))]
            after = first_text(body, ("paging", "cursors", "after"))
            if not after or not dig(body, "paging", "next"):
                return found
        raise WorkerError(f"WhatsApp lists more than {MOST_PAGES * PAGE} templates")

    async def _page(self, after: str) -> Any:
        path = f"/{quote(self.account_id, safe='')}/message_templates?fields={FIELDS}&limit={PAGE}"
        if after:
            path += f"&after={quote(after, safe='')}"
        answer = await self._http.call("GET", path, asyncio.get_running_loop().time() + TIMEOUT)
        if not isinstance(answer, Answer):
            raise WorkerError(answer.reason)
        if not answer.ok:
            said = clean(meta.words(dig(answer.body, "error"))) or f"HTTP {answer.status}"
            raise WorkerError(f"WhatsApp does not list the templates of this business account ({said})")
        return answer.body

    async def aclose(self) -> None:
        await self._http.aclose()


def template(entry: object) -> ApprovedTemplate | None:
    """One of the list; None where it is not what Meta documents."""
    name, language, status = (first_text(entry, (key,)) for key in ("name", "language", "status"))
    if not (name and language and status):
        return None
    parts = {first_text(one, ("type",)).upper(): one for one in components(entry)}
    header = parts.get("HEADER")
    of_body = places(parts.get("BODY"))
    reason = first_text(entry, ("rejected_reason",))
    return ApprovedTemplate(
        name=name,
        language=language,
        status=status.upper(),
        reason=reason if reason not in ("", "NONE") else None,
        format=first_text(entry, ("parameter_format",)).lower()
        or ("positional" if all(place.isdigit() for place in of_body) else "named"),
        places=of_body,
        header=first_text(header, ("format",)).lower() or None,
        header_places=places(header),
    )


def components(entry: object) -> Iterator[object]:
    listed = dig(entry, "components")
    yield from listed if isinstance(listed, list) else []


def places(component: object) -> list[str]:
    """The names or numbers of a text's places, each once."""
    return list(dict.fromkeys(PLACE.findall(first_text(component, ("text",)))))


def read_by(settings: Settings) -> ApprovedTemplates | None:
    """Of the account that the settings name; None where they name none."""
    if not (settings.whatsapp_business_account_id and settings.whatsapp_access_token):
        return None
    headers = {"authorization": f"Bearer {settings.whatsapp_access_token}"}
    http = Http(settings.whatsapp_api_base, headers, timeout=TIMEOUT, connections=1, longest=LONGEST_PAGE)
    return ApprovedTemplates(http, settings.whatsapp_business_account_id)
