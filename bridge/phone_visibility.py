"""Who sees clients' whole phone numbers.

A chat channel may hide them (``ChatChannel.hides_phones``) from users without the permission ``view_full_phone``. Pages
and API answers write phones, provider IDs, names and the portal's own sentences through this module. It knows the user
from the current request, so that no caller can forget to pass them. Outside of a request, nothing is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Protocol

from django.core.signals import request_finished
from django.db import connection
from django.http import FileResponse, HttpRequest, HttpResponse

from channels_setup.codecs.phone_masking import mask_phone, mask_phone_or_name, mask_phones
from channels_setup.permissions import VIEW_FULL_PHONE

HIDDEN_CHANNELS_SQL = """
SELECT watched.apichannel_id FROM channels_setup_apichannel_watched watched
JOIN channels_setup_chatchannel chat ON chat.id = watched.chatchannel_id WHERE chat.hides_phones
"""


class ContactPhone(Protocol):
    """The fields of a contact that decide about its phone."""

    @property
    def api_channel_id(self) -> int: ...
    @property
    def phone(self) -> str: ...


class Viewer:
    """The user of a request, and the API channels whose phones they do not see."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @cached_property
    def hidden_channels(self) -> frozenset[int]:
        # Evaluated when the first phone is written: by then the API has authenticated the token's user.
        if getattr(self.request, "audit_program", ""):  # has the API channel's key, and needs whole numbers
            return frozenset()
        user: Any = getattr(self.request, "user", None)
        if user is not None and user.has_perm(VIEW_FULL_PHONE):
            return frozenset()
        with connection.cursor() as cursor:
            cursor.execute(HIDDEN_CHANNELS_SQL)
            return frozenset(pk for (pk,) in cursor.fetchall())


_viewer: ContextVar[Viewer | None] = ContextVar("viewer", default=None)


def set_viewer_middleware(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Remember the user's request until it is finished, and for each part of a streamed answer."""

    def middleware(request: HttpRequest) -> HttpResponse:
        viewer = Viewer(request)
        _viewer.set(viewer)
        response: Any = get_response(request)
        if response.streaming and not isinstance(response, FileResponse):
            response.streaming_content = _stream_for(viewer, response.streaming_content)
        return response

    return middleware


@contextmanager
def view_as(user: Any) -> Iterator[None]:
    """Hide from texts what this user may not see, outside of a request."""
    request = HttpRequest()
    request.user = user
    token = _viewer.set(Viewer(request))
    try:
        yield
    finally:
        _viewer.reset(token)


def _stream_for(viewer: Viewer, parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts of an answer. The web server may read them in another thread."""
    iterator = iter(parts)
    while True:
        token = _viewer.set(viewer)
        try:
            part = next(iterator, None)
        finally:
            _viewer.reset(token)
        if part is None:
            return
        yield part


def _forget_viewer(**_signal: Any) -> None:
    _viewer.set(None)


request_finished.connect(_forget_viewer, dispatch_uid="phone_visibility")


def hidden_channels() -> frozenset[int]:
    """Return the IDs of the API channels whose phones are hidden from the user of the current request."""
    viewer = _viewer.get()
    return viewer.hidden_channels if viewer is not None else frozenset()


def hides_phones(api_channel_id: int) -> bool:
    """Return whether the phones of this API channel's contacts are hidden from the user of the current request."""
    return api_channel_id in hidden_channels()


def visible_phone(contact: ContactPhone) -> str:
    """Return the contact's phone as stored, or masked."""
    return mask_phone(contact.phone) if contact.phone and hides_phones(contact.api_channel_id) else contact.phone


def visible_id(value: str, api_channel_id: int) -> str:
    """Return an ID or a name, masked where it is or contains a phone."""
    return mask_phone_or_name(value) if value and hides_phones(api_channel_id) else value


def visible_text(text: str, api_channel_id: int | None) -> str:
    """Return a text of the portal or of a provider, its phones masked. Not for words of clients and operators."""
    return mask_phones(text) if text and api_channel_id is not None and hides_phones(api_channel_id) else text
