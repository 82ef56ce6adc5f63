"""Hostile values by kind. Add a value here when fuzzing finds a new kind of failure."""

from __future__ import annotations

import base64
import io
import zipfile
from typing import Any

from hypothesis import strategies as st

DIGITS = "9" * 4400

NUMBERS = (
    *(
        "",
        "0",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "1e9",
        "1e309",
        "NaN",
        "Infinity",
        "-Infinity",
        "0x10",
        "1_000",
        "٣",
        "²",
        "½",
    ),
    *("2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "18446744073709551616"),
    *("9" * 19, "9" * 30, "0" * 5000 + "1", DIGITS, "-" + DIGITS, DIGITS + ".5"),
)
TIMES = (
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-25T00:00:00+05:30:15.123456"),
    *("0001-01-01", "9999-12-31", "0001-01-01T00:00", "9999-12-31T23:59:59Z", "0000-00-00", "2026-02-30"),
    *("2026-11-25T24:00:00", "2026-W48-3", "20261125T000000Z", "2026-11-25T00:00:00+99:99", "10000-01-01T00:00:00"),
    *("2026-11-25T00:00:00-00:00:00.000001", "253402300799", "253402300800", "-62135596801", "99999999999999999"),
    *("2026-11-25 00:00:00.1234567", "12:00", "٢٠٢٦-١١-٢٥T00:00", "2026-11-25T00:00:00 03:00"),
)
CURSORS = tuple(
    text
    for moment in (*TIMES[:7], "x")
    for text in (f"{moment}~1", f"open~{moment}~1", f"closed~{moment}~{DIGITS}", f"newest~{moment}~²", f"{moment}~-1")
) + tuple(base64.b64encode(f"p={number}".encode()).decode() for number in ("1", "-1", "9" * 30, "²", "x", DIGITS))
TEXTS = (
    *(
        "\0",
        "a\0b",
        "\0" * 200,
        "\ufffe\uffff",
        "\u2028",
        "\u202e",
        "e\u0301" * 99,
        "\U0001f469\u200d\U0001f467",
        "'",
        '"',
        "\\",
    ),
    *("%", "%%", "%s", "%(name)s", "{0}", "{{", "{{1}}{{2", "{{" + DIGITS + "}}", "{{²}}", "{{1}}" * 500, "*_~`" * 300),
    *(
        "<b><![",
        "<![CDATA[",
        "<!",
        "<!--",
        "<",
        "</",
        "<a href='",
        "&#x110000;",
        "&#9999999999999;",
        "&#" + DIGITS + ";",
        "&",
    ),
    *(
        "=1+1",
        "../../etc/passwd",
        "null",
        "true",
        "[]",
        "{}",
        "[" * 500,
        '{"a":' * 500,
        ",",
        ",,²,",
        "~",
        "-",
        "a" * 70_000,
    ),
    *(
        "\U0001d4b3" * 90,
        "\U0001d4b3" * 255 + ".png",
        "." + "a" * 300,
        "a." + "b" * 300,
        "-rf",
        "CON",
        "\r\nX: y",
        "a\nb",
    ),
    *("+7 (903) 123-45-67", "+" + "9" * 30, "++", "x@" + "y" * 300, "ru", "zz-ZZ", "api", "_00", "_5Fa", "1__2"),
)
ADDRESSES = (
    *(
        "https://" + "a" * 64 + ".example/",
        "https://a..b/",
        "https://.a/",
        "https://a./",
        "https://" + "a." * 200,
        "http://[::1",
    ),
    *(
        "https://xn--a/",
        "https://[::ffff:1.2.3.4.5]/",
        "https://127.0.0.1:99999/",
        "https://127.0.0.1:²/",
        "https://x:0/",
    ),
    *("https://\u00ad/", "https://ﬀ.example/", "https://%zz/", "https://a\0b/", "//x", "https:", "https://", "ftp://x"),
    *(
        "https://localhost:" + DIGITS,
        "https://user:pass@x/",
        "https://é" + "a" * 63 + "/",
        "https://1.2.3.4.5/",
        "https://0x7f.1/",
    ),
)
ANY = NUMBERS + TIMES + CURSORS + TEXTS + ADDRESSES

numbers = st.sampled_from(NUMBERS) | st.integers().map(str) | st.integers(-2, 40).map(str)
times = st.sampled_from(TIMES) | st.datetimes().map(lambda at: at.isoformat())
texts = st.one_of(
    st.sampled_from(ANY),
    st.sampled_from(ANY),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    numbers,
    times,
)

# JSON values as Python's json module writes them, including lone surrogates and NaN.
scalars = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["\ud800", "a\udfffb", 10**400, -1, 2**63]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts.filter(lambda t: len(t) < 99), inner, max_size=3),
    max_leaves=4,
)

HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "CONTENT_TYPE",
        (
            *(
                "a/b; x*=nosuch''y",
                "a/b; x*" + "9" * 400 + "=1",
                "text/html; charset=zlib",
                "text/html; charset=undefined",
            ),
            *(
                "text/html; charset=idna",
                "text/html; charset=punycode",
                "text/html; charset=utf-7",
                "text/html; charset=utf-16",
            ),
            *(
                "application/json; charset=\xff",
                "application/json; charset=utf-32",
                ";",
                "/",
                "application/x-www-form-urlencoded; charset=cp1251",
            ),
            *(
                "multipart/form-data",
                "multipart/form-data; boundary=",
                "multipart/form-data; boundary=\xff",
                "multipart/form-data; boundary*=utf-8''x",
            ),
            *(
                "multipart/mixed; boundary=x",
                "application/x-www-form-urlencoded; charset=hex",
                "text/plain; charset=unicode_escape",
            ),
            *(
                "application/x-www-form-urlencoded; charset=raw_unicode_escape",
                "a/b; charset=utf_8_sig",
                "a/b; charset=mbcs",
                "a/b; charset=\0",
            ),
        ),
    ),
    (
        "HTTP_COOKIE",
        (
            *(
                'sessionid="\\000\\000\\000\\000\\000\\000\\000\\000\\000"',
                "sessionid=" + "a" * 5000,
                'csrftoken="\\377"',
                "django_language=\xff",
            ),
            *(
                'messages="\\000"',
                "=;=;;",
                "sessionid=²",
                'django_language="\\000"',
                "sessionid=%00%00%00%00%00%00%00%00",
                "csrftoken=" + "x" * 32,
            ),
        ),
    ),
    (
        "HTTP_ACCEPT",
        (";", "/", "*/*;q=" + DIGITS, "application/json; x*=nosuch''y", ",", "text/html;q=²", "\xff", "a" * 5000),
    ),
    ("HTTP_ACCEPT_LANGUAGE", ("\xff", "ru" + "-x" * 400, "q=" + DIGITS, "ru;q=²", "*", ",;=")),
    (
        "HTTP_HOST",
        ("", "\xff", "a" * 300, "[::1", "127.0.0.1:²", "127.0.0.1:" + DIGITS, "evil.example", "localhost:0", ".."),
    ),
    (
        "HTTP_AUTHORIZATION",
        ("Token", "Token ", "Token a b", "Token \xff", "Basic =", "Bearer " + "a" * 9000, "Basic " + "A" * 99, "²"),
    ),
    (
        "HTTP_RANGE",
        ("bytes=", "bytes=-", "bytes=" + DIGITS + "-", "bytes=²-", "bytes=5-1", "items=0-1", "bytes=-" + DIGITS),
    ),
    (
        "HTTP_IF_MODIFIED_SINCE",
        ("Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Feb 9999 00:00:00 GMT", "²", "Sunday, 06-Nov-94 99:99:99 GMT"),
    ),
    ("HTTP_IF_NONE_MATCH", ("*", '"', "W/", "\xff", '"' + "a" * 5000)),
    ("HTTP_X_FORWARDED_FOR", ("", ",", "::1%25", "1.2.3.4, ²", "[::1]:80", "a" * 9000, "\xff")),
    ("HTTP_X_FORWARDED_PROTO", ("https", "\xff", ",", "")),
    ("HTTP_IDEMPOTENCY_KEY", ("\xff", "a" * 201, "²", " ", "\u0085", "k")),
    ("HTTP_HX_REQUEST", ("true", "")),
    ("HTTP_HX_TARGET", ("list", "chat", "\xff")),
    ("HTTP_OKNO_POLL_TOKEN", ("\xff", "a:b", "a" * 9000, "²:²:²", "{}")),
    ("HTTP_REFERER", ("\xff", "http://[", "https://127.0.0.1/", "a" * 9000)),
    ("HTTP_ORIGIN", ("null", "\xff", "http://[")),
    ("HTTP_USER_AGENT", ("\xff", "a" * 9000, "")),
    ("HTTP_X_HUB_SIGNATURE_256", ("sha256=", "sha256=\xff", "sha256=²", "²")),
    ("HTTP_X_OKNO_WEBHOOK_SECRET", ("\xff", "²")),
    ("HTTP_X_REQUEST_ID", ("\xff", "a" * 9000, "²")),
    ("HTTP_EXPECT", ("100-continue", "²")),
    ("HTTP_X_CSRFTOKEN", ("\xff", "a" * 64, "")),
)
headers = st.lists(
    st.sampled_from(HEADERS).flatmap(lambda row: st.tuples(st.just(row[0]), st.sampled_from(row[1]))),
    min_size=1,
    max_size=2,
).map(dict)

