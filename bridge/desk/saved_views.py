"""Saved views: who sees and changes them, and the menu of a page.

A view holds filters. Its readers see only the chats that they may see anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db import IntegrityError, transaction
from django.db.models import Max, Q, QuerySet
from django.http import Http404
from django.urls import reverse
from django.utils.functional import cached_property

from bridge.desk import filters, request_table
from bridge.desk.chat_list import listing
from bridge.models import SavedView
from channels_setup.models import Team
from channels_setup.permissions import ASSIGN_ANY_CHAT
from channels_setup.prepared_queries import PreparedQuery

Params = listing.ChatListParams | request_table.RequestTableParams

PARAMS: dict[str, Any] = {
    SavedView.Page.CHATS: listing.ChatListParams,
    SavedView.Page.REQUESTS: request_table.RequestTableParams,
}
MAX_OWN = 100  # of one person, and of all shared ones
EVERYONE, TEAM_PREFIX = "all", "team-"  # audiences; empty: only the owner


class SavedViewRefused(Exception):
    """The view cannot be saved: the name is taken (``is_name``), or there are too many."""

    def __init__(self, *, is_name: bool) -> None:
        super().__init__("the name is taken" if is_name else "too many saved views")
        self.is_name = is_name


def may_share(user: Any) -> bool:
    """Return whether the user shares views: those who may give work to others."""
    return bool(user.has_perm(ASSIGN_ANY_CHAT))


def _visible_views(user: int) -> QuerySet[SavedView]:
    mine = Team.members.through.objects.filter(user=user).values("team")
    return _with_order(
        SavedView.objects.filter(Q(owner=user) | Q(owner=None, team=None) | Q(owner=None, team__in=mine))
    )


VISIBLE_VIEWS: PreparedQuery[SavedView] = PreparedQuery(_visible_views)


def list_views(user: Any, page: str | None = None) -> list[SavedView]:
    """List the views that the user sees, their own ones first, with one query."""
    return _in_order(view for view in VISIBLE_VIEWS(user.pk) if page in (None, view.page))


def list_editable_views(user: Any) -> list[SavedView]:
    """List the views that the user may change: their own, and with the right to share also shared ones."""
    return _in_order(_with_order(_editable_views(user)))


def get_view_or_404(user: Any, pk: int, *, is_edited: bool = False) -> SavedView:
    """Return a view that the user sees, or may change."""
    found = next((view for view in ([] if is_edited else list_views(user)) if view.pk == pk), None)
    found = found or _editable_views(user).filter(pk=pk).select_related("team").first()
    if found is None:
        raise Http404
    return found


def parse_filters(page: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the filters of a query string, as a view keeps them."""
    kept: dict[str, str] = filters.without_view(PARAMS[page].from_values(values).non_default)
    return kept


def view_params(view: SavedView) -> Params:
    """Return the parameters of the page that shows the view."""
    params: Params = PARAMS[view.page].from_values(view.filters | {"view": str(view.pk)})
    return params


def view_address(view: SavedView, *, chat: int | None = None) -> str:
    """Return the address of the page with the filters of the view. ``chat``: the chat that stays open."""
    path = reverse("chat", args=[chat]) if chat and view.page == SavedView.Page.CHATS else reverse(view.page)
    return f"{path}?{urlencode(view_params(view).non_default)}"


def set_audience(view: SavedView, audience: str, *, user: Any) -> None:
    """Give the view to its owner, a team, or everyone. A view that stops being shared belongs to the user."""
    team = audience.removeprefix(TEAM_PREFIX) if audience.startswith(TEAM_PREFIX) else None
    view.team_id = int(team) if team else None
    view.owner_id = None if audience else user.pk


def get_audience(view: SavedView) -> str:
    if view.owner_id:
        return ""
    return f"{TEAM_PREFIX}{view.team_id}" if view.team_id else EVERYONE


