"""What was said, in either direction, and what becomes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from bridge import outcomes
from channels_setup.codecs.message_extras import compose_text as localized_words
from channels_setup.models import ApiChannel
from channels_setup.models.redacted_fields import KeyRedactedJSONField, RedactedCharField

from . import file_names
from .contacts import Contact
from .conversations import Conversation, Ticket
from .search import message_words

RECEIVED_LATE = timedelta(minutes=3)  # a message that reached us so long after it was written says so


class Message(models.Model):
    """What was said. Notices are our own word to the operator; they never leave the portal."""

    class Direction(models.TextChoices):
        INBOUND = "inbound", _("from the client")
        OUTBOUND = "outbound", _("to the client")
        NOTICE = "notice", _("notice")

    class Kind(models.TextChoices):
        TEXT = "text", _("text")
        TEMPLATE = "template", _("template")
        FILE = "file", _("file")
        NOTICE = "notice", _("notice")

    class Status(models.TextChoices):
        """Forward only, in the order of RANK; ``failed`` gives way to a later proof of delivery alone."""

        RECEIVED = "received", _("received")
        PENDING = "pending", _("waiting to be sent")
        SENDING = "sending", _("being sent")
        UNKNOWN = "unknown", _("may have been sent")
        SENT = "sent", _("sent")
        FAILED = "failed", _("not delivered")
        DELIVERED = "delivered", _("delivered")
        READ = "read", _("read")

    RANK = {status: rank for rank, status in enumerate(Status.values)}

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="messages")
    api_channel = models.ForeignKey(ApiChannel, on_delete=models.PROTECT, related_name="+")
    # The merged contact that it came from or goes to; null: the conversation's own contact.
    merged_contact = models.ForeignKey(
        Contact, null=True, on_delete=models.PROTECT, related_name="+", db_index=False, editable=False
    )
    ticket = models.ForeignKey(Ticket, null=True, on_delete=models.PROTECT, related_name="messages")
    direction = models.CharField(_("direction"), max_length=10, choices=Direction.choices)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.TEXT)
    text = models.TextField(_("text"), blank=True)
    template = models.JSONField(_("template"), null=True)  # {"name", "language", "parameters": [...] or {...}}
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    provider_time = models.DateTimeField(_("provider's time"), null=True)
    created_at = models.DateTimeField(_("stored"), auto_now_add=True)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices)
    status_at = models.DateTimeField(_("status since"), null=True)
    reason = models.CharField(_("reason"), max_length=40, blank=True)  # a code of ``outcomes``
    details = KeyRedactedJSONField(default=dict, blank=True)  # what the reason's sentence needs; why it was decided so
    quoted = models.ForeignKey(  # the message it answers, where we have it; its index is the partial one below
        "self", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    reactions = models.JSONField(default=list, blank=True)  # [{"by": "client" or "us", "emoji": "👍"}]
    shown = models.JSONField(default=dict, blank=True)  # what is more than text: see ``providers.base.MessageExtras``
    # The key of the desk's draft or form that became this message. A draft is sent once, from however many tabs.
    form_key = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        constraints = [
            models.UniqueConstraint(
                fields=["api_channel", "external_id"],
                condition=~Q(external_id=""),
                name="one_message_per_external_id",
            ),
            models.UniqueConstraint(
                fields=["conversation", "form_key"], condition=~Q(form_key=""), name="one_message_per_form_key"
            ),
        ]
        indexes = [
            models.Index(fields=["conversation", "id"], name="messages_of_conversation"),
            BrinIndex(fields=["created_at"], name="messages_by_time", autosummarize=True),
            GinIndex(message_words(), name="messages_by_words"),
            models.Index(
                fields=["api_channel", "status", "id"],
                condition=Q(status__in=["pending", "sending", "unknown", "failed"]),
                name="messages_unsettled",
            ),
            models.Index(fields=["quoted"], condition=Q(quoted__isnull=False), name="messages_quoting"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"

    @property
    def is_received_late(self) -> bool:
        """Whether it reached us so long after it was written that readers must be told.

        A stamp too odd to be believed does not count.
        """
        at = self.provider_time
        return at is not None and not self.details.get("odd_clock") and self.created_at - at >= RECEIVED_LATE

    @property
    def written_at(self) -> datetime:
        """The time to show: the provider's for a message that was received late, else that of receipt."""
        return self.provider_time if self.provider_time is not None and self.is_received_late else self.created_at

    @property
    def localized_text(self) -> str:
        """All that was said, in the reader's language: the text, and what ``shown`` adds in codes."""
        return localized_words(self.text, self.shown) if isinstance(self.shown, dict) else self.text

    @property
    def reason_values(self) -> dict[str, Any]:
        """What the sentence of its reason, or of its delivery's, may need."""
        return {"name": (self.template or {}).get("name", ""), **self.details}

    @property
    def sentence(self) -> str:
        """The notice or the failure in words, in the reader's language."""
        if not self.reason:
            return ""
        said = outcomes.render_sentence(self.reason, self.reason_values)
        return f"{said} {self.provider_words}".strip()

    @property
    def provider_words(self) -> str:
        """Code and title of a failure as the provider put them, where our sentence does not hold them."""
        code = str(self.details.get("code") or "")
        if not code or self.reason == "provider_failed" or self.status != self.Status.FAILED:
            return ""
        title = outcomes.REPEATED_ERROR_CODE.sub("", str(self.details.get("title") or ""))
        return f"({' '.join(filter(None, [code, title]))})"


