"""Admin pages of users and groups, in Unfold's design."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from channels_setup.admin.time_zone_field import TimeZonePicker
from channels_setup.admin_history import HistoryModelAdmin
from channels_setup.models import ChatChannel, Team
from channels_setup.roles import Role, assign_role
from config.accounts import one_time_links, second_factor, sessions
from config.accounts.models import User

from . import api_tokens, service_accounts  # noqa: F401  # registers their pages
from .role_choices import NO_ROLE, ROLES, RoleFilter, held_role
from .second_factor_filter import SecondFactorFilter, with_sign_in_facts

ACCESS_ACTIONS = ("link", "second-factor", "sessions")

for model in (Group, EmailAddress, Authenticator, UserSession, SocialAccount, SocialApp, SocialToken):
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
        help_text=_(
            "Operators answer chats. Supervisors also see reports and assign the chats of others. Auditors read "
            "settings and the audit record, but no chats. Admins set up channels, templates and people, and see all "
            "chats."
        ),
    )
    chat_channels = forms.ModelMultipleChoiceField(
        ChatChannel.objects.all(),
        label=_("Chat channels"),
        required=False,
        widget=FilteredSelectMultiple(_("chat channels"), is_stacked=False),
        help_text=_("Operators and supervisors see only the chats of these channels. Auditors have none."),
    )
    teams = forms.ModelMultipleChoiceField(
        Team.objects.all(),
        label=_("Teams"),
        required=False,
        widget=FilteredSelectMultiple(_("teams"), is_stacked=False),
        help_text=_("Chats can be assigned to a team. A team gives no access to chats."),
    )

    def clean(self) -> dict[str, Any] | None:
        """Reject teams whose chats an operator could not see."""
        values = super().clean() or self.cleaned_data
        if values.get("role") in (Role.OPERATOR, Role.SUPERVISOR) and (teams := values.get("teams")):
            channels = values.get("chat_channels", ())
            lost = [team.name for team in teams.exclude(chat_channels__in=channels)]
            if lost:
                sentence = gettext("These teams serve none of these chat channels: %(names)s.")
                self.add_error("teams", sentence % {"names": ", ".join(lost)})
        return values


class UserForm(RoleForm, UserChangeForm):
    class Meta(UserChangeForm.Meta):
        model = User

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "role" in self.fields and self.instance.pk:  # view-only admins have no such fields
            field: Any = self.fields["role"]
            if held_role(self.instance) is None:  # also a superuser, who needs none
                field.choices = [(NO_ROLE, _("No role")), *ROLES.items()]
            field.initial = held_role(self.instance) or NO_ROLE
            self.initial["teams"] = self.instance.teams.all()
            self.fields["chat_channels"].initial = ChatChannel.objects.filter(operators=self.instance)

    def clean_groups(self) -> list[Group]:
        """Keep the group of the role, which the field does not offer: ``assign_role`` changes it."""
        return [*self.cleaned_data["groups"], *self.instance.groups.filter(name__in=Role.labels)]


class NewUserForm(RoleForm, UserCreationForm):
    """New user. Without a password, the user sets one by a one-time link (an invitation)."""

    class Meta(UserCreationForm.Meta):
        model = User


@admin.register(User)
class PortalUserAdmin(TimeZonePicker, UserAdmin, HistoryModelAdmin):
    """Admin of users. An admin who is no superuser can neither become one nor edit one."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "full_name", "role", "works_in", "second_factor", "is_active", "last_sign_in")
    list_filter = ("is_active", RoleFilter, SecondFactorFilter)
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Personal info"), {"fields": ("first_name", "last_name", "display_name", "email")}),
        (_("Preferences"), {"fields": ("language", "time_zone", "signature")}),
        (_("Permissions"), {"fields": ("role", "chat_channels", "teams", "is_active")}),
    )
    add_fieldsets = (
        (None, {"fields": ("username", "password1", "password2")}),
        (_("Personal info"), {"fields": ("first_name", "last_name", "display_name", "email")}),
        (_("Permissions"), {"fields": ("role", "chat_channels", "teams")}),
    )
    change_form_outer_after_template = "accounts/user_tools.html"
    rare_fieldset = (_("Additional permissions"), {"fields": ("is_superuser", "groups", "user_permissions")})

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        rows: QuerySet[User] = User.objects.people()
        return with_sign_in_facts(rows).prefetch_related("groups", "chat_channels")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show plain values instead of form fields to admins who may only view this user."""
        found = super().get_fieldsets(request, obj)
        if obj is None:
            return found
        if not self.has_change_permission(request, obj):
            return [
                (None, {"fields": ("username",)}),
                found[1],
                (_("Permissions"), {"fields": ("role", "works_in", "is_active")}),
            ]
        return [*found, self.rare_fieldset] if request.user.is_superuser else found

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":  # the role field assigns the roles' groups
            kwargs["queryset"] = Group.objects.exclude(name__in=Role.labels)
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if value := form.cleaned_data.get("role"):
            role = None if value == NO_ROLE else Role(value)
            assign_role(form.instance, role=role)
            if role != Role.AUDITOR:
                form.instance.chat_channels.set(form.cleaned_data["chat_channels"])
                form.instance.teams.set(form.cleaned_data["teams"])

    # --- access: one-time links, second factors, sessions ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.access_action)
        return [path("<int:pk>/access/<slug:what>/", view, name="accounts_user_access"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        user = self.get_object(request, object_id)
        may_change = user is not None and user.is_active and self.has_change_permission(request, user)
        factors = Authenticator.objects.filter(user=user, type__in=second_factor.FACTORS).count() if user else 0
        extra = {
            "managed_user": user,
            "may_manage_access": may_change,
            "factors": factors,
            "can_email_user": user is not None and one_time_links.can_email(user),
            "show_save_and_add_another": False,
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, extra)

    def access_action(self, request: HttpRequest, pk: int, what: str) -> HttpResponse:
        """View: create a one-time link, remove the second factors, or end the sessions of a user."""
        user = self.get_object(request, str(pk))
        if user is None or not self.has_view_permission(request, user) or what not in ACCESS_ACTIONS:
            raise Http404
        if not self.has_change_permission(request, user):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not user.is_active:
            messages.error(request, gettext("This user is deactivated."))
        elif what == "link":
            return self._show_link(request, user)
        elif what == "second-factor":
            second_factor.remove_second_factors(user)
            self.log_change(request, user, gettext("Second factors removed."))
            messages.success(request, gettext("Second factors removed. The user is signed out everywhere."))
        else:
            sessions.end_sessions(user)
            self.log_change(request, user, gettext("Sessions ended."))
            messages.success(request, gettext("The user is signed out everywhere."))
        return redirect("admin:accounts_user_change", pk)

    def _show_link(self, request: HttpRequest, user: User) -> HttpResponse:
        """Email a one-time link if possible, and otherwise show it once, in the response to the POST."""
        link = one_time_links.password_link(user)
        self.log_change(request, user, gettext("One-time link created."))
        if request.POST.get("way") == "email" and one_time_links.can_email(user):
            try:
                one_time_links.email_link(request, user, link=link)
            except OSError:
                messages.error(
                    request, gettext("The email server did not accept the email. Hand the link over instead.")
                )
            else:
                messages.success(request, gettext("The link was sent to %(email)s.") % {"email": user.email})
            return redirect("admin:accounts_user_change", user.pk)
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("One-time link"),
            "subtitle": None,
            "subject": user.get_username(),
            "value": link,
            "notes": [
                gettext("Copy it now. It is not shown again."),
                gettext("The first person who opens it sets the password of this user. It works once, for three days."),
            ],
            "back": reverse("admin:accounts_user_change", args=[user.pk]),
            "back_label": gettext("Back to the user"),
        }
        return TemplateResponse(request, "channels_setup/shown_once.html", page)

    @admin.display(description=pgettext_lazy("person", "name"), ordering="first_name")
    def full_name(self, user: User) -> str:
        return user.get_full_name() or "–"

    @admin.display(description=_("role"))
    def role(self, user: User) -> Any:
        found = Role.of_user(user)
        return ROLES[found] if found else "–"

    @admin.display(description=_("second factor"))
    def second_factor(self, user: Any) -> Any:
        if user.has_second_factor:
            return _("Configured")
        if user.is_single_sign_on:
            return _("Single sign-on")
        return _("Missing (required)") if second_factor.is_required(user) else _("Missing")

    @admin.display(description=_("last sign-in"), ordering="last_login")
    def last_sign_in(self, user: User) -> Any:
        if user.last_login:
            return user.last_login
        return _("Not yet") if user.has_usable_password() else _("Not yet; needs a one-time link")

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


def _may_edit(request: HttpRequest, obj: Any) -> bool:
    return obj is None or not obj.is_superuser or request.user.is_superuser


@admin.register(Group)
class PortalGroupAdmin(GroupAdmin, ModelAdmin):
    """Admin of groups. Only superusers may change them, and nobody the groups of roles, which the code defines."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser) and not _is_role(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_superuser) and not _is_role(obj)


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in Role.labels
