"""What a row says is to be sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadMessage
from worker.jobs import Written
from worker.kinds import KINDS
from worker.models import Media
from worker.planning.content import Content, content_of

PDF = "https://files.example.com/results/report.pdf"
JPG = "https://files.example.com/a/scan.JPG?token=1"


def read(**row: Any) -> Content:
    return content_of(Written(**{"type": "text", "message": "", **row}))


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


def test_a_caption_stands_in_for_an_empty_text() -> None:
    assert read(message=" ", caption="c") == Content("text", "c")


@pytest.mark.parametrize(
    ("kind", "name", "gateway", "is_played"),
    [
        ("audio", "a.wav", "cloud", False), ("audio", "a.wav", "evolution", True), ("audio", "a.ogg", "cloud", True),
        ("video", "a.mov", "evolution", False), ("video", "a.mov", "waha", True), ("image", "a.heic", "waha", False),
    ],
)  # fmt: skip
def test_what_no_phone_plays_is_refused_but_where_its_gateway_converts_it(
    kind: str, name: str, gateway: str, is_played: bool
) -> None:
    row = Written(type=kind, message="", media_url=f"https://e.com/{name}")
    if is_played:
        assert content_of(row, gateway).kind == kind
    else:
        with pytest.raises(BadMessage, match="document"):
            content_of(row, gateway)


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
        ("image", "image"), ("Video", "video"), ("gif", "video"), ("voice", "audio"), ("ptt", "audio"),
        ("pdf", "document"), ("document", "document"),
    ],
)  # fmt: skip
def test_a_concrete_type_is_believed_where_the_name_says_nothing(written: str, kind: str) -> None:
    assert read(type=written, media={"url": "https://e.com/raw?id=1"}).kind == kind


def test_anything_can_be_sent_as_a_document() -> None:
    for name in ("a.jpg", "a.gif", "a.mov", "a.wav", "a.webp", "a.mp4", "a.heic", "a.svg"):
        assert read(type="document", media_url=f"https://e.com/{name}").kind == "document"


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


@pytest.mark.parametrize("around", ["\u202a{}\u202c", "{}\u200b", "\ufeff{} \u200f", " {}\n"])
def test_what_cannot_be_seen_around_a_pasted_link_is_no_part_of_it(around: str) -> None:
    found = read(type="document", media_url=around.format("https://e.com/r.pdf"))
    assert found.media
    assert (found.media.url, found.media.filename) == ("https://e.com/r.pdf", "r.pdf")


def test_ten_attachments_go_out_with_a_message_and_an_eleventh_is_refused() -> None:
    eleven = [{"url": f"https://e.com/{n}.png"} for n in range(11)]
    found = read(type="media", media=eleven[:10])
    assert [m.url for m in (found.media, *found.more) if m] == [entry["url"] for entry in eleven[:10]]
    with pytest.raises(BadMessage, match="11 attachments; at most 10"):
        read(type="media", media=eleven)
    with pytest.raises(BadMessage, match="11 attachments"):
        read(type="image", media_url=JPG, media=eleven[:10])


@pytest.mark.parametrize("media", [None, {}, [], [None], "", [""], {"caption": "no link"}])
def test_a_media_column_without_a_link_counts_as_none(media: Any) -> None:
    assert read(message="Hi", media=media) == Content("text", "Hi")
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


MEDIA = {"type": "image", "media_url": JPG}


@pytest.mark.parametrize("gateway", ["cloud", "waha", "evolution", "wppconnect", "bullmq", "mock", None])
def test_limits_are_those_of_the_gateway_and_its_name_is_said(gateway: str | None) -> None:
    text, caption = (4096, 1024) if gateway == "cloud" else (65_536, 65_536)
    name = "the WhatsApp Cloud API" if gateway == "cloud" else "WhatsApp"
    audio = {"type": "audio", "media_url": "https://e.com/a.ogg"}
    for row, limit, what in (({}, text, "text"), (MEDIA, caption, "caption"), (audio, text, "text")):
        written = {"type": "text", "message": "x" * limit, **row}
        assert len(content_of(Written(**written), gateway).text) == limit
        with pytest.raises(BadMessage, match=f"The {what} has {limit + 1} characters; {name} takes {limit}: shorten"):
            content_of(Written(**{**written, "message": "x" * (limit + 1)}), gateway)
    listed = [{"url": JPG}, {"url": PDF, "caption": "x" * (caption + 1)}]
    with pytest.raises(BadMessage, match=f"^The caption has {caption + 1} characters"):
        content_of(Written(type="image", message="", media=listed), gateway)


@pytest.mark.parametrize(
    "nothing", ["\u200b", "\u200d \u2060\ufeff", "\u3164\u2800", "\ufe0f", "\u202e\u00ad\n", "\U000e0041"]
)
def test_a_text_that_shows_nothing_is_empty(nothing: str) -> None:
    with pytest.raises(BadMessage, match="empty"):
        read(message=nothing)
    assert read(type="image", media_url=JPG, caption=nothing, message="m").text == "m"


@pytest.mark.parametrize("text", ["👩\u200d👩", "\u202bשלום", "🏴\U000e0067", "\u0301", "."])
def test_a_text_that_shows_anything_is_sent_as_it_is(text: str) -> None:
    assert read(message=text).text == text


def test_an_asset_goes_to_the_gateway_that_can_look_it_up() -> None:
    row = {"type": "media", "message": "Hi", "asset_id": "5f7d"}
    assert content_of(Written(**row), "bullmq") == Content("document", "Hi", Media(None, "document"), asset_id="5f7d")
    assert content_of(Written(**{**row, "type": "image"}), "bullmq").kind == "image"


def test_an_asset_alone_is_a_clear_fault_elsewhere() -> None:
    with pytest.raises(BadMessage, match="media_url"):
        content_of(Written(type="media", message="Hi", asset_id="5f7d"))


def test_an_asset_with_a_link_goes_anywhere() -> None:
    row = {"type": "image", "message": "Hi", "asset_id": "5f7d", "media_url": JPG}
    assert content_of(Written(**row)).asset_id is None
    assert content_of(Written(**row), "bullmq").asset_id == "5f7d"


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


COLUMN = "The media column must hold an object with a url, or a list of such objects."
NOT_JSON = "The media column is not valid JSON."
TEMPLATE = 'A template needs {"name": …, "language": …, "components": […]} in the media column.'
NOTHING_THERE = "There is no attachment: give its address in media_url, or set the type to text."
ASSET_ELSEWHERE = "Only the Node worker can look up asset_id: give the file's address in media_url."
TYPE = "cannot be scheduled: use text, image, video, audio or document."


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"message": " "}, "The message is empty: write a text or add an attachment."),
        ({"type": "poll"}, f"Type 'poll' {TYPE}"),
        ({"type": "a" * 30}, f"Type '{'a' * 20}' {TYPE}"),
        ({"type": "image"}, NOTHING_THERE),
        ({"type": "media", "asset_id": "5f7d"}, ASSET_ELSEWHERE),
        ({"type": "text", "message": "Hi", "media": {"assetId": "5f7d"}}, ASSET_ELSEWHERE),
        (
            {"type": "media", "media": [f"https://e.com/{n}.png" for n in range(11)]},
            "11 attachments; at most 10 go out with one message.",
        ),
        ({"type": "media", "media": [7]}, COLUMN),
        ({"type": "media", "media": "[[1]]"}, COLUMN),
        ({"type": "media", "media": "{"}, NOT_JSON),
        ({"type": "media", "media": ' ["https://e.com/a.png"'}, NOT_JSON),
        ({"type": "media", "media": '"https://e.com/a.png'}, NOT_JSON),
        ({"type": "media", "media": "[" * 100_000}, NOT_JSON),
        ({"type": "template"}, TEMPLATE),
        ({"type": "template", "media": []}, TEMPLATE),
        ({"type": "template", "media": {"name": 7, "language": "en"}}, TEMPLATE),
    ],
)
def test_a_refusal_says_in_whole_what_to_change(row: dict[str, Any], told: str) -> None:
    with pytest.raises(BadMessage) as refused:
        read(**row)
    assert str(refused.value) == told


LINK = "https://e.com/raw?id=1"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"media": LINK}, Media(LINK, "document", None, None)),
        ({"media": json.dumps(LINK)}, Media(LINK, "document", None, None)),
        ({"media": {"url": LINK, "type": "image"}}, Media(LINK, "image", None, None)),
        ({"media": {"url": LINK, "kind": " VIDEO "}}, Media(LINK, "video", None, None)),
        ({"media": {"url": LINK, "type": "image/png"}}, Media(LINK, "image", "image/png", "file.png")),
        ({"media": {"url": JPG, "type": "text"}}, Media(JPG, "image", "image/jpeg", "scan.JPG")),
        ({"media": {"url": JPG, "type": "template"}}, Media(JPG, "image", "image/jpeg", "scan.JPG")),
        ({"type": "video", "media": {"url": LINK, "type": "media"}}, Media(LINK, "video", None, None)),
        ({"media": {"url": LINK, "type": "image/png", "mimetype": "application/pdf"}}, Media(
            LINK, "document", "application/pdf", "file.pdf"
        )),
    ],
)  # fmt: skip
def test_what_an_entry_of_the_media_column_says_of_itself(row: dict[str, Any], expected: Media) -> None:
    assert read(**{"type": "media", **row}).media == expected


def test_a_caption_of_an_entry_is_as_long_as_its_kind_may_be() -> None:
    ogg = {"url": "https://e.com/a.ogg", "caption": "x" * 4096}
    found = content_of(Written(type="image", message="", media_url=JPG, media=[ogg]), "cloud")
    assert [m.caption for m in found.more] == ["x" * 4096]


@pytest.mark.parametrize(("written", "kind"), [(None, "document"), ("text", "document"), ("video", "video")])
def test_an_asset_alone_is_of_the_rows_kind_else_a_document(written: str | None, kind: str) -> None:
    for asset in ({"asset_id": "5f7d"}, {"media": {"asset_id": "5f7d"}}, {"media": [{"assetId": "5f7d"}]}):
        found = content_of(Written(**{"type": written, "message": "Hi", **asset}), "bullmq")
        assert found == Content(kind, "Hi", Media(None, kind), asset_id="5f7d"), asset  # type: ignore[arg-type]


def test_a_template_may_be_the_first_of_a_list_and_its_language_any_code() -> None:
    assert read(type="template", media=[{"name": "t", "language": 7, "components": None}]).template == {
        "name": "t", "language": {"code": "7"}, "components": [],
    }  # fmt: skip


APPROVED = {"name": "reminder", "language": "en_US"}


def templated(*components: Any, gateway: str = "cloud", **row: Any) -> Content:
    template = {**APPROVED, "components": [*components]}
    return content_of(Written(**{"type": "text", "message": "Hello Asha", "template": template, **row}), gateway)


def body(*texts: str, **more: str) -> dict[str, Any]:
    return {"type": "body", "parameters": [{"type": "text", **more, "text": text} for text in texts]}


def test_beside_a_text_the_template_is_what_the_cloud_api_sends_and_every_other_gateway_sends_the_text() -> None:
    expected = {**APPROVED, "language": {"code": "en_US"}, "components": [body("Asha")]}
    assert templated(body("Asha")) == Content("template", "", template=expected)
    assert templated(body("Asha"), message="").kind == "template"  # what is not sent may be missing
    for other in KINDS:
        if other != "cloud":
            assert templated(body("Asha"), gateway=other) == Content("text", "Hello Asha")


def test_beside_a_file_it_is_the_same() -> None:
    row = {"type": "image", "media_url": JPG, "caption": "Hello", "message": ""}
    header = {"type": "header", "parameters": [{"type": "image", "image": {"link": JPG}}]}
    found = templated(header, body("Asha"), **row)
    assert (found.kind, found.media) == ("template", None)
    assert found.template
    assert found.template["components"] == [header, body("Asha")]
    assert templated(header, gateway="waha", **row).kind == "image"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Street 1\nChennai", "Street 1 Chennai"), ("a\t\tb", "a b"), ("a\r\n  b", "a b"), ("a      b", "a    b"),
        ("a    b", "a    b"), ("  a", "  a"), ("😀 مرحبا", "😀 مرحبا"), ("{name}", "{name}"), ("a\u2028b", "a b"),
    ],
)  # fmt: skip
def test_what_whatsapp_does_not_take_in_a_value_is_smoothed(given: str, sent: str) -> None:
    found = templated(body(given)).template
    assert found
    assert found["components"] == [body(sent)]


def test_zero_is_a_value() -> None:
    found = templated({"type": "body", "parameters": [{"type": "text", "text": 0}]}).template
    assert found
    assert found["components"] == [body("0")]


@pytest.mark.parametrize(
    ("component", "which"),
    [(body("Asha", " \n"), r"\{\{2\}\}"), (body("", parameter_name="patient_name"), r"\{patient_name\}")],
)
def test_a_place_without_a_value_is_named_before_anything_is_sent(component: dict[str, Any], which: str) -> None:
    with pytest.raises(BadMessage, match=f"The template 'reminder' has no value for {which}"):
        templated(component)


@pytest.mark.parametrize("components", ["x", {"type": "body"}, ["x"], [None], 7])
def test_components_that_are_none_are_refused_in_words(components: Any) -> None:
    with pytest.raises(BadMessage, match="must be a list of objects"):
        content_of(Written(type="text", message="Hi", template={**APPROVED, "components": components}), "cloud")


@pytest.mark.parametrize("template", ["x", [], {"name": "t"}, {"language": "en"}, 1, True])
def test_beside_a_text_a_template_that_is_none_is_refused_in_words_by_the_cloud_api_alone(template: Any) -> None:
    written = Written(type="text", message="Hi", template=template)
    assert content_of(written, "waha") == Content("text", "Hi")
    if template:
        with pytest.raises(BadMessage, match="in the template column"):
            content_of(written, "cloud")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["url", "mimetype", "type", "caption", "name", "language", "components", "parameters"]),
            inner,
            max_size=3,
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
            "template": JSON,
        },
    ),
    st.sampled_from(["bullmq", "cloud"]),
)
def test_whatever_a_row_holds_becomes_content_or_a_short_reason(row: dict[str, Any], gateway: str) -> None:
    try:
        result = str(content_of(Written(**row), gateway).kind)
    except BadMessage as refused:
        result = str(refused)
    assert 0 < len(result) < 200
