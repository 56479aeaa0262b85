"""Pure: what a row of `scheduled_messages` says is to be sent, or why it can never be."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from worker.errors import BadMessage
from worker.jobs import Written
from worker.kinds import Kind, kind_of
from worker.models import ContentKind, Media
from worker.planning.attachments import describe, refuse_unplayable
from worker.planning.links import Links, checked
from worker.text.characters import is_blank, trimmed
from worker.values import value

ATTACHMENTS_LIMIT = 10
LINE_ENDS, LONG_BLANKS = re.compile(r"\s*[\n\r\t\v\f\u2028\u2029]\s*"), re.compile(r" {5,}")

# The column `type`. None: there is an attachment, and its MIME type or its name tells which kind.
TYPES: dict[str, ContentKind | None] = {
    "text": "text", "chat": "text", "": "text",
    "media": None, "file": None,
    "image": "image", "photo": "image", "picture": "image",
    "video": "video", "gif": "video",  # as WhatsApp shows them: a short video
    "audio": "audio", "voice": "audio", "ptt": "audio",
    "document": "document", "pdf": "document",
    "template": "template",
}  # fmt: skip

# How the writers of the column `media` spell the same thing.
URL = ("url", "link", "media_url", "mediaUrl")
MIME = ("mimetype", "mime_type", "mimeType")
NAME = ("filename", "file_name", "fileName", "name")
ASSET = ("asset_id", "assetId")


@value(frozen=True, slots=True)
class Content:
    """The part of a Message that its row decides; the fields are the Message's own."""

    kind: ContentKind
    text: str
    media: Media | None = None
    more: tuple[Media, ...] = ()
    template: dict[str, object] | None = None
    asset_id: str | None = None


def content_of(written: Written, gateway: str | None = None, links: Links = Links()) -> Content:
    """What to send for what a row says.

    gateway: the one that it goes through; None where that does not matter.
    Raises BadMessage with a text for the author.
    """
    able = kind_of(gateway)
    kind = declared(written)
    if kind == "template" or (able.sends_templates and written.template):
        return Content("template", "", template=template(written))
    if kind == "text" and not (written.media_url or written.media or written.asset_id):
        return Content("text", body(written, able))  # nearly all of them: nothing else to look at
    items = [*attachments(written, kind, links, able)]
    asset_id = asset(written) if able.knows_assets else None
    if not items and asset_id:
        items = [Media(None, "document" if kind in (None, "text") else kind)]
    if items:
        return with_media(written, items, asset_id, able)
    if asset(written):
        raise BadMessage("Only the Node worker can look up asset_id: give the file's address in media_url.")
    if kind != "text":
        raise BadMessage("There is no attachment: give its address in media_url, or set the type to text.")
    return Content("text", body(written, able))


def declared(written: Written) -> ContentKind | None:
    name = str(written.type or "").strip().lower()
    if name not in TYPES:
        raise BadMessage(f"Type {name[:20]!r} cannot be scheduled: use text, image, video, audio or document.")
    return TYPES[name]


def body(written: Written, able: Kind) -> str:
    text = readable(written.message, written.caption)
    if not text:
        raise BadMessage("The message is empty: write a text or add an attachment.")
    return limited(text, able.text, "text", able)


def with_media(written: Written, items: list[Media], asset_id: str | None, able: Kind) -> Content:
    if len(items) > ATTACHMENTS_LIMIT:
        raise BadMessage(f"{len(items)} attachments; at most {ATTACHMENTS_LIMIT} go out with one message.")
    text = readable(written.caption, written.message) or items[0].caption
    # Under audio WhatsApp shows no caption: the text goes out as a message of its own.
    limit, name = (able.text, "text") if items[0].kind == "audio" else (able.caption, "caption")
    return Content(items[0].kind, limited(text, limit, name, able), items[0], tuple(items[1:]), None, asset_id)


def limited(text: str, limit: int, name: str, able: Kind) -> str:
    if len(text) > limit:
        raise BadMessage(f"The {name} has {len(text)} characters; {able.title} takes {limit}: shorten it.")
    return text


def attachments(written: Written, kind: ContentKind | None, links: Links, able: Kind) -> Iterator[Media]:
    """`media_url` first, then what `media` adds to it; the row's own type is the first one's kind."""
    listed = [*entries(written.media)]
    url = readable(written.media_url)
    if url and all(first(entry, URL) != url for entry in listed):
        listed.insert(0, {"url": url})
    for entry in listed:
        if first(entry, URL):
            yield attachment(entry, kind, links, able)
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


def attachment(entry: Mapping[str, Any], kind: ContentKind | None, links: Links, able: Kind) -> Media:
    url = checked(trimmed(first(entry, URL)), links)
    said = first(entry, ("type", "kind")).strip().lower()
    kind = TYPES.get(said or "media") or kind
    if kind in ("text", "template"):
        kind = None
    # What browsers tell of a file has its MIME type as `type`.
    known = describe(url, first(entry, NAME), first(entry, MIME) or (said if "/" in said else ""), kind)
    refuse_unplayable(known.kind, known.mime_type, able.converts)
    # Audio shows no caption; its text follows as a message of its own.
    limit = able.text if known.kind == "audio" else able.caption
    caption = limited(first(entry, ("caption",)), limit, "caption", able)
    return Media(url, known.kind, known.mime_type, known.filename, caption)


def asset(written: Written) -> str:
    return readable(written.asset_id) or next((found for e in entries(written.media) if (found := first(e, ASSET))), "")


def template(written: Written) -> dict[str, object]:
    """`template`, else `media`: `{"name", "language", "components"}` as WhatsApp's Cloud API has them."""
    place = "template" if written.template else "media"
    (found,) = decoded(written.template or written.media)[:1] or [None]
    if not isinstance(found, Mapping) or not first(found, ("name",)) or not found.get("language"):
        raise BadMessage(f'A template needs {{"name": …, "language": …, "components": […]}} in the {place} column.')
    language = found["language"]
    return {
        "name": first(found, ("name",)),
        "language": language if isinstance(language, Mapping) else {"code": str(language)},
        "components": [*components(first(found, ("name",)), found.get("components") or [])],
    }


def components(name: str, listed: object) -> Iterator[dict[str, object]]:
    """Those of a template, with values that WhatsApp takes. Raises BadMessage."""
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise BadMessage(f"The components of the template {name!r} must be a list of objects.")
    for one in listed:
        given = one.get("parameters")
        yield {**one, "parameters": [*parameters(name, given)]} if isinstance(given, list) else {**one}


def parameters(name: str, given: list[Any]) -> Iterator[object]:
    """WhatsApp refuses a text without anything to read, with line ends or tabs, or with more than four blanks on end
    (codes 131008 and 132018).
    """
    for place, one in enumerate(given, 1):
        if not isinstance(one, Mapping) or one.get("type") != "text":
            yield one
            continue
        text = LONG_BLANKS.sub("    ", LINE_ENDS.sub(" ", "" if one.get("text") is None else str(one["text"])))
        if is_blank(text):
            which = f"{{{one['parameter_name']}}}" if one.get("parameter_name") else f"{{{{{place}}}}}"
            raise BadMessage(
                f"The template {name!r} has no value for {which}: WhatsApp takes none without. Give it one."
            )
        yield {**one, "text": text}


def first(source: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """What `readable` finds under these names."""
    return readable(*(source.get(name) for name in names))


def readable(*values: object) -> str:
    """The first of these that is a text with something to read in it, as written; else ""."""
    return next((value for value in values if isinstance(value, str) and not is_blank(value)), "")
