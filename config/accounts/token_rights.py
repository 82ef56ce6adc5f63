"""Sentences about API tokens: what a token opens, and in which state it is."""

from __future__ import annotations

from django.utils.translation import gettext as _

from .models import ApiToken, Scope


def describe_rights(token: ApiToken) -> str:
    """Return a sentence that says what a program with this token may do now."""
    if token.scope == Scope.METRICS:
        return _("It opens /metrics and nothing else.")
    if token.is_limited_to_channels:
        return _describe_limited(token)
    user, is_read = token.user.get_username(), token.scope == Scope.READ
    if token.user.is_service:
        sentence = (
            _("It may read the chats of the service account “%(user)s”.")
            if is_read
            else _("It may read and write in the chats of the service account “%(user)s”.")
        )
    elif is_read:
        sentence = _("It may read everything that the user “%(user)s” may see.")
    else:
        sentence = _("It may do everything that the user “%(user)s” may do.")
    return sentence % {"user": user}


def _describe_limited(token: ApiToken) -> str:
    names = ", ".join(f"“{name}”" for name in token.chat_channels.order_by("pk").values_list("name", flat=True))
    if not names:
        return _("It opens nothing, because its chat channels were deleted.")
    sentence = (
        _("It may read the chats of these channels, as far as its user may: %(channels)s.")
        if token.scope == Scope.READ
        else _("It may read and write in the chats of these channels, as far as its user may: %(channels)s.")
    )
    return sentence % {"channels": names}