class Attachment(models.Model):
    """A file of a message: by link, stored here, or still to be fetched from the provider (``inbound_downloads``)."""

    class State(models.TextChoices):
        HERE = "here", _("here")
        WAITING = "waiting", _("being fetched")
        FAILED = "failed", _("could not be fetched")

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attachments")
    url = models.CharField(max_length=2000, blank=True)
    file = models.FileField(upload_to=file_names.inbound, blank=True)
    name = models.CharField(max_length=200, blank=True)
    mime = models.CharField(max_length=100, blank=True)
    size = models.BigIntegerField(null=True)
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)  # hex: of a client's, as the provider says it
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.HERE)
    error = models.CharField(_("error"), max_length=40, blank=True)  # a code of ``outcomes``
    tries = models.SmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)  # of one that waits: when it is fetched next

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        indexes = [models.Index(fields=["due_at"], condition=Q(state="waiting"), name="files_to_fetch")]

    def __str__(self) -> str:
        return self.name or self.url


class StrayStatus(models.Model):
    """A status whose message is not known yet: it waits to be joined, and is reported when it stays alone."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="+")
    external_id = models.CharField(max_length=190)
    status = models.CharField(max_length=10, choices=Message.Status.choices)
    at = models.DateTimeField(null=True)
    code = models.CharField(max_length=40, blank=True)
    title = RedactedCharField(max_length=300, blank=True)
    reason = models.CharField(max_length=40, blank=True)
    details = RedactedCharField(max_length=500, blank=True)
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("status without a message")
        verbose_name_plural = _("statuses without a message")
        indexes = [models.Index(fields=["api_channel", "external_id"], name="stray_by_external_id")]

    def __str__(self) -> str:
        return f"{self.external_id} {self.status}"


class PendingCorrection(models.Model):
    """A reaction, edit or deletion whose message is not here yet: it waits, and is applied when the message comes.

    One that waits for long is shown as what it is (``line``); it is still applied if the message comes after all.
    """

    class Kind(models.TextChoices):
        REACTION = "reaction", _("reaction")
        EDIT = "edit", _("edit")
        REVOKE = "revoke", _("deletion")

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="+")
    target_id = models.CharField(_("provider's id"), max_length=190)  # of the message that it is about
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    by_us = models.BooleanField(_("from the phone app"))
    contact = models.JSONField(default=dict)  # ``ContactInfo``
    text = models.TextField(_("text"), blank=True)  # the new text, or the emoji
    external_id = models.CharField(max_length=190, blank=True)  # of the correction itself
    at = models.DateTimeField(_("provider's time"), null=True)
    received_at = models.DateTimeField(_("received"), db_default=Now())
    is_shown = models.BooleanField(default=False, db_default=False)  # nothing more to show while it waits
    line = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        verbose_name = _("correction without a message")
        verbose_name_plural = _("corrections without a message")
        constraints = [
            models.UniqueConstraint(
                fields=["api_channel", "target_id", "kind", "by_us", "external_id"], name="one_pending_correction"
            )
        ]
        indexes = [models.Index(fields=["received_at"], name="pending_corrections_by_age")]

    def __str__(self) -> str:
        return f"{self.kind} {self.target_id}"


class HeldReply(models.Model):
    """A reply that no template can say: it waits until the contact writes and the window is open again."""

    class State(models.TextChoices):
        HELD = "held", _("held")
        RELEASED = "released", _("sent after all")
        DROPPED = "dropped", _("dropped")

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="held_replies")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("author"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    text = models.TextField(_("text"))
    # The message that it quotes.
    quoted = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    # The template that went out meanwhile («you have an answer»), and what the held text became in the end.
    opener = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.HELD)
    created_at = models.DateTimeField(_("held since"), auto_now_add=True)
    drop_at = models.DateTimeField(_("dropped at the latest"))
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("held reply")
        verbose_name_plural = _("held replies")
        indexes = [
            models.Index(fields=["conversation", "id"], condition=Q(state="held"), name="held_of_conversation"),
            models.Index(fields=["drop_at"], condition=Q(state="held"), name="held_due"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"
