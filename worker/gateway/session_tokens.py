"""wppconnect's tokens, each of which is good for one session: bcrypt of the session's name and the server's SECRET_KEY
(wppconnect-server/src/middleware/auth.ts, controller/encryptController.ts)."""

from urllib.parse import quote

from worker.gateway.client import Answer, Http, first_text
from worker.models import Retry, Stopped, Unconfirmed

WRONG_SECRET = Stopped("wppconnect does not accept WPPCONNECT_SECRET_KEY: it must be the server's own SECRET_KEY")
NO_TOKENS = Stopped("wppconnect makes no token for this session: check WPPCONNECT_URL and the server's version")


class SessionTokens:
    """secret_key: makes them. token: the one for all, where there is no secret key."""

    def __init__(self, http: Http, *, secret_key: str = "", token: str = "") -> None:
        self._http, self._secret_key, self._token = http, secret_key, token
        self._made: dict[str, str] = {}

    async def of(self, sender: str, deadline: float) -> str | Retry | Stopped:
        """The sender's own, where it is `session:token`; else the one that we made, or make now."""
        session, _, own = sender.partition(":")
        if own:
            return own
        if not self._secret_key:
            return self._token
        if session not in self._made:
            made = await self._make(session, deadline)
            if not isinstance(made, str):
                return made
            self._made[session] = made
        return self._made[session]

    def forget(self, sender: str, refused: str) -> bool:
        """Whether a new one can be made instead of the refused one: the server's key may have changed."""
        session = session_of(sender)
        if self._made.get(session) != refused:
            return False
        del self._made[session]
        return True

    async def _make(self, session: str, deadline: float) -> str | Retry | Stopped:
        path = f"/api/{quote(session, safe='')}/{quote(self._secret_key, safe='')}/generate-token"
        answer = await self._http.call("POST", path, deadline)
        # No message was sent, whatever became of this request; and of an answer's words some may repeat the secret.
        if isinstance(answer, Retry | Unconfirmed):
            return Retry(answer.reason)
        if not isinstance(answer, Answer) or answer.status == 404:
            return NO_TOKENS
        if answer.ok:
            return first_text(answer.body, ("token",)) or NO_TOKENS
        return WRONG_SECRET if answer.status == 400 else Retry(f"wppconnect made no token (status {answer.status})")


def session_of(sender: str) -> str:
    """The session's name alone: a sender may hold a token, which is a secret."""
    return sender.partition(":")[0]
