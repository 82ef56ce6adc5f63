"""Base classes of read-only admin lists that stay fast with ten million rows.

Lists do not count their rows. Search accepts whole values only (an ID, a phone number, a key). An index serves every
search, filter and order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.paginator import InfinitePaginator

from channels_setup import permissions
from channels_setup.codecs.phone_numbers import search_keys
from channels_setup.codecs.values import parse_whole_number
from channels_setup.models import ApiChannel, ChatChannel

SearchFunction = Callable[[str], Q]


def sees_all(user: Any) -> bool:
    """Return whether the user may see the rows of all channels."""
    return bool(user.has_perm(permissions.VIEW_ALL_CHATS))


def parse_id(term: str) -> int | None:
    """Return the search term as an ID, or None."""
    return parse_whole_number(term)


def search_by_id(*fields: str) -> SearchFunction:
    """Return a search by the ID of the row itself, or of a row that one of these fields points to."""

    def search(term: str) -> Q:
        number = parse_id(term)
        if number is None:
            return Q(pk__in=[])
        found = Q(pk=number)
        for field in fields:
            found |= Q(**{field: number})
        return found

    return search


def search_by_text(field: str) -> SearchFunction:
    """Return a search by the whole text of a field whose index begins with the API channel."""

    def search(term: str) -> Q:
        return Q(**{"api_channel__in": list(ApiChannel.objects.values_list("pk", flat=True)), field: term})

    return search


def search_by_phone(path: str = "") -> SearchFunction:
    """Return a search by a phone number in any spelling."""

    def search(term: str) -> Q:
        keys = search_keys(term)
        return Q(**{f"{path}phone_key__in": keys}) | Q(**{f"{path}address_key__in": keys})

    return search


class ReadOnlyAdmin(ModelAdmin):
    """Read-only admin of a model, with buttons on the list and on the row's page.

    ``buttons``: name -> (label, method name). The method takes the request and a queryset, and returns the level and
    the sentence of its result.
    """

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = InfinitePaginator
    list_disable_select_all = True
    list_per_page = 50
    list_max_show_all = 50
    ordering: tuple[str, ...] = ("-id",)
    sortable_by = ()  # an order without an index would sort ten million rows
    search_fields: tuple[str, ...] = ("id",)  # shows the search box; ``searches`` does the search
    searches: ClassVar[tuple[SearchFunction, ...]] = (search_by_id(),)
    chat_channel_path: ClassVar[str] = ""  # lookup of the chat channel, for operators; empty: admins only
    buttons: ClassVar[dict[str, Any]] = {}
    change_form_outer_before_template = "bridge/history_actions.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return rows if sees_all(request.user) else self.visible_to(rows, request.user)

    def visible_to(self, rows: QuerySet[Any], user: Any) -> QuerySet[Any]:
        """Return the rows that an operator may see: those of their chat channels."""
        if not self.chat_channel_path:
            return rows.none()
        return rows.filter(**{f"{self.chat_channel_path}__in": ChatChannel.objects.all().visible_to(user)})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(pk__in=[])
        for search in self.searches:
            found |= search(term)
        return queryset.filter(found), False

    # --- buttons: actions on the list, buttons on the row's page ---

    def may_use_buttons(self, request: HttpRequest) -> bool:
        return sees_all(request.user)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_action"
        return [
            path("<int:pk>/actions/<slug:action>/", self.admin_site.admin_view(self.run_button), name=name),
            *super().get_urls(),
        ]

    def run_button(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        row = self.get_object(request, str(pk))
        if row is None or action not in self.buttons:
            raise Http404
        if not self.may_use_buttons(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._run_button(request, action, self.get_queryset(request).filter(pk=pk))
        return redirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[pk]))

    def _run_button(self, request: HttpRequest, name: str, rows: QuerySet[Any]) -> None:
        _label, method = self.buttons[name]
        level, sentence = getattr(self, method)(request, rows)
        self.message_user(request, sentence, level)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not self.may_use_buttons(request):
            return {}
        return {name: (self._build_action(name), name, label) for name, (label, _method) in self.buttons.items()}

    def _build_action(self, name: str) -> Callable[..., None]:
        def action(model_admin: ReadOnlyAdmin, request: HttpRequest, rows: QuerySet[Any]) -> None:
            model_admin._run_button(request, name, rows)

        return action

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        extra: dict[str, Any] = {"show_history": False}  # the rows are not edited here
        extra |= {"buttons": list(self._list_buttons(request, row)) if row else [], **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra)

    def _list_buttons(self, request: HttpRequest, row: Any) -> Iterator[dict[str, Any]]:
        for name, (label, _method) in self.buttons.items():
            if self.may_use_buttons(request) and self.is_button_available(name, row):
                yield {
                    "label": label,
                    "url": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_action", args=[row.pk, name]),
                }

    def is_button_available(self, name: str, row: Any) -> bool:
        return True


class ReadOnlyInline(TabularInline):
    """Read-only table of related rows on a row's page."""

    extra = 0
    per_page = 20
    can_delete = False
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ChoiceFilter(admin.SimpleListFilter):
    """A list filter. ``options`` maps a slug to (label, function that filters a queryset)."""

    options: ClassVar[dict[str, tuple[Any, Callable[[QuerySet[Any]], QuerySet[Any]]]]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [(slug, label) for slug, (label, _apply) in self.options.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        option = self.options.get(self.value() or "")
        return option[1](queryset) if option else queryset


def field_column(name: str, label: Any) -> Any:
    """Return a display function for a field, with its own label. ``a__b`` follows a relation."""

    @admin.display(description=label)
    def display(model_admin: Any, row: Any) -> Any:
        value = row
        for part in name.split("__"):
            value = getattr(value, part) if value is not None else None
        value = value() if callable(value) else value
        if isinstance(value, datetime):
            return format_moment(value)
        return "–" if value in (None, "") else value

    return display


def format_moment(at: datetime) -> SafeString:
    """Return a time to the second, short enough for a column."""
    local = timezone.localtime(at)
    return format_html('<time datetime="{}">{}</time>', local.isoformat(), f"{local:%d.%m.%Y %H:%M:%S}")


def render_pill(value: str, label: Any) -> SafeString:
    return format_html('<span class="pill {}">{}</span>', value, label)


def render_link(row: Model | None, label: object = None) -> SafeString | str:
    """Return a link to a row's admin page."""
    if row is None:
        return "–"
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return format_html('<a class="to" href="{}">{}</a>', url, str(row) if label is None else label)


def render_chat_link(conversation: Any) -> SafeString:
    """Return the chat's number and contact as a link."""
    return SafeString(render_link(conversation, f"{conversation.pk} · {conversation.contact}"))


def link_column(label: Any) -> Any:
    """Return a display function that links a row of an inline to its own page."""

    @admin.display(description=label)
    def display(model_admin: Any, row: Any) -> Any:
        return render_link(row, row.pk)

    return display
