"""Messages in both directions, their files, statuses and corrections, and held replies."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from bridge import outcomes, phone_visibility
from channels_setup.codecs.message_extras import compose_text as localized_words
from channels_setup.models import ApiChannel
from channels_setup.models.redacted_fields import KeyRedactedJSONField, RedactedCharField

from . import file_names
from .contacts import Contact
from .conversations import Conversation, Ticket
from .search import build_message_vector

RECEIVED_LATE = timedelta(minutes=3)  # show the provider's time if a message arrived this late


class Message(models.Model):
    """A message from or to a contact, or a notice. Notices are the portal's messages to operators."""

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
        """Statuses move forward only, in the order of RANK. ``failed`` changes only to delivered or read."""

        RECEIVED = "received", _("received")
        PENDING = "pending", _("waiting to be sent")
        SENDING = "sending", _("being sent")
        UNKNOWN = "unknown", _("may have been sent")
        SENT = "sent", _("sent")
        FAILED = "failed", _("not delivered")
        DELIVERED = "delivered", _("delivered")
        READ = "read", _("read")

    RANK = {status: rank for rank, status in enumerate(Status.values)}

    conversation = models.ForeignKey(
        Conversation,
        on_delete=models.PROTECT,
        related_name="messages",
        db_index=False,  # messages_of_conversation
    )
    api_channel = models.ForeignKey(ApiChannel, on_delete=models.PROTECT, related_name="+")
    # Merged contact that sent or receives the message; null: the conversation's own contact.
    merged_contact = models.ForeignKey(
        Contact, null=True, on_delete=models.PROTECT, related_name="+", db_index=False, editable=False
    )
    ticket = models.ForeignKey(Ticket, null=True, on_delete=models.PROTECT, related_name="messages")
    direction = models.CharField(_("direction"), max_length=10, choices=Direction.choices)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices, default=Kind.TEXT)
    text = models.TextField(_("text"), blank=True)
    template = models.JSONField(_("template"), null=True)  # {"name", "language", "parameters": [...] or {...}}
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # messages_of_author
    )
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    provider_time = models.DateTimeField(_("provider's time"), null=True)
    created_at = models.DateTimeField(_("stored"), auto_now_add=True)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices)
    status_at = models.DateTimeField(_("status since"), null=True)
    reason = models.CharField(_("reason"), max_length=40, blank=True)  # a code of ``outcomes``
    details = KeyRedactedJSONField(default=dict, blank=True)  # values of the reason's sentence; the decision's context
    quoted = models.ForeignKey(  # quoted message, if stored; uses the partial index below
        "self", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    reactions = models.JSONField(default=list, blank=True)  # [{"by": "client" or "us", "emoji": "👍"}]
    shown = models.JSONField(default=dict, blank=True)  # what is more than text: see ``providers.base.MessageExtras``
    # Key of the desk's draft or form, so that a draft open in several tabs is sent once.
    form_key = models.CharField(max_length=64, blank=True, default="", db_default="")
    expired_at = models.DateTimeField(null=True, editable=False)  # its words were deleted: ``maintenance.retention``

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
            GinIndex(build_message_vector(), name="messages_by_text"),
            models.Index(
                fields=["api_channel", "status", "id"],
                condition=Q(status__in=["pending", "sending", "unknown", "failed"]),
                name="messages_unsettled",
            ),
            models.Index(
                fields=["api_channel", "created_at", "id"], condition=Q(expired_at=None), name="messages_to_expire"
            ),
            models.Index(fields=["quoted"], condition=Q(quoted__isnull=False), name="messages_quoting"),
            models.Index(fields=["author"], condition=Q(author__isnull=False), name="messages_of_author"),
            # A deleted contact is looked for here.
            models.Index(
                fields=["merged_contact"], condition=Q(merged_contact__isnull=False), name="messages_of_merged"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"

    @property
    def is_received_late(self) -> bool:
        """Return whether the message arrived RECEIVED_LATE or more after it was written.

        An implausible timestamp (``odd_clock``) does not count.
        """
        at = self.provider_time
        return at is not None and not self.details.get("odd_clock") and self.created_at - at >= RECEIVED_LATE

    @property
    def written_at(self) -> datetime:
        """Return the time to show: the provider's time for a late message, else the time of receipt."""
        return self.provider_time if self.provider_time is not None and self.is_received_late else self.created_at

    @property
    def localized_text(self) -> str:
        """Return the text and the content of ``shown`` in the active language."""
        return localized_words(self.text, self.shown) if isinstance(self.shown, dict) else self.text

    @property
    def reason_values(self) -> dict[str, Any]:
        """Return the values for the sentence of the message's or its delivery's reason."""
        return {"name": (self.template or {}).get("name", ""), **self.details}

    @property
    def sentence(self) -> str:
        """Return the sentence of the notice or failure in the active language."""
        return phone_visibility.visible_text(
            f"{self.sentence_without_error} {self.provider_error}".strip(), self.api_channel_id
        )

    @property
    def sentence_without_error(self) -> str:
        """Return the same sentence without the provider's code and title."""
        if not self.reason:
            return ""
        return phone_visibility.visible_text(
            outcomes.render_sentence(self.reason, self.reason_values), self.api_channel_id
        )

    @property
    def provider_error(self) -> str:
        """Return the provider's code and title of a failure, unless the sentence already contains them."""
        code = str(self.details.get("code") or "")
        if not code or self.reason == "provider_failed" or self.status != self.Status.FAILED:
            return ""
        title = outcomes.REPEATED_ERROR_CODE.sub("", str(self.details.get("title") or ""))
        return f"({' '.join(filter(None, [code, title]))})"


class Attachment(models.Model):
    """A file of a message: a link, a stored file, or waiting for its download (``inbound_downloads``)."""

    class State(models.TextChoices):
        AVAILABLE = "available", pgettext_lazy("file", "available")
        WAITING = "waiting", _("being downloaded")
        FAILED = "failed", _("download failed")
        EXPIRED = "expired", pgettext_lazy("file", "deleted")  # by ``maintenance.retention``

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attachments")
    url = models.CharField(max_length=2000, blank=True)
    file = models.FileField(upload_to=file_names.build_inbound_path, blank=True)
    name = models.CharField(max_length=200, blank=True)
    mime = models.CharField(max_length=100, blank=True)
    size = models.BigIntegerField(null=True)
    # Of a picture, as displayed; null if unknown, and for files stored before migration 0035.
    width = models.IntegerField(null=True, editable=False)
    height = models.IntegerField(null=True, editable=False)
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)  # hex; of a client's file: as stated by the provider
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.AVAILABLE)
    error = models.CharField(_("error"), max_length=40, blank=True)  # a code of ``outcomes``
    tries = models.SmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)  # next download attempt, while waiting

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="files_to_fetch"),
            models.Index(fields=["id"], condition=~Q(state="expired"), name="files_to_expire"),
        ]

    def __str__(self) -> str:
        return self.name or self.url


