"""Request bodies: four encodings decode to one object, invalid ones raise a sentence, events encode exactly."""

import contextlib
import html
import json
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels_setup.codecs import bodies
from channels_setup.codecs.bodies import BadBody, decode_body, encode_event, flatten_pairs
from tests.work import measure_cost

EVENT = {
    "chat_id": 700100,
    "text": "Здравствуйте, Анна! 🙌 <b>1 & 2</b>",
    "client": {"name": "Анна", "emails": [{"email": "a@example.com"}], "phones": []},
    "state": None,
    "ticket": {"status_id": 1},
    "ok": True,
}


def test_all_four_encodings_decode_to_the_same_object() -> None:
    wanted = {"api_token": "k", "channel_id": "870", "message": {"text": "Да", "from": {"name": "Анна"}}}
    form = "api_token=k&channel_id=870&message[text]=%D0%94%D0%B0&message%5Bfrom%5D[name]=%D0%90%D0%BD%D0%BD%D0%B0"
    parts = [("api_token", "k"), ("channel_id", "870"), ("message[text]", "Да"), ("message[from][name]", "Анна")]
    multipart = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts
    )

    bodies = [
        decode_body(body=json.dumps(wanted).encode(), content_type="application/json"),
        decode_body(body=form.encode(), content_type="application/x-www-form-urlencoded"),
        decode_body(body=(multipart + "--b--\r\n").encode(), content_type="multipart/form-data; boundary=b"),
        decode_body(body=b"", content_type="", query_string=form),
    ]

    assert [body.values for body in bodies] == [wanted] * 4


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"n": ' + b"9" * 5000 + b"}", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "application/json"),
        (b'{"n": NaN}', "application/json"),
        (b'{"n": 1e999}', "application/json"),
        (b"5", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b"{", "application/json"),
        (b"\xff\xfe{\x00}\x00", "application/json"),
        (b"\xc3\x28", "application/json"),
        (b"a[b]=1&a=2&a[c]=3", "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % n for n in range(2000)), "application/x-www-form-urlencoded"),
        (b"a" + b"[b]" * 60 + b"=1", "application/x-www-form-urlencoded"),
        (b"a=%ff%fe", "application/x-www-form-urlencoded"),
        (b"--b\r\nnonsense", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=" + "x" * 300),
    ],
)
def test_an_invalid_body_raises_a_sentence(body: bytes, content_type: str) -> None:
    with pytest.raises(BadBody) as problem:
        decode_body(body=body, content_type=content_type)

    assert str(problem.value).endswith(".")


def test_nul_and_lone_surrogates_are_replaced() -> None:
    decoded = decode_body(body=rb'{"text": "a\u0000b\ud800c\ud83d\ude4c"}', content_type="application/json")

    assert decoded.values == {"text": "a\ufffdb\ufffdc🙌"}


@pytest.mark.parametrize("body", [b"=x", b"0=x", b"0=x&1=y"])
def test_a_form_with_numbered_names_is_an_object(body: bytes) -> None:
    assert "x" in str(decode_body(body=body, content_type="application/x-www-form-urlencoded").values)


@given(st.binary(max_size=300), st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/x"]))
def test_any_bytes_decode_or_raise_bad_body(body: bytes, content_type: str) -> None:
    try:
        decode_body(body=body, content_type=content_type)
    except BadBody as problem:
        assert str(problem)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), json_values, max_size=3))
def test_decoded_values_can_be_stored_and_encoded_again(values: dict[str, object]) -> None:
    try:
        decoded = decode_body(body=json.dumps(values).encode(), content_type="application/json").values
    except BadBody:
        return

    assert "\0" not in json.dumps(decoded, ensure_ascii=False)
    for as_json in (True, False):
        for utf8 in (True, False):
            encode_event(decoded, as_json=as_json, utf8=utf8)[1].decode("utf-8" if utf8 else "ascii")


# --- encoding --------------------------------------------------------------------------------------------


def test_json_in_utf8_is_not_escaped() -> None:
    content_type, body = encode_event(EVENT, as_json=True, utf8=True)

    assert content_type == "application/json; charset=utf-8"
    assert "Здравствуйте, Анна! 🙌".encode() in body
    assert json.loads(body) == EVENT


def test_json_without_utf8_is_ascii() -> None:
    content_type, body = encode_event(EVENT, as_json=True, utf8=False)

    assert content_type == "application/json"
    assert rb"\u0417\u0434\u0440" in body
    assert json.loads(body.decode("ascii")) == EVENT


