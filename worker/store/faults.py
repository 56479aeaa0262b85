"""What an error of Supabase means: this row's fault, our set-up, or an outage, which ends by itself.

SQLSTATEs are those of PostgreSQL's appendix A; statuses, and the codes that begin with PGRST, those of PostgREST's
"Errors" page, https://docs.postgrest.org/en/stable/references/errors.html.
"""

import re
import socket
import ssl
from collections.abc import Iterator

import httpx

from worker.errors import StoreAbsent, StoreError, StoreMisconfigured, StoreOverfull, StoreRefused

SQLSTATE = re.compile(r"[0-9A-Z]{5}")
# A value that no column takes, a constraint, a `raise` of a trigger, our own refusals. Nothing else is about a row.
OF_THE_ROW = re.compile(r"(22|23|P0)...|PT4(?!01|03|08|25|29)\d\d")
OF_THE_SETUP = re.compile(r"42...|PGRST20[02-5]")
# @supabase/lite answers 500 and the words alone where PostgREST answers 400 and a code.
LITE_ROW, LITE_SETUP = re.compile(r"violates|invalid|out of range"), re.compile(r"permission denied|does not exist")
MIGRATE = "run `migrate`, and `doctor` to see what is missing"
SIZE = "a server before the database takes no request of this size: raise its limit"
KEY = "if it stays so, look at SUPABASE_SERVICE_ROLE_KEY and at this machine's clock"


def fault_of(call: str, status: int, code: str, message: str) -> StoreError | StoreRefused:
    """status: the answer's HTTP status. code: of the JSON in its body, or what stands for it where there is none."""
    text = f"{call}: HTTP {status}{f', code {code}' if code not in ('', str(status)) else ''}: {message[:300]}".strip()
    if code == "SUP":
        if LITE_SETUP.search(message):
            return StoreMisconfigured(f"{text} ({MIGRATE})")
        return StoreRefused(text) if LITE_ROW.search(message) else StoreError(text)
    if OF_THE_ROW.fullmatch(code):
        return StoreRefused(text)
    if code in ("PGRST202", "PGRST002"):  # the schema cache, just after a migration
        kind = StoreAbsent if code == "PGRST202" else StoreError
        return kind(f"{text} (if it stays so, {MIGRATE})")
    if OF_THE_SETUP.fullmatch(code):
        return StoreMisconfigured(f"{text} ({MIGRATE})")
    if status == 413:
        return StoreOverfull(f"{text} ({SIZE})")
    return StoreError(f"{text} ({hint})" if (hint := _hint(status, code)) else text)


def _hint(status: int, code: str) -> str:
    if code == "25006":
        return "the database is read-only"
    if code == "55P03":
        return "a transaction that stays open holds what this needs: `status` and `doctor` say which"
    if status in (401, 403):
        return KEY
    if 300 <= status < 400:
        return "the server redirects: set SUPABASE_URL to where it leads"
    return ""


def unreachable(call: str, error: BaseException) -> StoreError:
    """Why no answer came, in words: the certificate, the name, the port, the time."""
    return StoreError(f"{call}: {_why(error)}")


def _why(error: BaseException) -> str:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the server's certificate is not trusted: {cause.verify_message}"
        if isinstance(cause, socket.gaierror):
            return f"the name of the server does not resolve: {cause.strerror or cause}"
        if isinstance(cause, ConnectionRefusedError):
            return "nothing listens on the server's port: the connection was refused"
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection within its time: a firewall, or the server is away"
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "no answer in time"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return "the connection ended before the answer was whole"
    words = next((str(cause) for cause in causes if str(cause)), "")
    return f"{type(error).__name__}{f': {words[:200]}' if words else ''}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, groups opened."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
