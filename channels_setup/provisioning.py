"""Create a complete channel in one step, for the command line and the demo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils.translation import gettext as _

from . import account_settings
from .codecs.values import parse_whole_number
from .models import ApiChannel, ChannelState, ChatChannel

ModelT = TypeVar("ModelT", bound=models.Model)


class AmbiguousName(LookupError):
    """Several rows have this name. The text is a sentence for the user."""


def find_by_number_or_name(rows: models.QuerySet[ModelT], text: str) -> ModelT | None:
    """Return the row with this number or name, or None. Raises AmbiguousName."""
    if (number := parse_whole_number(text)) is not None:
        return rows.filter(pk=number).first()
    found = list(rows.filter(name=text)[:2])
    if len(found) > 1:
        raise AmbiguousName(_("Several entries are named “%(name)s”. Use the number instead.") % {"name": text})
    return found[0] if found else None


def lookup_names(rows: models.QuerySet[ModelT]) -> dict[int, str]:
    """Return for each row a text that finds it: its name, or its number if the name is empty, shared or a number."""
    names: dict[int, str] = dict(rows.order_by("pk").values_list("pk", "name"))
    count = Counter(names.values())
    return {pk: name if name and count[name] == 1 and not name.isdigit() else str(pk) for pk, name in names.items()}


@transaction.atomic
def add_api_channel(
    *,
    chat_channel: ChatChannel,
    tracks: Iterable[str] | None = None,
    settings: Mapping[str, str] | None = None,
    **fields: Any,
) -> ApiChannel:
    """Create and validate an API channel that watches a chat channel, with its first secret key.

    ``tracks``: the kinds of event to follow; None for the defaults. ``settings``: texts of the account settings; None
    leaves them for later. Raises ValidationError and then saves nothing.
    """
    api_channel = ApiChannel(**fields)
    if tracks is not None:
        tracked = set(tracks)
        if unknown := sorted(tracked - set(ApiChannel.EVENT_KINDS)):
            raise ValidationError(f"Unknown events: {', '.join(unknown)}. Known: {', '.join(ApiChannel.EVENT_KINDS)}.")
        for kind in ApiChannel.EVENT_KINDS:
            setattr(api_channel, f"track_{kind}", kind in tracked)
    api_channel.full_clean()
    api_channel.state = _initial_state(api_channel)
    api_channel.save()
    api_channel.watched.add(chat_channel)
    api_channel.issue_secret()
    account_settings.generate_secrets(api_channel, provided=settings or {})
    if settings is not None:
        account_settings.save_values(api_channel, account_settings.clean_values(api_channel, settings, complete=True))
    return api_channel


def _initial_state(api_channel: ApiChannel) -> ChannelState:
    """Return the first state. A training phone is live at once because it needs no hand-over."""
    if api_channel.provider.has_training_phone:
        return ChannelState.LIVE
    is_complete = api_channel.redirect_url or not api_channel.provider.needs_redirect_url
    return ChannelState.WAITING if is_complete else ChannelState.DRAFT
