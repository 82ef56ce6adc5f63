"""Inputs that once ended in a 5xx, or would have: every such value at every place that reads its kind.

The fuzzer (tests/faults/test_input.py) finds such values; each finding becomes a row here.
"""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.http.multipartparser import MultiPartParserError
from django.test import Client
from django.urls import reverse

from channels_setup import http_client, provisioning
from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.models import ApiChannel
from channels_setup.providers.base import ApiRequest, ApiResponse, retry_after_seconds
from config import wsgi
from config.serving.body_buffer import is_readable_content_type
from config.web.wsgi_handler import TolerantRequest
from templates_registry.provider.provider_template import InvalidTemplateData
from templates_registry.transfer import file_formats
from tests.factories import ApiChannelFactory, ConversationFactory, TemplateFactory, UserFactory
from tests.fuzzing.values import DIGITS, NUMBERS, TABLE, TEXTS, TIMES, packed
from tests.pages import signed_in

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")


# --- one reader for each kind of value -------------------------------------------------------------------


@pytest.mark.parametrize("text", [*NUMBERS, *TEXTS, None], ids=lambda text: repr(text)[:30])
def test_a_number_is_read_or_refused(text: str | None) -> None:
    number = values.parse_whole_number(text)

    assert number is None or (0 <= number <= values.MAX_ID and str(number) == str(text).lstrip("0").zfill(1))


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Pacific/Niue"), None], ids=str)
def test_a_time_is_read_or_refused_and_every_time_zone_can_show_it(zone: Any) -> None:
    for text in (*TIMES, *NUMBERS, *TEXTS, None):
        at = values.parse_iso_time(text, zone=zone)
        if at is not None:
            assert at.tzinfo is UTC
            for hours in (-24, 24):
                at.astimezone(timezone(timedelta(hours=hours, minutes=-hours // 24)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25 03:00", datetime(2026, 11, 25, 3, tzinfo=UTC)),
        ("2026-11-25T03:00:00+03:00", datetime(2026, 11, 25, tzinfo=UTC)),
        ("2026-11-25", datetime(2026, 11, 25, tzinfo=UTC)),
        ("2026-11-25T05:30:15+05:30:15", datetime(2026, 11, 25, tzinfo=UTC)),
        ("0001-01-01", values.EARLIEST),
        ("0001-01-01T00:00:00+23:59", None),
        ("9999-12-31T23:59:59-23:59", None),
    ],
)
def test_times_as_people_write_them(text: str, expected: datetime | None) -> None:
    assert values.parse_iso_time(text, zone=UTC) == expected


@pytest.mark.parametrize(
    "seconds", [values.LATEST.timestamp() + 1, 253402300799, "9" * 400, "²", -1, float("nan"), True]
)
def test_unix_time_outside_every_time_zones_range_is_refused(seconds: Any) -> None:
    with pytest.raises(BadBody):
        values.parse_unix_time(seconds)


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 9999 00:00:00 -2359", "x" * 9000, "²", "99999999999999999999999999", DIGITS]
)
def test_a_providers_retry_after_is_read_or_ignored(date: str) -> None:
    retry_after_seconds(ApiResponse(status=429, headers={"retry-after": date}, body=b""))


@pytest.mark.django_db
@pytest.mark.parametrize("name", [DIGITS, "²", "9" * 19, "9" * 30])
def test_a_channel_named_by_unusual_digits_is_not_found(name: str) -> None:
    assert provisioning.find_by_number_or_name(ApiChannel.objects.all(), name) is None


# --- headers of requests and of parts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "is_read"),
    [
        *((f"text/html; charset={name}", False) for name in ("idna", "punycode", "undefined", "zlib", "hex", "utf-7")),
        *(
            (f"text/html; charset={name}", False)
            for name in ("utf-16", "unicode_escape", "raw_unicode_escape", "x" * 99)
        ),
        *((f"text/html; charset={name}", True) for name in ("utf-8", "UTF8", "us-ascii", "windows-1251", "ISO-8859-1")),
        ("a/b; x*=nosuch''y", False),
        (f"a/b; x*{'9' * 4999}=1", False),
        ("application/json", True),
        ("", True),
    ],
)
def test_only_content_types_with_a_known_charset_are_accepted(header: str, is_read: bool) -> None:
    assert is_readable_content_type(header) == is_read


