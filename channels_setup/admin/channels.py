"""Admin pages of chat channels and API channels: the four blocks of the set-up guide, with status above the form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import FilteredSelectMultiple
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from channels_setup import account_settings
from channels_setup.admin_history import HistoryModelAdmin
from channels_setup.models import ApiChannel, ChannelState, ChatChannel
from channels_setup.permissions import VIEW_CHATS, users_with
from channels_setup.providers import messengers

from . import address_actions, channel_page, save_warnings
from .archived_filter import ArchivedFilter
from .time_zone_field import TimeZonePicker

COPY_BUTTON = '<button type="button" class="copy" data-copy="{value}" data-done="{done}">{label}</button>'


def copyable_html(value: object, *, big: bool = False) -> SafeString:
    """Return a value with a copy button (static/copy-buttons.js)."""
    return format_html(
        '<span class="copyable"><code class="{kind}">{value}</code>' + COPY_BUTTON + "</span>",
        kind="big" if big else "",
        value=value,
        done=_("Copied"),
        label=_("Copy"),
    )


def two_column_field(parent: Any, db_field: Any, request: HttpRequest, things: Any, **kwargs: Any) -> Any:
    """Return Django's two-column selection without its hint about the Control key."""
    field = parent.formfield_for_manytomany(
        db_field, request, widget=FilteredSelectMultiple(things, is_stacked=False), **kwargs
    )
    field.help_text = db_field.help_text
    return field


def user_label(user: Any) -> str:
    """Return a user's name and login."""
    name = user.get_full_name()
    return f"{name} ({user.username})" if name else str(user.username)


def run_action(
    page: HistoryModelAdmin, actions: Mapping[str, Any], request: HttpRequest, pk: int, action: str
) -> HttpResponse:
    """Run the action of a button. A GET (a reload of a page that was shown once) redirects to the channel."""
    channel, handler = page.get_object(request, str(pk)), actions.get(action)
    if channel is None or handler is None:
        raise Http404
    if not page.has_change_permission(request, channel):
        raise PermissionDenied
    back = redirect(f"admin:{page.opts.app_label}_{page.opts.model_name}_change", pk)
    if request.method == "GET":
        return back
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    return handler(page, request, channel) or back