class StrayStatus(models.Model):
    """A status whose message is not known yet. It is applied when the message is stored; else it is reported."""

    api_channel = models.ForeignKey(
        ApiChannel,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,  # stray_by_external_id
    )
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
    """A reaction, edit or deletion whose message is not stored yet. It is applied when the message arrives.

    After a minute it is shown by itself (``shown_message``). It is still applied if the message arrives later.
    """

    class Kind(models.TextChoices):
        REACTION = "reaction", _("reaction")
        EDIT = "edit", _("edit")
        REVOKE = "revoke", _("deletion")

    api_channel = models.ForeignKey(
        ApiChannel,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,  # one_pending_correction
    )
    target_id = models.CharField(_("provider's id"), max_length=190)  # of the message that it is about
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    by_us = models.BooleanField(_("from the phone app"))
    contact = models.JSONField(default=dict)  # ``ContactInfo``
    text = models.TextField(_("text"), blank=True)  # the new text, or the emoji
    external_id = models.CharField(max_length=190, blank=True)  # of the correction itself
    at = models.DateTimeField(_("provider's time"), null=True)
    received_at = models.DateTimeField(_("received"), db_default=Now())
    is_shown = models.BooleanField(default=False, db_default=False)  # already shown by itself
    shown_message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")

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
    """A reply that waits until the contact writes and the window is open again."""

    class State(models.TextChoices):
        HELD = "held", _("held")
        RELEASED = "released", _("sent later")
        DROPPED = "dropped", _("dropped")

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="held_replies")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("author"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    text = models.TextField(_("text"))
    # Quoted message.
    quoted = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    # The template message that was sent meanwhile, and the message that the held text became.
    opening_template = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.HELD)
    created_at = models.DateTimeField(_("held since"), auto_now_add=True)
    drop_at = models.DateTimeField(_("drop deadline"))
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
