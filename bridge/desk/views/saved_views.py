"""Saved views of the chat list and of the requests table: open, save, change, delete, order, count."""

from __future__ import annotations

from typing import Any

from django import forms as django_forms
from django.contrib import messages
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from bridge import service_window
from bridge.desk import access, forms, request_table, saved_views, tags, teams
from bridge.desk.chat_list import listing, view_counts
from bridge.desk.parameters import parse_int
from bridge.desk.statement_timeouts import raise_unless_timeout
from bridge.models import SavedView
from channels_setup.models import ChatChannel
from channels_setup.permissions import require_chat_access

from . import bulk_actions, chat_actions, list_filters

MAX_COUNTED_VIEWS = 40  # of one page
MOVES = {"up": -1, "down": 1}
FILTERS = {
    SavedView.Page.CHATS: [name for name in listing.FILTERS if name != "sort"],
    SavedView.Page.REQUESTS: list(request_table.FILTERS),
}


class SavedViewForm(django_forms.Form):
    name = django_forms.CharField(max_length=60, label=pgettext_lazy("saved view", "Name"))
    audience = django_forms.ChoiceField(required=False, label=gettext_lazy("Who sees it"))

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs["class"] = "input"
        if saved_views.may_share(user):
            choices = [("", _("Only me")), (saved_views.EVERYONE, _("Everyone")), *saved_views.list_audiences(user)]
            self.fields["audience"].choices = choices  # type: ignore[attr-defined]
        else:
            del self.fields["audience"]


@require_chat_access
@require_GET
@never_cache
def show_saved_views(request: HttpRequest) -> HttpResponse:
    """List the user's views and the shared ones."""
    channels = access.visible_channels(request)
    editable = {view.pk: view for view in saved_views.list_editable_views(request.user)}
    views = editable | {view.pk: view for view in saved_views.list_views(request.user)}
    people = bulk_actions.list_channel_assignees(request.user, [channel.pk for channel in channels])
    known_teams = teams.list_teams([channel.pk for channel in channels])
    used_tags = _find_used_tags({tag for view in views.values() if (tag := view.filters.get("tag"))})
    lists = []
    for page in SavedView.Page:
        of_page = sorted((view for view in views.values() if view.page == page), key=lambda view: view.position)
        counts = _count_views(of_page, page, channels=channels, user=request.user)
        rows = [
            {
                "view": view,
                "may_edit": view.pk in editable,
                "count": counts.get(view.pk),
                **_describe_view(view, channels, people=people, known_teams=known_teams, used_tags=used_tags),
            }
            for view in of_page
        ]
        lists.append(
            {
                "page": page,
                "own": [row for row in rows if row["view"].owner_id],
                "shared": [row for row in rows if not row["view"].owner_id],
            }
        )
    return render(request, "bridge/saved_views.html", {"lists": lists})


@require_chat_access
@require_GET
@never_cache
def open_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Redirect to the page of the view with its present filters. This address is stable, for links."""
    view = saved_views.get_view_or_404(request.user, pk)
    return redirect(saved_views.view_address(view, chat=parse_int(request.GET.get("chat"))))


@require_chat_access
@require_http_methods(["GET", "POST"])
@never_cache
def add_view(request: HttpRequest) -> HttpResponse:
    """Save the filters of a page as a new view, and open it."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    values = request.POST if request.method == "POST" else request.GET
    page = SavedView.Page.REQUESTS if values.get("page") == SavedView.Page.REQUESTS else SavedView.Page.CHATS
    view = SavedView(page=page, filters=saved_views.parse_filters(page, QueryDict(values.get("query", ""))))
    form = SavedViewForm(request.POST if request.method == "POST" else None, user=request.user)
    if form.is_valid() and _save_form(form, view, user=request.user):
        return _open_saved(request, view)
    if request.method == "POST" and chat_actions.is_script_request(request):
        return JsonResponse(
            {"sentence": " ".join(str(text) for texts in form.errors.values() for text in texts)}, status=422
        )
    context = {"form": form, "view": view, "title": _("New view"), "query": values.get("query", "")}
    return render(request, "bridge/saved_view.html", context | {"chat": values.get("chat", "")})


