"""Page of the personal settings of the desk."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bridge.desk import settings
from channels_setup.permissions import require_chat_access


@require_chat_access
@require_http_methods(["GET", "POST"])
@never_cache
def edit_settings(request: HttpRequest) -> HttpResponse:
    """Show and save the settings of the signed-in user."""
    data = request.POST if request.method == "POST" else None
    form = settings.DeskSettingsForm(data, instance=settings.get_settings(request.user))
    if form.is_valid():
        form.save()
        return redirect(f"{reverse('desk-settings')}?saved=1")
    is_saved = request.method == "GET" and "saved" in request.GET
    return render(request, "bridge/desk_settings.html", {"form": form, "is_saved": is_saved})
