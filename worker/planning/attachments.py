"""Names and types that open on a phone, from whatever url, name and type an attachment's author gave. Pure.

A phone opens a file by its type and the extension of its name; Evolution goes by the extension alone (evolution-api,
whatsapp.baileys.service.ts, prepareMediaMessage). What WhatsApp plays: Meta, "Supported media types".
"""

import mimetypes
import re
from dataclasses import dataclass
from unicodedata import category
from urllib.parse import parse_qsl, unquote, urlsplit

from worker.errors import BadMessage
from worker.models import ContentKind

LONGEST_NAME = 120  # characters
LONGEST_STEM_BYTES = 200  # a file system's names have 255

# By extension; of several with one type the first is given to a name that has none. The system's own table differs from
# machine to machine.
MIME_TYPES = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "jpe": "image/jpeg", "jfif": "image/jpeg", "png": "image/png",
    "webp": "image/webp", "gif": "image/gif", "bmp": "image/bmp", "tif": "image/tiff", "tiff": "image/tiff",
    "svg": "image/svg+xml", "psd": "image/vnd.adobe.photoshop", "jp2": "image/jp2", "jxl": "image/jxl",
    "heic": "image/heic", "heif": "image/heif", "avif": "image/avif", "ico": "image/x-icon",
    "mp4": "video/mp4", "m4v": "video/mp4", "3gp": "video/3gpp", "3gpp": "video/3gpp", "mov": "video/quicktime",
    "qt": "video/quicktime", "avi": "video/x-msvideo", "mkv": "video/x-matroska", "webm": "video/webm",
    "wmv": "video/x-ms-wmv", "flv": "video/x-flv", "mpg": "video/mpeg", "mpeg": "video/mpeg", "ogv": "video/ogg",
    "ts": "video/mp2t", "mts": "video/mp2t", "m2ts": "video/mp2t", "3g2": "video/3gpp2", "asf": "video/x-ms-asf",
    "vob": "video/dvd",
    "mp3": "audio/mpeg", "ogg": "audio/ogg", "opus": "audio/ogg", "oga": "audio/ogg", "m4a": "audio/mp4",
    "aac": "audio/aac", "amr": "audio/amr", "wav": "audio/wav", "flac": "audio/flac", "wma": "audio/x-ms-wma",
    "caf": "audio/x-caf", "ac3": "audio/ac3", "au": "audio/basic",
    "aif": "audio/aiff", "aiff": "audio/aiff", "mid": "audio/midi", "midi": "audio/midi", "weba": "audio/webm",
    "pdf": "application/pdf", "txt": "text/plain", "csv": "text/csv", "zip": "application/zip",
    "rtf": "application/rtf",
    "doc": "application/msword", "xls": "application/vnd.ms-excel", "ppt": "application/vnd.ms-powerpoint",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text", "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odp": "application/vnd.oasis.opendocument.presentation", "epub": "application/epub+zip",
    "rar": "application/vnd.rar", "7z": "application/x-7z-compressed",
    "apk": "application/vnd.android.package-archive", "html": "text/html",
    "xml": "application/xml", "json": "application/json",
    "vcf": "text/vcard", "ics": "text/calendar",
}  # fmt: skip
EXTENSIONS = {mime_type: extension for extension, mime_type in reversed(MIME_TYPES.items())}
ALIASES = {
    "image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png", "image/svg": "image/svg+xml",
    "image/x-ms-bmp": "image/bmp", "audio/mp3": "audio/mpeg", "audio/mpeg3": "audio/mpeg", "audio/x-mpeg": "audio/mpeg",
    "audio/m4a": "audio/mp4", "audio/x-m4a": "audio/mp4", "audio/x-aac": "audio/aac", "audio/opus": "audio/ogg",
    "application/ogg": "audio/ogg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac", "audio/x-aiff": "audio/aiff", "video/x-m4v": "video/mp4", "video/3gp": "video/3gpp",
    "video/avi": "video/x-msvideo", "video/msvideo": "video/x-msvideo", "application/x-pdf": "application/pdf",
    "text/pdf": "application/pdf", "application/x-zip-compressed": "application/zip", "application/csv": "text/csv",
    "text/x-vcard": "text/vcard", "application/x-rar-compressed": "application/vnd.rar", "text/xml": "application/xml",
}  # fmt: skip
# Said where nobody knows better: the name's extension counts for more.
VAGUE = frozenset({
    "", "application/octet-stream", "binary/octet-stream", "application/x-download", "application/force-download",
    "application/download", "application/unknown", "application/zip", "application/xml", "text/plain",
})  # fmt: skip
KINDS: dict[str, ContentKind] = {"image": "image", "video": "video", "audio": "audio"}
PLAYED: dict[ContentKind, frozenset[str]] = {
    "image": frozenset({"image/jpeg", "image/png"}),
    "video": frozenset({"video/mp4", "video/3gpp"}),
    "audio": frozenset({"audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"}),
}
ADVICE: dict[ContentKind, str] = {
    "image": "WhatsApp takes JPEG and PNG pictures",
    "video": "WhatsApp plays MP4 and 3GP videos",
    "audio": "WhatsApp plays MP3, M4A, AAC, AMR and Ogg (Opus) audio",
}
# Where the names of files stand in links that a script answers.
NAMING_QUERIES = ("filename", "file", "name", "download", "response-content-disposition")
EXTENSION = re.compile(r"(?=[0-9]*[a-z])[a-z0-9]{1,10}")
RESERVED = re.compile(r'[<>:"|?*]')


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of a file. `mime_type` and `filename` agree, or are None where nobody tells."""

    kind: ContentKind
    mime_type: str | None
    filename: str | None


def describe(url: str, name: str, mime_type: str, kind: ContentKind | None) -> Described:
    """`name`, `mime_type`: the author's, "" where there is none. `kind`: the author's, None where the file decides."""
    given, written = base_type(mime_type), clean(decoded(name))
    called = written or name_in(url)
    own = type_of(extension(called))
    # "Report" for https://example.com/4711.pdf: people leave the extension away.
    by_name = own or type_of(extension(name_in(url)))
    what = by_name if by_name and is_vaguer(given, by_name, authored=bool(written and own)) else given or by_name
    if kind is None:
        family = KINDS.get(what.partition("/")[0], "document")
        kind = family if what in EXTENSIONS or family == "document" else "document"
    # `audio/ogg; codecs=opus` says more than its base.
    exact = mime_type.strip().lower() if what == given and "codecs=" in mime_type and mime_type.isprintable() else what
    return Described(kind, exact or None, fitting(called, what, own, authored=bool(written)))


def is_vaguer(given: str, by_name: str, *, authored: bool) -> bool:
    """Whether the given type says less than the name: people write names themselves, types are filled in for them."""
    spreadsheet = (given, by_name) == ("application/vnd.ms-excel", "text/csv")  # what Windows calls every CSV
    documents = not {given.partition("/")[0], by_name.partition("/")[0]} & KINDS.keys()
    return given in VAGUE or spreadsheet or (authored and documents)


def refuse_unplayable(kind: ContentKind, mime_type: str | None, converts: frozenset[ContentKind]) -> None:
    """Raises BadMessage for what WhatsApp cannot show as this kind, unless the gateway converts such files.

    What nobody knows the type of passes: the author said what it is.
    """
    what = base_type(mime_type or "")
    if kind not in PLAYED or what in PLAYED[kind] or what not in EXTENSIONS or what in VAGUE:
        return
    if kind in converts and (KINDS.get(what.partition("/")[0]) == kind or (kind, what) == ("audio", "video/mp4")):
        return
    to = " to an MP4 video" if what == "image/gif" else ""
    this = f"this file is {EXTENSIONS[what].upper()} ({what})"
    raise BadMessage(f"{ADVICE[kind]}, and {this}: convert it{to}, or send it as a document.")


def base_type(mime_type: str) -> str:
    """Without parameters and by its usual name; an extension stands for its type; "" for what is no type."""
    base = mime_type.partition(";")[0].strip().lower()
    base = MIME_TYPES.get(base.lstrip("."), base)
    return ALIASES.get(base, base) if re.fullmatch(r"[a-z]+/[a-z0-9.+_-]{1,100}", base) else ""


def type_of(extension: str) -> str:
    """Ours, else the table that Python brings along, which is the same on all machines."""
    found = MIME_TYPES.get(extension) or PYTHONS.types_map[True].get(f".{extension}", "")
    return "" if found == "application/octet-stream" else ALIASES.get(found, found)


def name_in(url: str) -> str:
    """The name that a link gives to its file; "" where it gives none with an extension."""
    parts = urlsplit(url)
    last = clean(decoded(parts.path))
    if extension(last) in MIME_TYPES:
        return last
    for key, value in parse_qsl(parts.query):
        found = clean(value.rpartition("filename=")[2].strip("\"'"))
        if key.lower() in NAMING_QUERIES and extension(found) in MIME_TYPES:
            return found
    return last if extension(last) else ""


def decoded(name: str) -> str:
    """Percent-encoding undone, where all of it is that."""
    try:
        return unquote(name, errors="strict")
    except UnicodeDecodeError:
        return name


def clean(name: str) -> str:
    """One name that every file system takes: no path, no control or invisible characters, not too long."""
    last = re.split(r"[/\\]", name)[-1]
    seen = "".join(" " if category(c) in ("Cc", "Zl", "Zp") else c for c in last if category(c) not in ("Cf", "Cs"))
    tidy = RESERVED.sub("_", " ".join(seen.split())).strip(" ")
    stem, dot, ending = tidy.rpartition(".") if extension(tidy) else (tidy, "", "")
    stem = stem.strip(". ")[: LONGEST_NAME - 12].encode()[:LONGEST_STEM_BYTES].decode(errors="ignore").strip()
    return f"{stem or 'file'}{dot}{ending}" if stem or ending else ""


def extension(name: str) -> str:
    """In lower case and without its dot; "" where what follows the last dot is none ("No. 7", "v1.2")."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    return ending if EXTENSION.fullmatch(ending) else ""


def fitting(called: str, what: str, by_name: str, *, authored: bool) -> str | None:
    """The name with an extension that its type has; None where there is neither."""
    if not what or what == by_name:
        return called or None
    ending = EXTENSIONS.get(what) or (PYTHONS.guess_extension(what) or "").lstrip(".")
    if not ending:
        return called or None
    if not called:
        return f"file.{ending}"
    # A wrong extension gives way; one that means nothing to us may be a part of the author's words.
    replace = extension(called) and (by_name or not authored)
    return f"{called.rpartition('.')[0] if replace else called}.{ending}"


PYTHONS = mimetypes.MimeTypes()  # its built-in tables; the system's are not read
