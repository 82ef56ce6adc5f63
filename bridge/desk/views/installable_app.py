"""The portal as an installable app: manifest, service worker, and the page without a connection."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_GET

ICON_SIZES = (192, 512)
HOUR = 3600


@require_GET
@cache_control(max_age=HOUR)
def show_manifest(request: HttpRequest) -> HttpResponse:
    icons = [
        {"src": static(f"app-icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png", "purpose": "any"}
        for size in ICON_SIZES
    ]
    maskable = {"src": static("app-icon-maskable.png"), "sizes": "512x512", "type": "image/png", "purpose": "maskable"}
    manifest = {
        "id": "/",
        "name": "Okno",
        "short_name": "Okno",
        "description": _("Chats with clients in WhatsApp"),
        "start_url": reverse("chats"),
        "scope": "/",
        "display": "standalone",
        "background_color": "#ffffff",
        "theme_color": "#0b7a5c",
        "icons": [*icons, maskable],
    }
    return JsonResponse(manifest, content_type="application/manifest+json")


@require_GET
@never_cache
def show_service_worker(request: HttpRequest) -> HttpResponse:
    """Serve the service worker below the root, so that it covers all pages. Browsers look for a new one themselves."""
    return render(request, "bridge/service-worker.js", content_type="text/javascript")


@require_GET
def show_offline_page(request: HttpRequest) -> HttpResponse:
    """Show what the service worker keeps for the time without a connection. It holds no data."""
    return render(request, "bridge/offline.html")
