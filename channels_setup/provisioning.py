"""Setting a channel up in one go, as the command line and the demo do it."""

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

Row = TypeVar("Row", bound=models.Model)


class Ambiguous(LookupError):
    """Several rows have this name. Its text is a sentence."""


def named(rows: models.QuerySet[Row], text: str) -> Row | None:
    """The row with this number or this name."""
    if (number := parse_whole_number(text)) is not None:
        return rows.filter(pk=number).first()
    found = list(rows.filter(name=text)[:2])
    if len(found) > 1:
        raise Ambiguous(_("Several are named “%(name)s”: give the number.") % {"name": text})
    return found[0] if found else None


def words_for(rows: models.QuerySet[Row]) -> dict[int, str]:
    """For each row the word by which ``named`` finds it: its name, or its number where the name says too little."""
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
    """An API channel that watches this chat channel, complete and checked, with its first secret key.

    ``tracks``: the kinds of event to follow, or None for the usual ones. ``settings``: what the provider has to be
    told of the account; None leaves them for later. Raises ValidationError, and then leaves
    nothing behind.
    """
    api_channel = ApiChannel(**fields)
    if tracks is not None:
        wanted = set(tracks)
        if unknown := sorted(wanted - set(ApiChannel.TRACKS)):
            raise ValidationError(f"Unknown events: {', '.join(unknown)}. Known: {', '.join(ApiChannel.TRACKS)}.")
        for kind in ApiChannel.TRACKS:
            setattr(api_channel, f"track_{kind}", kind in wanted)
    api_channel.full_clean()
    api_channel.state = _first_state(api_channel)
    api_channel.save()
    api_channel.watched.add(chat_channel)
    api_channel.issue_secret()
    account_settings.make_ours(api_channel, given=settings or {})
    if settings is not None:
        account_settings.take(api_channel, account_settings.checked(api_channel, settings, complete=True))
    return api_channel


def _first_state(api_channel: ApiChannel) -> ChannelState:
    """A training phone is ready at once: there is nobody to hand the keys to."""
    if api_channel.provider.has_training_phone:
        return ChannelState.LIVE
    is_complete = api_channel.redirect_url or not api_channel.provider.needs_redirect_url
    return ChannelState.WAITING if is_complete else ChannelState.DRAFT
