"""Parameters of the public API: declaration per method, validation, and readers of single values.

A parameter that Usedesk documents and Okno does not support is rejected with an error. An undocumented parameter is
ignored, as in Usedesk, and listed in the response as ``ignored``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.visible_names import visible_name

MAX_NAME_LENGTH, MAX_NAMES = 60, 50

COPIES_NOT_SUPPORTED = gettext_lazy("“%(name)s” is not supported: WhatsApp messages have no copies.")
LISTS_NOT_SUPPORTED = gettext_lazy("“%(name)s” is not supported: additional fields are texts or checkboxes, not lists.")
MERGING_NOT_SUPPORTED = gettext_lazy("“%(name)s” is not supported: clients are merged by an operator in the desk.")
PICTURES_NOT_SUPPORTED = gettext_lazy("“%(name)s” is not supported: clients have no pictures.")
CLIENT_NOT_CHANGEABLE = gettext_lazy(
    "“%(name)s” cannot be changed: a request always belongs to the client of its chat."
)


MAX_PERSON_LENGTH = 200  # name and email; the length of the columns
MAX_QUERY_LENGTH = 200

# Parameters that are plain text in every method, with their maximum length. None: the method checks the value.
TEXT_PARAMETERS: Mapping[str, int | None] = {
    **dict.fromkeys(("client_name", "client_email", "name"), MAX_PERSON_LENGTH),
    "query": MAX_QUERY_LENGTH,
    **dict.fromkeys(("subject", "client_phone", "phone", "channel_type"), None),
    **dict.fromkeys(("created_after", "created_before", "updated_after", "updated_before"), None),
}
NAME_PARAMETERS = frozenset({"client_name", "name"})
FLAG_PARAMETERS = frozenset({"private_comment", "is_new_note", "new_address"})
ID_PARAMETERS = frozenset(
    {"ticket_id", "chat_id", "channel_id", "company_id", "user_id", "trigger_id", "accessible_for_agent_id", "offset"}
)


@dataclass(frozen=True, kw_only=True)
class MethodParameters:
    """Parameters of one method.

    ``used``: supported. ``without_effect``: documented by Usedesk, accepted, and meaningless here. ``refused``: name →
    error message. ``files``: whether the method takes files.
    """

    used: frozenset[str] = frozenset()
    without_effect: frozenset[str] = frozenset()
    refused: Mapping[str, Promise] = field(default_factory=dict)
    files: bool = False

    def check(self, call_values: Mapping[str, Any], *, has_files: bool) -> None:
        """Validate the given parameters. Empty values are skipped. Raises BadBody."""
        for name, sentence in self.refused.items():
            if is_given(call_values.get(name)):
                raise BadBody(str(sentence) % {"name": name})
        for name in sorted(self.used & TEXT_PARAMETERS.keys()):
            text = read_text(call_values.get(name), name, longest=TEXT_PARAMETERS[name])
            if name in NAME_PARAMETERS and text and not visible_name(text):
                raise BadBody(_("“%(name)s” has no visible characters.") % {"name": name})
        for name in sorted(self.used & FLAG_PARAMETERS):
            read_flag(call_values.get(name), name)
        for name in sorted(self.used & ID_PARAMETERS):
            values.parse_id(call_values.get(name), name)
        if has_files and not self.files:
            raise BadBody(_("This method does not accept files."))

    def ignored(self, call_values: Mapping[str, Any]) -> list[str]:
        """Return the names of undocumented parameters, at most MAX_NAMES."""
        known = self.used | self.without_effect | self.refused.keys() | {"api_token"}
        names = sorted(name[:MAX_NAME_LENGTH] for name in call_values if name not in known)
        return names[:MAX_NAMES]


def define_parameters(
    *used: str, refused: Mapping[str, Promise] | None = None, no_effect: str = "", files: bool = False
) -> Any:
    """Declare the parameters of a method. ``no_effect`` holds names separated by spaces."""
    return MethodParameters(
        used=frozenset(used), without_effect=frozenset(no_effect.split()), refused=refused or {}, files=files
    )


def is_given(value: Any) -> bool:
    """Return whether a parameter has a value. Forms send empty texts, and “false” for an unchecked box."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "null", "false")
    return not (value is None or value is False or value in ([], {}))  # 0 is a value, though it equals False


def is_null(value: Any) -> bool:
    """Return whether a value means “nobody” or “nothing”: null, the text "null", or zero."""
    return value is None or (isinstance(value, str | int) and str(value).strip().lower() in ("null", "0"))


def read_text(value: Any, name: str, *, longest: int | None = None) -> str:
    """Read a text or a number as text; "" if empty. Raises BadBody for other types and if the text is too long."""
    if isinstance(value, bool | dict | list) and is_given(value):
        raise BadBody(_("“%(name)s” must be text.") % {"name": name})
    text = values.as_text(value).strip()
    if longest is not None and len(text) > longest:
        raise BadBody(_("“%(name)s” can have at most %(most)d characters.") % {"name": name, "most": longest})
    return text


def read_flag(value: Any, name: str) -> bool:
    """Read a boolean as JSON and forms write it; a missing one is false. Raises BadBody."""
    if value is None or isinstance(value, bool):
        return bool(value)
    word = str(value).strip().lower() if isinstance(value, str | int) else "?"
    if word in ("", "0", "false", "no", "off", "null"):
        return False
    if word in ("1", "true", "yes", "on"):
        return True
    raise BadBody(_("“%(name)s” must be true or false.") % {"name": name})


def read_choice(value: Any, name: str, choices: list[str]) -> str | None:
    """Read one of the choices, case-insensitively; None if missing. Raises BadBody."""
    if not is_given(value):
        return None
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in choices:
        raise BadBody(_("“%(name)s” must be one of: %(choices)s.") % {"name": name, "choices": ", ".join(choices)})
    return word
