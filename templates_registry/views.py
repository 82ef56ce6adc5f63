"""The page Templates: find one, fill it in, and see the message as the phone will show it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from channels_setup.models import ApiChannel

from . import lifecycle, preview, selection, timeline
from .models import Category, Status, Template

PAGE_SIZE = 60
MAX_SHOWN = 6_000  # as many as an account can have


@login_required
@require_GET
@never_cache
def show_templates(request: HttpRequest) -> HttpResponse:
    """The list; beside it, where there is room, what to do with it. A script asks for the list alone."""
    context = template_list_context(request, current=None)
    part = "list" if "HX-Request" in request.headers else "templates"
    return render(request, f"templates_registry/shelf/{part}.html", context)


@login_required
@require_http_methods(["GET", "POST"])
@never_cache
def show_template(request: HttpRequest, pk: int) -> HttpResponse:
    """One template. Values come by POST, so that no log ever holds them; a script gets what they change."""
    found = get_template_or_404(request, pk)
    values = preview.values_from_form(request.POST)
    context = template_context(request, found, values)
    if request.method == "POST" and "HX-Request" in request.headers:
        return render(request, "templates_registry/shelf/filled.html", context)
    return render(
        request, "templates_registry/shelf/templates.html", context | template_list_context(request, current=found)
    )


@login_required
@require_POST
def set_favorite(request: HttpRequest, pk: int) -> HttpResponse:
    """Put a template among one's favorites, or take it out."""
    found = get_template_or_404(request, pk)
    lifecycle.set_favorite(found.pk, user=request.user, is_favorite=request.POST.get("on") == "1")
    if "HX-Request" in request.headers:
        return HttpResponse(status=204)
    return redirect(reverse("template", args=[found.pk]) + _filter_query(request))


def get_template_or_404(request: HttpRequest, pk: int) -> Any:
    """Among those its reader may see; somebody else's is as unknown as a missing one."""
    rows = Template.objects.all().visible_to(request.user).exclude(status=Status.DELETED)
    found = selection.order_for_user(rows, user=request.user).filter(pk=pk).first()
    if found is None:
        raise Http404
    return found


def template_list_context(request: HttpRequest, *, current: Template | None) -> dict[str, Any]:
    seen = Template.objects.all().visible_to(request.user)
    wanted = selection.TemplateSearch.of(request.GET)
    room = _shown_count(request)
    rows = list(selection.order_for_user(selection.filter_templates(seen, wanted), user=request.user)[: room + 1])
    standing = seen.exclude(status=Status.DELETED).order_by()
    return {
        "section": "templates",
        "wanted": wanted,
        "groups": list(selection.group_templates(rows[:room])),
        "count": min(len(rows), room),
        "more": f"{_filter_query(request) or '?'}&shown={room + PAGE_SIZE}" if len(rows) > room else "",
        "current": current,
        "kept": _filter_query(request),
        "channels": list(ApiChannel.objects.filter(pk__in=standing.values("api_channel")).order_by("name")),
        "statuses": _used_choices(standing, "status", Status.choices),
        "languages": sorted(standing.values_list("language", flat=True).distinct()),
        "categories": _used_choices(standing, "category", Category.choices),
    }


def template_context(request: HttpRequest, found: Template, values: dict[str, str]) -> dict[str, Any]:
    return {
        "template": found,
        "level": timeline.status_level(found.status),
        "filling": preview.build_preview(found, values),
        "history": timeline.template_timeline(found),
        "admin_address": _admin_url(request, found),
    }


def _used_choices(rows: Any, field: str, choices: Any) -> list[tuple[str, Any]]:
    used = set(rows.values_list(field, flat=True).distinct())
    return [(value, label) for value, label in choices if value in used]


def _shown_count(request: HttpRequest) -> int:
    shown = request.GET.get("shown", "")
    return (
        min(max(int(shown), PAGE_SIZE), MAX_SHOWN)
        if shown.isascii() and shown.isdigit() and len(shown) < 6
        else PAGE_SIZE
    )


def _filter_query(request: HttpRequest) -> str:
    """The list's filter, carried along by every link."""
    names = ("q", "channel", "status", "language", "category")
    kept = {name: request.GET[name] for name in names if request.GET.get(name)}
    return f"?{urlencode(kept)}" if kept else ""


def _admin_url(request: HttpRequest, found: Template) -> str:
    user: Any = request.user
    if not (user.is_staff and user.has_perm("templates_registry.change_template")):
        return ""
    try:
        return reverse("admin:templates_registry_template_change", args=[found.pk])
    except NoReverseMatch:
        return ""