def body_with(head: str, field: str = "") -> bytes:
    parts = [f"Content-Disposition: form-data; name=api_token\r\n\r\n{field}".encode(), head.encode() + b"\r\n\r\nabc"]
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"


PART_HEADS = {
    "unknown charset of a file name": "Content-Disposition: form-data; name=file; filename*=nosuch''x",
    "a codec that is no text encoding": "Content-Disposition: form-data; name*=zlib''file; filename=x",
    "idna": "Content-Disposition: form-data; name*=idna''%ff; filename=x",
    "NUL in the type": "Content-Disposition: form-data; name=file; filename=x.png\r\nContent-Type: image/png\0x",
    "NUL in the name": "Content-Disposition: form-data; name=file; filename*=utf-8''a%00.png",
    "long type": f"Content-Disposition: form-data; name=file; filename=x.png\r\nContent-Type: a/{'b' * 900}",
    "90 letters of four bytes": f'Content-Disposition: form-data; name=file; filename="{chr(0x1D4B3) * 90}.png"',
    "a long ending": f'Content-Disposition: form-data; name=file; filename="a.{"b" * 300}"',
    "broken base64": "Content-Disposition: form-data; name=file; filename=x\r\nContent-Transfer-Encoding: base64",
    "odd length": "Content-Disposition: form-data; name=file; filename=x\r\nContent-Length: ²",
}


@pytest.mark.django_db
@pytest.mark.parametrize("head", PART_HEADS.values(), ids=PART_HEADS)
def test_an_unusual_part_of_an_api_call_is_stored_or_refused(head: str) -> None:
    channel = ApiChannelFactory(secret=True)
    conversation = ConversationFactory(api_channel=channel)
    query = f"channel_id={conversation.chat_channel_id}&message[text]=Da&message[from][phone]=%2B79215550101"
    body = body_with(head, channel.current_secret().reveal())

    answer = Client().generic(
        "POST", f"/uapi/chat/addMessage?{query}", body, content_type="multipart/form-data; boundary=x"
    )

    assert answer.status_code == 200
    assert "error" in answer.json() or "message_id" in answer.json()


@pytest.mark.parametrize("head", PART_HEADS.values(), ids=PART_HEADS)
def test_an_unusual_part_of_a_form_is_read_or_is_a_400(head: str) -> None:
    body = body_with(head)
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "multipart/form-data; boundary=x",
        "wsgi.input": io.BytesIO(body),
    }
    request = TolerantRequest({**environ, "CONTENT_LENGTH": str(len(body))})

    with suppress(MultiPartParserError):  # Django answers these with 400
        assert request.POST is not None


@pytest.mark.parametrize("escape", ["\\000", "\\000" * 40])
def test_a_cookie_with_an_escaped_nul_is_ignored(escape: str) -> None:
    request = TolerantRequest(
        {"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), "HTTP_COOKIE": f'sessionid="{escape}"; a=b'}
    )

    assert request.COOKIES == {"a": "b"}


@pytest.mark.parametrize("path", ["/uapi/channels", "/api/v1/conversations/"])
def test_a_request_refused_before_any_view_is_answered_in_json(path: str) -> None:
    answer = Client().get(path, headers={"host": "[::1"})

    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)


