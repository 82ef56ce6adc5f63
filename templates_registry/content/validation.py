"""Validation of a template: problems, each at its field.

Errors prevent sending, display or matching: hard limits and broken variables. Texts that Meta's reviewers usually
reject are only warnings, because the review rules change and an approved text is valid. The submit action may ask for
confirmation if a template has problems of ``REVIEWERS_REJECT``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .components import (
    BODY_LIMIT,
    FOOTER_LIMIT,
    HEADER_LIMIT,
    LOCATION,
    MEDIA,
    PLACEHOLDER,
    TEXT,
    Button,
    Level,
    Placeholder,
    Problem,
    TemplateDefinition,
    VariablePlace,
    add_braces,
    find_names,
    is_numbered,
    split_placeholders,
)
from .languages import LANGUAGES
from .normalization import NEWLINES
from .rendering import render
from .slots import PRODUCT, ValueKind
from .value_checks import COUPON_LIMIT, URL_LIMIT

NAME_LIMIT, BUTTONS_LIMIT, BUTTON_TEXT_LIMIT, PHONE_LIMIT = 512, 10, 25, 20
BUTTONS_OF_KIND = {"QUICK_REPLY": 10, "URL": 2, "PHONE_NUMBER": 1, "COPY_CODE": 1}
CATEGORIES = ("UTILITY", "MARKETING", "AUTHENTICATION")
WORDS_PER_VARIABLE = 2  # with fewer fixed words reviewers reject "too many variables for the length"

REVIEWERS_REJECT = frozenset(
    {
        "starts_with_variable",
        "ends_with_variable",
        "adjacent_variables",
        "too_many_variables",
        "example_missing",
        "footer_same",
        "header_markup",
        "header_lines",
    }
)
WARNINGS = REVIEWERS_REJECT | {"language_unknown", "category_unknown"}

WITHOUT_EXAMPLE = (ValueKind.CODE, ValueKind.SECTIONS)  # the provider accepts no example

NAME = re.compile(r"[a-z0-9_]+")
VARIABLE_NAME = re.compile(r"[a-z_][a-z0-9_]*")
WORD = re.compile(r"\w+")
MARKUP = re.compile(r"[*_~`]")


def validate(template: TemplateDefinition) -> list[Problem]:
    """Return all errors and warnings, in the order of the form."""
    return [
        *_naming(template),
        *_header(template),
        *_body(template),
        *_footer(template),
        *_buttons(template),
        *_variables(template),
    ]


def make_problem(field: str, code: str, **details: str | int) -> Problem:
    """Return a problem with the level of its code."""
    return Problem(field, code, Level.WARNING if code in WARNINGS else Level.ERROR, details)


def _naming(template: TemplateDefinition) -> Iterator[Problem]:
    name = template.name
    if not name:
        yield make_problem("name", "name_missing")
    elif len(name) > NAME_LIMIT:
        yield make_problem("name", "name_too_long", length=len(name), limit=NAME_LIMIT)
    elif not NAME.fullmatch(name):
        yield make_problem("name", "name_characters")
    if not template.language:
        yield make_problem("language", "language_missing")
    elif template.language not in LANGUAGES:
        yield make_problem("language", "language_unknown", language=template.language)
    if template.category and template.category not in CATEGORIES:
        yield make_problem("category", "category_unknown", category=template.category)


def _header(template: TemplateDefinition) -> Iterator[Problem]:
    header = template.header
    if header is None:
        return
    if header.kind == LOCATION and template.category not in ("", "UTILITY", "MARKETING"):
        yield make_problem("header", "header_location")
    if header.kind not in (TEXT, LOCATION, PRODUCT, *MEDIA):
        yield make_problem("header", "header_kind", kind=header.kind)
    if header.kind != TEXT:
        return
    if not header.text.strip():
        yield make_problem("header", "header_missing")
    yield from _length("header", header.text, HEADER_LIMIT)
    yield from _braces("header", header.text)
    if len(PLACEHOLDER.findall(header.text)) > 1:
        yield make_problem("header", "header_many_variables")
    if MARKUP.search(PLACEHOLDER.sub("", header.text)):
        yield make_problem("header", "header_markup")
    if any(character in NEWLINES for character in header.text):
        yield make_problem("header", "header_lines")


def _body(template: TemplateDefinition) -> Iterator[Problem]:
    body = template.body
    if not body.strip():
        yield make_problem("body", "body_missing")
        return
    yield from _length("body", body, BODY_LIMIT)
    yield from _braces("body", body)
    if template.has_standard_body:
        return
    pieces = split_placeholders(body)
    variables = [piece for piece in pieces if isinstance(piece, Placeholder)]
    if not variables:
        return
    fixed = [piece for piece in pieces if isinstance(piece, str)]
    if not fixed[0].strip():
        yield make_problem("body", "starts_with_variable")
    if not fixed[-1].strip():
        yield make_problem("body", "ends_with_variable")
    for index, between in enumerate(fixed[1:-1]):
        if not between.strip():
            first, second = add_braces(variables[index].name), add_braces(variables[index + 1].name)
            yield make_problem("body", "adjacent_variables", first=first, second=second)
    if len(WORD.findall(" ".join(fixed))) < WORDS_PER_VARIABLE * len(variables):
        yield make_problem("body", "too_many_variables")


def _footer(template: TemplateDefinition) -> Iterator[Problem]:
    yield from _length("footer", template.footer, FOOTER_LIMIT)
    if PLACEHOLDER.search(template.footer):
        yield make_problem("footer", "footer_variable")
    if template.footer and template.footer.strip() == template.body.strip():
        yield make_problem("footer", "footer_same")


def _buttons(template: TemplateDefinition) -> Iterator[Problem]:
    buttons = template.buttons
    if len(buttons) > BUTTONS_LIMIT:
        yield make_problem("buttons", "buttons_too_many", count=len(buttons), limit=BUTTONS_LIMIT)
    kinds = [button.kind for button in buttons]
    for kind, limit in BUTTONS_OF_KIND.items():
        if limit < kinds.count(kind) and limit < BUTTONS_LIMIT:
            yield make_problem("buttons", "buttons_of_kind", count=kinds.count(kind), kind=kind, limit=limit)
    replies = [index for index, kind in enumerate(kinds) if kind == "QUICK_REPLY"]
    together = not replies or replies[-1] - replies[0] + 1 == len(replies)
    if not together or (replies and replies[0] > 0 and replies[-1] < len(kinds) - 1):
        yield make_problem("buttons", "quick_replies_apart")
    for index, button in enumerate(buttons):
        yield from _button(f"buttons.{index}", button)


def _button(field: str, button: Button) -> Iterator[Problem]:
    if button.kind in BUTTONS_OF_KIND and button.kind != "COPY_CODE" and not button.text.strip():
        yield make_problem(f"{field}.text", "button_text_missing")
    yield from _length(f"{field}.text", button.text, BUTTON_TEXT_LIMIT)
    if PLACEHOLDER.search(button.text):
        yield make_problem(f"{field}.text", "button_variable")
    if button.kind == "URL":
        if not button.url.strip():
            yield make_problem(f"{field}.url", "url_missing")
        yield from _length(f"{field}.url", button.url, URL_LIMIT)
        yield from _braces(f"{field}.url", button.url)
        variables = list(PLACEHOLDER.finditer(button.url))
        if len(variables) > 1 or (variables and variables[0].end() != len(button.url)):
            yield make_problem(f"{field}.url", "url_variable")
    elif button.kind == "PHONE_NUMBER":
        if not button.phone_number.strip():
            yield make_problem(f"{field}.phone_number", "phone_missing")
        yield from _length(f"{field}.phone_number", button.phone_number, PHONE_LIMIT)
    elif button.kind == "COPY_CODE":
        yield from _length(f"{field}.example", button.example, COUPON_LIMIT)


def _variables(template: TemplateDefinition) -> Iterator[Problem]:
    in_header, in_body = find_names(template.header_text), find_names(template.body)
    names = dict.fromkeys(in_header + in_body)
    numbered = [name for name in names if is_numbered(name)]
    if numbered and len(numbered) < len(names):
        yield make_problem("body", "mixed_variables")
    for name in names:
        if not is_numbered(name) and not VARIABLE_NAME.fullmatch(name):
            yield make_problem("body" if name in in_body else "header", "variable_name", name=name)
    for field, own in (("header", in_header), ("body", in_body)):
        numbers = {int(name) for name in own if is_numbered(name)}
        missing = next((n for n in range(1, len(numbers) + 1) if n not in numbers), None)
        if missing:
            yield make_problem(field, "not_sequential", missing=add_braces(str(missing)))
    for variable in template.variables:
        needs_example = variable.in_text or (variable.place is VariablePlace.BUTTON and variable.is_required)
        needs_example = needs_example and variable.kind not in WITHOUT_EXAMPLE
        if needs_example and not variable.example:
            yield make_problem(f"variables.{variable.key}.example", "example_missing", title=variable.title)
    examples = {v.key: v.example for v in template.variables if v.example}
    sample = render(template, examples)
    for field, raw, text, limit in (
        ("header", template.header_text, sample.header, HEADER_LIMIT),
        ("body", template.body, sample.body, BODY_LIMIT),
    ):
        if len(raw) <= limit < len(text):
            yield make_problem(field, "sample_too_long", length=len(text), limit=limit)


def _length(field: str, text: str, limit: int) -> Iterator[Problem]:
    if len(text) > limit:
        yield make_problem(field, "too_long", length=len(text), limit=limit)


def _braces(field: str, text: str) -> Iterator[Problem]:
    left = PLACEHOLDER.sub(" ", text)
    if "{{" in left or "}}" in left:
        yield make_problem(field, "braces")
