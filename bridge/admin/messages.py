"""Admin lists of messages and held replies."""

from __future__ import annotations

import json

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from bridge.models import Attachment, Delivery, HeldReply, Message
from channels_setup.codecs.whatsapp_markup import render_html

from .base import (
    ChoiceFilter,
    ReadOnlyAdmin,
    ReadOnlyInline,
    field_column,
    link_column,
    render_chat_link,
    render_link,
    render_pill,
    search_by_id,
    search_by_text,
)
from .deliveries import render_raw


class MessageStatusFilter(ChoiceFilter):
    title = _("status")
    parameter_name = "status"
    options = {
        "failed": (_("Not delivered"), lambda rows: rows.filter(status="failed")),
        "waiting": (_("Not sent yet"), lambda rows: rows.filter(status__in=["pending", "sending"])),
        "unknown": (_("May have been sent"), lambda rows: rows.filter(status="unknown")),
    }


class AttachmentInline(ReadOnlyInline):
    model = Attachment
    ordering = ("id",)
    fields = readonly_fields = ("name_shown", "type", "bytes", "address")

    name_shown = field_column("name", _("name"))
    type = field_column("mime", _("type"))
    bytes = field_column("size", _("bytes"))
    address = field_column("url", _("address"))


class DeliveryInline(ReadOnlyInline):
    model = Delivery
    fields = readonly_fields = ("number", "kind", "api_channel", "state", "attempts", "created", "finished")
    ordering = ("id",)

    number = link_column(_("number"))
    created = field_column("created_at", _("created"))
    finished = field_column("finished_at", _("finished"))


@admin.register(Message)
class MessageAdmin(ReadOnlyAdmin):
    list_display = ("id", "stored", "direction", "text_excerpt", "status_shown", "channel", "chat")
    list_display_links = ("id", "stored")
    list_select_related = ("api_channel", "conversation__contact")
    list_filter = (MessageStatusFilter, "api_channel")
    searches = (search_by_id("conversation_id"), search_by_text("external_id"))
    search_help_text = _("Message or chat number, or the full provider ID")
    chat_channel_path = "conversation__chat_channel"
    fields = (
        *("chat", "direction", "kind", "text_shown", "template_shown", "status_shown", "status_since", "reason_shown"),
        *("writer", "channel", "request_shown", "external_id", "sent_at", "stored"),
    )
    readonly_fields = fields
    inlines = (AttachmentInline, DeliveryInline)

    stored = field_column("created_at", _("stored"))
    sent_at = field_column("provider_time", _("provider's time"))
    status_since = field_column("status_at", _("status since"))
    channel = field_column("api_channel", _("API channel"))
    writer = field_column("author", _("author"))
    request_shown = field_column("ticket", _("request"))

    @admin.display(description=_("template"))
    def template_shown(self, message: Message) -> SafeString | str:
        return render_raw(json.dumps(message.template, ensure_ascii=False, indent=2)) if message.template else "–"

    @admin.display(description=_("text"))
    def text_excerpt(self, message: Message) -> str:
        text = message.localized_text or message.sentence
        return text if len(text) <= 80 else f"{text[:79]}…"

    @admin.display(description=_("text"))
    def text_shown(self, message: Message) -> SafeString | str:
        """Return the text formatted as in the desk."""
        return (
            format_html('<div class="text" dir="auto">{}</div>', render_html(message.localized_text))
            if message.localized_text
            else "–"
        )

    @admin.display(description=_("status"))
    def status_shown(self, message: Message) -> SafeString:
        return render_pill(message.status, message.get_status_display())

    @admin.display(description=_("reason"))
    def reason_shown(self, message: Message) -> str:
        return message.sentence or "–"

    @admin.display(description=_("chat"))
    def chat(self, message: Message) -> SafeString:
        return render_chat_link(message.conversation)


class HeldReplyStateFilter(ChoiceFilter):
    title = _("state")
    parameter_name = "state"
    options = {
        "held": (_("Waiting"), lambda rows: rows.filter(state=HeldReply.State.HELD)),
        "released": (_("Sent"), lambda rows: rows.filter(state=HeldReply.State.RELEASED)),
        "dropped": (_("Dropped"), lambda rows: rows.filter(state=HeldReply.State.DROPPED)),
    }


@admin.register(HeldReply)
class HeldReplyAdmin(ReadOnlyAdmin):
    list_display = ("id", "held_since", "text_excerpt", "state_shown", "drop_deadline", "writer", "chat")
    list_display_links = ("id", "held_since")
    list_select_related = ("author", "conversation__contact")
    list_filter = (HeldReplyStateFilter,)
    searches = (search_by_id("conversation_id"),)
    search_help_text = _("Held reply or chat number")
    chat_channel_path = "conversation__chat_channel"
    fields = (
        *("chat", "writer", "text", "state_shown", "held_since", "drop_deadline", "finished"),
        *("template_link", "message_link"),
    )
    readonly_fields = fields

    held_since = field_column("created_at", _("held since"))
    drop_deadline = field_column("drop_at", _("drop deadline"))
    finished = field_column("finished_at", _("finished"))
    writer = field_column("author", _("author"))

    @admin.display(description=_("text"))
    def text_excerpt(self, reply: HeldReply) -> str:
        return reply.text if len(reply.text) <= 80 else f"{reply.text[:79]}…"

    @admin.display(description=_("state"))
    def state_shown(self, reply: HeldReply) -> SafeString:
        return render_pill(reply.state, reply.get_state_display())

    @admin.display(description=_("chat"))
    def chat(self, reply: HeldReply) -> SafeString:
        return render_chat_link(reply.conversation)

    @admin.display(description=_("template sent"))
    def template_link(self, reply: HeldReply) -> SafeString | str:
        return render_link(reply.opening_template)

    @admin.display(description=_("resulting message"))
    def message_link(self, reply: HeldReply) -> SafeString | str:
        return render_link(reply.message)