FORM = "application/x-www-form-urlencoded"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/nowhere", "/login/", "/phone/1/", "/admin/login/", "/chats/1/send/"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        *((f"{FORM}; charset=cp1251", b"a=1"), (f"{FORM}; charset=latin-1", b"a=1"), (FORM, b"a=1&" * 2001)),
        *(("multipart/form-data", b"x"), ("multipart/form-data; boundary=x", b"--x\r\n" + b"a" * 99)),
    ],
)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:²"])
def test_an_unreadable_form_is_refused(path: str, content_type: str, body: bytes, host: str) -> None:
    """Django's error pages read the form, too, for its CSRF token."""
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_TYPE": content_type, "SERVER_NAME": "localhost"}
    environ |= {
        "SERVER_PORT": "80",
        "HTTP_HOST": host,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    statuses: list[str] = []

    wsgi.django({**environ, "wsgi.url_scheme": "http"}, lambda status, _headers: statuses.append(status))

    assert statuses[0].startswith(("400", "403", "404"))


@pytest.mark.parametrize("accept", ["application/json; x*=nosuch''y", ";", "*/*;q=²", "/"])
def test_an_unreadable_accept_header_accepts_nothing_or_everything(accept: str) -> None:
    request = TolerantRequest({"REQUEST_METHOD": "GET", "wsgi.input": io.BytesIO(), "HTTP_ACCEPT": accept})

    assert request.accepts("text/html") in (True, False)


@pytest.mark.parametrize("name", ["utf8", "UTF-8", "us-ascii", "utf_8"])
def test_a_form_in_any_spelling_of_utf_8_is_read(name: str) -> None:
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": f"{FORM}; charset={name}", "CONTENT_LENGTH": "9"}

    assert TolerantRequest({**environ, "wsgi.input": io.BytesIO("a=Да№".encode()[:9])}).POST["a"] == "Да№"


# --- programs --------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_uapi_answers_unusual_times_and_texts_with_its_error_format(channel: ApiChannel) -> None:
    key = channel.issue_secret().reveal()
    for method, name in (("tickets", "created_after"), ("tickets", "updated_before"), ("clients", "created_after")):
        for text in TIMES:
            answer = Client().post(f"/uapi/{method}", json.dumps({"api_token": key, name: text}), "application/json")
            assert answer.status_code == 200, (method, text)
            assert isinstance(answer.json(), list) or answer.json()["code"] == 400


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["<b><![", "<![CDATA[", "<!", "</", "&#x110000;", f"&#{DIGITS};", "\0", "\ud800"])
def test_uapi_accepts_or_refuses_unusual_texts(text: str) -> None:
    channel = ApiChannelFactory(secret=True)
    conversation = ConversationFactory(api_channel=channel)
    key = channel.current_secret().reveal()
    calls = {
        "create/ticket": {
            "message": text,
            "subject": text,
            "client_phone": "+79215550101",
            "channel_id": conversation.chat_channel_id,
        },
        "create/comment": {"message": text, "ticket_id": 1, "chat_id": conversation.pk},
        "chat/addMessage": {
            "message": {"text": text, "from": {"name": text}},
            "channel_id": conversation.chat_channel_id,
        },
    }
    for method, values_ in calls.items():
        answer = Client().post(f"/uapi/{method}", json.dumps({"api_token": key, **values_}), "application/json")
        assert answer.status_code == 200 and isinstance(answer.json(), dict), method