def save_view(view: SavedView) -> SavedView:
    """Save a view, at the end of its list if it is new there. A repeat of a new view returns the first one.

    Raises SavedViewRefused.
    """
    group = SavedView.objects.filter(owner=view.owner_id)
    same = group.filter(page=view.page, team=view.team_id, name__iexact=view.name).exclude(pk=view.pk)
    if found := same.first():
        if view._state.adding and found.filters == view.filters:
            return found
        raise SavedViewRefused(is_name=True)
    if not group.filter(pk=view.pk).exists():
        if group.count() >= MAX_OWN:
            raise SavedViewRefused(is_name=False)
        view.position = (group.aggregate(last=Max("position"))["last"] or 0) + 1
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:  # the same form was sent twice at once
        raise SavedViewRefused(is_name=True) from None
    return view


@transaction.atomic
def move_view(view: SavedView, *, by: int, user: Any) -> None:
    """Move a view up (-1) or down (1) in its list."""
    rows = _editable_views(user).filter(page=view.page, owner=view.owner_id)
    group = list(rows.order_by("position", "pk").select_for_update(of=("self",)))
    at = next((at for at, row in enumerate(group) if row.pk == view.pk), None)
    if at is None or not 0 <= at + by < len(group):
        return
    group.insert(at + by, group.pop(at))
    for position, row in enumerate(group, 1):
        row.position = position
    SavedView.objects.bulk_update(group, ["position"])


@dataclass(frozen=True, kw_only=True)
class ViewsMenu:
    """The menu of saved views on one page."""

    user: Any
    page: str
    params: Params
    views: list[SavedView]
    opened: SavedView | None  # the view whose filters the page began with
    chat: int | None = None

    @property
    def own(self) -> list[SavedView]:
        return [view for view in self.views if view.owner_id]

    @property
    def shared(self) -> list[SavedView]:
        return [view for view in self.views if not view.owner_id]

    @property
    def is_gone(self) -> bool:
        """Return whether the opened view was deleted, or is not shared with the user any more."""
        return self.opened is None and self.params.view is not None

    @property
    def is_changed(self) -> bool:
        """Return whether the page shows other filters than the opened view."""
        return self.opened is not None and filters.without_view(self.params.non_default) != filters.without_view(
            view_params(self.opened).non_default
        )

    @property
    def query(self) -> str:
        """Return the filters of the page as a query string."""
        return urlencode(filters.without_view(self.params.non_default))

    @property
    def may_edit(self) -> bool:
        return self.opened is not None and (self.opened.owner_id == self.user.pk or self.may_share)

    @property
    def may_share(self) -> bool:
        return may_share(self.user)

    @cached_property
    def audiences(self) -> list[tuple[str, str]]:
        return list_audiences(self.user)


def build_menu(user: Any, page: str, params: Params, *, chat: int | None = None) -> ViewsMenu:
    """Build the menu with one query, and one more for a view that the user may only change."""
    views = list_views(user, page)
    opened = next((view for view in views if view.pk == params.view), None)
    if opened is None and params.view is not None:
        opened = _editable_views(user).filter(pk=params.view, page=page).select_related("team").first()
    return ViewsMenu(user=user, page=page, params=params, views=views, opened=opened, chat=chat)


def list_audiences(user: Any) -> list[tuple[str, str]]:
    """List the teams that the user may share views with, as (value, name)."""
    return [(f"{TEAM_PREFIX}{team.pk}", team.name) for team in Team.objects.all().visible_to(user)]


def _editable_views(user: Any) -> QuerySet[SavedView]:
    found = Q(owner=user.pk)
    if may_share(user):
        found |= Q(owner=None, team=None) | Q(owner=None, team__in=Team.objects.all().visible_to(user))
    return SavedView.objects.filter(found)


def _with_order(views: QuerySet[SavedView]) -> QuerySet[SavedView]:
    return views.select_related("team").order_by("page", "position", "pk")


def _in_order(views: Iterable[SavedView]) -> list[SavedView]:
    return sorted(views, key=lambda view: view.owner_id is None)
