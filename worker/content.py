"""Pure: what a row of `scheduled_messages` says is to be sent, or why it can never be."""

import ipaddress
import json
import posixpath
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from worker.errors import BadMessage
from worker.models import Kind, Media

TEXT_LIMIT = 4096  # characters, WhatsApp Cloud API
CAPTION_LIMIT = 1024  # characters, WhatsApp Cloud API
ATTACHMENTS_LIMIT = 10
URL_LIMIT = 2048

# The column `type`. None: there is an attachment, and its MIME type or its name tells which kind.
TYPES: dict[str, Kind | None] = {
    "text": "text", "chat": "text", "": "text",
    "media": None, "file": None,
    "image": "image", "photo": "image", "picture": "image",
    "video": "video", "gif": "video",
    "audio": "audio", "voice": "audio", "ptt": "audio",
    "document": "document", "pdf": "document",
    "template": "template",
}  # fmt: skip

# What WhatsApp takes, by the extension of the name. The system's own table differs from machine to machine.
MIME_TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif",
    "mp4": "video/mp4", "3gp": "video/3gpp", "mov": "video/quicktime",
    "mp3": "audio/mpeg", "ogg": "audio/ogg", "opus": "audio/ogg", "oga": "audio/ogg", "m4a": "audio/mp4",
    "aac": "audio/aac", "amr": "audio/amr", "wav": "audio/wav",
    "pdf": "application/pdf", "txt": "text/plain", "csv": "text/csv", "zip": "application/zip",
    "doc": "application/msword", "xls": "application/vnd.ms-excel", "ppt": "application/vnd.ms-powerpoint",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}  # fmt: skip
KINDS: dict[str, Kind] = {"image": "image", "video": "video", "audio": "audio"}

# How the writers of the column `media` spell the same thing.
URL = ("url", "link", "media_url", "mediaUrl")
MIME = ("mimetype", "mime_type", "mimeType")
NAME = ("filename", "file_name", "fileName", "name")
ASSET = ("asset_id", "assetId")


@dataclass(frozen=True, slots=True)
class Links:
    """Which links may be passed on.

    allow_http: plain http too.
    we_fetch: the link would be fetched from inside our network, so it must not point into it. Only addresses
        are judged here; whoever fetches must judge what a name resolves to.
    """

    allow_http: bool = False
    we_fetch: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """The part of a Message that its row decides; the fields are the Message's own."""

    kind: Kind
    text: str
    media: Media | None = None
    more: tuple[Media, ...] = ()
    template: dict[str, object] | None = None
    asset_id: str | None = None


def content(row: Mapping[str, Any], *, allow_asset: bool, links: Links = Links()) -> Content:
    """What to send for a row: its `message`, `type`, `media_url`, `media`, `caption`, `asset_id`, `template`.

    allow_asset: the gateway can look an `asset_id` up (only the Node broadcast worker can).
    Raises BadMessage with a text for the author.
    """
    kind = declared(row)
    if kind == "text" and not (row.get("media_url") or row.get("media") or row.get("asset_id")):
        return Content("text", body(row))  # nearly all of them: nothing else to look at
    if kind == "template":
        return Content("template", "", template=template(row))
    items = [*attachments(row, kind, links)]
    asset_id = asset(row) if allow_asset else None
    if not items and asset_id:
        items = [Media(None, "document" if kind in (None, "text") else kind)]
    if items:
        return with_media(row, items, asset_id)
    if asset(row):
        raise BadMessage("Only the Node worker can look up asset_id: give the file's address in media_url.")
    if kind != "text":
        raise BadMessage("There is no attachment: give its address in media_url, or set the type to text.")
    return Content("text", body(row))


def declared(row: Mapping[str, Any]) -> Kind | None:
    name = str(row.get("type") or "").strip().lower()
    if name not in TYPES:
        raise BadMessage(f"Type {name[:20]!r} cannot be scheduled: use text, image, video, audio or document.")
    return TYPES[name]


def body(row: Mapping[str, Any]) -> str:
    text = first(row, ("message", "caption"))
    if not text:
        raise BadMessage("The message is empty: write a text or add an attachment.")
    return limited(text, TEXT_LIMIT, "text")


