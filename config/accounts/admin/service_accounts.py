"""Admin pages for service accounts: users of programs, with their chat channels and tokens."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from channels_setup.admin_history import HistoryModelAdmin
from config.accounts.models import ApiToken, ServiceAccount

FIELDS = ("username", "display_name", "service_chat_channels", "is_active")


class ServiceAccountForm(forms.ModelForm):
    class Meta:
        model = ServiceAccount
        fields = FIELDS
        labels = {"username": _("Name")}
        help_texts = {
            "username": _("Letters, digits and @ . + - _ only, for example crm. Commands use it."),
            "display_name": _("Shown in chats where the program wrote something, instead of the name."),
            "is_active": _("Untick it to stop all its programs at once. Their tokens are revoked permanently."),
        }


@admin.register(ServiceAccount)
class ServiceAccountAdmin(HistoryModelAdmin):
    """Admin of service accounts. They are disabled, not deleted, so that their messages keep an author."""

    form = ServiceAccountForm
    list_display = ("username", "display_name", "works_in", "tokens", "state_shown", "date_joined")
    list_filter = ("is_active",)
    search_fields = ("username", "display_name")
    ordering = ("username",)
    change_form_outer_after_template = "accounts/service_tokens.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = ServiceAccount.objects.with_token_count()
        return rows.prefetch_related("service_chat_channels").order_by("username")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return FIELDS if obj else FIELDS[:-1]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["widget"] = FilteredSelectMultiple(_("chat channels"), is_stacked=False)
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if field is not None:  # without Django's hint about the Control key
            field.help_text = db_field.help_text
        return field

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        account = self.get_object(request, object_id)
        may_see = request.user.has_perm("accounts.view_apitoken")
        tokens = ApiToken.objects.filter(user=account).select_related("user") if account and may_see else []
        extra = {
            "service_account": account,
            "service_tokens": tokens,
            "may_see_tokens": may_see,
            "may_add_token": account and account.is_active and request.user.has_perm("accounts.add_apitoken"),
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, extra)

    # --- columns ---

    @admin.display(description=_("chat channels"))
    def works_in(self, account: ServiceAccount) -> str:
        return ", ".join(channel.name for channel in account.service_chat_channels.all()) or "–"

    @admin.display(description=_("tokens"), ordering="working_tokens")
    def tokens(self, account: Any) -> int:
        return int(account.working_tokens)

    @admin.display(description=_("state"), ordering="is_active")
    def state_shown(self, account: ServiceAccount) -> SafeString:
        css, label = ("live", _("active")) if account.is_active else ("draft", _("disabled"))
        return format_html('<span class="pill {}">{}</span>', css, label)
