"""Phones in texts are masked in every spelling; IDs, times, ports and hashes are kept."""

import io
import json
import logging
import time

import pytest
import structlog

from channels_setup.codecs.phone_masking import mask_phone, mask_phones, mask_value
from config.monitoring.log_format import build_formatter
from config.monitoring.log_redaction import ArgumentRedactor

MASKED = "+7 ••• ••• 01-77"

PHONES = {
    "+7 921 555-01-77 said": f"{MASKED} said",
    "found 79215550177.": f"found {MASKED}.",
    "8 (921) 555-01-77 or 89215550177 or (921) 555-01-77": f"{MASKED} or {MASKED} or ({MASKED}",
    "x?phone=%2B79215550177&n=1": f"x?phone={MASKED}&n=1",
    "%2B7%20921%20555-01-77": MASKED,
    "tel:+79215550177 wa.me/79215550177": f"tel:{MASKED} wa.me/{MASKED}",
    "79215550177@s.whatsapp.net": f"{MASKED}@s.whatsapp.net",
    "chat 15 79215550177 12 tries": f"chat 15 {MASKED} 12 tries",
    "+79215550177 12 tries": f"{MASKED} 12 tries",
    "\\u002b79215550177\\u0022 \\n79215550177": f"\\u002b{MASKED}\\u0022 \\n{MASKED}",
    "{'wa_id': '15550001234', \"to\": 79215550177}": f"{{'wa_id': '+1 ••• ••• 12-34', \"to\": {MASKED}}}",
    "media/79215550177_1.jpg": f"media/{MASKED}_1.jpg",
    "+44 20 7946 0958, 551187654321": "+44 ••• ••• 09-58, +55 ••• ••• 43-21",
    "Recipient US.33491208655302741920 is unknown": "Recipient US.…1920 is unknown",
    "wamid.HBgLNzkyMTU1NTAxNzcVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA==": "wamid.…Q2RTY3RTcA",
}

OTHER_NUMBERS = """\
task 0198f1c2-1111-7000-8000-123456789012 at 2026-11-29T01:02:03.123456 on 127.0.0.1:54321 pid 4194304
delivery 4815162342 attempt 3 took 1732900000.123456 s
phone_number_id=106540352242922 waba 102290129340398
[2026-11-29 10:20:30,123: WARNING/MainProcess] 2026-11-29T10:20:30+00:00
message 1234567890 chat 12345 at 1764417600 ms 1764417600000 us 1764417600000000
sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
PUT /admin/bridge/message/123456789/ 200 5123
conversation=42 contact=1234567 messages 100 200 300 400 from=2 to=15
10.0.12.255:8080 ::1 batch 1000 of 250000 rows, 15.25 s, 20261129130501
app 1234567 company 153712 request 60123456 port 65432 [Errno 111] 0x7f8a1c2d3e4f version 16.4.1 2.1.20251130
""".splitlines()


@pytest.mark.parametrize("text", PHONES)
def test_a_phone_in_a_text_keeps_country_code_and_last_digits(text: str) -> None:
    assert mask_phones(text) == PHONES[text]
    assert mask_phones(PHONES[text]) == PHONES[text]


@pytest.mark.parametrize("line", OTHER_NUMBERS)
def test_other_numbers_are_kept(line: str) -> None:
    assert mask_phones(line) == line


def test_short_and_unknown_numbers_show_less() -> None:
    assert [mask_phone(text) for text in ("", "12345", "99912345678", "demo")] == [
        "",
        "••• 45",
        "••• ••• 56-78",
        "demo",
    ]


def test_values_of_fields_are_masked_at_any_depth() -> None:
    event = {
        "phone": 15550001234,
        "contact": 12345,
        "rows": [{"to": ("79215550177",), "n": 79215550177}],
        "at": 17329000,
    }

    assert mask_value(event) == {
        "phone": "+1 ••• ••• 12-34",
        "contact": 12345,
        "rows": [{"to": [MASKED], "n": MASKED}],
        "at": 17329000,
    }


@pytest.mark.parametrize("style", ["text", "json"])
def test_every_part_of_a_log_line_is_masked(style: str) -> None:
    stream, number = io.StringIO(), "79215550177"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(build_formatter(style))
    handler.addFilter(ArgumentRedactor())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        structlog.get_logger("x").warning("sent", to={"wa_id": "79215550177"}, rows=[79215550177], raw=b"79215550177")
        logging.getLogger("celery.worker").warning("received %r", {"args": ["+7 921 555-01-77"]})
        with structlog.contextvars.bound_contextvars(contact=number):
            logging.getLogger("beat").error("bound", stack_info=True)
        try:
            raise ConnectionError(f"no route to {number}")
        except ConnectionError:
            logging.getLogger("command").exception("failed")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)

    written = stream.getvalue()
    assert "5550177" not in written and "555-01-77" not in written
    assert written.count(MASKED) == 5  # task arguments are not written at all
    if style == "json":
        assert json.loads(written.splitlines()[0])["to"] == {"wa_id": MASKED}


def test_long_texts_take_linear_time() -> None:
    began = time.process_time()
    for text in ("1 2 3 4 " * 10_000, "+1-" * 30_000, "(" * 80_000, "wamid." + "1." * 40_000, "1 (  " * 20_000):
        mask_phones(text)

    assert time.process_time() - began < 5
