"""Admin page of teams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from channels_setup.admin_history import HistoryModelAdmin
from channels_setup.models import ChatChannel, Team

from .channels import two_column_field, user_label


def find_members_without_channel(members: Iterable[Any], channels: Iterable[ChatChannel]) -> list[Any]:
    """Return the active users who may see none of these channels."""
    wanted = {channel.pk for channel in channels}
    return [
        user
        for user in members
        if user.is_active and not ChatChannel.objects.filter(pk__in=wanted).visible_to(user).exists()
    ]


class TeamForm(forms.ModelForm):
    class Meta:
        model = Team
        fields = ("name", "chat_channels", "members")

    def clean_name(self) -> str:
        return " ".join(str(self.cleaned_data["name"]).split())

    def clean(self) -> dict[str, Any]:
        """Reject members who could see none of the team's chats: a team must not look like access."""
        values: dict[str, Any] = super().clean() or self.cleaned_data
        members, channels = values.get("members", []), values.get("chat_channels", [])
        if channels and (without_channel := find_members_without_channel(members, channels)):
            names = ", ".join(user_label(user) for user in without_channel)
            sentence = _(
                "These people are operators of none of the team's chat channels: %(names)s. "
                "First add them to the operators of a channel."
            )
            self.add_error("members", sentence % {"names": names})
        return values


@admin.register(Team)
class TeamAdmin(HistoryModelAdmin):
    form = TeamForm
    list_display = ("name", "works_in", "member_count")
    search_fields = ("name",)
    fieldsets = ((None, {"fields": ("name", "chat_channels", "members")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        found = super().get_queryset(request).prefetch_related("chat_channels")
        return found.annotate(member_total=Count("members", distinct=True))

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "chat_channels":
            return two_column_field(super(), db_field, request, gettext_lazy("chat channels"), **kwargs)
        kwargs["queryset"] = get_user_model().objects.people().order_by("username")
        field = two_column_field(super(), db_field, request, gettext_lazy("members"), **kwargs)
        field.label_from_instance = user_label
        return field

    @admin.display(description=gettext_lazy("chat channels"))
    def works_in(self, team: Team) -> str:
        return ", ".join(channel.name for channel in team.chat_channels.all()) or "–"

    @admin.display(description=gettext_lazy("members"), ordering="member_total")
    def member_count(self, team: Any) -> int:
        return int(team.member_total)
