"""Warnings about valid templates: ambiguous variables, too few fixed words, a changed category, collisions.

``lint_template`` checks one template against the others of its account; ``lint_registry`` checks all of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from .content.components import Level, Placeholder, Problem, TemplateDefinition, add_braces, split_placeholders
from .content.validation import validate
from .matching.collisions import Collision, find_collisions

MAX_NAMES = 3  # templates that a warning about unlikely collisions names
MIN_FIXED_LETTERS = 10
LETTER = re.compile(r"[^\W_]")

Key = tuple[str, str]


def lint_template(template: TemplateDefinition, *, others: Sequence[TemplateDefinition] = ()) -> list[Problem]:
    """Return errors and warnings of one template. ``others`` are the other templates of its account."""
    found = [*validate(template), *_lint_own_text(template)]
    if others:
        found += _collision_warnings(template, find_collisions([template, *others], only=0))
    return found


def lint_registry(templates: Sequence[TemplateDefinition]) -> dict[Key, list[Problem]]:
    """Return errors and warnings of all templates of one account. Templates without any are left out."""
    collisions: dict[Key, list[Collision]] = defaultdict(list)
    for collision in find_collisions(templates):
        collisions[collision.first.key].append(collision)
        collisions[collision.second.key].append(collision)
    found = {
        template.key: [
            *validate(template),
            *_lint_own_text(template),
            *_collision_warnings(template, collisions[template.key]),
        ]
        for template in templates
    }
    return {key: problems for key, problems in found.items() if problems}


def _lint_own_text(template: TemplateDefinition) -> Iterator[Problem]:
    requested, category = template.requested_category, template.category
    if requested and category and requested != category:
        yield _warning("category", "category_drift", requested=requested.lower(), category=category.lower())
    for field, text in (("header", template.header_text), ("body", template.body)):
        yield from _ambiguous_variables(field, text)
    pieces = split_placeholders(template.body)
    fixed = "".join(piece for piece in pieces if isinstance(piece, str))
    if len(pieces) > 1 and len(LETTER.findall(fixed)) < MIN_FIXED_LETTERS:
        yield _warning("body", "too_wide")


def _ambiguous_variables(field: str, text: str) -> Iterator[Problem]:
    """Find variables without a letter or digit between them. Values often contain spaces, commas and dashes."""
    pieces = split_placeholders(text)
    for index in range(1, len(pieces) - 2, 2):
        first, between, second = pieces[index : index + 3]
        if not (isinstance(first, Placeholder) and isinstance(between, str) and isinstance(second, Placeholder)):
            continue
        if between and "\n" not in between and not LETTER.search(between):
            names = {"first": add_braces(first.name), "second": add_braces(second.name)}
            yield _warning(field, "ambiguous_variables", between=between, **names)


def _collision_warnings(template: TemplateDefinition, collisions: Iterable[Collision]) -> Iterator[Problem]:
    unlikely: list[str] = []
    for collision in collisions:
        other = collision.second if collision.first.key == template.key else collision.first
        name = f"{other.name} ({other.language})"
        if collision.likely:
            yield _warning("body", "collision", other=name, text=collision.text)
        else:
            unlikely.append(name)
    if unlikely:
        names = ", ".join(sorted(unlikely)[:MAX_NAMES])
        yield _warning("body", "distant_collision", count=len(unlikely), names=names)


def _warning(field: str, code: str, **details: str | int) -> Problem:
    return Problem(field, code, Level.WARNING, details)
