"""Operators and groups of the public API: ``users``, ``user``, ``groups``. Both are read-only."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from channels_setup.codecs import values
from channels_setup.codecs.bodies import BadBody
from channels_setup.models import ChatChannel
from channels_setup.permissions import VIEW_CHATS, users_with

from .base import UapiView
from .base_call import UapiCall
from .errors import NOT_ALLOWED, NOT_FOUND, UapiError
from .parameters import define_parameters, read_choice
from .reading import ReadOnlyView

ROLES = ["admin", "employee", "support"]


def visible_operators(call: UapiCall) -> QuerySet[Any]:
    """Return the active operators of the watched chat channels, and the admins."""
    people = get_user_model().objects.people().filter(is_active=True)
    people = people.filter(pk__in=users_with(VIEW_CHATS).values("pk"))  # auditors are staff, too, but see no chats
    return people.filter(Q(chat_channels__in=call.api_channel.watched.all()) | Q(is_staff=True)).distinct()


class Users(ReadOnlyView):
    """``users``: list operators by role, group, ID, or name and email."""

    parameters = define_parameters("user_type", "group_id", "query", "user_id")

    def answer(self, call: UapiCall) -> Any:
        rows = visible_operators(call)
        user_id = values.parse_id(call.values.get("user_id"), "user_id")
        if user_id is not None:
            rows = rows.filter(pk=user_id)
        group_id = values.parse_id(call.values.get("group_id"), "group_id")
        if group_id is not None:
            rows = rows.filter(chat_channels__in=call.api_channel.watched.filter(pk=group_id))
        if query := values.as_text(call.values.get("query")).strip():
            by_name = (
                Q(display_name__icontains=query)
                | Q(first_name__icontains=query)
                | Q(last_name__icontains=query)
                | Q(username__icontains=query)
            )
            rows = rows.filter(by_name | Q(email__icontains=query))
        role = read_choice(call.values.get("user_type"), "user_type", ROLES)
        if role is not None:
            rows = rows.filter(is_staff=role == "admin") if role != "support" else rows.none()
        watched = list(call.api_channel.watched.order_by("pk").prefetch_related("operators"))
        return [_serialize_user(user, watched) for user in rows.order_by("pk")]


class ReadUser(Users):
    """``user``: return one operator by ``user_id``."""

    parameters = define_parameters("user_id")

    def answer(self, call: UapiCall) -> Any:
        if call.values.get("user_id") in (None, ""):
            raise BadBody(_("“user_id” is missing."))
        found = super().answer(call)
        if not found:
            raise UapiError(NOT_FOUND, _("Operator %(id)s does not exist.") % {"id": call.values["user_id"]})
        return {"user": found[0]}


class Groups(ReadOnlyView):
    """``groups``: list the watched chat channels as groups, each with its operators."""

    def answer(self, call: UapiCall) -> list[dict[str, Any]]:
        watched = list(call.api_channel.watched.order_by("pk").prefetch_related("operators"))
        return [
            _serialize_group(channel)
            | {
                "users": [
                    {**_serialize_person(user), "pivot": _serialize_pivot(user, channel)}
                    for user in sorted(channel.operators.all(), key=lambda user: user.pk)
                    if user.is_active
                ]
            }
            for channel in watched
        ]


class ManagedByAdmins(UapiView):
    """``create/user``, ``update/user``, ``delete/user``: refuse, because a channel's key must not change accounts."""

    writes = False

    def answer(self, call: UapiCall) -> Any:
        raise UapiError(NOT_ALLOWED, _("Operators are managed by an admin in the portal, not through the API."))


def _serialize_user(user: Any, watched: list[ChatChannel]) -> dict[str, Any]:
    mine = [channel for channel in watched if any(one.pk == user.pk for one in channel.operators.all())]
    return _serialize_person(user) | {
        "chat_online_status": 0,
        "online_status": 0,
        "groups": [_serialize_group(channel) | {"pivot": _serialize_pivot(user, channel)} for channel in mine],
    }


def _serialize_person(user: Any) -> dict[str, Any]:
    return {
        "id": user.pk,
        "name": user.get_full_name() or user.get_username(),
        "email": user.email,
        "position": "",
        "role": "admin" if user.is_staff else "employee",
        "phone": None,
    }


def _serialize_group(channel: ChatChannel) -> dict[str, Any]:
    return {"id": channel.pk, "name": channel.name, "company_id": channel.company_id, "deleted": 0, "deleted_at": None}


def _serialize_pivot(user: Any, channel: ChatChannel) -> dict[str, int]:
    return {"user_id": user.pk, "user_group_id": channel.pk}
