"""Tags to choose from in the filters of chats and requests."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from bridge.desk import access, tags
from channels_setup.permissions import require_chat_access

MAX_SUGGESTED = 100


@require_chat_access
@require_GET
@never_cache
def suggest_filter_tags(request: HttpRequest) -> HttpResponse:
    """Return the tags of requests and clients in the user's chats as JSON: the most frequent of the newest first."""
    channels = access.visible_channel_ids(request)
    return JsonResponse({"tags": tags.suggest_tags(channels, limit=MAX_SUGGESTED)})