@require_chat_access
@require_http_methods(["GET", "POST"])
@never_cache
def edit_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Rename, share, move or delete a view, or replace its filters by those of a page (``query``)."""
    if refusal := forms.reject_stale_form(request):
        return refusal
    view = saved_views.get_view_or_404(request.user, pk, is_edited=True)
    if request.method == "POST" and request.POST.get("move") in MOVES:
        saved_views.move_view(view, by=MOVES[request.POST["move"]], user=request.user)
        return redirect(f"{reverse('saved-views')}#view-{view.pk}")
    if request.method == "POST" and "delete" in request.POST:
        view.delete()
        messages.success(request, _("The view was deleted."))
        return redirect("saved-views")
    if request.method == "POST" and "query" in request.POST:
        view.filters = saved_views.parse_filters(view.page, QueryDict(request.POST["query"]))
        view.save(update_fields=["filters", "updated_at"])
        return _open_saved(request, view)
    initial = {"name": view.name, "audience": saved_views.get_audience(view)}
    form = SavedViewForm(request.POST if request.method == "POST" else None, initial=initial, user=request.user)
    if form.is_valid() and _save_form(form, view, user=request.user):
        messages.success(request, _("Saved."))
        return redirect("saved-views")
    return render(request, "bridge/saved_view.html", {"form": form, "view": view, "title": _("View")})


def _open_saved(request: HttpRequest, view: SavedView) -> HttpResponse:
    """Open the saved view. Scripts get its address without a chat: they draw the list only."""
    if chat_actions.is_script_request(request):
        return JsonResponse({"url": saved_views.view_address(view)})
    return redirect(saved_views.view_address(view, chat=parse_int(request.POST.get("chat"))))


@require_chat_access
@require_GET
@never_cache
def count_views(request: HttpRequest, view_page: str) -> HttpResponse:
    """Return the number of rows in each view of a page, as text by ID. Read when the menu opens."""
    page = SavedView.Page.REQUESTS if view_page == SavedView.Page.REQUESTS else SavedView.Page.CHATS
    views = saved_views.list_views(request.user, page)
    channels = access.visible_channels(request)
    return JsonResponse({"counts": _count_views(views, page, channels=channels, user=request.user)})


def _save_form(form: SavedViewForm, view: SavedView, *, user: Any) -> bool:
    """Save the view. Return False and add an error to the form if it is refused."""
    view.name = " ".join(form.cleaned_data["name"].split())
    if "audience" in form.fields or view.pk is None:
        saved_views.set_audience(view, form.cleaned_data.get("audience", ""), user=user)
    try:
        view.pk = saved_views.save_view(view).pk
    except saved_views.SavedViewRefused as refused:
        if refused.is_name:
            form.add_error("name", _("Another view has this name."))
        else:
            most = {"most": saved_views.MAX_OWN}
            form.add_error(None, _("You have reached the limit of %(most)d. Delete one first.") % most)
        return False
    return True


def _count_views(
    views: list[SavedView], page: SavedView.Page, *, channels: list[ChatChannel], user: Any
) -> dict[int, str]:
    """Count the rows of the views with a constant number of statements. Return the texts to show."""
    params: dict[int, Any] = {view.pk: saved_views.view_params(view) for view in views[:MAX_COUNTED_VIEWS]}
    count: Any = view_counts.count_chats if page == SavedView.Page.CHATS else request_table.count_tickets
    found = count(
        params,
        channels=[channel.pk for channel in channels],
        user=user,
        now=service_window.database_now(),
        cap=listing.MAX_COUNTED + 1,
    )
    most = listing.MAX_COUNTED
    return {pk: f"{most}+" if number > most else str(number) for pk, number in found.items()}


def _find_used_tags(wanted: set[str]) -> set[str]:
    """Return the tags in use. All of them if that takes too long: no view is called broken without a reason."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            view_counts.limit_time(cursor)
            return tags.find_used_tags(wanted)
    except OperationalError as problem:
        raise_unless_timeout(problem)
        return wanted


def _describe_view(
    view: SavedView, channels: list[ChatChannel], *, used_tags: set[str], **options: Any
) -> dict[str, Any]:
    """Return the filters in words, and what they name that is gone."""
    params: Any = saved_views.view_params(view)
    fields = list_filters.build_shared_fields(params, channels, **options)
    words = []
    if isinstance(params, listing.ChatListParams):
        fields.append({"name": "window", "options": listing.WINDOWS.items()})
        words = [] if params.tab == listing.ALL else [str(listing.TABS[params.tab])]
    chips = list_filters.build_chips(
        params,
        fields,
        names=FILTERS[SavedView.Page(view.page)],
        channels=channels,
        is_used_tag=used_tags.__contains__,
    )
    words += [chip["words"] for chip in chips]
    if query := getattr(params, "query", ""):
        words.append(f"“{query}”")
    return {"words": " · ".join(words), "problems": [chip["problem"] for chip in chips if chip["problem"]]}
