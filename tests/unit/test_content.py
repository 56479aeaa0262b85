"""What a row says is to be sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.content import Content, Links, content, is_inside
from worker.errors import BadMessage
from worker.models import Media

PDF = "https://files.example.com/results/report.pdf"
JPG = "https://files.example.com/a/scan.JPG?token=1"


def read(**row: Any) -> Content:
    return content({"type": "text", "message": "", **row}, allow_asset=False)


def test_a_text_is_taken_verbatim() -> None:
    assert read(message="  Hello {name},\n see you 😀 \n") == Content("text", "  Hello {name},\n see you 😀 \n")


@pytest.mark.parametrize("kind", [None, "", "text", "TEXT", "chat"])
def test_a_row_without_attachment_is_a_text(kind: str | None) -> None:
    assert read(type=kind, message="Hi").kind == "text"


@pytest.mark.parametrize("message", ["", " \n\t", None])
def test_an_empty_text_is_refused(message: str | None) -> None:
    with pytest.raises(BadMessage, match="empty"):
        read(message=message)


def test_what_the_dialog_writes_for_an_asset_becomes_a_captioned_attachment() -> None:
    row = {"type": "media", "message": "Your report", "media_url": PDF, "caption": "Your report"}
    assert read(**row) == Content("document", "Your report", Media(PDF, "document", "application/pdf", "report.pdf"))


def test_media_without_any_text_has_an_empty_caption() -> None:
    assert read(type="media", message="", media_url=JPG).text == ""


def test_the_caption_wins_over_the_message_and_the_message_stands_in_for_it() -> None:
    assert read(type="image", message="m", caption="c", media_url=JPG).text == "c"
    assert read(type="image", message="m", caption=None, media_url=JPG).text == "m"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (JPG, "image"),
        ("https://e.com/clip.mp4", "video"),
        ("https://e.com/clip.3gp", "video"),
        ("https://e.com/note.opus", "audio"),
        ("https://e.com/song.m4a", "audio"),
        (PDF, "document"),
        ("https://e.com/plan.docx", "document"),
        ("https://e.com/download?id=7", "document"),
        ("https://e.com/", "document"),
    ],
)
def test_media_takes_its_kind_from_the_links_name(url: str, kind: str) -> None:
    assert read(type="media", media_url=url).kind == kind


def test_media_takes_its_kind_from_the_mime_type_before_the_name() -> None:
    assert read(type="media", media={"url": "https://e.com/x.bin", "mimetype": "IMAGE/PNG"}).kind == "image"


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("image", "image"),
        ("Video", "video"),
        ("voice", "audio"),
        ("ptt", "audio"),
        ("pdf", "document"),
        ("document", "document"),
    ],
)
def test_a_concrete_type_wins_over_mime_type_and_name(written: str, kind: str) -> None:
    assert read(type=written, media={"url": JPG, "mimetype": "image/jpeg"}).kind == kind


def test_a_link_is_not_lost_because_the_type_was_left_at_text() -> None:
    assert read(type="text", message="Look", media_url=JPG) == Content(
        "image", "Look", Media(JPG, "image", "image/jpeg", "scan.JPG")
    )


@pytest.mark.parametrize(
    "media",
    [
        {"url": PDF, "mimetype": "application/pdf", "filename": "R.pdf", "caption": "c"},
        {"link": PDF, "mime_type": "application/pdf", "file_name": "R.pdf", "caption": "c"},
        [{"mediaUrl": PDF, "mimeType": "application/pdf", "fileName": "R.pdf", "caption": "c"}],
    ],
)
def test_the_media_column_is_read_in_its_usual_spellings(media: Any) -> None:
    expected = Content("document", "c", Media(PDF, "document", "application/pdf", "R.pdf", "c"))
    assert read(type="media", media=media) == expected
    assert read(type="media", media=json.dumps(media)) == expected


def test_the_media_column_adds_to_media_url_what_it_knows_of_the_same_file() -> None:
    media = [{"url": PDF, "filename": "Report of May.pdf"}]
    found = read(type="media", media_url=PDF, media=media)
    assert found.media == Media(PDF, "document", "application/pdf", "Report of May.pdf")
    assert found.more == ()


def test_several_attachments_go_out_in_their_order_each_with_its_own_kind() -> None:
    media = [{"url": PDF, "caption": "second"}, "https://e.com/a.mp4"]
    found = read(type="image", message="first", media_url=JPG, media=media)
    assert (found.kind, found.text) == ("image", "first")
    assert [(m.kind, m.caption) for m in found.more] == [("document", "second"), ("video", "")]


def test_more_attachments_than_a_person_would_send_are_refused() -> None:
    with pytest.raises(BadMessage, match="11 attachments"):
        read(type="media", media=[{"url": f"https://e.com/{n}.png"} for n in range(11)])


@pytest.mark.parametrize("media", [None, {}, [], [None], "", [""], {"caption": "no link"}])
def test_a_media_column_without_a_link_counts_as_none(media: Any) -> None:
    assert read(message="Hi", media=media).kind == "text"
    with pytest.raises(BadMessage, match="There is no attachment"):
        read(type="media", message="Hi", media=media)


@pytest.mark.parametrize("media", ["{broken", '["https://e.com/a.png"', [7], 7, [[{"url": PDF}]]])
def test_a_media_column_of_another_shape_is_refused(media: Any) -> None:
    with pytest.raises(BadMessage, match="media column"):
        read(type="media", media=media)


@pytest.mark.parametrize("written", ["sticker", "location", "poll", "IMAGES"])
def test_a_type_that_cannot_be_scheduled_is_named(written: str) -> None:
    with pytest.raises(BadMessage, match=f"Type '{written.lower()}' cannot be scheduled"):
        read(type=written, message="Hi")


def test_limits_are_told_before_the_gateway_would() -> None:
    assert len(read(message="x" * 4096).text) == 4096
    with pytest.raises(BadMessage, match="text has 4097 characters; WhatsApp takes 4096"):
        read(message="x" * 4097)
    assert len(read(type="image", media_url=JPG, message="x" * 1024).text) == 1024
    with pytest.raises(BadMessage, match="caption has 1025 characters; WhatsApp takes 1024"):
        read(type="image", media_url=JPG, message="x" * 1025)
    with pytest.raises(BadMessage, match="caption"):
        read(type="image", media=[{"url": JPG}, {"url": PDF, "caption": "x" * 1025}])


def test_the_text_beside_audio_may_be_as_long_as_any_text() -> None:
    assert len(read(type="audio", media_url="https://e.com/a.ogg", message="x" * 4096).text) == 4096


@pytest.mark.parametrize(
    "url",
    [
        "http://e.com/a.png", "ftp://e.com/a.png", "file:///etc/passwd", "/uploads/a.png",
        "data:image/png;base64,AAAA", "https://", "https:///a.png", "https://[::1/a.png",
        "https://user:pass@e.com/a.png", "https://token@e.com/a.png", "https://e.com:port/a.png",
        "https://e.com/a b.png", "https://e.com/\x00", f"https://e.com/{'a' * 2048}",
    ],
)  # fmt: skip
def test_an_address_that_must_not_be_passed_on_is_refused(url: str) -> None:
    with pytest.raises(BadMessage, match="address") as refused:
        read(type="media", media_url=url)
    assert "pass@" not in str(refused.value)


def test_plain_http_passes_where_a_setting_allows_it() -> None:
    row = {"type": "image", "message": "", "media_url": "http://minio:9000/a.png"}
    assert content(row, allow_asset=False, links=Links(allow_http=True)).kind == "image"


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST.", "x.localhost", "db.internal", "printer.local", "127.0.0.1", "127.1",
        "2130706433", "0x7f.1", "0", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]",
    ],
)  # fmt: skip
def test_a_link_into_our_own_network_is_refused_where_we_would_fetch_it(host: str) -> None:
    row = {"type": "image", "message": "", "media_url": f"https://{host}/a.png"}
    assert content(row, allow_asset=False).kind == "image"
    with pytest.raises(BadMessage, match="private network"):
        content(row, allow_asset=False, links=Links(we_fetch=True))


@pytest.mark.parametrize("host", ["8.8.8.8", "e.com", "2606:4700::1111", "locals.com", "mylocalhost.com"])
def test_addresses_of_the_open_internet_are_not_inside(host: str) -> None:
    assert not is_inside(host)


def test_an_asset_goes_to_the_gateway_that_can_look_it_up() -> None:
    row = {"type": "media", "message": "Hi", "asset_id": "5f7d"}
    assert content(row, allow_asset=True) == Content("document", "Hi", Media(None, "document"), asset_id="5f7d")
    assert content({**row, "type": "image"}, allow_asset=True).kind == "image"


def test_an_asset_alone_is_a_clear_fault_elsewhere() -> None:
    with pytest.raises(BadMessage, match="media_url"):
        content({"type": "media", "message": "Hi", "asset_id": "5f7d"}, allow_asset=False)


def test_an_asset_with_a_link_goes_anywhere() -> None:
    row = {"type": "image", "message": "Hi", "asset_id": "5f7d", "media_url": JPG}
    assert content(row, allow_asset=False).asset_id is None
    assert content(row, allow_asset=True).asset_id == "5f7d"


def test_a_template_is_read_from_its_own_column_or_from_media() -> None:
    written = {"name": "reminder", "language": "en_US", "components": [{"type": "body", "parameters": []}]}
    expected = {**written, "language": {"code": "en_US"}}
    assert read(type="template", template=written) == Content("template", "", template=expected)
    assert read(type="template", media=json.dumps(written)).template == expected


def test_a_templates_language_may_carry_its_policy() -> None:
    language = {"code": "en", "policy": "deterministic"}
    assert read(type="template", media={"name": "t", "language": language}).template == {
        "name": "t", "language": language, "components": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    "media", [None, {}, {"name": "t"}, {"language": "en"}, "t", [], {"name": "", "language": "en"}]
)
def test_a_template_without_name_or_language_is_refused(media: Any) -> None:
    with pytest.raises(BadMessage, match="A template needs"):
        read(type="template", media=media)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["url", "mimetype", "type", "caption", "name", "language"]), inner, max_size=3
        )
    ),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["text", "media", "image", "audio", "template"]) | st.text(max_size=6) | st.none(),
            "message": st.text(max_size=20) | st.none(),
            "media_url": st.text(max_size=20) | st.none(),
            "media": JSON,
            "asset_id": st.text(max_size=4) | st.none(),
        },
    )
)
def test_whatever_a_row_holds_becomes_content_or_a_short_reason(row: dict[str, Any]) -> None:
    try:
        result = str(content(row, allow_asset=True).kind)
    except BadMessage as refused:
        result = str(refused)
    assert 0 < len(result) < 200
