"""Admin page of alert routes: the fields of its kind, the test button with its result, and the latest messages."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminPasswordWidget

from bridge import outcomes, wakeups
from bridge.alert_routes import planning
from bridge.alert_routes.email import list_recipients
from bridge.channel_health import circuit_breaker
from bridge.models import Delivery
from channels_setup import encryption
from channels_setup.admin.channels import two_column_field
from channels_setup.admin.shown_once import render_once
from channels_setup.admin_history import HistoryModelAdmin
from channels_setup.http_client import ForbiddenAddress, unresolved_warning
from channels_setup.models import AlertRoute
from config.audit import record
from config.audit.models import Action

from .base import format_moment, render_pill

TEST_SECONDS = 5.0  # the test button waits so long for its result
LATEST_MESSAGES = 10
Kind = AlertRoute.Kind


@dataclass(frozen=True, kw_only=True)
class KindFields:
    """Labels of the recipient and of the secret of one kind of route; empty: it has none."""

    target: Any = ""
    target_help: Any = ""
    secret: Any = ""
    secret_help: Any = ""


KIND_FIELDS: Mapping[str, KindFields] = {
    Kind.EMAIL: KindFields(target=_("Email addresses"), target_help=_("Several addresses are separated by commas.")),
    Kind.TELEGRAM: KindFields(
        target=_("Chat ID"),
        target_help=_("The number of the chat or group, or @name of a channel. The bot must be a member."),
        secret=_("Bot token"),
        secret_help=_("From @BotFather, for example 123456:ABC-DEF…"),
    ),
    Kind.CHAT: KindFields(
        secret=_("Incoming webhook URL"), secret_help=_("From Slack or Mattermost. Whoever knows it can post.")
    ),
    Kind.WEBHOOK: KindFields(
        target=_("URL"), target_help=_("Gets a signed POST (Standard Webhooks). The key is shown after saving.")
    ),
}
BOT_TOKEN = re.compile(r"\d{3,20}:[\w-]{20,100}", re.ASCII)
CHAT_ID = re.compile(r"-?\d{1,20}|@\w{1,64}", re.ASCII)


class AlertRouteForm(forms.ModelForm):
    """Form of one kind of route. A saved secret is not shown; an empty field keeps it."""

    kind: ClassVar[str] = Kind.EMAIL
    secret_value = forms.CharField(
        required=False, max_length=2_000, widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
    )

    class Meta:
        model = AlertRoute
        fields = (
            *("name", "is_enabled", "target", "min_severity", "api_channels", "language"),
            *("wait_minutes", "collect_minutes", "quiet_from", "quiet_until", "tells_resolved"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = KIND_FIELDS[self.kind]
        self.instance.kind = self.kind
        if "target" in self.fields:
            self.fields["target"].label, self.fields["target"].help_text = own.target, own.target_help
            self.fields["target"].required = True
        if not own.secret:
            self.fields.pop("secret_value", None)
        if "secret_value" in self.fields:
            is_saved = self.instance.secret is not None
            field = self.fields["secret_value"]
            field.label, field.help_text, field.required = own.secret, own.secret_help, not is_saved
            field.widget.attrs["placeholder"] = gettext("Saved. Leave empty to keep it.") if is_saved else ""

    def clean_target(self) -> str:
        target = str(self.cleaned_data["target"]).strip()
        if self.kind == Kind.EMAIL:
            for address in list_recipients(target):
                validate_email(address)
            if not list_recipients(target):
                raise ValidationError(gettext("Enter at least one email address."))
        elif self.kind == Kind.TELEGRAM and not CHAT_ID.fullmatch(target):
            raise ValidationError(gettext("Enter the number of the chat, or @name of a channel."))
        elif self.kind == Kind.WEBHOOK:
            _check_url(target)
        return target

    def clean_secret_value(self) -> str:
        value = str(self.cleaned_data["secret_value"]).strip()
        if value and self.kind == Kind.TELEGRAM and not BOT_TOKEN.fullmatch(value):
            raise ValidationError(gettext("This is not a bot token. Copy all of it from @BotFather."))
        if value and self.kind == Kind.CHAT:
            _check_url(value)
        return value

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if (values.get("quiet_from") is None) != (values.get("quiet_until") is None):
            self.add_error("quiet_until", gettext("Enter both times of the quiet hours, or neither."))
        elif values.get("quiet_from") is not None and values["quiet_from"] == values["quiet_until"]:
            self.add_error("quiet_until", gettext("The quiet hours must end at another time than they begin."))
        return values


def _check_url(value: str) -> None:
    try:
        unresolved_warning(value)
    except ForbiddenAddress as problem:
        raise ValidationError(str(problem)) from problem


@admin.register(AlertRoute)
class AlertRouteAdmin(HistoryModelAdmin):
    list_display = ("name", "kind", "min_severity", "state_shown", "last_sent_at")
    search_fields = ("name",)
    change_form_outer_before_template = "bridge/alert_route_page.html"

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kind = obj.kind if obj is not None else _read_kind(request)
        kwargs["form"] = type("AlertRouteForm", (AlertRouteForm,), {"kind": kind})
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        own = KIND_FIELDS[obj.kind if obj is not None else _read_kind(request)]
        may_change = obj is None or self.has_change_permission(request, obj)
        names = ["target"] if own.target else []
        names += ["secret_value"] if own.secret and may_change else []
        return (
            (None, {"fields": ("name", *names, "language", "is_enabled")}),
            (_("Which alerts"), {"fields": ("min_severity", "api_channels", "wait_minutes", "tells_resolved")}),
            (_("When"), {"fields": ("collect_minutes", ("quiet_from", "quiet_until"))}),
        )

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return two_column_field(super(), db_field, request, _("API channels"), **kwargs)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse changes of routes from the environment: the next start would undo them."""
        is_ours = obj is None or obj.environment_digest is None
        return is_ours and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_ours = obj is None or obj.environment_digest is None
        return is_ours and super().has_delete_permission(request, obj)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        chosen = _read_kind(request)
        kinds = [{"url": f"?kind={kind.value}", "label": kind.label, "is_chosen": kind == chosen} for kind in Kind]
        hidden = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {"kinds": kinds, **hidden, **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        route = self.get_object(request, object_id)
        extra: dict[str, Any] = {"show_save_and_add_another": False, **(extra_context or {})}
        if route is not None and self.has_view_permission(request, route):
            extra |= build_page_context(route)
        return super().change_view(request, object_id, form_url, extra)

    def save_model(self, request: HttpRequest, obj: AlertRoute, form: Any, change: bool) -> None:
        if value := form.cleaned_data.get("secret_value"):
            obj.set_secret(value)
        if obj.kind == Kind.WEBHOOK and obj.secret is None:
            obj.set_secret(encryption.new_secret_key())
        obj.forget_failures()
        super().save_model(request, obj, form, change)
        circuit_breaker.reset_breakers("alert_route", [obj.pk])
        wakeups.notify_after_commit(wakeups.ALERTS)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        self.message_user(request, gettext("Saved. Now send a test message."))
        if obj.kind == Kind.WEBHOOK:
            return self.show_key(request, obj)
        return redirect("admin:channels_setup_alertroute_change", obj.pk)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        self.message_user(request, gettext("Saved."))
        return redirect("admin:channels_setup_alertroute_change", obj.pk)

    # --- the buttons ---

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.run_button)
        name = "channels_setup_alertroute_action"
        return [path("<int:pk>/actions/<slug:action>/", view, name=name), *super().get_urls()]

    def run_button(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """Send a test message, or make a new key. A GET (a reload) redirects to the page."""
        route = self.get_object(request, str(pk))
        if route is None or action not in ("test", "new-key") or (action == "new-key" and route.kind != Kind.WEBHOOK):
            raise Http404
        if not super().has_change_permission(request) or (action != "test" and route.environment_digest is not None):
            raise PermissionDenied
        if request.method not in ("GET", "POST"):
            return HttpResponseNotAllowed(["POST"])
        if request.method == "POST" and action == "new-key":
            route.set_secret(encryption.new_secret_key())
            route.save(update_fields=["secret"])
            return self.show_key(request, route)
        if request.method == "POST":
            self.message_user(request, *send_test(route))
        return redirect("admin:channels_setup_alertroute_change", pk)

    def show_key(self, request: HttpRequest, route: AlertRoute) -> HttpResponse:
        record.record_action(Action.SECRET_SHOWN, "channels_setup.alertroute", route.pk, label=route.name)
        return render_once(
            self,
            request,
            route,
            title=gettext("key of the signature"),
            value=route.reveal_secret(),
            notes=[gettext("Copy it now: it is not shown again. The receiver checks with it that messages are ours.")],
            back_label=gettext("Back to the alert route"),
        )

    @admin.display(description=gettext_lazy("state"))
    def state_shown(self, route: AlertRoute) -> SafeString:
        return render_state(route)


def _read_kind(request: HttpRequest) -> str:
    kind = request.GET.get("kind", "")
    return kind if kind in Kind.values else Kind.EMAIL.value


def render_state(route: AlertRoute) -> SafeString:
    if not route.is_enabled:
        return render_pill("unknown", gettext("disabled"))
    if route.failing_since is not None:
        return render_pill("failing", gettext("failing"))
    return render_pill("live", gettext("works")) if route.last_sent_at else render_pill("new", gettext("not tested"))


def describe_error(reason: str, answer: str) -> str:
    """Return our sentence for a failure, with the service's own words."""
    sentence = outcomes.render_sentence(reason, for_admin=True) if reason else ""
    return f"{sentence} ({answer})" if answer else sentence


def build_page_context(route: AlertRoute) -> dict[str, Any]:
    latest = Delivery.objects.filter(alert_route=route).order_by("-pk").prefetch_related("tries")[:LATEST_MESSAGES]
    return {
        "route": route,
        "route_state": render_state(route),
        "is_from_environment": route.environment_digest is not None,
        "has_key": route.kind == Kind.WEBHOOK and route.environment_digest is None,
        "error": describe_error(route.last_error, route.last_answer),
        "test_url": reverse("admin:channels_setup_alertroute_action", args=[route.pk, "test"]),
        "key_url": reverse("admin:channels_setup_alertroute_action", args=[route.pk, "new-key"]),
        "latest": [
            {
                "at": format_moment(delivery.created_at),
                "subject": delivery.payload.get("subject", ""),
                "state": render_pill(delivery.state, delivery.get_state_display()),
                "attempts": delivery.attempts,
                "reason": outcomes.render_sentence(delivery.reason, for_admin=True) if delivery.reason else "",
            }
            for delivery in latest
        ],
    }


def send_test(route: AlertRoute) -> tuple[str, int]:
    """Send a test message, and wait a few seconds for its result. Return the sentence and its level."""
    with transaction.atomic():
        circuit_breaker.reset_breakers("alert_route", [route.pk])
        delivery = planning.create_test(route)
    until = time.monotonic() + TEST_SECONDS
    while True:
        delivery.refresh_from_db()
        if delivery.state == Delivery.State.DELIVERED:
            return gettext("The test message was accepted."), messages.SUCCESS
        if delivery.state not in Delivery.UNFINISHED or delivery.reason:
            route.refresh_from_db()
            return describe_error(delivery.reason, route.last_answer), messages.ERROR
        if time.monotonic() >= until:
            return gettext("The test message is queued. Reload this page to see its result."), messages.WARNING
        time.sleep(0.2)
