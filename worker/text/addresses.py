"""Pure: the addresses and keys of the environment as people paste them, made plain or refused with words."""

import base64
import json
import re
from urllib.parse import urlsplit

# Paths of a project's services, which clients put behind its address themselves.
SERVICE = re.compile(r"/(rest|auth|realtime|storage|functions|graphql)/v1$")
DASHBOARD = re.compile(r"^https?://(?:app\.)?supabase\.(?:com|io)/(?:dashboard/)?project/([a-z0-9]+)")


def base(written: str) -> str:
    """An http(s) address without the slash at its end. Raises ValueError for anything else."""
    try:
        parts = urlsplit(written)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable or " " in written:
        raise ValueError("must be an address that starts with http:// or https://")
    if parts.query or parts.fragment:
        raise ValueError("must be an address alone, without ? or #")
    return parts._replace(scheme=parts.scheme.lower()).geturl().rstrip("/")


def project(address: str) -> str:
    """The address of a Supabase project, below which its services lie. Raises ValueError for one of theirs."""
    if found := DASHBOARD.match(address):
        raise ValueError(f"is the dashboard's address: the project's is https://{found[1]}.supabase.co")
    if found := SERVICE.search(address):
        raise ValueError(f"leave {found[0]} away: the project's address alone, such as https://abcdefgh.supabase.co")
    return address


def is_public_key(key: str) -> bool:
    """Whether it is a project's publishable or anon key. An unknown form is not."""
    if key.startswith("sb_publishable_"):
        return True
    try:
        payload = key.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError):
        return False
    return isinstance(claims, dict) and claims.get("role") == "anon"
