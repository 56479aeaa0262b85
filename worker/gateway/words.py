"""What the libraries under the self-hosted gateways say when they fail, and what it proves.

A pattern whose outcome lets the message go out again begins where the words do: the same words inside others may come
from a store, a hook or a page that failed after the message had gone. WhatsApp's 463 alone proves itself anywhere.
docs/gateways.md says of each row where it is written.
"""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from worker.gateway.client import Answered
from worker.models import Locked, Message, Rejected, Retry, Stopped, Throttled, Unconfirmed

# A row of a gateway's fault table: status (None: any), a pattern for its error text (any case), what they mean.
Fault = tuple[int | None, str, Answered]

# How a fault's name and gRPC's status stand before its words, in `String(error)` and in grpc-js.
SAID = r"^(?:\w*Error: |\d+ [A-Z_]+: )*"
LONGEST = 4000  # characters that are looked at

UNKNOWN_NUMBER = Rejected("No WhatsApp account has this number")
NOT_FOUND = Rejected("WhatsApp does not find this number: check it, or write to it once from the phone itself")
NOT_IN_GROUP = Rejected("The sending phone is not in this group, or the group does not exist")
LOCKED = Locked("WhatsApp does not let this number write to people who have not written to it, for now")
BUSY = Throttled("WhatsApp asks this number to slow down", "connection")
NOT_ENCRYPTED = Retry("The gateway has no keys for this recipient: if it goes on, pair the session anew")
NOT_ASKED = Retry("WhatsApp did not answer the gateway before the message was sent")
REFUSED = Retry("WhatsApp refused the message: if it refuses others too, restart the session")
BROKEN = Stopped("WhatsApp refuses what this session sends: restart the session")
NO_UPLOAD = Retry("The gateway could not hand the attachment to WhatsApp")
NOT_FETCHED = Rejected("The gateway cannot fetch the attachment: check that its address is right and public")
NOT_FETCHED_YET = Retry("The gateway could not fetch the attachment")


# In every engine (whatsmeow/errors.go, Baileys/src/Utils/decode-wa-message.ts): the number of WhatsApp's refusal.
LOCK: Fault = (None, r"\berr\w*:? (?:code )?463\b|reach-?out.?time-?lock", LOCKED)


# What WhatsApp answers to a query, which a message is not (Baileys/src/WABinary/generic-utils.ts, assertNodeErrorFree).
IQ_ERRORS = (
    r"(?:forbidden|not-authorized|not-acceptable|not-allowed|item-not-found|bad-request|internal-server-error|"
    r"service-unavailable|feature-not-implemented|resource-limit|resource-constraint|conflict|gone)$"
)


def baileys(down: Stopped, lost: Unconfirmed) -> Sequence[Fault]:
    """WAHA's NOWEB and Evolution. The message is the last thing that Baileys sends: what a query, the keys or an
    upload say comes before it (Baileys/src/Socket/messages-send.ts, relayMessage; libsignal/src/session_cipher.js)."""
    return (
        LOCK,
        (None, SAID + r"connection closed\.?$", down),
        (None, SAID + r"websocket is not open: readystate \d", down),  # ws/lib/websocket.js: before anything is written
        (None, SAID + r"not authenticated$", down),
        (None, r"timed out", lost),
        (None, SAID + r"no (?:sessions|session record|open session)$", NOT_ENCRYPTED),
        (None, SAID + r"all encryptions failed$", NOT_ENCRYPTED),
        (None, SAID + r"rate-overlimit$", BUSY),
        (None, SAID + IQ_ERRORS, NOT_ASKED),
        (None, SAID + r"invalid group metadata response", NOT_ASKED),
        (None, SAID + r"media upload failed on all hosts$", NO_UPLOAD),
    )


