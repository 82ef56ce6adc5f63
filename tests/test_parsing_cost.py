"""What outside text may cost: every parser and pattern that it reaches, each with the units that it could choke on.

Each text is as long as its parser is ever given, and made of one unit again and again. A linear reader takes at most
200 ms for it on an idle machine; one that reads anything twice for each unit takes minutes. Python's own loops are
counted besides: twice the text, twice the lines. Recognition is counted in ``test_matching_work``, JSON measured in
``test_bodies``, and files in ``test_template_transfer`` and ``test_spreadsheets``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from bridge import canned_variables
from bridge.desk.chat_list import search_excerpts
from bridge.desk.composer import prefill
from bridge.files import uploads
from bridge.models import search
from channels_setup.codecs import (
    bodies,
    html_text,
    message_extras,
    phone_numbers,
    values,
    visible_names,
    whatsapp_markup,
)
from channels_setup.codecs.bodies import BadBody
from channels_setup.providers.usedesk import webhook_events
from channels_setup.providers.whatsapp_cloud import (
    graph_contact_changes,
    graph_contacts,
    graph_templates,
    graph_webhooks,
)
from templates_registry import linting, preview
from templates_registry.content import authentication, leftover_placeholders, normalization, placeholders, value_checks
from tests.work import count_lines, measure_cost

MEGABYTE = 1024 * 1024
MAX_COST = 100.0  # units of work: five times the 200 ms allowed for a parser; a quadratic one takes thousands
SPACES = (" ", "\t", "\n", "\r", "\v", "\xa0", "\u2028", "\u200b", "a ", " \n", "\n ")
MARKS = ("*", "_", "~", "`", "```", "*a ", "_*~", "> ", "- ", "1. ", "*a* ", "`a", "> \n")
BRACKETS = ("{", "{{", "{{ ", "{{1}}", "[", "]", "[[", "<", "<a", "(", "{a} ", "{a},", "【")
NUMBERS = ("9", "1 ", "+7 ", "(9", "8-", "-", "٣", "²", "9.", "1e", "0x")
WORDS = (
    "a",
    "ж",
    "a.",
    "a@",
    "a@b.",
    "https://a.",
    "http://((",
    "e\u0301",
    "\uac00\u1161",
    "😀",
    "\u202e",
    "\0",
    "%",
    "'",
)
HTML = (
    *("<", "< ", "<a ", "<b>", '<a "', "<a='", "<x", "<!--", "<!--a>", "<!x", "<?", "&", "&#9", "<script>", "<title>"),
    *("<ol><li>", "<ul>", "</b>", "<b></i>", "<td>", "<q>", "<pre>\n", "<br>", "*_~`", "<i>x<b>y", "<p style='color:"),
)


class Parser(NamedTuple):
    read: Callable[[str], object]
    size: int  # characters: the longest possible input
    units: tuple[str, ...]


def message(text: str) -> dict[str, Any]:
    return {"from": "79210000000", "id": "wamid.1", "type": "text", "text": {"body": text}}


def document(text: str) -> dict[str, Any]:
    return {"from": "79210000000", "id": "wamid.1", "type": "document", "document": {"id": "1", "filename": text}}


def webhook(item: dict[str, Any]) -> list[Any]:
    value = {"contacts": [{"wa_id": "79210000000", "profile": {"name": item["id"]}}], "messages": [item]}
    return graph_webhooks.read_facts(
        {"entry": [{"id": "2", "changes": [{"field": "messages", "value": value}]}]}, graph_webhooks.RoutingTarget()
    )


def multipart(text: str) -> object:
    body = f"--b\r\n{text}\r\n--b--".encode()
    return bodies.decode_body(body=body, content_type="multipart/form-data; boundary=b")


PARSERS = {
    "HTML of a comment": Parser(html_text.html_to_text, html_text.MAX_LENGTH, HTML),
    "HTML in a list": Parser(
        lambda text: html_text.html_to_text("<ul>" + "<b>" * 10_000 + text), 30_000, ("<li></li>", "<q>")
    ),
    "visible words": Parser(html_text.html_to_visible_text, html_text.MAX_LENGTH, ("<b>", "<", "&")),
    "comment as HTML": Parser(html_text.text_to_html, 16_000, (*MARKS, " ", "\n", "a ")),
    "markup": Parser(whatsapp_markup.render_html, 16_000, (*MARKS, *WORDS, "+7 ", "7 ", "(9", "<")),
    "pictures in HTML": Parser(
        html_text.html_to_text, 4 * MEGABYTE, ("data:a/b;base64,A", "data:", "data:" + "a" * 80)
    ),
    "entities": Parser(lambda text: webhook_events.ENTITY.sub("", text), MEGABYTE, ("&", "&#", "&#9", "&#x", "&am")),
    "phone": Parser(phone_numbers.phone_key, 100_000, (*NUMBERS, *SPACES)),
    "id as a phone": Parser(phone_numbers.id_key, 100_000, (*NUMBERS, *SPACES)),
    "phone on the wire": Parser(phone_numbers.format_wire_phone, 100_000, (*NUMBERS, *SPACES)),
    "number searched": Parser(phone_numbers.search_keys, 100_000, (*NUMBERS, *SPACES)),
    "phone or not": Parser(phone_numbers.is_phone_number, 100_000, (*NUMBERS, *SPACES)),
    "one line": Parser(lambda text: graph_contacts.one_line(text, 200), 256 * 1024, (*SPACES, *WORDS)),
    "several lines": Parser(lambda text: graph_contacts.several_lines(text, 4_096), 256 * 1024, (*SPACES, *WORDS)),
    "user id": Parser(graph_contacts.read_user_id, MEGABYTE, ("a", "RU.", "RU.a", "RU.ENT.")),
    "name": Parser(visible_names.visible_name, 256 * 1024, (*SPACES, *WORDS)),
    "number": Parser(values.parse_external_id, MEGABYTE, NUMBERS),
    "id": Parser(values.parse_id, MEGABYTE, NUMBERS),
    "time": Parser(values.parse_unix_time, MEGABYTE, (*NUMBERS, " ")),
    "form": Parser(
        bodies.parse_form,
        4 * MEGABYTE,
        ("a", "a=", "a&", "a[", "a[]=1&", "a[b", "%", "%41", "%D0", "+", "=&", "[", "[]", "a[a]", ";"),
    ),
    "multipart": Parser(
        multipart,
        MEGABYTE,
        (
            *("a", "--b\r\n", "\r\n", "--", "\r\n\r\n", "Content-Disposition: form-data; name=a\r\n", ";a="),
            *("--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n", 'Content-Disposition: form-data; name="'),
        ),
    ),
    "message": Parser(lambda text: webhook(message(text)), 100_000, (*SPACES, *WORDS)),
    "file name": Parser(lambda text: webhook(document(text)), 100_000, (*SPACES, *WORDS, "/", "\\", ".", "a.")),
    "code link": Parser(
        lambda text: [graph_templates.CODE_LINK.search(text), authentication.CODE_LINK.search(text)],
        2_000,  # of a button's URL
        ("whatsapp.com/otp/", "whatsapp.com/otp/?", "whatsapp.com/otp/&otp_type=", "https://"),
    ),
    "number changed": Parser(
        lambda text: graph_contact_changes.NUMBER_CHANGE.search(text),
        4_096,
        ("changed from ", "changed from a to ", "changed from a", "changed from aa to"),
    ),
    "folding": Parser(normalization.normalize_text, 16_000, (*SPACES, *WORDS, *BRACKETS)),
    "places to fill": Parser(
        lambda text: [leftover_placeholders.BRACKETED.findall(text), leftover_placeholders.BRACES.findall(text)],
        4_096,
        BRACKETS,
    ),
    "placeholders": Parser(placeholders.PLACEHOLDER.findall, 32_768, BRACKETS),
    "quick reply": Parser(canned_variables.unknown_variables, 65_536, BRACKETS),
    "quick reply without a name": Parser(
        lambda text: canned_variables.MISSING_FIRST.sub("x", canned_variables.MISSING_LATER.sub("x", text)),
        4_096,
        ("\0", " ", ". ", "\n ", ", \0", "\xa0", ".\0"),
    ),
    "letters of a template": Parser(lambda text: linting.LETTER.search(text), 65_536, ("_", "1", "\u0301")),
    "value": Parser(lambda text: value_checks.SPACE_RUN.search(text), 65_536, (*SPACES, "  a", "    a")),
    "tags in a template": Parser(lambda text: preview.TAG.sub("", text), 32_768, ("<", "<a", "<>", "< >")),
    "upload's name": Parser(uploads.clean_name, 100_000, (*SPACES, *WORDS, "/", "\\", ".")),
    "words found": Parser(
        lambda text: search_excerpts.excerpt_around(text, "a b ж ( * 1"), 65_536, (*SPACES, *WORDS, *MARKS)
    ),
    "words searched": Parser(search._split_words, 100_000, (*SPACES, *WORDS)),
    "name of a variable": Parser(
        lambda text: [
            prefill.NAME_WORDS.search(text),
            prefill.NOT_A_PERSON_WORDS.search(text),
            prefill.REQUEST_WORDS.search(text),
        ],
        4_096,
        ("client", "cas", "имен", "first_", " "),
    ),
    "price of an order": Parser(
        lambda text: message_extras.compose_text("order", {"product_items": [{"item_price": text, "quantity": text}]}),
        100_000,
        NUMBERS,
    ),
}


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
def test_every_parser_takes_bounded_work_for_any_text(parser: Parser) -> None:
    for unit in parser.units:
        text = (unit * (parser.size // len(unit) + 1))[: parser.size]

        def read(worst: str = f"x{text}y") -> None:
            with contextlib.suppress(BadBody):
                parser.read(worst)

        assert measure_cost(read, limit=MAX_COST) <= MAX_COST, repr(unit)


LOOPS = (
    "HTML of a comment",
    "comment as HTML",
    "markup",
    "message",
    "file name",
    "folding",
    "multipart",
)


@pytest.mark.parametrize("name", LOOPS)
def test_html_parsing_is_linear_in_the_text(name: str) -> None:
    parser = PARSERS[name]
    for unit in parser.units:

        def count(size: int, unit: str = unit) -> int:
            def read() -> None:
                with contextlib.suppress(BadBody):
                    parser.read(unit * (size // len(unit)))

            return count_lines(read)

        count(1_600)  # warm up caches
        assert count(1_600) < 2.5 * count(800) + 500, repr(unit)


def test_html_lists_are_linear_in_items_and_elements() -> None:
    def count(size: int) -> int:
        return count_lines(lambda: html_text.html_to_text("<ul>" + "<b>" * size + "<li></li>" * size))

    count(200)  # warm up caches
    assert count(200) < 2.5 * count(100) + 500
