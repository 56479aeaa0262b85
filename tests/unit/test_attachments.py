"""Names and types that open on a phone, whatever of url, name and type the author gave."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadMessage
from worker.jobs import Written
from worker.planning.attachments import EXTENSIONS, MIME_TYPES, PLAYED, describe, extension, type_of
from worker.planning.content import content_of

DOCX = MIME_TYPES["docx"]


@pytest.mark.parametrize(
    ("url", "name", "mime_type", "filename", "known"),
    [
        # a name without an extension gets one from the type
        ("d/12345", "", "application/pdf", "file.pdf", "application/pdf"),
        ("d/12345", "Report", "application/pdf", "Report.pdf", "application/pdf"),
        ("d/12345", "Invoice No. 7", "application/pdf", "Invoice No. 7.pdf", "application/pdf"),
        ("d/12345", "v1.2", DOCX, "v1.2.docx", DOCX),
        ("", "", "text/csv", "file.csv", "text/csv"),
        ("d/1", "", "APPLICATION/PDF; charset=binary", "file.pdf", "application/pdf"),
        ("d/1", "", "pdf", "file.pdf", "application/pdf"),
        ("d/1", "", ".PDF", "file.pdf", "application/pdf"),
        ("d/1", "", "application/epub+zip", "file.epub", "application/epub+zip"),
        ("d/1", "", "application/x-tar", "file.tar", "application/x-tar"),
        # a type from the name
        ("REPORT.PDF", "", "", "REPORT.PDF", "application/pdf"),
        ("a.pdf?token=x.jpg#y.png", "", "", "a.pdf", "application/pdf"),
        ("d/1", "plan.docx", "", "plan.docx", DOCX),
        ("d/1", "backup.tar", "", "backup.tar", "application/x-tar"),
        ("x.bin", "", "application/pdf", "x.pdf", "application/pdf"),
        ("download.php?id=3", "", "application/pdf", "download.pdf", "application/pdf"),
        ("view.html", "", "application/pdf", "view.pdf", "application/pdf"),
        # a script that is told the name
        ("get?id=1&file=r.pdf", "", "", "r.pdf", "application/pdf"),
        ("k?response-content-disposition=inline%3B%20filename%3D%22a%20r.pdf%22", "", "", "a r.pdf", "application/pdf"),
        ("get?next=a.jpg", "", "", None, None),
        # both, and they differ
        ("photo.jpg", "", "application/pdf", "photo.pdf", "application/pdf"),
        ("a.docx", "", "application/zip", "a.docx", DOCX),
        ("a.csv", "", "application/vnd.ms-excel", "a.csv", "text/csv"),
        ("a.csv", "", "text/plain", "a.csv", "text/csv"),
        ("a.pdf", "", "application/octet-stream", "a.pdf", "application/pdf"),
        ("a.pdf", "", "binary/octet-stream", "a.pdf", "application/pdf"),
        ("d/1", "list.xlsx", "application/msword", "list.xlsx", MIME_TYPES["xlsx"]),
        ("a.pdf", "", "nonsense", "a.pdf", "application/pdf"),
        ("a.pdf", "", "application/pdf\r\nX-Evil: 1", "a.pdf", "application/pdf"),
        # a name without one, for a link that has it
        ("4711.pdf", "Rechnung", "", "Rechnung.pdf", "application/pdf"),
        ("4711.pdf", "Invoice No. 7", "", "Invoice No. 7.pdf", "application/pdf"),
        ("4711.pdf", "Report.final", "", "Report.final.pdf", "application/pdf"),
        ("x.xlsx", "Bericht 12.11", "application/octet-stream", "Bericht 12.11.xlsx", MIME_TYPES["xlsx"]),
        ("get?file=r.docx", "Vertrag", "", "Vertrag.docx", DOCX),
        ("x.png", "a.pdf", "", "a.pdf", "application/pdf"),
        # nobody knows
        ("d/1", "", "", None, None),
        ("d/1", "Report", "", "Report", None),
        ("plan.dwg", "", "", "plan.dwg", None),
        ("d/1", "", "application/vnd.unheard-of", None, "application/vnd.unheard-of"),
        # tricks
        ("d/1", "../../etc/passwd.txt", "", "passwd.txt", "text/plain"),
        ("d/1", "C:\\Users\\x\\r.pdf", "", "r.pdf", "application/pdf"),
        ("..%2f..%2fa%5Cb.pdf", "", "", "b.pdf", "application/pdf"),
        ("d/1", "a%2Fb%00c.pdf", "", "b c.pdf", "application/pdf"),
        ("d/1", "a\nb\x00c\x7f.pdf", "", "a b c.pdf", "application/pdf"),
        ("d/1", "\u202efdp.exe", "application/pdf", "fdp.exe.pdf", "application/pdf"),
        ("d/1", "a\u200b\u200e.pdf", "", "a.pdf", "application/pdf"),
        ("d/1", ".pdf", "", "file.pdf", "application/pdf"),
        ("d/1", "...", "application/pdf", "file.pdf", "application/pdf"),
        ("d/1", "  r  .pdf ", "", "r.pdf", "application/pdf"),
        ("d/1", 'a<b>:"c|d?*.pdf', "", "a_b___c_d__.pdf", "application/pdf"),
        ("Bericht%20M%C3%A4rz.pdf", "", "", "Bericht März.pdf", "application/pdf"),
        ("d/1", "Bericht%20März.pdf", "", "Bericht März.pdf", "application/pdf"),
        ("d/1", "50%ab.pdf", "", "50%ab.pdf", "application/pdf"),
        ("d/1", "報告.pdf", "", "報告.pdf", "application/pdf"),
        ("a.pdf/", "", "", None, None),
    ],
)  # fmt: skip
def test_name_and_type_agree(url: str, name: str, mime_type: str, filename: str | None, known: str | None) -> None:
    found = describe(f"https://e.com/{url}", name, mime_type, None)
    assert (found.filename, found.mime_type, found.kind) == (filename, known, "document")


@pytest.mark.parametrize(
    ("url", "mime_type", "kind", "filename", "known"),
    [
        ("a.JPG", "", "image", "a.JPG", "image/jpeg"),
        ("a", "image/jpg", "image", "file.jpg", "image/jpeg"),
        ("x.bin", "IMAGE/PNG", "image", "x.png", "image/png"),
        ("a.png", "image/jpeg", "image", "a.jpg", "image/jpeg"),
        ("v.mp4", "video/x-m4v", "video", "v.mp4", "video/mp4"),
        ("n", "audio/mp3", "audio", "file.mp3", "audio/mpeg"),
        ("n", "audio/x-m4a", "audio", "file.m4a", "audio/mp4"),
        ("n.opus", "audio/ogg; codecs=opus", "audio", "n.opus", "audio/ogg; codecs=opus"),
        ("n.ogg", "application/octet-stream", "audio", "n.ogg", "audio/ogg"),
        ("drawing.dwg", "image/vnd.dwg", "document", "drawing.dwg", "image/vnd.dwg"),
    ],
)  # fmt: skip
def test_the_kind_is_that_of_the_file(url: str, mime_type: str, kind: str, filename: str, known: str) -> None:
    found = describe(f"https://e.com/{url}", "", mime_type, None)
    assert (found.kind, found.filename, found.mime_type) == (kind, filename, known)


@pytest.mark.parametrize("name", ["x" * 5000 + ".pdf", "日" * 5000 + ".pdf", "a." * 3000 + "pdf", "x" * 5000])
def test_a_long_name_keeps_its_extension_and_fits_into_a_file_system(name: str) -> None:
    found = describe("https://e.com/d", name, "application/pdf", None).filename
    assert found
    assert found.endswith(".pdf")
    assert len(found) <= 120
    assert len(found.encode()) <= 255


@given(
    st.text(max_size=60), st.text(max_size=60), st.sampled_from(["", "application/pdf", "image/png", "x", "audio/mp3"])
)
def test_whatever_is_given_makes_a_name_that_a_phone_can_store_and_open(name: str, path: str, mime_type: str) -> None:
    found = describe(f"https://e.com/{path}".replace("[", "").replace("]", ""), name, mime_type, None)
    if found.filename:
        assert not set(found.filename) & set('/\\<>:"|?*\0\n\r\u202e')
        assert found.filename == found.filename.strip()
        assert len(found.filename.encode()) <= 255
    if found.filename and found.mime_type in EXTENSIONS:
        assert type_of(extension(found.filename)) == found.mime_type


def refusal(gateway: str, **row: Any) -> str:
    """What the author is told; "" where it is sent."""
    try:
        content_of(Written(**{"message": "", **row}), gateway)
    except BadMessage as refused:
        return str(refused)
    return ""


ALL = ("cloud", "waha", "evolution", "wppconnect", "bullmq")
UNPLAYABLE = [
    ("image", "webp"), ("image", "gif"), ("image", "heic"), ("image", "heif"), ("image", "avif"), ("image", "bmp"),
    ("image", "tiff"), ("image", "svg"), ("image", "ico"), ("image", "pdf"), ("image", "mp4"),
    ("video", "mov"), ("video", "avi"), ("video", "mkv"), ("video", "webm"), ("video", "wmv"), ("video", "flv"),
    ("video", "mpg"), ("video", "gif"), ("gif", "gif"), ("gif", "webp"), ("video", "jpg"), ("video", "mp3"),
    ("audio", "wav"), ("audio", "flac"), ("audio", "wma"), ("audio", "aiff"), ("audio", "mid"), ("voice", "wav"),
    ("audio", "mp4"), ("audio", "pdf"), ("ptt", "mov"),
]  # fmt: skip
CONVERTED = {
    "waha": {"mov", "avi", "mkv", "webm", "wmv", "flv", "mpg", "wav", "flac", "wma", "aiff", "mid", "mp4"},
    "evolution": {"wav", "flac", "wma", "aiff", "mid", "mp4"},
}


@pytest.mark.parametrize("gateway", ALL)
@pytest.mark.parametrize(("kind", "ending"), UNPLAYABLE)
def test_what_whatsapp_does_not_play_is_refused_unless_the_gateway_converts_it(
    kind: str, ending: str, gateway: str
) -> None:
    fits = ending in CONVERTED.get(gateway, set()) and (kind, ending) not in {("image", "mp4"), ("ptt", "mov")}
    for written in (
        {"media_url": f"https://e.com/a.{ending.upper()}"},
        {"media": {"url": "https://e.com/a", "mimetype": MIME_TYPES[ending]}},
    ):
        told = refusal(gateway, type=kind, **written)
        assert (told == "") is fits
        if not fits:
            assert "convert it" in told
            assert "or send it as a document" in told
            assert refusal(gateway, type="document", **written) == ""


@pytest.mark.parametrize("ending", ["gif", "mov", "wav", "webp", "heic", "svg"])
def test_an_attachment_whose_kind_is_left_open_is_judged_alike(ending: str) -> None:
    assert "convert it" in refusal("cloud", type="media", media_url=f"https://e.com/a.{ending}")


@pytest.mark.parametrize("gateway", ALL)
def test_what_whatsapp_plays_is_sent(gateway: str) -> None:
    for kind, mime_types in PLAYED.items():
        for ending in (e for e, mime_type in MIME_TYPES.items() if mime_type in mime_types):
            assert refusal(gateway, type=kind, media_url=f"https://e.com/a.{ending}") == ""
            assert refusal(gateway, type="media", media_url=f"https://e.com/a.{ending}") == ""


def test_a_gif_is_told_what_to_become() -> None:
    told = refusal("cloud", type="gif", media_url="https://e.com/a.gif")
    assert told == (
        "WhatsApp plays MP4 and 3GP videos, and this file is GIF (image/gif):"
        " convert it to an MP4 video, or send it as a document."
    )
    assert refusal("cloud", type="gif", media_url="https://e.com/a.mp4") == ""
