"""Admin page of a chat channel with an external helpdesk: settings, webhook address, events, connection check."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bridge import outcomes
from bridge.automation.channel_admin import AutomationInline
from channels_setup import account_settings, permissions
from channels_setup.admin import address_actions
from channels_setup.admin.channels import ChatChannelAdmin
from channels_setup.models import ChatChannel

from ..models import Delivery, HelpdeskConnection, WebhookEvent
from . import connection_check, connections

CHECK_SESSION_KEY = "helpdesk_checked"  # session key of the last connection check

admin.site.unregister(ChatChannel)


@admin.register(ChatChannel)
class HelpdeskChatChannelAdmin(ChatChannelAdmin):
    """Admin of chat channels, with the settings and the connection of an external helpdesk."""

    change_form_outer_before_template = "bridge/helpdesk_page.html"
    inlines = (AutomationInline,)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """Leave the automation out of new channels and of those of other helpdesks, which assign and reply."""
        return self.inlines if obj is not None and obj.provider.built_in else ()

    # --- the form ---

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None and not obj.provider.built_in:
            kwargs["form"] = type("HelpdeskForm", (forms.ModelForm,), account_settings.form_fields(obj))
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        fieldsets = list(super().get_fieldsets(request, obj))
        if isinstance(obj, ChatChannel) and not obj.provider.built_in:
            fields = tuple(account_settings.FIELD_PREFIX + setting.name for setting in obj.provider.settings)
            fieldsets.insert(1, (gettext_lazy("Connection to the helpdesk"), {"fields": fields}))
        return fieldsets

    def save_model(self, request: HttpRequest, obj: ChatChannel, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and not obj.provider.built_in:
            account_settings.save_values(obj, account_settings.values_from_form(form.cleaned_data))
            for sentence in account_settings.unresolved_address_warnings(obj):
                self.message_user(request, sentence, messages.WARNING)
        connections.end_backoff([obj.pk])

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        if obj.provider.built_in or "_popup" in request.POST:
            response: HttpResponse = super().response_add(request, obj, post_url_continue)
            return response
        self.message_user(request, _("Saved. Now set up the connection to the helpdesk below."))
        address_actions.show_address_next(request, obj)
        return redirect("admin:channels_setup_chatchannel_change", obj.pk)

    # --- the page ---

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        chat_channel = self.get_object(request, object_id)
        extra = dict(extra_context or {})
        if chat_channel is not None and self.has_view_permission(request, chat_channel):
            extra |= build_page_context(chat_channel) | {
                "may_change": self.has_change_permission(request, chat_channel)
            }
            if not request.user.has_perm(permissions.VIEW_ALL_CHATS):  # errors of events may quote clients
                extra["last_events"] = []
            extra |= _get_last_check(request, chat_channel)
            extra |= {"fresh_address": address_actions.pop_new_address(request, chat_channel)}
        page: HttpResponse = super().change_view(request, object_id, form_url, extra)
        return page

    def get_urls(self) -> list[URLPattern]:
        check = path("<int:pk>/check/", self.admin_site.admin_view(self.check_connection), name="helpdesk_check")
        return [check, *super().get_urls()]

    def check_connection(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Run the connection check. A GET (a reload) redirects to the page."""
        chat_channel = self.get_object(request, str(pk))
        if chat_channel is None or chat_channel.provider.built_in:
            raise Http404
        if not self.has_change_permission(request, chat_channel):
            raise PermissionDenied
        if request.method == "POST":
            findings = [
                {"level": each.level, "sentence": str(each.sentence)}
                for each in connection_check.run_connection_check(chat_channel)
            ]
            request.session[CHECK_SESSION_KEY] = {"pk": pk, "at": timezone.now().isoformat(), "findings": findings}
        elif request.method != "GET":
            return HttpResponseNotAllowed(["POST"])
        return redirect(reverse("admin:channels_setup_chatchannel_change", args=[pk]))


def _get_last_check(request: HttpRequest, chat_channel: ChatChannel) -> dict[str, Any]:
    """Return the result and time of this admin's last connection check."""
    last = request.session.get(CHECK_SESSION_KEY) or {}
    if last.get("pk") != chat_channel.pk:
        return {}
    return {"findings": last["findings"], "checked_at": datetime.fromisoformat(last["at"])}


def build_page_context(chat_channel: ChatChannel) -> dict[str, Any]:
    """Return the context of the part above the form; empty for the built-in desk."""
    if chat_channel.provider.built_in:
        return {}
    connection = HelpdeskConnection.objects.filter(chat_channel=chat_channel).first()
    first_events = connection.first_events if connection else {}
    boxes = connection_check.list_event_boxes(chat_channel)
    deliveries = Delivery.objects.filter(chat_channel=chat_channel)
    events = list(WebhookEvent.objects.filter(chat_channel=chat_channel).order_by("-pk").defer("body")[:5])
    return {
        **address_actions.address_context(chat_channel),
        "helpdesk_channel": chat_channel,
        "connection": connection,
        "connection_error": outcomes.render_sentence(connection.last_error, for_admin=True)
        if connection and connection.last_error
        else "",
        "backoff_end": connections.get_backoff_end(chat_channel.pk),
        "ping_at": first_events.get("ping"),
        "has_chat_events": bool(first_events.keys() & {"message", "new_chat", "resumed"}),
        "is_complete": not account_settings.missing_settings(chat_channel),
        "boxes": boxes,
        "boxes_done": all(each.first_at for each in boxes if each.box.needed),
        "waiting": deliveries.filter(state__in=Delivery.UNFINISHED)[:1000].count(),
        "dead": deliveries.filter(state=Delivery.State.DEAD)[:1000].count(),
        "last_events": events,
        "is_json": any("json" in event.content_type for event in events[:1]),
    }
