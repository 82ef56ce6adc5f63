"""Form that edits a template: plain fields, and rows of buttons and variables.

``definition`` is the current content of the form, valid or not. The page shows its message and problems as the admin
types.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from django import forms
from django.contrib.postgres.forms import SimpleArrayField
from django.utils.text import capfirst
from django.utils.translation import get_language_info, gettext_lazy
from django.utils.translation import gettext as _
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from templates_registry.content.components import (
    LOCATION,
    TEXT,
    Button,
    Level,
    Problem,
    TemplateDefinition,
    Variable,
    VariablePlace,
    add_braces,
)
from templates_registry.content.graph_format import InvalidTemplate
from templates_registry.content.languages import LANGUAGES
from templates_registry.content.rendering import Rendering, render
from templates_registry.content.slots import ValueKind
from templates_registry.content.titles import variable_title
from templates_registry.content.validation import BUTTONS_LIMIT
from templates_registry.linting import lint_template
from templates_registry.models import Category, Template
from templates_registry.provider.provider_template import MAX_TAG_LENGTH

from .form_parsing import parse_buttons, parse_definition

FIRST_LANGUAGES = ("ru", "en", "en_US")
HEADER_KINDS = (
    ("", gettext_lazy("none")),
    (TEXT, gettext_lazy("text")),
    ("IMAGE", gettext_lazy("picture")),
    ("VIDEO", gettext_lazy("video")),
    ("DOCUMENT", gettext_lazy("document")),
    (LOCATION, gettext_lazy("location")),
)
OTHER_HEADERS = {"PRODUCT": gettext_lazy("product"), "GIF": gettext_lazy("animated picture (GIF)")}
BUTTON_KINDS = (
    ("", gettext_lazy("no button")),
    ("QUICK_REPLY", gettext_lazy("quick reply")),
    ("URL", gettext_lazy("link")),
    ("PHONE_NUMBER", gettext_lazy("phone number")),
    ("COPY_CODE", gettext_lazy("copy a code")),
)

Choices = list[tuple[str, Any]]


@dataclass(frozen=True)
class FieldRow:
    """A field with its errors and problems. ``only_for``: kind of header for which the field is shown."""

    bound: forms.BoundField
    errors: list[str]
    problems: list[Problem]
    only_for: str = ""


@dataclass(frozen=True)
class ButtonRow:
    """One button of the form. ``origin``: its index among the stored buttons, whose extra data it keeps."""

    index: int
    button: Button
    origin: str
    kinds: Choices
    problems: list[Problem]


@dataclass(frozen=True)
class VariableRow:
    """One variable of the form."""

    index: int
    variable: Variable
    place: str
    problems: list[Problem]


class TemplateForm(forms.ModelForm):
    language = forms.ChoiceField(label=capfirst(gettext_lazy("language")), widget=UnfoldAdminSelectWidget)
    tags = SimpleArrayField(
        forms.CharField(max_length=MAX_TAG_LENGTH),
        label=capfirst(gettext_lazy("tags")),
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy(
            "Separate tags with commas. Operators with tags see templates that have one of their tags or none."
        ),
    )
    header_kind = forms.ChoiceField(
        label=capfirst(gettext_lazy("header")), choices=HEADER_KINDS, required=False, widget=UnfoldAdminSelectWidget
    )
    header_text = forms.CharField(
        label=capfirst(gettext_lazy("header text")),
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("One line, at most 60 characters, at most one variable."),
    )
    body = forms.CharField(
        label=capfirst(gettext_lazy("text")),
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 7}),
        help_text=gettext_lazy(
            "Use {{1}}, {{2}} … or {{client_name}} for values. *bold*, _italic_, ~strikethrough~, ```monospace```."
        ),
    )
    footer = forms.CharField(
        label=capfirst(gettext_lazy("footer")),
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("Small print under the text, without variables."),
    )

    class Meta:
        model = Template
        fields = ("api_channel", "name", "category")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "category" not in self.fields:  # for users who may only view
            self.fields.clear()
            return
        language, category = self.fields["language"], self.fields["category"]
        assert isinstance(language, forms.ChoiceField) and isinstance(category, forms.ChoiceField)
        language.choices = _language_choices(self.instance.language)
        if self.instance.category and self.instance.category not in Category.values:
            category.choices = [*Category.choices, (self.instance.category, self.instance.category)]
        header = self.stored.header.kind if self.stored and self.stored.header else ""
        header_kind = self.fields["header_kind"]
        if isinstance(header_kind, forms.ChoiceField) and header not in dict(HEADER_KINDS):
            header_kind.choices = [*HEADER_KINDS, (header, OTHER_HEADERS.get(header, header))]
        if self.is_known_to_provider:
            for name in ("api_channel", "name", "language"):
                self.fields[name].disabled = True
        for name, value in self._initial_values().items():
            self.fields[name].initial = value

    @property
    def is_known_to_provider(self) -> bool:
        """Return whether the provider has seen the template, so that its name and language are fixed."""
        row = self.instance
        return bool(row.pk and (row.submitted_at or row.approved_at or row.external_id))

    def _initial_values(self) -> dict[str, Any]:
        if self.stored is None:
            return {}
        header = self.stored.header
        return {
            "language": self.stored.language,
            "tags": self.instance.tags,
            "header_kind": header.kind if header else "",
            "header_text": self.stored.header_text,
            "body": self.stored.body,
            "footer": self.stored.footer,
        }

    # --- content ---

    @cached_property
    def stored(self) -> TemplateDefinition | None:
        """The saved template; None for a new one or for broken components."""
        if not self.instance.pk:
            return None
        try:
            return Template.objects.get(pk=self.instance.pk).definition
        except InvalidTemplate:
            return None

    @cached_property
    def definition(self) -> TemplateDefinition:
        """The current content of the form, valid or not."""
        if self.is_bound:
            return parse_definition(self.data, stored=self.stored)
        return self.stored or TemplateDefinition(name="", language="ru", body="")

    @cached_property
    def problems(self) -> list[Problem]:
        if not self.is_bound and self.stored is None:
            return []  # a new form without input
        return lint_template(self.definition)

    @cached_property
    def rendering(self) -> Rendering:
        """The message with its examples, as the phone shows it."""
        return render(
            self.definition, {v.key: v.example for v in self.definition.variables if v.example and not v.default}
        )

    def detail_rows(self) -> list[FieldRow]:
        return [self._row(name) for name in ("api_channel", "name", "language", "category", "tags")]

    def text_rows(self) -> list[FieldRow]:
        return [self._row(name) for name in ("header_kind", "header_text", "body", "footer")]

    def _row(self, name: str) -> FieldRow:
        problems = [problem for problem in self.problems if _field_of(problem) == name]
        sentences = {str(problem.sentence) for problem in self.problems}
        errors = [str(error) for error in self.errors.get(name, []) if str(error) not in sentences]
        return FieldRow(self[name], errors, problems, only_for=TEXT if name == "header_text" else "")

    def button_problems(self) -> list[Problem]:
        """Return the problems of the buttons as a whole."""
        return [problem for problem in self.problems if problem.field == "buttons"]

    def _problems_of(self, row: str) -> list[Problem]:
        return [problem for problem in self.problems if problem.field == row or problem.field.startswith(f"{row}.")]

    def button_rows(self) -> list[ButtonRow]:
        rows = list(parse_buttons(self.data)) if self.is_bound else []
        if not self.is_bound:
            rows = [(button, str(index)) for index, button in enumerate(self.definition.buttons)]
        rows = rows[:BUTTONS_LIMIT]
        if len(rows) < BUTTONS_LIMIT:
            rows.append((Button(""), ""))
        return [
            ButtonRow(index, button, origin, _button_kinds(button), self._problems_of(f"buttons.{index}"))
            for index, (button, origin) in enumerate(rows)
        ]

    def variable_rows(self) -> list[VariableRow]:
        return [
            VariableRow(
                index,
                variable,
                describe_variable_place(variable, self.definition),
                self._problems_of(f"variables.{variable.key}"),
            )
            for index, variable in enumerate(self.definition.variables)
        ]

    # --- validation ---

    def clean_tags(self) -> list[str]:
        return list(dict.fromkeys(tag for tag in self.cleaned_data["tags"] if tag))

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        for problem in self.problems:
            if problem.level is not Level.ERROR:
                continue
            field = _field_of(problem)
            if field in self.fields and field not in self.errors:
                self.add_error(field, str(problem.sentence))
            elif field not in self.fields:
                self.add_error(None, f"{describe_problem_place(field)}: {problem.sentence}")
        return cleaned


def _field_of(problem: Problem) -> str:
    return "header_text" if problem.field == "header" else problem.field


# --- labels ----------------------------------------------------------------------------------------------


def describe_variable_place(variable: Variable, definition: TemplateDefinition) -> str:
    """Describe where in the message a variable is."""
    if variable.kind is ValueKind.LINK_END and variable.place is VariablePlace.BUTTON:
        button = definition.buttons[int(variable.key.removeprefix("button."))]
        return _("the end of the link “%(text)s”") % {"text": button.text}
    if variable.place is VariablePlace.HEADER and variable.in_text:
        return _("%(name)s in the header") % {"name": add_braces(variable.name)}
    if variable.in_text and variable.kind is ValueKind.TEXT:
        return add_braces(variable.name)
    return str(variable_title(definition, replace(variable, label="")))


def describe_problem_place(field: str) -> str:
    """Describe where in the form a problem of a row is."""
    kind, _dot, rest = field.partition(".")
    if kind == "buttons":
        number = rest.partition(".")[0]
        return _("Button %(number)s") % {"number": int(number) + 1} if number.isdigit() else _("Buttons")
    if kind == "variables":
        return _("Variables")
    return kind


def _button_kinds(button: Button) -> Choices:
    known = [kind for kind, _label in BUTTON_KINDS]
    return [*BUTTON_KINDS, (button.kind, button.kind)] if button.kind not in known else list(BUTTON_KINDS)


def _language_choices(current: str) -> Choices:
    codes = [*FIRST_LANGUAGES, *sorted(LANGUAGES - set(FIRST_LANGUAGES))]
    codes += [current] if current and current not in codes else []
    return [(code, _language_label(code)) for code in codes]


def _language_label(code: str) -> str:
    try:
        name = get_language_info(code.replace("_", "-").lower())["name_local"]
    except KeyError:
        return code
    return f"{code} · {name}"
