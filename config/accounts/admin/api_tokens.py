"""Admin pages for API tokens: create one, see when each was last used, revoke."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from channels_setup.admin.channels import two_column_field, user_label
from channels_setup.admin_history import HistoryModelAdmin
from config.accounts.models import ApiToken, Scope
from config.accounts.token_rights import describe_rights

STATE_CLASSES = {"active": "live", "expiring": "failing", "expired": "paused", "revoked": "draft", "off": "draft"}


class ExpiringFilter(admin.SimpleListFilter):
    """Filter of working tokens that expire soon."""

    title = _("expiry")
    parameter_name = "expiring"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("soon", _("expires soon"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
        is_chosen = self.value() == "soon"
        return queryset.filter(pk__in=ApiToken.objects.expiring_soon(timezone.now())) if is_chosen else queryset


class ApiTokenForm(forms.ModelForm):
    class Meta:
        model = ApiToken
        fields = ("user", "name", "scope", "chat_channels", "expires_at")

    def clean(self) -> Any:
        """Check the combination of scope, user and chat channels."""
        values = super().clean() or self.cleaned_data
        user, scope = values.get("user"), values.get("scope")
        if scope == Scope.METRICS and values.get("chat_channels"):
            self.add_error("chat_channels", _("A token for metrics opens no chats, so choose no chat channels."))
        if scope == Scope.METRICS and user is not None and not (user.is_service or user.is_staff):
            self.add_error("user", _("This user may not read metrics. Choose a service account or an admin."))
        return values

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise ValidationError(_("This time is in the past. Choose a later time."))
        return expires_at


@admin.register(ApiToken)
class ApiTokenAdmin(HistoryModelAdmin):
    """Admin of API tokens. A token's text is only in the response to the form that creates it."""

    form = ApiTokenForm
    list_display = ("name", "beginning", "user", "scope", "state_shown", "created_at", "last_used_at", "expires_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), ExpiringFilter, "scope", "user__kind")
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__username")
    add_fieldsets = ((None, {"fields": ("user", "name", "scope", "chat_channels", "expires_at")}),)
    fieldsets = (
        (None, {"fields": ("name", "beginning", "user", "scope", "chat_channels", "state_shown")}),
        (None, {"fields": ("created_at", "last_used_at", "last_used_address", "expires_at", "revoked_at")}),
    )
    readonly_fields = ("beginning", "state_shown", "created_at", "last_used_at", "last_used_address", "revoked_at")
    change_form_outer_before_template = "channels_setup/api_token.html"
    actions = ("revoke_selected",)

    # --- permissions ---

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid editing. Revoking has its own button."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Delete tokens only together with their user; revoked tokens stay as evidence."""
        match = request.resolver_match
        if match and (match.url_name or "").startswith("accounts_apitoken"):
            return False
        return super().has_delete_permission(request, obj)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("accounts.change_apitoken"))

    def may_revoke(self, request: HttpRequest, token: ApiToken) -> bool:
        """Return whether a user may revoke a token. Only superusers may revoke a superuser's tokens."""
        return self.has_revoke_permission(request) and (request.user.is_superuser or not token.user.is_superuser)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "user":
            people = db_field.remote_field.model.objects.filter(is_active=True).order_by("username")
            # With a superuser's token, any admin would have a superuser's permissions.
            kwargs["queryset"] = people if request.user.is_superuser else people.filter(is_superuser=False)
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "user" and field is not None:
            field.label_from_instance = owner_label
        return field

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return two_column_field(super(), db_field, request, _("chat channels"), **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.add_fieldsets if obj is None else self.fieldsets

    # --- creating ---

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        made, text = ApiToken.issue(
            obj.user,
            name=obj.name,
            expires_at=obj.expires_at,
            scope=Scope(obj.scope),
            chat_channels=form.cleaned_data["chat_channels"] or None,
        )
        obj.pk, obj.prefix, obj.is_limited_to_channels = made.pk, made.prefix, made.is_limited_to_channels
        form.token_text = text

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        request.api_token_form = form  # type: ignore[attr-defined]  # for the response to this request
        return super().save_form(request, form, change)

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """Show the token in the response to the POST, so that it is in no session, message or log."""
        page = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("API token"),
            "subtitle": None,
            "subject": obj.name,
            "value": request.api_token_form.token_text,  # type: ignore[attr-defined]
            "notes": [
                gettext("Copy it now. It is not shown again."),
                gettext("The program sends it in this header: Authorization: Token …"),
                describe_rights(obj),
            ],
            "back": reverse("admin:accounts_apitoken_changelist"),
            "back_label": gettext("Back to the list"),
        }
        return TemplateResponse(request, "channels_setup/shown_once.html", page)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        hidden = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**hidden, **(extra_context or {})})

    # --- revoking ---

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        token = self.get_object(request, object_id)
        revoke = token is not None and token.revoked_at is None and self.may_revoke(request, token)
        rights = describe_rights(token) if token is not None else ""
        extra = {"token": token, "rights": rights, "may_revoke": revoke, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra)

    def get_urls(self) -> list[URLPattern]:
        revoke = path("<int:pk>/revoke/", self.admin_site.admin_view(self.revoke), name="accounts_apitoken_revoke")
        return [revoke, *super().get_urls()]

    def revoke(self, request: HttpRequest, pk: int) -> HttpResponse:
        """View: revoke one token."""
        token = self.get_object(request, str(pk))
        if token is None or not self.has_view_permission(request, token):
            raise Http404
        if not self.may_revoke(request, token):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self._revoke(request, [token])
        return redirect("admin:accounts_apitoken_change", pk)

    @admin.action(description=_("Revoke the selected tokens"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, rows: QuerySet[ApiToken]) -> None:
        self._revoke(request, [token for token in rows if self.may_revoke(request, token)])

    @transaction.atomic
    def _revoke(self, request: HttpRequest, tokens: list[ApiToken]) -> None:
        done = [token for token in tokens if ApiToken.objects.filter(pk=token.pk).revoke()]
        for token in done:
            self.log_change(request, token, gettext("Revoked."))
        if done:
            messages.success(request, gettext("Revoked. Calls with it are refused from now on."))

    # --- columns ---

    @admin.display(description=_("begins with"), ordering="prefix")
    def beginning(self, token: ApiToken) -> SafeString:
        return format_html("<code>{}…</code>", token.prefix)

    @admin.display(description=_("state"))
    def state_shown(self, token: ApiToken) -> SafeString:
        return format_html('<span class="pill {}">{}</span>', STATE_CLASSES[token.state], token.state_label)


def owner_label(user: Any) -> str:
    """Return the name of a token's owner in the form."""
    name = user_label(user)
    return gettext("%(name)s, service account") % {"name": name} if user.is_service else name