@admin.register(ChatChannel)
class ChatChannelAdmin(TimeZonePicker, HistoryModelAdmin):
    list_display = ("number", "name", "kind", "company_id", "staff", "api_channels")
    list_before_template = "channels_setup/add_channel.html"
    list_display_links = ("number", "name")
    search_fields = ("name", "id")
    readonly_fields = ("chat_id",)
    fieldsets = (
        (None, {"fields": ("name", "kind", "chat_id", "company_id")}),
        (_("Who answers"), {"fields": ("operators", "assigns_answerer", "hides_phones")}),
        (_("Working hours"), {"fields": ("time_zone", ("work_from", "work_until"), "work_weekends")}),
        (_("Opt-outs"), {"fields": ("recognizes_opt_outs", "opt_out_words", "opt_in_words")}),
    )
    add_fieldsets = (
        (None, {"fields": ("name", "kind", "company_id", "time_zone")}),
        (_("Who answers"), {"fields": ("operators",)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChatChannel]:
        return (
            ChatChannel.objects.all()
            .listed_for(request.user)
            .annotate(staff_count=Count("operators", distinct=True), watcher_count=Count("watchers", distinct=True))
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Fix the helpdesk after creation: existing chats belong to it."""
        return (*self.readonly_fields, "kind") if obj else self.readonly_fields

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        people = db_field.remote_field.model.objects.people().filter(pk__in=users_with(VIEW_CHATS).values("pk"))
        field = two_column_field(super(), db_field, request, _("operators"), queryset=people, **kwargs)
        field.label_from_instance = user_label
        return field

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Redirect to the channel's page, which shows the chat ID that the provider needs."""
        if "_addanother" in request.POST or "_popup" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        self.message_user(request, _("Saved. Give the chat ID %(id)d to the provider.") % {"id": obj.pk})
        self.warn(request, obj)
        return redirect("admin:channels_setup_chatchannel_change", obj.pk)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        self.warn(request, obj)
        return super().response_change(request, obj)

    def get_urls(self) -> list[URLPattern]:
        """Add the actions for the webhook address, which external helpdesks call."""
        view = self.admin_site.admin_view(partial(run_action, self, address_actions.ACTIONS))
        route = path("<int:pk>/actions/<slug:action>/", view, name="channels_setup_chatchannel_action")
        return [route, *super().get_urls()]

    def warn(self, request: HttpRequest, chat_channel: ChatChannel) -> None:
        for sentence in save_warnings.chat_channel_warnings(chat_channel):
            self.message_user(request, sentence, messages.WARNING)

    @admin.display(description=_("chat ID"), ordering="id")
    def number(self, chat_channel: ChatChannel) -> int:
        return chat_channel.pk

    @admin.display(description=_("chat ID"))
    def chat_id(self, chat_channel: ChatChannel) -> SafeString:
        return copyable_html(chat_channel.pk, big=True)

    @admin.display(description=_("operators"))
    def staff(self, chat_channel: Any) -> int:
        return int(chat_channel.staff_count)

    @admin.display(description=_("API channels"))
    def api_channels(self, chat_channel: Any) -> int:
        return int(chat_channel.watcher_count)


class ApiChannelForm(forms.ModelForm):
    class Meta:
        model = ApiChannel
        fields = (
            *("name", "kind", "redirect_url", "send_json", "send_utf8", "send_multipart"),
            *("on_unknown", "template_in_window", "first_message_in_ticket", "exact_updated_at"),
            *("webhook_needs_key", "calls_per_second", "watched"),
            *("track_new_ticket", "track_comment", "track_change", "track_rating"),
            *("track_new_chat", "track_message", "track_resumed", "copy_replies"),
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "watched" in self.fields:
            self.fields["watched"].required = True
            self.fields["watched"].error_messages["required"] = _(
                "Without a chat channel, incoming messages cannot be stored. Move at least one to the right."
            )

    def clean_redirect_url(self) -> str:
        return str(self.cleaned_data["redirect_url"]).strip()


def _without(fieldset: Any, name: str) -> Any:
    title, options = fieldset
    return title, options | {"fields": tuple(field for field in options["fields"] if field != name)}


@admin.register(ApiChannel)
class ApiChannelAdmin(HistoryModelAdmin):
    """Admin of API channels. ``bridge.admin.api_channels`` adds the channel's activity."""

    form = ApiChannelForm
    list_display = ("name", "kind", "state_shown", "watches", "first_inbound_at", "first_outbound_at")
    list_filter = (ArchivedFilter,)
    list_before_template = "channels_setup/add_channel.html"
    search_fields = ("name", "app_id")
    fieldsets = (
        (
            _("The channel itself"),
            {
                "fields": (
                    *("name", "kind", "redirect_url", "send_json", "send_utf8", "on_unknown", "template_in_window"),
                    *("webhook_needs_key", "calls_per_second"),
                )
            },
        ),
        (
            _("Watch channels"),
            {
                "fields": ("watched",),
                "description": _("Left: ignored. Right: watched. Only watched channels send events."),
            },
        ),
        (
            _("Tracking requests"),
            {"fields": (("track_new_ticket", "track_comment"), ("track_change", "track_rating"))},
        ),
        (_("Tracking chats"), {"fields": (("track_new_chat", "track_message", "track_resumed"), "copy_replies")}),
        (
            _("Retention"),
            {
                "fields": ("keep_messages_days", "keep_files_days", "keep_events_days"),
                "description": _("Deletion of older data begins within ten minutes and cannot be undone."),
            },
        ),
        (
            _("Compatibility of events"),
            {
                "classes": ("collapse",),
                "fields": ("send_multipart", "first_message_in_ticket", "exact_updated_at"),
                "description": _("Change these only if the receiver's developers ask for it."),
            },
        ),
    )
    change_form_outer_before_template = "channels_setup/channel_page.html"
    activity_template = ""
    page_actions: ClassVar[dict[str, channel_page.ChannelAction]] = channel_page.CHANNEL_ACTIONS

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiChannel]:
        return super().get_queryset(request).prefetch_related("watched")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """Fix the provider after creation: its addresses and client IDs are not valid at another provider."""
        return ("kind",) if obj else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Preselect the only chat channel if no API channel watches it; otherwise preselect nothing."""
        found = list(ChatChannel.objects.all()[:2])
        only = found[0] if len(found) == 1 and not found[0].watchers.exists() else None
        preselected = {"watched": [only.pk]} if only else {f"track_{kind}": False for kind in ApiChannel.EVENT_KINDS}
        return {**preselected, **super().get_changeform_initial_data(request)}

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Label each chat channel with the API channels that already watch it."""
        kwargs["queryset"] = ChatChannel.objects.prefetch_related("watchers")
        field = two_column_field(super(), db_field, request, _("chat channels"), **kwargs)
        match = request.resolver_match
        own = match.kwargs.get("object_id") if match else None
        field.label_from_instance = lambda chat_channel: save_warnings.watch_label(chat_channel, own)
        return field

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "kind":
            kwargs["choices"] = [("", "---------"), *((kind, each.label) for kind, each in messengers().items())]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form with a field for each account setting."""
        if obj is not None and obj.provider.settings:
            kwargs["form"] = type("ApiChannelForm", (ApiChannelForm,), account_settings.form_fields(obj))
        form = super().get_form(request, obj, change, **kwargs)
        if obj is not None and not obj.provider.needs_redirect_url and "redirect_url" in form.base_fields:
            form.base_fields["redirect_url"].help_text = _(
                "Only if your own program should receive events. Messages do not need it."
            )
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        found = list(super().get_fieldsets(request, obj))
        if obj is not None and not self.has_change_permission(request, obj):  # the URL may contain a secret
            found = [_without(fieldset, "redirect_url") for fieldset in found]
        if obj is None or not obj.provider.delivers_copies:  # its watchers get all events anyway
            found = [_without(fieldset, "copy_replies") for fieldset in found]
        if obj is None or not obj.provider.can_send_key:  # the provider of a new channel does not have the key yet
            found = [_without(fieldset, "webhook_needs_key") for fieldset in found]
        if obj is not None and not obj.provider.retries_are_idempotent:  # the setting has no effect
            found = [_without(fieldset, "on_unknown") for fieldset in found]
        if obj is None or not obj.provider.settings or not self.has_change_permission(request, obj):
            return found
        names = tuple(account_settings.FIELD_PREFIX + setting.name for setting in obj.provider.settings)
        return [found[0], (_("The account at the provider"), {"fields": names}), *found[1:]]

    # --- the page ---

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        channel = self.get_object(request, object_id)
        extra = {"show_save_and_add_another": False, **(extra_context or {})}
        if channel is not None and self.has_view_permission(request, channel):
            extra |= channel_page.page_context(request, channel)
            extra |= {
                "may_change": self.has_change_permission(request, channel),
                **self.activity_context(request, channel),
            }
        return super().change_view(request, object_id, form_url, extra)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Suggest the archive for a channel that was used: its chats would be deleted with it."""
        channel = self.get_object(request, object_id)
        if channel is None or not channel.was_used or not self.has_delete_permission(request, channel):
            return super().delete_view(request, object_id, extra_context)
        messages.warning(
            request, _("A channel with chats cannot be deleted. Archive it instead: the button is on this page.")
        )
        return redirect("admin:channels_setup_apichannel_change", channel.pk)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(
            request,
            form_url,
            {"show_save_and_add_another": False, "show_save_and_continue": False, **(extra_context or {})},
        )

    def activity_context(self, request: HttpRequest, channel: ApiChannel) -> dict[str, Any]:
        """Return context for ``activity_template``. A subclass in ``bridge`` adds the channel's activity."""
        return {"activity_template": self.activity_template}

    def save_model(self, request: HttpRequest, obj: ApiChannel, form: Any, change: bool) -> None:
        if not change and obj.provider.has_training_phone:
            obj.state = ChannelState.LIVE  # no hand-over needed
        super().save_model(request, obj, form, change)
        if not change:
            obj.issue_secret()
            account_settings.generate_secrets(obj, provided={})
            request.session[channel_page.NEW_KEY_SESSION_KEY] = obj.pk
        else:
            account_settings.save_values(obj, account_settings.values_from_form(form.cleaned_data))
        for sentence in account_settings.unresolved_address_warnings(obj):
            self.message_user(request, sentence, messages.WARNING)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Redirect to the channel's page, which shows the new key once, whichever button was pressed."""
        generated = account_settings.generated_secrets(obj)
        self.message_user(
            request, _("Saved. Copy the verify token now.") if generated else _("Saved. Copy the secret key now.")
        )
        self.warn(request, obj)
        return redirect("admin:channels_setup_apichannel_change", obj.pk)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        self.message_user(request, _("Saved."))
        self.warn(request, obj)
        return redirect("admin:channels_setup_apichannel_change", obj.pk)

    def warn(self, request: HttpRequest, channel: ApiChannel) -> None:
        for sentence in save_warnings.api_channel_warnings(channel):
            self.message_user(request, sentence, messages.WARNING)

    # --- the buttons ---

    def get_urls(self) -> list[URLPattern]:
        route = path(
            "<int:pk>/actions/<slug:action>/",
            self.admin_site.admin_view(self.run_page_action),
            name="channels_setup_apichannel_action",
        )
        return [route, *super().get_urls()]

    def run_page_action(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """Run one of ``page_actions``."""
        return run_action(self, self.page_actions, request, pk, action)

    # --- the list ---

    @admin.display(description=_("state"), ordering="state")
    def state_shown(self, channel: ApiChannel) -> SafeString:
        state, label = ("draft", _("archived")) if channel.archived_at else (channel.state, channel.get_state_display())
        return format_html('<span class="pill {}">{}</span>', state, label)

    @admin.display(description=_("watches"))
    def watches(self, channel: ApiChannel) -> str:
        return ", ".join(str(chat_channel) for chat_channel in channel.watched.all())
