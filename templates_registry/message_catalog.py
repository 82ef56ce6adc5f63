"""Catalog of all sentences about templates, by code.

Codes are stable: the API and stored rows use them, with their details. The sentence is rendered in the reader's
language when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

SENTENCES: Mapping[str, StrOrPromise] = {
    # not a template
    "not_a_template": _("This is not a template: a list of components is expected."),
    "values_shape": _("Template values must be strings: a list, or an object with one string per variable name."),
    "component_twice": _("The template contains the component “%(component)s” more than once."),
    # name, language, category
    "name_missing": _("Enter a template name."),
    "name_too_long": _("The name has %(length)s characters; at most %(limit)s are allowed."),
    "name_characters": _("The name can contain only lowercase Latin letters, digits and underscores."),
    "language_missing": _("Enter the template's language code, such as “ru” or “en_US”."),
    "language_unknown": _("WhatsApp does not list the language “%(language)s”. Check the code."),
    "category_unknown": _("“%(category)s” is not a known category: utility, marketing or authentication."),
    "category_drift": _(
        "You requested the category “%(requested)s”, but the provider assigned “%(category)s”. "
        "The price and the consent rules depend on the provider's category."
    ),
    # variables
    "braces": _("Each {{ needs a matching }}, with a number or a name between them."),
    "variable_name": _(
        "The variable name “%(name)s” is not valid. Use numbers, or names of lowercase Latin letters, digits and "
        "underscores."
    ),
    "mixed_variables": _("Numbered and named variables are mixed. Use only one kind."),
    "not_sequential": _("Number the variables from 1 without gaps: %(missing)s is missing."),
    "starts_with_variable": _("The text begins with a variable; WhatsApp usually rejects that. Put a word before it."),
    "ends_with_variable": _("The text ends with a variable; WhatsApp usually rejects that. Put a word after it."),
    "adjacent_variables": _(
        "%(first)s and %(second)s are next to each other. WhatsApp usually rejects that, and the two values cannot be "
        "told apart. Put a word between them."
    ),
    "ambiguous_variables": _(
        "Only “%(between)s” separates %(first)s and %(second)s. If a value contains the same, pasted text can be read "
        "in two ways and is not recognized. Put a word between them."
    ),
    "too_many_variables": _("The text is short for its number of variables, so WhatsApp may reject it. Add words."),
    "too_wide": _("The text has so few fixed words that almost any message matches this template. Add words."),
    "example_missing": _("Enter an example for “%(title)s”: WhatsApp requires one for each variable."),
    "sample_too_long": _("With its examples the text has %(length)s characters; at most %(limit)s can be sent."),
    # header, body, footer
    "too_long": _("The text has %(length)s characters; at most %(limit)s are allowed."),
    "header_missing": _("Enter the header text or remove the header."),
    "header_kind": _("Unknown header type: “%(kind)s”."),
    "header_many_variables": _("A header can contain only one variable."),
    "header_markup": _("Headers have no formatting: *, _, ~ and ` are shown as they are or rejected."),
    "header_lines": _("A header can have only one line."),
    "header_location": _("Location headers are allowed only in utility and marketing templates."),
    "body_missing": _("Enter the template text."),
    "footer_variable": _("A footer cannot contain variables."),
    "footer_same": _("The footer repeats the body; WhatsApp usually rejects that."),
    # buttons
    "buttons_too_many": _("There are %(count)s buttons; at most %(limit)s are allowed."),
    "buttons_of_kind": _("There are %(count)s buttons of type %(kind)s; at most %(limit)s are allowed."),
    "button_text_missing": _("Enter the button text."),
    "button_variable": _("Button text cannot contain variables."),
    "quick_replies_apart": _("Place all quick replies together, before or after the other buttons."),
    "url_missing": _("Enter the button's link."),
    "url_variable": _("A link can contain only one variable, {{1}}, at its end."),
    "phone_missing": _("Enter the button's phone number."),
    # values
    "missing": _("“%(title)s” is not filled in."),
    "empty": _("“%(title)s” is empty."),
    "newline": _("“%(title)s” contains a line break, which WhatsApp does not allow. Use one line."),
    "tab": _("“%(title)s” contains a tab, which WhatsApp does not allow. Use a space instead."),
    "spaces": _("“%(title)s” contains more than four spaces in a row, which WhatsApp does not allow."),
    "unknown_value": _("The template has no variable for the value “%(value)s”."),
    "placeholder": _("“%(title)s” is not filled in: the text still contains %(placeholder)s."),
    "values_differ": _("“%(title)s” occurs more than once, with different values."),
    "rendered_too_long": _("With these values the text has %(length)s characters; at most %(limit)s can be sent."),
    "card_too_long": _(
        "With these values the text of card %(card)s has %(length)s characters; at most %(limit)s can be sent."
    ),
    "link_too_long": _("With this value the button's link has %(length)s characters; at most %(limit)s are allowed."),
    "code_too_long": _("The code has %(length)s characters; at most %(limit)s are allowed."),
    "value_too_long": _("“%(title)s” has %(length)s characters; at most %(limit)s are allowed."),
    "media_value": _(
        "“%(title)s” is neither a link nor a media ID. Enter a link that begins with https://, or the ID of a file "
        "that is already uploaded to WhatsApp."
    ),
    "filename_value": _("“%(title)s” cannot contain slashes. Enter only the file name, such as “Invoice 5.pdf”."),
    "filename_missing": _(
        "Enter “%(title)s”: the link does not contain a file name, and the phone would show “Untitled”."
    ),
    "latitude_value": _("“%(title)s” must be a number from −90 to 90 with a decimal point, such as 59.9343."),
    "longitude_value": _("“%(title)s” must be a number from −180 to 180 with a decimal point, such as 30.3351."),
    "code_value": _("“%(title)s” cannot contain spaces."),
    "product_value": _("“%(title)s” must be a product ID from the catalog. It cannot contain spaces."),
    "catalog_value": _("“%(title)s” must be the catalog ID at Meta: digits only."),
    "sections_value": _("Enter “%(title)s” with one section per line, such as “Boots: SKU-1, SKU-2”."),
    "sections_many": _("“%(title)s” can contain at most %(sections)s sections and %(products)s products."),
    "sections_title": _("Give each section of “%(title)s” a title, such as “Boots: SKU-1, SKU-2”."),
    "sections_title_long": _(
        "A section title in “%(title)s” has %(length)s characters; at most %(limit)s are allowed."
    ),
    "moment_value": _("“%(title)s” must be a date and time, such as 2026-12-31 18:00."),
    "moment_past": _("“%(title)s” is in the past."),
    "flow_data_value": _('“%(title)s” must be a JSON object, such as {"order": "42"}.'),
    # parts that Okno cannot fill
    "part_text": _("its text is not known yet"),
    "part_unreadable": _("its components cannot be read"),
    "part_header": _("a header of type %(kind)s cannot be filled in"),
    "part_button": _("button %(number)s of type %(kind)s cannot be filled in"),
    "part_component": _("the component %(kind)s cannot be filled in"),
    "part_card": _("card %(card)s has no content"),
    "part_header_of_card": _("card %(card)s: a header of type %(kind)s cannot be filled in"),
    "part_button_of_card": _("card %(card)s: button %(number)s of type %(kind)s cannot be filled in"),
    "part_component_of_card": _("card %(card)s: the component %(kind)s cannot be filled in"),
    # recognition
    "recognized": _("This is the template “%(name)s” (%(language)s)."),
    "several_templates": _("This text fits several templates: %(names)s. Choose the one you mean."),
    "several_readings": _(
        "This is the template “%(name)s” (%(language)s), but its values can be read in more than one way. "
        "Open the template and fill in each value."
    ),
    "too_intricate": _("Too many templates resemble this text. Choose the template from the list."),
    "not_sendable": _("This is the template “%(name)s” (%(language)s), which cannot be sent now: %(why)s."),
    "previous_text": _(
        "This is the previous text of the template “%(name)s” (%(language)s). A new one has been approved since."
    ),
    "withdrawn_text": _(
        "This is an earlier text of the template “%(name)s” (%(language)s), which is no longer approved."
    ),
    "not_carried": _("“%(title)s” of the template “%(name)s” is not in the text. Open the template and fill it in."),
    "one_difference": _(
        "No template fits exactly. Closest is “%(name)s” (%(language)s): approved “%(approved)s”, yours “%(yours)s”."
    ),
    "differences": _(
        "No template fits exactly. Closest is “%(name)s” (%(language)s), with %(count)s differences; "
        "the first: approved “%(approved)s”, yours “%(yours)s”."
    ),
    "nothing_fits": _("No approved template fits this text."),
    "no_text": _("There is no text."),
    "longer_than_any": _("The text exceeds WhatsApp's limit (%(limit)s characters), so no template matches it."),
    # collisions
    "collision": _("The same text can match “%(other)s” and this template, for example “%(text)s”."),
    "distant_collision": _(
        "With unusual values, the same text can match this template and %(count)s others, including %(names)s."
    ),
}


def _format_sentence(text: StrOrPromise, details: Mapping[str, StrOrPromise | int]) -> str:
    return str(text) % details


_format_lazily = lazy(_format_sentence, str)


def render_sentence(code: str, details: Mapping[str, StrOrPromise | int] | None = None) -> StrOrPromise:
    """Return the sentence of a code, translated when it is rendered. An unknown code is returned unchanged."""
    text = SENTENCES.get(code)
    if text is None:
        return code
    if code == "category_drift" and details:  # the details are category codes
        details = {name: _(str(code)) for name, code in details.items()}
    return _format_lazily(text, details) if details else text
