"""Catalog of outcomes: every code that says why something was not sent, with its sentence.

Codes are stable: API callers and stored rows carry them. A reason has a class, a sentence for the operator, another
one for the admin if they can do different things, the action that helps, and effects beyond the message. Providers add
their own codes (``Provider.reasons``). A test checks that every code in use is in the catalog and that none is unused;
``manage.py outcomes_page`` writes docs/outcomes.md.
"""

from channels_setup.providers.base import FailureEffects, OutcomeClass, Reason, SuggestedAction, TemplateEffect

from .catalog import CATALOG, RETRYABLE_CODES, find_reason, get_effects, suggest_action
from .sentences import PLACEHOLDER, REPEATED_ERROR_CODE, BlankMissing, format_provider_error, render_sentence

__all__ = [
    "CATALOG",
    "PLACEHOLDER",
    "REPEATED_ERROR_CODE",
    "RETRYABLE_CODES",
    "BlankMissing",
    "FailureEffects",
    "OutcomeClass",
    "Reason",
    "SuggestedAction",
    "TemplateEffect",
    "find_reason",
    "format_provider_error",
    "get_effects",
    "render_sentence",
    "suggest_action",
]