@pytest.mark.django_db
def test_a_value_that_the_database_rejects_is_the_callers_error(
    channel: ApiChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This covers readers without validation: \"try again\" would be wrong, because the same call fails again."""
    from django.db import DataError

    from bridge.uapi.chats import Channels

    def answer(_self: Any, _call: Any) -> Any:
        raise DataError

    monkeypatch.setattr(Channels, "answer", answer)
    response = Client().post(
        "/uapi/channels", json.dumps({"api_token": channel.issue_secret().reveal()}), "application/json"
    )

    assert response.status_code == 200
    assert response.json()["code"] == 400


# --- people ----------------------------------------------------------------------------------------------

# One of each mechanism; the fuzzer tries the others.
ODD = (
    "\0",
    "²",
    DIGITS,
    "9" * 19,
    "-1",
    *TIMES[:3],
    "1,²",
    f"{TIMES[0]}~1",
    f"open~{TIMES[1]}~{DIGITS}",
    "2026-11-25T00:00:00Z~²",
)
PLACES = {
    "desk": (
        "/chats/?after={}",
        "/chats/?q={}&status={}&channel={}&chat={}",
        "/chats/updates/?list={}&chat={}&last_warning={}",
    ),
    "requests": ("/requests/?after={}", "/requests/?status={}&channel={}&assignee={}&sort=oldest"),
    "windows": ("/windows/?days={}&channel={}", "/templates/?q={}&channel={}&language={}&category={}&shown={}"),
    "chat": (
        "/chats/{pk}/?at={}&replies_to={}&tab={}",
        "/chats/{pk}/?before={}",
        "/chats/{pk}/canned-responses/?find={}&take={}",
    ),
    "dead": (
        "/admin/bridge/deadletter/bulk/resend/?since={}",
        "/admin/bridge/deadletter/bulk/discard/?reason={}&ids={}",
    ),
    "admin": (
        "/admin/bridge/mismatch/?kind={}",
        "/admin/bridge/message/?q={}&p={}",
        "/admin/bridge/deadletter/?reason={}&age={}",
    ),
    "export": ("/admin/templates_registry/template/export/?channel={}&form=json",),
}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", PLACES)
def test_no_page_fails_on_an_unusual_value_in_its_url(kind: str, client: Client) -> None:
    conversation = ConversationFactory()
    TemplateFactory(api_channel=conversation.api_channel)
    root = signed_in(client, UserFactory(is_staff=True, is_superuser=True))
    for place in PLACES[kind]:
        path, _mark, query = place.replace("{pk}", str(conversation.pk)).partition("?")
        names = [part.partition("=")[0] for part in query.split("&") if part.endswith("{}")]
        fixed = dict(part.split("=") for part in query.split("&") if not part.endswith("{}"))
        for text in ODD:
            answer = root.get(path, {**fixed, **dict.fromkeys(names, text)})
            assert answer.status_code < 500, (place, text[:60])


@pytest.mark.django_db
def test_no_template_form_fails_on_unusual_values(client: Client) -> None:
    template = TemplateFactory(buttons=[{"type": "QUICK_REPLY", "text": "Да"}])
    root = signed_in(client, UserFactory(is_staff=True, is_superuser=True))
    fields = {
        "api_channel": template.api_channel_id,
        "name": "x",
        "language": "ru",
        "category": "UTILITY",
        "body": "Да",
    }
    buttons = {"buttons-0-kind": "QUICK_REPLY", "buttons-0-text": "Да", "buttons-0-origin": "0"}
    fields |= {**buttons, "header_kind": "", "header_text": "", "footer": "", "variables-0-key": "1", "tags": ""}
    change = reverse("admin:templates_registry_template_change", args=[template.pk])
    preview = reverse("admin:templates_registry_template_preview") + f"?of={template.pk}"
    for name in fields:
        assert root.post(change, {**fields, name: "\0"}).status_code < 500, name
    for text in ("²", DIGITS):
        for name in ("buttons-0-origin", "variables-0-key", "api_channel"):
            assert root.post(preview, {**fields, name: text}).status_code < 500, name


@pytest.mark.django_db
def test_no_action_fails_on_unusual_numbers(client: Client) -> None:
    root = signed_in(client, UserFactory(is_staff=True, is_superuser=True))
    pause = reverse("admin:templates_registry_template_action", args=["pause"])
    for text in ("²", DIGITS, "\0", "9" * 19):
        assert root.post(pause, {"template": text, "reason": text}).status_code < 500


@pytest.mark.django_db(transaction=True)
def test_a_lookup_that_the_database_rejects_is_a_400(client: Client) -> None:
    """The admin's lists accept any lookup of their own fields."""
    root = signed_in(client, UserFactory(is_staff=True, is_superuser=True))

    for query in ("since=0001-01-01T00:00:00%2B23:59", "since__year=9999999999999", "kind__regex=("):
        assert root.get(f"/admin/bridge/mismatch/?{query}").status_code in (302, 400), query


@pytest.mark.django_db
def test_an_empty_to_field_is_a_400(client: Client) -> None:
    root = signed_in(client, UserFactory(is_staff=True, is_superuser=True))

    assert root.get("/admin/bridge/message/1/delete/?_to_field=").status_code == 400


# --- files -----------------------------------------------------------------------------------------------


def with_bytes(data: bytes, at: bytes, offset: int, value: bytes) -> bytes:
    """Return the archive with bytes replaced after each occurrence of a signature."""
    changed, place = bytearray(data), -1
    while (place := data.find(at, place + 1)) >= 0:
        changed[place + offset : place + offset + len(value)] = value
    return bytes(changed)


LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def broken_tables() -> dict[str, bytes]:
    found = {
        "cut": TABLE[:300],
        "without its end": TABLE[:-40],
        "another archive": packed(a="x"),
        "no sheets": packed(xl__workbook__xml="<workbook/>"),
        "encrypted": with_bytes(with_bytes(TABLE, LOCAL, 6, b"\x01\x00"), CENTRAL, 8, b"\x01\x00"),
        "unknown method": with_bytes(with_bytes(TABLE, LOCAL, 8, b"\x63\x00"), CENTRAL, 10, b"\x63\x00"),
        "lying sizes": with_bytes(TABLE, CENTRAL, 24, b"\x01\x00\x00\x00"),
        "lying offsets": with_bytes(TABLE, CENTRAL, 42, b"\xff\xff\xff\x7f"),
        "wrong checksum": with_bytes(TABLE, CENTRAL, 16, b"\0\0\0\0"),
        "invalid bzip2": with_bytes(with_bytes(TABLE, LOCAL, 8, b"\x0c\x00"), CENTRAL, 10, b"\x0c\x00"),
        "invalid lzma": with_bytes(with_bytes(TABLE, LOCAL, 8, b"\x0e\x00"), CENTRAL, 10, b"\x0e\x00"),
        "damaged deflate": with_bytes(TABLE, LOCAL, 60, b"\xff" * 40),
    }
    with zipfile.ZipFile(io.BytesIO(TABLE)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for name in parts:
        for damage, text in (
            ("empty", b""),
            ("no XML", b"<a"),
            ("other XML", "<a xmlns='b'><c r='²'/></a>".encode()),
            ("bytes", b"\xff\0"),
        ):
            written = io.BytesIO()
            with zipfile.ZipFile(written, "w") as archive:
                for other, data in parts.items():
                    archive.writestr(other, text if other == name else data)
            found[f"{name} {damage}"] = written.getvalue()
    return found


@pytest.mark.parametrize("form", ["damaged", "flipped"])
def test_a_damaged_table_is_read_or_refused_with_an_explanation(form: str) -> None:
    flipped = {
        str(place): TABLE[:place] + bytes([TABLE[place] ^ 0xFF]) + TABLE[place + 1 :]
        for place in range(0, len(TABLE), 61)
    }
    for name, data in (broken_tables() if form == "damaged" else flipped).items():
        try:
            file_formats.read_file(data)
        except InvalidTemplateData as problem:
            assert str(problem.sentence), name


ADDRESSES = (
    *(
        "https://" + "a" * 64 + ".example/",
        "https://a..b/",
        "https://.a/",
        "https://" + "é" * 63 + "/",
        "https://xn--a/",
    ),
    *("https://[::1/", "https://1.2.3.4.5/"),
)


@pytest.mark.parametrize("url", ADDRESSES)
def test_an_unusual_url_is_refused_with_an_explanation(url: str) -> None:
    with pytest.raises(http_client.ForbiddenAddress) as refused:
        http_client.check_url(url)
    assert str(refused.value)
    with pytest.raises((http_client.ForbiddenAddress, http_client.ConnectionFailed)):
        http_client.send(ApiRequest(method="POST", url=url, headers={}, body=b""))
