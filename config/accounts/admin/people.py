"""Admin pages of users and groups, in Unfold's design."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from channels_setup.admin_history import HistoryModelAdmin
from channels_setup.models import ChatChannel
from channels_setup.roles import Role, assign_role
from config.accounts.models import User

from . import api_tokens  # noqa: F401  # registers its pages

ROLES = {Role.OPERATOR: pgettext_lazy("a role", "Operator"), Role.ADMIN: pgettext_lazy("a role", "Admin")}

for model in (Group,):
    try:
        admin.site.unregister(model)
    except NotRegistered:
        continue


class RoleForm(forms.Form):
    """Fields for a user's role and chat channels. The role is stored as a group."""

    role = forms.ChoiceField(
        label=_("Role"),
        choices=list(ROLES.items()),
        widget=UnfoldAdminSelectWidget,
        help_text=_("Operators answer chats. Admins set up channels, templates and people, and see all chats."),
    )
    chat_channels = forms.ModelMultipleChoiceField(
        ChatChannel.objects.all(),
        label=_("Chat channels"),
        required=False,
        widget=FilteredSelectMultiple(_("chat channels"), is_stacked=False),
        help_text=_("An operator sees and answers only the chats of these channels."),
    )


class UserForm(RoleForm, UserChangeForm):
    class Meta(UserChangeForm.Meta):
        model = User

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "role" in self.fields and self.instance.pk:  # view-only admins have no such fields
            self.fields["role"].initial = _role_of(self.instance)
            self.fields["chat_channels"].initial = ChatChannel.objects.filter(operators=self.instance)


class NewUserForm(RoleForm, UserCreationForm):
    usable_password = None  # there is no other way to sign in

    class Meta(UserCreationForm.Meta):
        model = User


@admin.register(User)
class PortalUserAdmin(UserAdmin, HistoryModelAdmin):
    """Admin of users. An admin who is no superuser can neither become one nor edit one."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "full_name", "role", "works_in", "is_active", "last_login")
    list_filter = ("is_active", "is_staff")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Personal info"), {"fields": ("first_name", "last_name", "display_name", "email")}),
        (_("Preferences"), {"fields": ("language", "time_zone", "signature")}),
        (_("Permissions"), {"fields": ("role", "chat_channels", "is_active")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "password1", "password2")}),
        (_("Personal info"), {"fields": ("first_name", "last_name", "display_name", "email")}),
        (_("Permissions"), {"fields": ("role", "chat_channels")}),
    )
    rare_fieldset = (_("Additional permissions"), {"fields": ("is_superuser", "groups", "user_permissions")})

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups", "chat_channels")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show plain values instead of form fields to admins who may only view this user."""
        found = super().get_fieldsets(request, obj)
        if obj is None:
            return found
        if not self.has_change_permission(request, obj):
            return [*found[:2], (_("Permissions"), {"fields": ("role", "works_in", "is_active")})]
        return [*found, self.rare_fieldset] if request.user.is_superuser else found

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":  # the role field assigns the roles' groups
            kwargs["queryset"] = Group.objects.exclude(name__in=Role.labels)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if role := form.cleaned_data.get("role"):
            assign_role(form.instance, role=Role(role))
            form.instance.chat_channels.set(form.cleaned_data["chat_channels"])

    @admin.display(description=_("name"), ordering="first_name")
    def full_name(self, user: User) -> str:
        return user.get_full_name() or "–"

    @admin.display(description=_("role"))
    def role(self, user: User) -> Any:
        return ROLES[_role_of(user)]

    @admin.display(description=_("chat channels"))
    def works_in(self, user: User) -> str:
        return ", ".join(channel.name for channel in user.chat_channels.all()) or "–"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, "is_superuser", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_edit(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_edit(request, obj)


def _role_of(user: User) -> Role:
    return Role.ADMIN if user.is_staff else Role.OPERATOR


def _may_edit(request: HttpRequest, obj: Any) -> bool:
    return obj is None or not obj.is_superuser or request.user.is_superuser


@admin.register(Group)
class PortalGroupAdmin(GroupAdmin, ModelAdmin):
    """Admin of groups. Only superusers may change them."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser)
