"""Tags to choose from in the filters of chats and requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge.desk import access
from bridge.models import Contact, Conversation, Ticket
from channels_setup.permissions import require_chat_access

CANDIDATES = 5_000  # newest requests, and newest clients with tags, that are read
MAX_SUGGESTED = 100


@require_chat_access
@require_GET
@never_cache
def suggest_filter_tags(request: HttpRequest) -> HttpResponse:
    """Return the tags of requests and clients in the user's chats as JSON: the most frequent of the newest first."""
    channels = access.visible_channel_ids(request)
    counts = Counter(chain.from_iterable(chain(_list_request_tags(channels), _list_client_tags(channels))))
    return JsonResponse({"tags": [tag for tag, _number in counts.most_common(MAX_SUGGESTED)]})


def _list_request_tags(channels: Sequence[int]) -> list[list[str]]:
    newest = Ticket.objects.order_by("-opened_at", "-pk").values("pk")[:CANDIDATES]
    found = Ticket.objects.filter(pk__in=newest, conversation__chat_channel__in=channels).exclude(tags=[])
    return list(found.order_by().values_list("tags", flat=True))


def _list_client_tags(channels: Sequence[int]) -> list[list[str]]:
    newest = Contact.objects.filter(~Q(tags=[])).order_by("-pk").values("pk")[:CANDIDATES]
    visible = Conversation.objects.filter(chat_channel__in=channels, contact__in=newest).values("contact")
    return list(Contact.objects.filter(pk__in=visible).order_by().values_list("tags", flat=True))