def with_media(row: Mapping[str, Any], items: list[Media], asset_id: str | None) -> Content:
    if len(items) > ATTACHMENTS_LIMIT:
        raise BadMessage(f"{len(items)} attachments; at most {ATTACHMENTS_LIMIT} go out with one message.")
    text = first(row, ("caption", "message")) or items[0].caption
    # Under audio WhatsApp shows no caption: the text goes out as a message of its own.
    limit, name = (TEXT_LIMIT, "text") if items[0].kind == "audio" else (CAPTION_LIMIT, "caption")
    return Content(items[0].kind, limited(text, limit, name), items[0], tuple(items[1:]), None, asset_id)


def limited(text: str, limit: int, name: str) -> str:
    if len(text) > limit:
        raise BadMessage(f"The {name} has {len(text)} characters; WhatsApp takes {limit}: shorten it.")
    return text


def attachments(row: Mapping[str, Any], kind: Kind | None, links: Links) -> Iterator[Media]:
    """`media_url` first, then what `media` adds to it; the row's own type is the first one's kind."""
    listed = [*entries(row.get("media"))]
    url = first(row, ("media_url",))
    if url and all(first(entry, URL) != url for entry in listed):
        listed.insert(0, {"url": url})
    for entry in listed:
        if first(entry, URL):
            yield attachment(entry, kind, links)
            kind = None


def entries(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects of the column `media`: one or several, as JSON or decoded, or bare links."""
    for item in decoded(value):
        if isinstance(item, str) and item.strip():
            yield {"url": item}
        elif isinstance(item, Mapping):
            yield item
        elif item:
            raise BadMessage("The media column must hold an object with a url, or a list of such objects.")


def decoded(value: object) -> list[Any]:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadMessage("The media column is not valid JSON.") from None
    return value if isinstance(value, list) else [value]


def attachment(entry: Mapping[str, Any], kind: Kind | None, links: Links) -> Media:
    url = checked(first(entry, URL).strip(), links)
    filename = first(entry, NAME) or posixpath.basename(unquote(urlsplit(url).path))
    extension = posixpath.splitext(filename)[1][1:].lower()
    mime_type = first(entry, MIME).lower() or MIME_TYPES.get(extension, "")
    kind = TYPES.get(first(entry, ("type", "kind")).lower() or "media") or kind
    if kind in (None, "text", "template"):
        kind = KINDS.get(mime_type.partition("/")[0], "document")
    caption = limited(first(entry, ("caption",)), CAPTION_LIMIT, "caption")
    return Media(url, kind, mime_type or None, filename[-120:] if extension else None, caption)


def checked(url: str, links: Links) -> str:
    """The link itself. Raises BadMessage where it must not be passed on."""
    try:
        parts = urlsplit(url)
        host, userinfo, _ = parts.hostname or "", "@" in parts.netloc, parts.port
    except ValueError:
        raise BadMessage("The attachment's address is not a valid URL.") from None
    if parts.scheme != "https" and not (links.allow_http and parts.scheme == "http"):
        raise BadMessage("The attachment's address must begin with https://.")
    if not host or len(url) > URL_LIMIT or not url.isprintable() or " " in url:
        raise BadMessage("The attachment's address is not a valid URL.")
    if userinfo:
        raise BadMessage("The attachment's address must not hold a user name or password.")
    if links.we_fetch and is_inside(host):
        raise BadMessage("The attachment's address points into a private network.")
    return url


def is_inside(host: str) -> bool:
    """Loopback, link-local, private and other addresses that are not the open Internet's, and their names."""
    name = host.rstrip(".")
    if f".{name}".endswith((".localhost", ".local", ".internal")):
        return True
    with suppress(OSError):  # reads 127.1, 0x7f000001 and 2130706433 as a fetcher does
        name = socket.inet_ntoa(socket.inet_aton(name))
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_multicast or not address.is_global


def asset(row: Mapping[str, Any]) -> str:
    return first(row, ASSET) or next((found for e in entries(row.get("media")) if (found := first(e, ASSET))), "")


def template(row: Mapping[str, Any]) -> dict[str, object]:
    """`template`, else `media`: `{"name", "language", "components"}` as WhatsApp's Cloud API has them."""
    (found,) = decoded(row.get("template") or row.get("media"))[:1] or [None]
    if not isinstance(found, Mapping) or not first(found, ("name",)) or not found.get("language"):
        raise BadMessage('A template needs {"name": …, "language": …, "components": […]} in the media column.')
    language = found["language"]
    return {
        "name": first(found, ("name",)),
        "language": language if isinstance(language, Mapping) else {"code": str(language)},
        "components": found.get("components") or [],
    }


def first(source: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of these that is a text with something in it, as written; else ""."""
    return next((v for n in names if isinstance(v := source.get(n), str) and v.strip()), "")
