"""Admin page of the retention rules: what is kept for how long, what would be deleted now, and how the data grows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from unfold.admin import ModelAdmin

from bridge.files import storage_limits
from bridge.maintenance import storage_usage
from bridge.models import RetentionRule

from .retention_form import CHANNEL_KINDS, RetentionForm

PAGE = "admin:bridge_retentionrule_changelist"


@dataclass(frozen=True, kw_only=True)
class UsagePart:
    """One group in the picture. ``x`` and ``width`` in percent."""

    name: str
    label: Any
    bytes: int
    x: float
    width: float


@admin.register(RetentionRule)
class RetentionRuleAdmin(ModelAdmin):
    """The list is one page with all rules. It shows kinds without a row, too."""

    search_fields: ClassVar[tuple[str, ...]] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show and save the rules. Values that delete something need a second submission."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return self._show_page(request, RetentionForm())
        if not self.has_change_permission(request):
            raise PermissionDenied
        form = RetentionForm(request.POST)
        if not form.is_valid():
            return self._show_page(request, form)
        deletions = [] if form.is_confirmed() else form.list_deletions()
        if deletions:
            return self._show_page(request, form, deletions=deletions, signature=form.sign_values())
        form.save()
        messages.success(request, _("Saved. Deletion of older data begins within ten minutes."))
        return redirect(PAGE)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the page of all rules, which checks the values."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return redirect(PAGE)

    def _show_page(self, request: HttpRequest, form: RetentionForm, **more: Any) -> HttpResponse:
        may_change = self.has_change_permission(request)
        if not may_change:
            for field in form.fields.values():
                field.disabled = True
        context = {
            **self.admin_site.each_context(request),
            "title": _("Retention and storage"),
            "opts": self.opts,
            "form": form,
            "rows": form.list_rows(),
            "channel_kinds": [kind.label for kind in CHANNEL_KINDS],
            "channel_rows": form.list_channel_rows(),
            "may_change": may_change,
            **build_usage_context(),
            **more,
        }
        return TemplateResponse(request, "bridge/retention.html", context)


def build_usage_context() -> dict[str, Any]:
    """Return the sizes, the growth and the forecast for the page."""
    usage = storage_usage.measure_now()
    growth = storage_usage.list_growth(usage)
    return {
        "usage": usage,
        "parts": draw_parts(usage),
        "growth": growth,
        "forecast": storage_usage.make_forecast(usage, growth),
        "free": storage_limits.get_free_bytes(),
    }


def draw_parts(usage: storage_usage.Usage) -> list[UsagePart]:
    """Return the groups, largest first, with their places in a bar of 100 units."""
    parts, x = [], 0.0
    for name, size in sorted(usage.bytes_by_group.items(), key=lambda pair: -pair[1]):
        width = 100 * size / usage.total if usage.total else 0.0
        parts.append(UsagePart(name=name, label=storage_usage.LABELS[name], bytes=size, x=x, width=width))
        x += width
    return parts
