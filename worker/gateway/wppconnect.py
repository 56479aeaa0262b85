"""wppconnect-server 2.x (https://wppconnect.io/docs/projects/wppserver)."""

from typing import Any
from urllib.parse import quote

from worker.config import Settings
from worker.errors import Shortage
from worker.gateway.base import timeout_within
from worker.gateway.client import Answer, Answered, Http, dig, first_text, settled
from worker.gateway.posting import File, PostingGateway, Request
from worker.gateway.session_tokens import SessionTokens, session_of
from worker.gateway.words import NOT_FETCHED, NOT_FOUND, UNKNOWN_NUMBER, Fault, browser
from worker.models import ContentKind, Health, Message, Rejected, Retry, Sent, Stopped, Unconfirmed

ROUTES: dict[ContentKind, str] = {
    "image": "send-image",
    "video": "send-file",
    "audio": "send-voice",
    "document": "send-file",
}
ATTACHMENT_ACKS = (-3, -4, -5)  # gone, too big, cannot be uploaded (wa-js/src/whatsapp/enums/ACK.ts)

SESSION_DOWN = Stopped("The wppconnect session is not connected to WhatsApp")
NO_TOKEN = Stopped(
    "wppconnect does not accept the token, which is good for one session alone: set WPPCONNECT_SECRET_KEY, or the "
    "connection's sender to session:token"
)
NOT_IN_CHAT = Rejected("WhatsApp takes no such message in this chat")
NO_FILE = Rejected("wppconnect cannot use the attachment: check its size and type")
LOST = Unconfirmed("wppconnect lost WhatsApp's answer")
DENIED = Unconfirmed("wppconnect said that the number does not exist, and may have sent it all the same")

# wppconnect-server/src/middleware/auth.ts, statusConnection.ts, controller/messageController.ts (every fault of the
# sending is a 500), wppconnect/src/api/layers/sender.layer.ts and wa-js/src/assert, chat/functions (its codes).
FAULTS: tuple[Fault, ...] = (
    (401, r"session and token are correct|token is not present|session not informed", NO_TOKEN),
    (400, r"não existe|not exist", UNKNOWN_NUMBER),
    (404, r"não está ativa|disconnected", SESSION_DOWN),
    (404, r"^cannot (?:post|get) /", Stopped("wppconnect does not know this address: check WPPCONNECT_URL")),
    (400, r"^error sending message$", Rejected("wppconnect found no recipient in the request")),
    (500, r"^empty_file\b|^empty or invalid file|no such file or directory, open", NOT_FETCHED),
    (500, r"^(?:invalid_image|sharp_error|file_too_large)\b|exceeds the upload limit", NO_FILE),
    (500, r"^(?:chat_not_found|invalid_wid)\b|^chat not found for|^invalid wid value", NOT_FOUND),
    (500, r"^(?:can_not_send_message|type_not_valid)|^you can not send message to this", NOT_IN_CHAT),
    *browser(SESSION_DOWN),
    (None, r"timed out", LOST),
)
BY_STATE: dict[tuple[int, str], Answered] = {
    (400, "connected"): UNKNOWN_NUMBER,
    (400, "disconnected"): SESSION_DOWN,
    (404, "disconnected"): SESSION_DOWN,
}


