"""The form that edits a template: plain fields here, buttons and variables as rows beside them.

What is in the form at any moment is a pattern (``pattern``), whether it may be saved or not, so that the page can
show the message and its problems while one types.
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
    """A field with what is wrong with it. ``only_for``: the kind of header that has it."""

    bound: forms.BoundField
    errors: list[str]
    problems: list[Problem]
    only_for: str = ""


@dataclass(frozen=True)
class ButtonRow:
    """``origin``: which of the template's present buttons it was, whose extras it keeps."""

    index: int
    button: Button
    origin: str
    kinds: Choices
    problems: list[Problem]


@dataclass(frozen=True)
class VariableRow:
    index: int
    variable: Variable
    where: str
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
        if "category" not in self.fields:  # for somebody who may only look
            self.fields.clear()
            return
        language, category = self.fields["language"], self.fields["category"]
        assert isinstance(language, forms.ChoiceField) and isinstance(category, forms.ChoiceField)
        language.choices = _language_choices(self.instance.language)
        if self.instance.category and self.instance.category not in Category.values:
            category.choices = [*Category.choices, (self.instance.category, self.instance.category)]
        header = self.kept.header.kind if self.kept and self.kept.header else ""
        header_kind = self.fields["header_kind"]
        if isinstance(header_kind, forms.ChoiceField) and header not in dict(HEADER_KINDS):
            header_kind.choices = [*HEADER_KINDS, (header, OTHER_HEADERS.get(header, header))]
        if self.is_handed_in:
            for name in ("api_channel", "name", "language"):
                self.fields[name].disabled = True
        for name, value in self._present().items():
            self.fields[name].initial = value

    @property
    def is_handed_in(self) -> bool:
        """The provider has seen it: under this name and language it is known for good."""
        row = self.instance
        return bool(row.pk and (row.submitted_at or row.approved_at or row.external_id))

    def _present(self) -> dict[str, Any]:
        if self.kept is None:
            return {}
        header = self.kept.header
        return {
            "language": self.kept.language,
            "tags": self.instance.tags,
            "header_kind": header.kind if header else "",
            "header_text": self.kept.header_text,
            "body": self.kept.body,
            "footer": self.kept.footer,
        }

    # --- what is in it ---

    @cached_property
    def kept(self) -> TemplateDefinition | None:
        """The template as it is stored."""
        if not self.instance.pk:
            return None
        try:
            return Template.objects.get(pk=self.instance.pk).pattern
        except InvalidTemplate:
            return None

    @cached_property
    def pattern(self) -> TemplateDefinition:
        """What is in the form now."""
        if self.is_bound:
            return parse_definition(self.data, kept=self.kept)
        return self.kept or TemplateDefinition(name="", language="ru", body="")

    @cached_property
    def problems(self) -> list[Problem]:
        if not self.is_bound and self.kept is None:
            return []  # an empty form that nobody has begun
        return lint_template(self.pattern)

    @cached_property
    def rendering(self) -> Rendering:
        """The message with the examples in it, as the phone will show it."""
        return render(self.pattern, {v.key: v.example for v in self.pattern.variables if v.example and not v.default})

    def which_rows(self) -> list[FieldRow]:
        return [self._row(name) for name in ("api_channel", "name", "language", "category", "tags")]

    def text_rows(self) -> list[FieldRow]:
        return [self._row(name) for name in ("header_kind", "header_text", "body", "footer")]

    def _row(self, name: str) -> FieldRow:
        problems = [problem for problem in self.problems if _field_of(problem) == name]
        said = {str(problem.sentence) for problem in self.problems}
        errors = [str(error) for error in self.errors.get(name, []) if str(error) not in said]
        return FieldRow(self[name], errors, problems, only_for=TEXT if name == "header_text" else "")

    def row_problems(self) -> list[Problem]:
        """What is wrong with the buttons as a whole."""
        return [problem for problem in self.problems if problem.field == "buttons"]

    def _problems_of(self, row: str) -> list[Problem]:
        return [problem for problem in self.problems if problem.field == row or problem.field.startswith(f"{row}.")]

    def button_rows(self) -> list[ButtonRow]:
        rows = list(parse_buttons(self.data)) if self.is_bound else []
        if not self.is_bound:
            rows = [(button, str(index)) for index, button in enumerate(self.pattern.buttons)]
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
                describe_variable_place(variable, self.pattern),
                self._problems_of(f"variables.{variable.key}"),
            )
            for index, variable in enumerate(self.pattern.variables)
        ]

    # --- whether it may be saved ---

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


# --- names for people ------------------------------------------------------------------------------------


def describe_variable_place(variable: Variable, pattern: TemplateDefinition) -> str:
    """Which place in the message a variable fills."""
    if variable.kind is ValueKind.LINK_END and variable.place is VariablePlace.BUTTON:
        button = pattern.buttons[int(variable.key.removeprefix("button."))]
        return _("the end of the link “%(text)s”") % {"text": button.text}
    if variable.place is VariablePlace.HEADER and variable.in_text:
        return _("%(name)s in the header") % {"name": add_braces(variable.name)}
    if variable.in_text and variable.kind is ValueKind.TEXT:
        return add_braces(variable.name)
    return str(variable_title(pattern, replace(variable, label="")))


def describe_problem_place(field: str) -> str:
    """Where in the form a problem of a row is."""
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


def _language_choices(present: str) -> Choices:
    codes = [*FIRST_LANGUAGES, *sorted(LANGUAGES - set(FIRST_LANGUAGES))]
    codes += [present] if present and present not in codes else []
    return [(code, _language_label(code)) for code in codes]


def _language_label(code: str) -> str:
    try:
        name = get_language_info(code.replace("_", "-").lower())["name_local"]
    except KeyError:
        return code
    return f"{code} · {name}"