PART_HEADERS = (
    *(
        "Content-Type: image/png\0x",
        "Content-Type: image/png; x*=nosuch''y",
        "Content-Type: " + "a" * 900,
        "Content-Type: \xff",
    ),
    *(
        "Content-Transfer-Encoding: base64",
        "Content-Transfer-Encoding: quoted-printable",
        "Content-Length: ²",
        "Content-Length: " + DIGITS,
    ),
    *(
        "Content-Type: text/plain; charset=zlib",
        "Content-Type: text/plain; charset=nosuch",
        "Content-Type",
        ": x",
        "Content-Type: ;",
        "",
    ),
)
DISPOSITIONS = (
    *(
        'form-data; name="{name}"',
        'form-data; name="{name}"; filename="{file}"',
        "form-data; name={name}; filename*=nosuch''x",
    ),
    *(
        "form-data; name*=zlib''{name}; filename=x.png",
        "form-data; name*=utf-8''{name}; filename*=utf-8''%ff%00.png",
        "form-data",
    ),
    *(
        "form-data; name",
        "attachment; name={name}",
        'form-data; name="{name}"; filename=""',
        "form-data; name={name}; filename*=''",
    ),
    *(
        "form-data; name={name}; filename*0=a; filename*1=b",
        "form-data; name*=idna''{name}",
        "form-data; name*=utf-16''%ff; filename=x",
    ),
)
FILE_NAMES = (
    "x.png",
    "a\0.png",
    "\U0001d4b3" * 90 + ".png",
    "a." + "b" * 300,
    "..",
    "/",
    "\\",
    ".",
    "-rf",
    "x.xlsx",
    "x.csv",
    "x.json",
    "\u202egnp.exe",
)


@st.composite
def multipart(
    draw: Any, fields: dict[str, str], names: tuple[str, ...] = ("file", "files", "message[text]")
) -> tuple[str, bytes]:
    """Draw a multipart body: the form's fields, then one or two parts with odd headers."""
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode("utf-8", "replace")
        for name, value in fields.items()
    ]
    for _number in range(draw(st.integers(1, 2))):
        disposition = draw(st.sampled_from(DISPOSITIONS)).format(
            name=draw(st.sampled_from(names)), file=draw(st.sampled_from(FILE_NAMES))
        )
        lines = [
            f"Content-Disposition: {disposition}".encode(),
            *(line.encode("utf-8") for line in draw(st.lists(st.sampled_from(PART_HEADERS), max_size=2))),
        ]
        parts.append(b"\r\n".join(lines) + b"\r\n\r\n" + draw(files))
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    return "multipart/form-data; boundary=x", body


def table() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["name", "language", "category", "body", "buttons", "variables"])
    book.active.append(["order", "ru", "UTILITY", "Заказ {{1}}", "", "1 | Номер | 42"])
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def packed(method: int = zipfile.ZIP_DEFLATED, **entries: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, text in entries.items():
            archive.writestr(name.replace("__", "/"), text)
    return written.getvalue()


TABLE = table()
FILES = (
    b"", b"\0", b"\x89PNG\r\n\x1a\n", b"\xff\xfe", TABLE, TABLE[:200], TABLE[:-30], packed(a="x"), b"PK\x03\x04", b"PK\x03\x04" + b"\0" * 60,
    b"{", b"[]", b"[1]", b'{"data": [{"name": 1, "components": "x"}]}', b'{"data": [' + DIGITS.encode() + b"]}", b"[" * 900,
    b'{"data": [{"name": "a\\u0000", "language": "ru", "components": [{"type": "BODY", "text": "\\ud800"}]}]}',
    b"name,language,body\na,ru,b\0\n", b'name,language,body\n"a,ru', "name;language;body\nа;ru;б".encode("cp1251"), b"name\r\r\n",
)  # fmt: skip


@st.composite
def _flipped(draw: Any) -> bytes:
    data = bytearray(TABLE)
    for _number in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


files = st.one_of(st.sampled_from(FILES), _flipped(), st.binary(max_size=64))
