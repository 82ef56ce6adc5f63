"""Refusal of writes to an erased person: the exception, its sentence, and the database's own refusal.

Code that finds an erased contact raises PersonErased. Triggers refuse what the code overlooks or what a race lets
through (``bridge/migrations``, constraint ``person_erased``). Every entrance answers both the same way: HTTP 410, or
the protocol's own form of it.
"""

from __future__ import annotations

from django.db import IntegrityError
from django.utils.translation import gettext_lazy as _

REASON = "person_erased"
STATUS = 410
SENTENCE = _("This person's data was erased at their request. No new data about them can be saved.")
CONSTRAINTS = ("person_erased", "erased_contact_is_empty", "erased_chat_has_no_text")


class PersonErased(Exception):
    """The person was erased, so nothing about them is stored."""

    def __str__(self) -> str:
        return str(SENTENCE)


def is_refusal(problem: BaseException) -> bool:
    """Return whether a write was refused because the person was erased, by the code or by the database."""
    if isinstance(problem, PersonErased):
        return True
    diagnostics = getattr(problem.__cause__, "diag", None) if isinstance(problem, IntegrityError) else None
    return getattr(diagnostics, "constraint_name", None) in CONSTRAINTS
