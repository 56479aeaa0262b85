"""What the codes of Meta's Graph API mean, to the Cloud API and to gateways that pass its errors on.

developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes, and for what is not WhatsApp's
own developers.facebook.com/docs/graph-api/guides/error-handling. Meta says to decide on the code and its details, not
on the HTTP status. An error means that nothing went out.
"""

from typing import Any

from worker.gateway.client import Answered, dig, first_text
from worker.models import Rejected, Retry, Stopped, Throttled

DAY = 86_400.0

PASSING = Retry("WhatsApp had a passing fault")
NO_ACCESS = Stopped("WhatsApp does not accept our credentials: check the access token and its permissions")
NO_NUMBER = Stopped(
    "WhatsApp does not know this phone number id, or the token has no right to it: check the connection's sender, "
    "WHATSAPP_PHONE_NUMBER_ID and the token's permissions"
)
OLD_VERSION = Stopped("Meta no longer offers this version of its API: set a newer one in WHATSAPP_API_BASE")
CLOSED = Stopped("WhatsApp has restricted this business account")
NOT_REGISTERED = Stopped("This phone number is not registered with WhatsApp")
SLOW_DOWN = Throttled("This number sends faster than WhatsApp allows", "connection")
IN_THE_MANAGER = "in WhatsApp Manager under Message templates"
NO_TEMPLATE = Rejected(
    f"WhatsApp has no approved template of this name in this language: compare both with what stands {IN_THE_MANAGER}"
)
PAUSED_TEMPLATE = Rejected(
    f"WhatsApp has switched this template off for good, for low quality: write another one {IN_THE_MANAGER}"
)
AGAINST_POLICY = Rejected(f"The template's text breaks WhatsApp's rules for templates: change it {IN_THE_MANAGER}")
TOO_LONG = Rejected("With these values the template's text is too long for WhatsApp: shorten the values")
BAD_PARAMETERS = Rejected(
    "The values do not fit the approved template: give it as many as it has places, each of its kind and under its name"
)
BAD_FLOW = Rejected(f"The template's flow cannot be used: publish or mend it {IN_THE_MANAGER}")
BAD_REQUEST = Rejected("WhatsApp refuses the request")
BAD_MEDIA = Rejected("WhatsApp cannot use the attachment: check its address, type and size")

CODES: dict[int, Answered] = {
    **dict.fromkeys((1, 2, 131000, 131016, 133004, 131057, 134101), PASSING),
    **dict.fromkeys((4, 17, 32, 341, 613, *range(80000, 80015), 130429), SLOW_DOWN),
    131056: Throttled("Too many messages to this recipient in a short time", "recipient"),
    131049: Retry("WhatsApp holds marketing back from this recipient for now", after=DAY),
    131064: Retry("This number has reached WhatsApp's messaging limit", after=DAY),
    132015: Retry("WhatsApp has paused this template for low quality: it may go on by itself within hours", after=DAY),
    132069: Retry("WhatsApp throttles this template's flow", after=DAY),
    130472: Rejected("WhatsApp keeps this recipient out of marketing by an experiment: do not send it again"),
    **dict.fromkeys((0, 3, 10, 102, 190, 104, 131005, *range(200, 300)), NO_ACCESS),
    **dict.fromkeys((33, 803), NO_NUMBER),
    **dict.fromkeys((12, 2635), OLD_VERSION),
    **dict.fromkeys((368, 131031), CLOSED),
    2500: Stopped("Meta does not know this address: check WHATSAPP_API_BASE and the connection's sender"),
    131037: Stopped("The sending number needs a display name that WhatsApp has approved"),
    131042: Stopped("WhatsApp has a payment problem with this business account"),
    **dict.fromkeys((131045, 133010, 133015, 133016), NOT_REGISTERED),
    131048: Stopped("WhatsApp restricts this number because messages were reported as spam"),
    131047: Rejected("More than 24 hours since the recipient's last message: only a template may be sent"),
    132001: NO_TEMPLATE,
    132005: TOO_LONG,
    132007: AGAINST_POLICY,
    132016: PAUSED_TEMPLATE,
    132068: BAD_FLOW,
    **dict.fromkeys((132000, 132008, 132012, 132018), BAD_PARAMETERS),
    131026: Rejected("WhatsApp cannot deliver to this number: it may have no WhatsApp account"),
    131050: Rejected("The recipient has opted out of these messages"),
    131021: Rejected("The recipient is the sending number itself"),
    131030: Rejected("The recipient is not in the test number's list"),
    130497: Rejected("WhatsApp does not let this business write to the recipient's country"),
    **dict.fromkeys((131051, 131052, 131053), BAD_MEDIA),
    **dict.fromkeys((100, 131008, 131009, 131055, 131062, 131063, 135000, 137000), BAD_REQUEST),
}
# Subcodes that say more than their code (Graph's "Unsupported post request. Object with ID … does not exist").
SUBCODES: dict[tuple[int, int], Answered] = {(100, 33): NO_NUMBER}


def judged(error: Any) -> Answered | None:
    """What an error object says; None where its code is not known."""
    code, subcode = code_of(error), code_of(error, "error_subcode")
    if code is None:
        return PASSING if dig(error, "is_transient") is True else None
    known = SUBCODES.get((code, subcode)) if subcode is not None else None
    return known or CODES.get(code) or (PASSING if dig(error, "is_transient") is True else None)


def code_of(error: Any, name: str = "code") -> int | None:
    """Also where what stands between Meta and us has made a text of it."""
    code = dig(error, name)
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) < 10:
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def words(error: Any) -> str:
    """ "code: details"."""
    code = code_of(error)
    said = first_text(error, ("error_data", "details"), ("message",))
    return f"{code}: {said.removeprefix(f'(#{code}) ')}" if code is not None else said