class Wppconnect(PostingGateway):
    name = "wppconnect"
    faults = FAULTS

    def __init__(self, http: Http, *, link_previews: bool = False, tokens: SessionTokens | None = None) -> None:
        super().__init__(http, link_previews=link_previews)
        self.tokens = tokens or SessionTokens(http)

    async def send_part(self, message: Message, deadline: float) -> Answered:
        """It also says that a number does not exist when asking failed, and then goes on (statusConnection.ts)."""
        outcome = await super().send_part(message, deadline)
        if isinstance(outcome, Rejected) and outcome.reason.startswith(UNKNOWN_NUMBER.reason):
            return outcome if await self.is_unknown(message, deadline) else DENIED
        return outcome

    async def is_unknown(self, message: Message, deadline: float) -> bool:
        """Asks once more; a server that cannot be asked is believed while its session is connected."""
        phone = quote(str(addressed(message)["phone"]), safe="")
        try:
            answer = await self.get(message.sender, path(f"check-number-status/{phone}", message), deadline)
            if not isinstance(answer, Answer) or answer.status >= 500:
                return False
            if isinstance(exists := dig(answer.body, "response", "numberExists"), bool):
                return not exists
            state = await self.get(message.sender, self.health_path(message.sender), deadline)
            return isinstance(state, Answer) and state.ok and self.health(state.body).ok
        except Shortage:  # it may have been sent, which a shortage of ours must not hide
            return False

    async def post(self, message: Message, request: Request, deadline: float) -> Answer | Answered:
        return await self.authorized("POST", message.sender, request.path, deadline, request.body)

    async def get(self, sender: str, path: str, deadline: float) -> Answer | Answered:
        return await self.authorized("GET", sender, path, deadline)

    async def authorized(
        self, method: str, sender: str, path: str, deadline: float, body: object = None, *, again: bool = True
    ) -> Answer | Answered:
        """With the session's own token. One that we made and that is refused is made anew, once."""
        token = await self.tokens.of(sender, deadline)
        if not isinstance(token, str):
            return token
        headers = {"authorization": f"Bearer {token}"} if token else None
        answer = await self.http.call(method, path, deadline, body, headers)
        if again and isinstance(answer, Answer) and answer.status == 401 and self.tokens.forget(sender, token):
            return await self.authorized(method, sender, path, deadline, body, again=False)
        return answer

    def text(self, message: Message) -> Request:
        # wppconnect-server/src/controller/messageController.ts hands `options` to wa-js, whose sendTextMessage reads it
        options = {"linkPreview": self.link_previews}
        return Request(
            path("send-message", message), {**addressed(message), "message": message.text, "options": options}
        )

    def file(self, message: Message, file: File) -> Request:
        body = {**addressed(message), "path": file.url, "filename": file.name}
        if file.kind == "audio":
            return Request(path(ROUTES[file.kind], message), body)
        # Without it the kind is detected, and a picture that its author sends as a document arrives as a picture
        # (wppconnect/src/api/layers/sender.layer.ts, sendFile: `auto-detect`).
        options = {"type": file.kind}
        return Request(path(ROUTES[file.kind], message), {**body, "caption": message.text, "options": options})

    def accepted(self, body: Any) -> Answered:
        """A 201 also comes for what WhatsApp Web gave up at once; the message tells (its issue 2517)."""
        sent = dig(body, "response", 0) or dig(body, "response")
        ack, result = dig(sent, "ack"), dig(sent, "sendMsgResult", "messageSendResult")
        if ack in ATTACHMENT_ACKS:
            return NO_FILE
        if (isinstance(ack, int) and ack < 0) or dig(sent, "isSendFailure") is True:
            return Retry("WhatsApp Web could not send it")
        if str(dig(body, "status")).lower() == "error":
            return Unconfirmed("wppconnect accepted it, but reports a fault")
        if ack == 0 and isinstance(result, str) and result != "OK":
            return Unconfirmed("WhatsApp Web did not get it away yet, and may still do so")
        found = first_text(sent, ("id",), ("id", "_serialized"), ("key", "id"), ("id", "id"))
        return Sent(found) if found else Unconfirmed("wppconnect accepted it, but named no message")

    def refused(self, answer: Answer, message: Message | None = None) -> Answered:
        """`status` tells of the phone where the server refuses before sending; the words beside it are translated by
        many (statusConnection.ts; a session that is down was a 400 in older versions)."""
        state = first_text(answer.body, ("status",)).lower()
        known = BY_STATE.get((answer.status, state))
        if known:
            return settled(known, answer, self.words(answer.body), self.otherwise)
        return super().refused(answer, message)

    def words(self, body: Any) -> str:
        """`error` is a text or an object, often an empty one; its `to` and what else it holds are the request's."""
        error = dig(body, "error")
        said = (
            first_text(error, ("code",)),
            first_text(error, ("text",), ("message",)) or first_text(body, ("error",)),
            body if isinstance(body, str) else first_text(body, ("message",)),
        )
        return " ".join(word for word in said if word)

    def health_path(self, sender: str) -> str:
        """check-connection-session says true of every session that is loaded (sessionController.ts)."""
        return f"/api/{quote(session_of(sender), safe='')}/status-session"

    def health(self, body: Any) -> Health:
        status = first_text(body, ("status",)) or "unknown"
        return Health(status == "CONNECTED", f"session {status}")


def path(verb: str, message: Message) -> str:
    return f"/api/{quote(session_of(message.sender), safe='')}/{verb}"


def addressed(message: Message) -> dict[str, object]:
    """The server cuts the domain off and adds its own, by these flags."""
    name, _, domain = message.recipient.lstrip("+").partition("@")
    return {
        "phone": name,
        "isGroup": domain == "g.us",
        "isNewsletter": domain == "newsletter",
        "isLid": domain == "lid",
    }


def build(settings: Settings) -> Wppconnect:
    timeout = timeout_within(settings.lease_seconds)
    http = Http(settings.wppconnect_url or "", {}, timeout=timeout, connections=settings.concurrency)
    secret, token = settings.wppconnect_secret_key or "", settings.wppconnect_token or ""
    return Wppconnect(
        http, link_previews=settings.link_previews, tokens=SessionTokens(http, secret_key=secret, token=token)
    )