def whatsmeow(down: Stopped) -> Sequence[Fault]:
    """WAHA's GOWS (whatsmeow/send.go, errors.go, upload.go; gows/src/gows/manager.go).

    A bare "websocket not connected" is not here: it also comes when the answer to a message was lost (request.go,
    retryFrame), and so does a failed "send message node", unless there was no connection to write it to.
    """
    nothing_sent = (
        r"failed to (?:get (?:lid|user info|group members|broadcast list|device list)|fetch lid|prefetch sessions|"
        r"save cached|clear untrusted|process prekey|marshal message|encrypt (?:group|peer)|create sender key)"
    )
    return (
        LOCK,
        (None, SAID + r"server returned error 429$", BUSY),
        (None, SAID + r"server returned error 400$", BROKEN),
        (None, SAID + r"server returned error \d+$", REFUSED),
        (None, SAID + r"no lid found for", NOT_FOUND),
        (None, SAID + r"(?:failed to .*: )?you're not participating in that group$", NOT_IN_GROUP),
        (None, SAID + r"(?:failed to .*: )?that group does not exist$", NOT_IN_GROUP),
        (None, SAID + r"can't send message to unknown server", Rejected("WhatsApp has no such kind of recipient")),
        (None, SAID + r"failed to .*: websocket not connected$", down),
        (None, SAID + r"(?:session not found|client is nil|the store doesn't contain a device jid)$", down),
        # "14 UNAVAILABLE": the engine's process does not run
        (None, SAID + r"no connection established|^14 unavailable: (?:name|dns) resolution failed", down),
        (None, SAID + r"failed to (?:refresh media|prepare request|execute request|encrypt file)", NO_UPLOAD),
        (None, SAID + r"upload failed with status code \d+$", NO_UPLOAD),
        (None, SAID + nothing_sent, NOT_ASKED),
    )


def browser(down: Stopped) -> Sequence[Fault]:
    """WAHA's WEBJS and wppconnect: a page in Chromium. What it throws often comes after the message went out; only
    these prove something (puppeteer-core/src/cdp/CdpSession.ts, Connection.ts, api/Frame.ts; WhatsApp's own page)."""
    return (
        LOCK,
        (None, SAID + r"no lid for user", NOT_FOUND),
        (None, SAID + r"protocol error[^:]*: (?:session|connection) closed\. most likely", down),
        (None, SAID + r"attempted to use detached frame", down),
    )


# axios' words for an answer to its own request: nothing is sent before the attachment is there.
ATTACHMENT: Sequence[Fault] = (
    (None, r"^request failed with status code (?:408|425|429|5\d\d)$", NOT_FETCHED_YET),
    (None, r"^request failed with status code [34]\d\d$", NOT_FETCHED),
    (None, SAID + r"failed to fetch stream from ", NOT_FETCHED),
)
# A proxy before the gateway that found nobody to pass the message on to: Traefik, HAProxy, nginx' Kubernetes ingress,
# and Cloudflare (521 refused, 523 unreachable, 525 and 526 no TLS, 530 no such origin). Its 502 and 504 do not tell.
# Cloudflare and Railway answer in JSON whoever asks for it.
NOT_AVAILABLE = Retry("The gateway is not available")
PROXIES: Sequence[Fault] = (
    (
        400,
        r"plain http request was sent to https port|sent an http request to an https server",
        Stopped("The gateway's address must begin with https://"),
    ),
    (
        404,
        r"^application not found$",
        Stopped("Nothing runs at the gateway's address: check its URL, and that it runs"),
    ),
    (503, r"no available server|no server is available|temporarily unavailable.*nginx", NOT_AVAILABLE),
    *((status, r"", NOT_AVAILABLE) for status in (521, 523, 525, 526, 530)),
)
PASSING = re.compile(r"econnre|etimedout|eai_again|ehostunreach|enetunreach|socket hang up|timeout", re.IGNORECASE)
NETWORK = re.compile(PASSING.pattern + r"|enotfound|cert|altname|redirects|protocol", re.IGNORECASE)


def judged(faults: Iterable[Fault], status: int | None, words: str, message: Message | None = None) -> Answered | None:
    """The attachment's fault where the words name its host; else what the first row says that fits; else None."""
    line = " ".join(words.split())
    line = line if len(line) <= LONGEST else line[:LONGEST] + "…"
    if message and (fault := unfetched(message, line)):
        return fault
    for its_status, pattern, outcome in faults:
        if its_status in (None, status) and re.search(pattern, line, re.IGNORECASE):
            return outcome
    return None


def unfetched(message: Message, line: str) -> Answered | None:
    """A fault of the network that names the attachment's host can only come from fetching it."""
    url = message.media.url if message.media else None
    host = urlsplit(url).hostname if url else None
    if not host or host not in line.lower() or not NETWORK.search(line):
        return None
    return NOT_FETCHED_YET if PASSING.search(line) else NOT_FETCHED
