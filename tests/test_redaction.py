"""Redaction of foreign texts and raw requests: secrets in every spelling, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

import pytest

from bridge.raw_requests import redact_request
from channels_setup.codecs import request_redaction
from channels_setup.codecs.bodies import BadBody, decode_body, parse_form, parse_json_object
from channels_setup.codecs.redaction import MASK, redact_json, redact_text
from channels_setup.codecs.request_redaction import find_credentials, redact_body, redact_echo, redact_query
from channels_setup.codecs.secret_search import find_secrets, is_distinctive
from channels_setup.providers import all_providers, helpdesks
from channels_setup.providers.base import RawRequest
from tests.scenarios.provider_contracts import HELPDESK_ACCOUNT, PAYLOADS, account_of, build_raw_request
from tests.scenarios.secret_traces import SPELLINGS
from tests.work import count_calls

SECRETS = ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "EAAGm0PX4ZCps", "p&ss/w=rd+§ 7", "Ab-c_9.f~x|Z"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_known_secret_is_masked_in_every_spelling(spelling: str) -> None:
    for secret in SECRETS:
        spelled = SPELLINGS[spelling](secret)

        clean = redact_text(f"Echo of your request <{spelled}> (end)", [secret])

        assert clean == f"Echo of your request <{MASK}> (end)"


@pytest.mark.parametrize("spelling", ["plain", "percent", "JSON escapes", "HTML numbers"])
def test_another_channels_secret_is_masked_as_a_word(spelling: str) -> None:
    tokens = frozenset((SECRETS[0].encode(),))

    assert redact_text(f"x={SPELLINGS[spelling](SECRETS[0])};", tokens=tokens) == f"x={MASK};"


def test_a_secret_cut_off_at_the_end_is_masked() -> None:
    assert redact_text(f"Error: {SECRETS[0][:20]}", [SECRETS[0]]) == f"Error: {MASK}"


@pytest.mark.parametrize(
    ("end", "masked"),
    [
        ("abababab", "abababab"),  # 8 characters: the least
        ("bababab", ""),
        ("abababababab", "abababababab"),  # the longest of the beginnings that overlap
        ("abababababXabababab", "abababab"),
        ("ababababababababQ", "ababababababababQ"),
    ],
)
def test_the_longest_beginning_at_the_end_is_masked(end: str, masked: str) -> None:
    assert redact_text(f"< {end}", ["ababababababababQ"]) == f"< {end.removesuffix(masked)}{MASK if masked else ''}"


def test_tokens_of_any_length_are_found_in_longer_runs() -> None:
    tokens = frozenset((b"short1", b"a-much-longer-token-1"))

    clean = redact_text("id-short1 short1 a-much-longer-token-1 shorter1", tokens=tokens)

    assert clean == f"id-{MASK} {MASK} {MASK} shorter1"


@pytest.mark.django_db
def test_a_repeated_header_is_redacted_with_the_current_secrets() -> None:
    headers = {"user-agent": f"bot/{SECRETS[0]}"}
    raw = RawRequest(method="POST", query_string="", content_type="text/plain", headers=headers, body=b"")

    before, after = redact_request(raw), redact_request(raw, secrets=[SECRETS[0]])

    assert before.headers["user-agent"] == f"bot/{SECRETS[0]}"
    assert after.headers["user-agent"] == f"bot/{MASK}"


NAMED = [
    ("authorization: Bearer abc123def", "abc123def"),
    ("Authorization=Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ('{"authorization":"Bearer zz yy"}', "zz yy"),
    ("{'access_token': 'qq12'}", "qq12"),
    ('\\"api_token\\":\\"qq12\\"', "qq12"),
    ("authorization%3A%20Bearer%20zzz111", "zzz111"),
    ("https://graph.example/v1/me?access_token=short1&x=1", "short1"),
    ("D360-API-KEY: k1k2k3", "k1k2k3"),
    ("app_secret=&quot;qwe123&quot;", "qwe123"),
    ("password => hunter2", "hunter2"),
    ("hub.verify_token=okno-42", "okno-42"),
    ("key=0123456789abcdef", "0123456789abcdef"),
    ("Error validating access token EAAGm0PX4ZCpsBAKZ", "EAAGm0PX4ZCpsBAKZ"),
    ("bad token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig_nature", "eyJhbGciOiJIUzI1NiJ9"),
    ("redis://:hunter2@10.0.0.1/0 refused", "hunter2"),
    ("https://user:hunter2@host/ refused", "hunter2"),
    ("Set-Cookie: sessionid=abc123; Path=/", "abc123"),
    ("bearer+abcdef123456", "abcdef123456"),
    ("seen okno_0123456789abcdef0123456789abcdef0123456789abcdef here", "0123456789abcdef01"),
]


@pytest.mark.parametrize(("text", "secret"), NAMED)
def test_an_unknown_secret_is_masked_by_its_name(text: str, secret: str) -> None:
    clean = redact_text(text)

    assert secret not in clean
    assert MASK in clean


@pytest.mark.parametrize(
    "text",
    [
        "Password: must be longer",
        "The access token is not valid or has run out: make a new one.",
        "Invalid OAuth access token signature.",
        "(#100) Invalid parameter: template name does not exist in en_US",
        "The key is missing",
        "token expired",
        "Ключ не подошёл: access_token required",
        "code: 131047, see https://developers.facebook.com/docs/errors?x=1",
        "100 % \\u0441 %D1%81 &amp; &laquo;ёлки&raquo;",
    ],
)
def test_ordinary_words_of_a_provider_are_kept(text: str) -> None:
    assert redact_text(text, [SECRETS[0]]) == text


def test_a_json_tree_is_redacted_by_name_and_by_value() -> None:
    tree = {
        "a": [f"x {SECRETS[0]}", 5, None],
        "authorization": ["Bearer q"],
        "token": "no",
        "app_secret": {"v": "q"},
    }

    assert redact_json(tree, [SECRETS[0]]) == {
        "a": [f"x {MASK}", 5, None],
        "authorization": [MASK],
        "token": "no",
        "app_secret": {"v": MASK},
    }


# --- raw requests ----------------------------------------------------------------------------------------

TEXT = "My password: qwerty, the api_token=… and “Authorization: Bearer x1” are secret"
WORDS = {"text": TEXT, "n": 12.50, "e": "é😀"}


def test_json_fields_are_redacted_by_name_and_stay_parsable() -> None:
    inner = json.dumps({"app_secret": "deep1", "list": [json.dumps({"verify_token": "deeper2"})]})
    body = json.dumps(
        {
            "message": WORDS,
            "api_token": "plain1",
            "PASSWORD": 4242424,
            "Authorization": ["Bearer two", {"x": "three"}],
            "inner": inner,
            "after": "kept",
            "secret": "",
            "is_password": True,
        }
    ).replace('"PASSWORD"', '"\\u0050ASSWORD"')

    clean = redact_body(body.encode(), "application/json", [])

    for secret in ("plain1", "4242424", "two", "three", "deep1", "deeper2"):
        assert secret not in clean.decode()
    read = parse_json_object(clean)
    assert read["message"] == WORDS
    assert read["after"] == "kept"
    assert read["is_password"] is True
    assert json.loads(read["inner"])["app_secret"] == "*****"


def form(**fields: str) -> bytes:
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in fields.items()).encode()


def multipart(fields: dict[str, str], extra: str = "") -> bytes:
    parts = [
        f'--b1\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    return "".join([*parts, "--b1--\r\n"]).encode()


FIELDS = {
    "api_token": "plain1",
    "message[text]": TEXT,
    "message[password]": "plain2",
    "app_secret[]": "plain3",
    "payload": json.dumps({"access_token": "plain4", "text": TEXT}),
}


@pytest.mark.parametrize("encoding", ["form", "multipart", "query"])
def test_form_fields_are_redacted_by_name_and_stay_parsable(encoding: str) -> None:
    if encoding == "multipart":
        content_type = 'multipart/form-data; boundary="b1"'
        clean = redact_body(multipart(FIELDS), content_type, [])
        read = decode_body(body=clean, content_type=content_type).values
    elif encoding == "form":
        clean = redact_body(form(**FIELDS), "application/x-www-form-urlencoded", [])
        read = parse_form(clean.decode())
    else:
        clean = redact_query(form(**FIELDS).decode(), []).encode()
        read = parse_form(clean.decode())

    assert b"plain" not in clean
    assert read["message"]["text"] == TEXT
    assert json.loads(read["payload"])["text"] == TEXT


@pytest.mark.parametrize("name", ["text", "body", "caption"])
def test_a_persons_text_is_kept_even_if_it_is_json(name: str) -> None:
    written = json.dumps({"password": "qwerty", "api_token": ["x1y2z3"]})
    bodies = {
        "application/json": json.dumps({"message": {name: written}, "api_token": "plain1"}).encode(),
        "application/x-www-form-urlencoded": form(**{f"message[{name}]": written, "api_token": "plain1"}),
        "multipart/form-data; boundary=b1": multipart({f"message[{name}]": written, "api_token": "plain1"}),
    }

    for content_type, body in bodies.items():
        clean = redact_body(body, content_type, SECRETS)

        assert b"plain1" not in clean
        assert decode_body(body=clean, content_type=content_type).values["message"][name] == written
    query = redact_query(form(**{f"message[{name}]": written}).decode(), SECRETS)
    assert parse_form(query)["message"][name] == written


def test_a_clients_form_answers_are_kept() -> None:
    answers = json.dumps({"flow_token": "f1", "wifi_password": "qwerty 123"})
    raw = (PAYLOADS / "whatsapp_cloud" / "flow_reply.json").read_text()
    read = json.loads(raw)
    read["entry"][0]["changes"][0]["value"]["messages"][0]["interactive"]["nfm_reply"]["response_json"] = answers

    clean = redact_body(json.dumps(read).encode(), "application/json", SECRETS)

    assert parse_json_object(clean) == read


@pytest.mark.parametrize("kind", [kind for kind, provider in all_providers().items() if (PAYLOADS / kind).exists()])
def test_every_recorded_payload_parses_the_same_after_redaction(kind: str) -> None:
    provider: Any = all_providers()[kind]
    is_helpdesk = kind in helpdesks()
    account: Any = HELPDESK_ACCOUNT if is_helpdesk else account_of(kind)
    secrets = [account.secret] if is_helpdesk else list(account.all_secrets())

    def read(body: bytes) -> object:
        try:
            return provider.parse(build_raw_request(body), account)
        except BadBody as problem:
            return str(problem)

    for path in sorted((PAYLOADS / kind).glob("*.json")):
        raw = path.read_bytes()
        for body in (raw, json.dumps(json.loads(raw)).replace("/", "\\/").encode()):
            clean = redact_body(body, "application/json", secrets, tokens=frozenset((SECRETS[0].encode(),)))
            assert read(clean) == read(body), path.name


@pytest.mark.parametrize("before", ["\\n", "\\t", "\\u00ab", "\\u043a", "%0A", "%D0%BA", "\\\\n"])
def test_another_channels_secret_is_found_after_an_escape(before: str) -> None:
    body = f'{{"note": "{before}{SECRETS[0]}\\u00bb"}}'.encode()

    clean = redact_body(body, "application/json", [], tokens=frozenset((SECRETS[0].encode(),)))

    assert clean == body.replace(SECRETS[0].encode(), b"*" * len(SECRETS[0]))


def test_a_multipart_body_is_split_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    redact_part = request_redaction._redact_part
    monkeypatch.setattr(
        request_redaction, "_redact_part", lambda part, *more: (seen.append(part), redact_part(part, *more))[1]
    )
    body = b"--b1\r\n\r\n" * 50_000

    assert redact_body(body, "multipart/form-data; boundary=b1", SECRETS) == body
    assert len(seen) == request_redaction.MAX_PARTS + 1


def test_escaped_names_of_secrets_are_recognized() -> None:
    assert redact_query("api%5Ftoken=abc&x=1", []) == "api%5Ftoken=***&x=1"
    assert b"abc" not in redact_body(b'{"api\\u005ftoken": "abc"}', "text/plain", [])
    assert b"abc" not in redact_body(b"api_token=abc", "application/json", [])
    assert b"abc" not in redact_body(multipart({"API-Token": "abc"}, "; x=1"), "multipart/form-data; boundary=b1", [])
    encoded = multipart({"password": "YWJj"}).replace(
        b"\r\n\r\nYWJj", b"\r\nContent-Transfer-Encoding: base64\r\n\r\nYWJj"
    )
    assert b"YWJj" not in redact_body(encoded, "multipart/form-data; boundary=b1", [])


@pytest.mark.parametrize(
    "body",
    [
        b'{"api_token": "abc',
        b'{"api_token": ["abc", {"x": "abc"',
        b'{"x": 1} {"api_token": "abc"}',
        b'[{"api_token": "abc"}]',
        b'"{\\"api_token\\": \\"abc\\"}"',
        b'\xef\xbb\xbf{"api_token": "abc"}',
        b'--b1\r\nContent-Disposition: form-data; name="api_token"\r\n\r\nabc',
        b'--other\r\nContent-Disposition: form-data; name="api_token"\r\n\r\nabc\r\n--other--',
    ],
)
def test_broken_bodies_are_redacted_too(body: bytes) -> None:
    content_type = "multipart/form-data; boundary=b1" if body.startswith(b"--") else "application/json"

    assert b"abc" not in redact_body(body, content_type, [])
    assert b"abc" not in redact_body(body, "multipart/form-data", [])


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("encoding", ["json", "form", "multipart", "query"])
def test_a_known_secret_is_overwritten_in_any_field(encoding: str, spelling: str) -> None:
    secret = SECRETS[0]
    spelled = SPELLINGS[spelling](secret)
    if encoding == "json":
        body = b'{"note": "' + spelled.replace('"', "").encode() + b'"}'
        clean = redact_body(body, "application/json", [secret])
        assert parse_json_object(clean)["note"].strip("*") == ""
    elif encoding == "multipart":
        clean = redact_body(multipart({"note": spelled}), "multipart/form-data; boundary=b1", [secret])
        assert clean.split(b"\r\n\r\n")[1].split(b"\r\n")[0].strip(b"*") == b""
    else:
        whole = form(note=spelled)
        clean = (
            redact_query(whole.decode(), [secret]).encode()
            if encoding == "query"
            else redact_body(whole, "application/x-www-form-urlencoded", [secret])
        )
        assert clean.partition(b"=")[2].strip(b"*") in (b"", b"%3D%3D", b"%3D")


def test_a_request_without_secrets_is_unchanged() -> None:
    bodies = [json.dumps(WORDS).encode(), json.dumps(WORDS, ensure_ascii=False).encode(), form(text=TEXT)]
    for body in bodies:
        assert redact_body(
            body, "application/json", [SECRETS[0]], tokens=frozenset((b"0123456789abcdef",))
        ) is body or (redact_body(body, "application/json", [SECRETS[0]]) == body)


def test_file_contents_are_unchanged() -> None:
    content = bytes(range(256)) * 300
    body = b'--b1\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n\r\n' + content + b"\r\n--b1--\r\n"

    assert redact_body(body, "multipart/form-data; boundary=b1", SECRETS, tokens=frozenset((b"abcdef",))) == body


# --- responses that repeat the request -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "headers", "sent"),
    [
        ("https://x/", {"authorization": "Bearer hidden-1"}, b""),
        ("https://x/", {"D360-API-KEY": "hidden-1"}, b""),
        ("https://x/?access_token=hidden-1", {}, b""),
        ("https://x/", {}, b'{"api_token": "hidden-1", "text": "Hello"}'),
        ("https://x/", {}, b"api_token=hidden%2D1&text=Hello"),
    ],
)
def test_an_echo_of_the_request_loses_its_credentials(url: str, headers: dict[str, str], sent: bytes) -> None:
    assert find_credentials(url=url, headers=headers, sent=sent) == {"hidden-1"}

    clean = redact_echo(b'{"error": "You sent hidden\\u002d1: Hello"}', url=url, headers=headers, sent=sent)

    assert parse_json_object(clean)["error"].startswith("You sent *")
    assert clean.endswith(b': Hello"}')


def test_a_number_in_the_request_is_not_a_credential() -> None:
    """Events have the app ID as ``secret``; responses with an ID that contains these digits must remain readable."""
    answer = b'{"id": 1730451299, "status": "ok"}'

    assert redact_echo(answer, url="https://x/", headers={}, sent=b'{"secret": "7304512", "chat_id": 5}') == answer


@pytest.mark.parametrize("secret", ["109000000000802", "+7 (916) 123-45-67", "whatsapp_business", "phone_number_id"])
def test_numbers_and_format_words_are_not_searched_as_secrets(secret: str) -> None:
    assert not is_distinctive(secret)


def test_plain_words_are_not_searched_as_secrets() -> None:
    assert not is_distinctive("hello")
    assert not is_distinctive("password")
    assert is_distinctive("hunter2")
    assert find_secrets(b"say hi", ["hi"]) == []


LARGEST = 100_000


@pytest.mark.parametrize(
    "piece",
    ["a_", '"', '\\"', "{", '{"a":', "&", "a=&", "[", "%41", "\\u0041", "&#65;", "&am", "Bearer ", "key:", "://a:"],
)
def test_no_text_takes_more_than_linear_time(piece: str, cpu_seconds: Callable[[Callable[[], object]], float]) -> None:
    """A quadratic search would take 50 times longer for 50 times the length."""
    short, long = (piece * (size // len(piece)) for size in (LARGEST // 50, LARGEST))

    def read(text: str) -> Callable[[], object]:
        data = text.encode()
        return lambda: (redact_text(text, SECRETS[:1]), redact_body(data, "application/json", SECRETS[:1]))

    assert cpu_seconds(read(long)) < 400 * max(cpu_seconds(read(short)), 0.002)


@pytest.fixture
def cpu_seconds() -> Callable[[Callable[[], object]], float]:
    def measured(work: Callable[[], object]) -> float:
        begun = time.process_time()
        work()
        return time.process_time() - begun

    return measured


@pytest.mark.parametrize(
    "unit", [b'"a":"[{",', b'"\\u0061":"x",', b'"password":"x",', b'"a":"{\\"k\\":1}",', b"[", b"1,"]
)
def test_json_is_searched_by_name_up_to_a_limit(unit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both bodies exceed the limits, so the second one, eight times as long, takes no more calls."""
    monkeypatch.setattr(request_redaction, "MAX_TOKENS", 2_000)
    monkeypatch.setattr(request_redaction, "MAX_NESTED", 50)
    short, long = (b'{"token_1":1,' + unit * times for times in (3_000, 24_000))

    few = count_calls(lambda: redact_body(short, "application/json", []))

    assert count_calls(lambda: redact_body(long, "application/json", [])) < few + 100
