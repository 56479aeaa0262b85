"""What an error of Supabase means. Only what the database says of a row is a row's fault."""

import socket
import ssl

import httpx
import pytest

from local.postgres import free_port
from worker.errors import StoreAbsent, StoreError, StoreMisconfigured, StoreOverfull, StoreRefused
from worker.store.faults import fault_of, unreachable

# status, code, and whose matter it is. PostgREST's pairs of status and SQLSTATE are those of its page on errors.
CASES = [
    *[(413, code, StoreOverfull) for code in ("413", "")],
    *[(400, code, StoreRefused) for code in ("22001", "22003", "22007", "22023", "22P02", "22P05", "23502", "23514")],
    *[(409, code, StoreRefused) for code in ("23503", "23505", "PT409")],
    *[(400, code, StoreRefused) for code in ("P0001", "PT400", "PT422")],
    *[(status, "42501", StoreMisconfigured) for status in (401, 403)],
    *[(404, code, StoreMisconfigured) for code in ("42883", "42P01", "PGRST205")],
    *[(400, code, StoreMisconfigured) for code in ("42703", "42804", "42P17", "PGRST204")],
    *[(401, code, StoreError) for code in ("401", "", "PGRST301", "PGRST302", "PGRST303", "PT401")],
    *[(403, code, StoreError) for code in ("403", "", "PT403")],
    *[(404, code, StoreError) for code in ("404", "PGRST125", "")],
    (404, "PGRST202", StoreAbsent),
    *[(405, code, StoreError) for code in ("405", "25006", "PGRST101", "PGRST117")],
    *[(406, code, StoreError) for code in ("406", "PGRST106", "PGRST107", "PGRST116")],
    *[(409, code, StoreError) for code in ("409", "", "40001")],
    *[(status, str(status), StoreError) for status in (301, 302, 307, 308, 402, 408, 410, 415, 418, 425, 429, 451)],
    *[(status, str(status), StoreError) for status in (500, 502, 503, 504, 520, 521, 522, 525, 530, 544, 546)],
    *[(500, code, StoreError) for code in ("40001", "40P01", "53100", "53200", "54001", "55P03", "57014", "XX000")],
    *[(503, code, StoreError) for code in ("53300", "53400", "57P01", "57P03", "08006", "PGRST000", "PGRST001")],
    *[(504, code, StoreError) for code in ("57014", "PGRST003")],
    *[(500, code, StoreError) for code in ("0A000", "38000", "58030", "F0000", "25000", "U0001", "PT503", "PT429")],
]


@pytest.mark.parametrize(("status", "code", "kind"), CASES)
def test_whose_matter_an_error_is(status: int, code: str, kind: type[Exception]) -> None:
    error = fault_of("enqueue_broadcast_jobs", status, code, "words")
    assert type(error) is kind
    assert f"enqueue_broadcast_jobs: HTTP {status}" in str(error)
    assert code in str(error)
    assert "words" in str(error)


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (401, "PGRST303", "SUPABASE_SERVICE_ROLE_KEY"),
        (403, "403", "SUPABASE_SERVICE_ROLE_KEY"),
        (403, "42501", "run `migrate`"),
        (404, "PGRST202", "run `migrate`"),
        (405, "25006", "read-only"),
        (301, "301", "SUPABASE_URL"),
    ],
)
def test_it_says_what_to_do(status: int, code: str, advice: str) -> None:
    assert advice in str(fault_of("get_agenda", status, code, "words"))


def failing(url: str) -> Exception:
    """What a request to it raises."""
    with httpx.Client(trust_env=False, timeout=5) as client, pytest.raises(httpx.HTTPError) as raised:
        client.get(url)
    return raised.value


def test_it_says_why_there_is_no_connection() -> None:
    certificate = ssl.SSLCertVerificationError(1, "certificate verify failed")
    certificate.verify_message = "self-signed certificate"
    wrapped = httpx.ConnectError("All connection attempts failed")
    wrapped.__cause__ = ExceptionGroup("multiple", [OSError("one"), certificate])
    assert "certificate is not trusted: self-signed certificate" in str(unreachable("get_agenda", wrapped))
    assert "does not resolve" in str(unreachable("get_agenda", failing("http://no-such-name.invalid/")))
    assert "nothing listens" in str(unreachable("get_agenda", failing(f"http://127.0.0.1:{free_port()}/")))
    assert "in time" in str(unreachable("get_agenda", httpx.ReadTimeout("")))
    assert "ended before" in str(unreachable("get_agenda", httpx.RemoteProtocolError("")))
    assert "ValueError: odd" in str(unreachable("get_agenda", ValueError("odd")))
    assert "does not resolve" in str(unreachable("get_agenda", socket.gaierror(-2, "Name or service not known")))
