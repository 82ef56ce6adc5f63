"""Templates page of operators: find a template, fill it in, and preview the message on the phone."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from channels_setup.models import ApiChannel
from channels_setup.permissions import require_chat_access

from . import lifecycle, preview, selection, timeline
from .models import Category, Status, Template

PAGE_SIZE = 60
MAX_SHOWN = 6_000  # WhatsApp's limit of templates per account


@require_chat_access
@require_GET
@never_cache
def show_templates(request: HttpRequest) -> HttpResponse:
    """Show the list of templates. Requests of the page's script get the list alone."""
    context = template_list_context(request, current=None)
    name = "list" if "HX-Request" in request.headers else "page"
    return render(request, f"templates_registry/templates_page/{name}.html", context)


@require_chat_access
@require_http_methods(["GET", "POST"])
@never_cache
def show_template(request: HttpRequest, pk: int) -> HttpResponse:
    """Show one template with the posted values. Requests of the page's script get the form alone.

    Values are posted, so that they never appear in logs of URLs.
    """
    found = get_template_or_404(request, pk)
    values = preview.values_from_form(request.POST)
    context = template_context(request, found, values)
    if request.method == "POST" and "HX-Request" in request.headers:
        return render(request, "templates_registry/templates_page/fill_form.html", context)
    return render(
        request, "templates_registry/templates_page/page.html", context | template_list_context(request, current=found)
    )


@require_chat_access
@require_POST
def set_favorite(request: HttpRequest, pk: int) -> HttpResponse:
    """Add a template to the user's favorites, or remove it."""
    found = get_template_or_404(request, pk)
    lifecycle.set_favorite(found.pk, user=request.user, is_favorite=request.POST.get("on") == "1")
    if "HX-Request" in request.headers:
        return HttpResponse(status=204)
    return redirect(reverse("template", args=[found.pk]) + _filter_query(request))


def get_template_or_404(request: HttpRequest, pk: int) -> Any:
    """Return a template that the user may see. Raise 404 for all others."""
    rows = Template.objects.all().visible_to(request.user).exclude(status=Status.DELETED)
    found = selection.order_for_user(rows, user=request.user).filter(pk=pk).first()
    if found is None:
        raise Http404
    return found


def template_list_context(request: HttpRequest, *, current: Template | None) -> dict[str, Any]:
    visible = Template.objects.all().visible_to(request.user)
    search = selection.TemplateSearch.from_query(request.GET)
    limit = _shown_count(request)
    matches = selection.filter_templates(visible, search)
    rows = list(selection.order_for_user(matches, user=request.user)[: limit + 1])
    existing = visible.exclude(status=Status.DELETED).order_by()
    return {
        "section": "templates",
        "search": search,
        "groups": list(selection.group_templates(rows[:limit])),
        "count": min(len(rows), limit),
        "more": f"{_filter_query(request) or '?'}&shown={limit + PAGE_SIZE}" if len(rows) > limit else "",
        "current": current,
        "filter_query": _filter_query(request),
        "channels": list(ApiChannel.objects.filter(pk__in=existing.values("api_channel")).order_by("name")),
        "statuses": _used_choices(existing, "status", Status.choices),
        "languages": sorted(existing.values_list("language", flat=True).distinct()),
        "categories": _used_choices(existing, "category", Category.choices),
    }


def template_context(request: HttpRequest, found: Template, values: dict[str, str]) -> dict[str, Any]:
    return {
        "template": found,
        "level": timeline.status_level(found.status),
        "preview": preview.build_preview(found, values),
        "timeline": timeline.template_timeline(found),
        "admin_url": _admin_url(request, found),
    }


def _used_choices(rows: Any, field: str, choices: Any) -> list[tuple[str, Any]]:
    used = set(rows.values_list(field, flat=True).distinct())
    return [(value, label) for value, label in choices if value in used]


def _shown_count(request: HttpRequest) -> int:
    """Return how many templates to list. "Show more" asks for more than one page."""
    shown = request.GET.get("shown", "")
    if not (shown.isascii() and shown.isdigit() and len(shown) < 6):
        return PAGE_SIZE
    return min(max(int(shown), PAGE_SIZE), MAX_SHOWN)


def _filter_query(request: HttpRequest) -> str:
    """Return the list's filter as a query string, which every link of the page keeps."""
    names = ("q", "channel", "status", "language", "category")
    values = {name: request.GET[name] for name in names if request.GET.get(name)}
    return f"?{urlencode(values)}" if values else ""


def _admin_url(request: HttpRequest, found: Template) -> str:
    user: Any = request.user
    if not (user.is_staff and user.has_perm("templates_registry.change_template")):
        return ""
    try:
        return reverse("admin:templates_registry_template_change", args=[found.pk])
    except NoReverseMatch:
        return ""
