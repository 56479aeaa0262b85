"""Which chat a phone number has at WhatsApp, remembered for a day.

An account may be registered under another form of its number (Brazil with or without the ninth digit, Mexico and
Argentina with or without a mobile prefix), and WAHA takes the wrong one without a word (devlikeapro/waha issues 238 and
2120, and its page "Brazilian Phone Numbers").
"""

import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

MOST = 50_000  # numbers, some ten megabytes
FOUND_SECONDS = 86_400.0
MISSING_SECONDS = 3600.0  # whoever has joined since need not wait for a day
PAUSE_SECONDS = 60.0  # after a look-up that failed: it must cost the next messages nothing

# asked of the gateway: (session, digits) → the chat's id, "" where there is no such account, None where it did not say
LookUp = Callable[[str, str], Awaitable[str | None]]
OTHER_FORMS = (
    (re.compile(r"(55\d\d)9(\d{8})"), r"\1\2"),
    (re.compile(r"(55\d\d)([6-9]\d{7})"), r"\g<1>9\2"),
    (re.compile(r"52(\d{10})"), r"521\1"),
    (re.compile(r"521(\d{10})"), r"52\1"),
    (re.compile(r"54(?!9)(\d{10})"), r"549\1"),
    (re.compile(r"549(\d{10})"), r"54\1"),
)


def other_form(digits: str) -> str | None:
    """The form under which WhatsApp may know a number as well; None where there is one alone."""
    return next((pattern.sub(to, digits) for pattern, to in OTHER_FORMS if pattern.fullmatch(digits)), None)


class Numbers:
    """Asks once for each number and session a day. `of` never fails: what cannot be found out is None."""

    def __init__(self, look_up: LookUp, clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up, self._clock = look_up, clock
        self._known: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()  # with the time of forgetting
        self._paused: dict[str, float] = {}  # sessions that could not be asked, until when

    async def of(self, session: str, digits: str) -> str | None:
        """The id of the chat; "" where WhatsApp has no such account, None where nobody could be asked."""
        now = self._clock()
        chat, until = self._known.get((session, digits), (None, 0.0))
        if chat is not None and now < until:
            return chat
        if now < self._paused.get(session, 0.0):
            return None
        chat = await self._ask(session, digits)
        if chat is None:
            self._paused[session] = self._clock() + PAUSE_SECONDS
        else:
            self._keep((session, digits), chat)
        return chat

    async def _ask(self, session: str, digits: str) -> str | None:
        chat, other = await self._look_up(session, digits), other_form(digits)
        return await self._look_up(session, other) if chat == "" and other else chat

    def _keep(self, key: tuple[str, str], chat: str) -> None:
        self._known[key] = (chat, self._clock() + (FOUND_SECONDS if chat else MISSING_SECONDS))
        self._known.move_to_end(key)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