def test_form_in_utf8_has_php_names_and_text_values() -> None:
    content_type, body = encode_event(EVENT, as_json=False, utf8=True)

    assert content_type == "application/x-www-form-urlencoded; charset=utf-8"
    assert parse_qsl(body.decode("ascii"), keep_blank_values=True) == [
        ("chat_id", "700100"),
        ("text", EVENT["text"]),
        ("client[name]", "Анна"),
        ("client[emails][0][email]", "a@example.com"),
        ("state", ""),
        ("ticket[status_id]", "1"),
        ("ok", "1"),
    ]


def test_form_without_utf8_has_html_entities() -> None:
    content_type, body = encode_event(EVENT, as_json=False, utf8=False)

    pairs = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True))
    assert content_type == "application/x-www-form-urlencoded"
    assert pairs["client[name]"] == "&#1040;&#1085;&#1085;&#1072;"
    assert html.unescape(pairs["text"]) == EVENT["text"]


@given(st.text(max_size=200))
def test_any_text_survives_all_four_encodings(text: str) -> None:
    text = text.replace("\0", "").replace("\r", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    assert json.loads(encode_event({"t": text}, as_json=True, utf8=True)[1])["t"] == text
    assert json.loads(encode_event({"t": text}, as_json=True, utf8=False)[1])["t"] == text
    form = dict(parse_qsl(encode_event({"t": text}, as_json=False, utf8=True)[1].decode(), keep_blank_values=True))
    assert form["t"] == text
    form = dict(parse_qsl(encode_event({"t": text}, as_json=False, utf8=False)[1].decode(), keep_blank_values=True))
    assert "&" not in form["t"].replace("&amp;", "").replace("&#", "")


def test_flatten_pairs_leaves_out_an_empty_list() -> None:
    assert list(flatten_pairs({"files": [], "a": False})) == [("a", "0")]


@pytest.mark.parametrize(
    ("begin", "unit", "end"),
    [
        ('{"a": [', "0,", "0]}"),
        ('{"a": [', "1e5,", "0]}"),
        ('{"a": [', "[],", "0]}"),
        ('{"a": [', "{},", "0]}"),
        ('{"a": [', '{"a":[{"b":0}]},', "0]}"),
        ('{"a": [', '"\\u0000",', "0]}"),
        ('{"a": "', "\\u0000", '"}'),
        ('{"a": "', "\\ud83d\\ude00", '"}'),
        ('{"a": "', "9" * 400 + "x", '"}'),
        ('{"a": [', "9" * 400 + ",", "0]}"),
        ('{"a": ', "[", "0}"),
        ('{"a": ', '{"a":', "0}"),
        ('{"a": "', "ж", '"}'),
        ('{"a": "', ",", '"}'),
        ("", "{", ""),
        ("", '{"a', ""),
        ('{"a": ', "9", "}"),
    ],
)
def test_json_of_maximum_size_takes_bounded_work(begin: str, unit: str, end: str) -> None:
    size = 4 * 1024 * 1024 // len(unit.encode())
    body = (begin + unit * size + end).encode()
    few = begin + unit * min(size, bodies.MAX_VALUES // max(1, unit.count(",") + unit.count("{") + unit.count("[")))
    few = few[: len(few) - len(unit) * 4] + end

    def read(data: bytes) -> None:
        with contextlib.suppress(BadBody):
            bodies.parse_json_object(data)

    assert measure_cost(lambda: read(body), limit=30) <= 30
    assert measure_cost(lambda: read(few.encode()), limit=30) <= 30


def test_commas_in_strings_do_not_count_as_values() -> None:
    """Many commas in one client's text must not make a batch unreadable."""
    messages = [{"text": ',[{\\",' * 600}] * 200 + [{"text": "Hello"}]

    assert bodies.parse_json_object(json.dumps({"messages": messages}).encode())["messages"] == messages
    with pytest.raises(BadBody):
        bodies.parse_json_object(
            b'{"a": "' + b"," * bodies.MAX_VALUES + b'", "b": [' + b"0," * bodies.MAX_VALUES + b"0]}"
        )


def test_json_with_too_many_values_is_refused() -> None:
    with pytest.raises(BadBody):
        bodies.parse_json_object(b'{"a": [' + b"0," * bodies.MAX_VALUES + b"0]}")
    assert len(bodies.parse_json_object(b'{"a": [' + b"0," * (bodies.MAX_VALUES // 2) + b"0]}")["a"]) > 1_000


@pytest.mark.parametrize("depth", [1, 30, 31, 32, 33, 100, 100_000])
def test_nesting_is_accepted_up_to_the_limit(depth: int) -> None:
    """The object, its nested lists and the innermost number: 32 levels below the object."""
    body = b'{"a": ' + b"[" * (depth - 1) + b"0" + b"]" * (depth - 1) + b"}"
    if depth <= bodies.MAX_DEPTH:
        bodies.parse_json_object(body)
    else:
        with pytest.raises(BadBody):
            bodies.parse_json_object(body)
