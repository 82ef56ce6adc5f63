"""What the stations write down. The constraints here are the promises; the code only keeps them pleasant.

Locks are always taken in this order: conversation, window, ticket, delivery, message.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.codecs import chat_events
from channels_setup.models import ApiChannel, ChatChannel

from . import reasons
from .words import contact_words, message_words

AT_WORK = (chat_events.OPEN, chat_events.NEW)  # statuses of a request that somebody must do something about


class Contact(models.Model):
    """A customer, as one API channel knows them: by the provider's id, by the id they have with this business alone,
    or by both (``contacts`` says how the two are linked). A phone may be absent."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.PROTECT, related_name="contacts")
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    phone = models.CharField(_("phone"), max_length=32, blank=True)
    name = models.CharField(pgettext_lazy("person", "name"), max_length=200, blank=True)
    email = models.CharField(_("email"), max_length=200, blank=True)
    user_id = models.CharField(_("id with this business"), max_length=160, blank=True)
    created_at = models.DateTimeField(_("first seen"), auto_now_add=True)
    tags = models.JSONField(_("tags"), default=list, blank=True)  # words that operators put on this person
    erased_at = models.DateTimeField(_("erased"), null=True)

    class Meta:
        verbose_name = _("contact")
        verbose_name_plural = _("contacts")
        permissions = [("erase_contact", _("Can erase a person and all that is known of them"))]
        constraints = [
            models.UniqueConstraint(
                fields=["api_channel", "external_id"],
                condition=~Q(external_id=""),
                name="one_contact_per_provider_id",
            ),
            models.UniqueConstraint(
                fields=["api_channel", "user_id"], condition=~Q(user_id=""), name="one_contact_per_user_id"
            ),
        ]
        indexes = [
            models.Index(fields=["api_channel", "phone"], condition=~Q(phone=""), name="contact_by_phone"),
            GinIndex(contact_words(), name="contacts_by_words"),
        ]

    def __str__(self) -> str:
        return self.name or self.phone or self.external_id or self.user_id or f"{self.pk}"

    @property
    def initials(self) -> str:
        words = [word for word in self.name.split() if word[0].isalnum()]
        return "".join(word[0] for word in words[:2]).upper() or "·"


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def seen_by(self, user: Any) -> ConversationQuerySet:
        """Those this user may see: admins all, operators the ones in their chat channels."""
        return self.filter(chat_channel__in=ChatChannel.objects.all().seen_by(user))


class Conversation(models.Model):
    """One contact on one API channel in one chat channel. It lives for ever; requests come and go inside it."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.PROTECT, related_name="conversations")
    # Neither needs an index of its own: conversations_newest and the uniqueness below begin with them.
    chat_channel = models.ForeignKey(
        ChatChannel, on_delete=models.PROTECT, related_name="conversations", db_index=False
    )
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="conversations", db_index=False)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("assignee"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # conversations_of_assignee begins with it
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    # The last words and where the request stands, kept here so that a list of a million chats needs no join:
    # the live request's status (``Ticket.Status``), else that of the one that ended last.
    request_status = models.SmallIntegerField(null=True, editable=False)
    last_message_at = models.DateTimeField(_("last message"), db_default=Now())
    last_text = models.CharField(max_length=200, blank=True)
    last_direction = models.CharField(max_length=10, blank=True)
    unread = models.IntegerField(_("unread"), default=0)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        constraints = [
            models.UniqueConstraint(fields=["contact", "chat_channel"], name="one_conversation_per_contact_and_channel")
        ]
        indexes = [
            models.Index(fields=["chat_channel", "-last_message_at", "-id"], name="conversations_newest"),
            models.Index(fields=["-last_message_at", "-id"], name="conversations_newest_of_all"),
            # The lists of the desk, each a short index of its own (see ``desk.listing``).
            models.Index(
                fields=["chat_channel", "-last_message_at", "-id"],
                condition=Q(last_direction="inbound", request_status__in=AT_WORK),
                name="conversations_waiting",
            ),
            models.Index(
                fields=["chat_channel", "-last_message_at", "-id"],
                condition=Q(assignee=None, request_status__in=AT_WORK),
                name="conversations_unassigned",
            ),
            models.Index(
                fields=["assignee", "-last_message_at", "-id"],
                condition=Q(assignee__isnull=False),
                include=["chat_channel", "request_status"],
                name="conversations_of_assignee",
            ),
            models.Index(
                fields=["chat_channel", "request_status", "-last_message_at", "-id"], name="conversations_by_status"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class Ticket(models.Model):
    """One case inside a conversation (запрос). A closed one and a new message make the next."""

    class Status(models.IntegerChoices):
        OPEN = chat_events.OPEN, _("open")
        SOLVED = chat_events.SOLVED, _("solved")
        CLOSED = chat_events.CLOSED, _("closed")
        DELETED = chat_events.DELETED, _("deleted")
        ON_HOLD = chat_events.ON_HOLD, _("on hold")
        PENDING = chat_events.PENDING, _("pending")
        SPAM = chat_events.SPAM, _("spam")
        NEW = chat_events.NEW, _("new")
        MAILING = chat_events.MAILING, _("mailing")
        MERGED = chat_events.MERGED, _("merged")

    # A message after one of these makes a new ticket; a solved one is opened again.
    ENDED = (Status.CLOSED, Status.DELETED, Status.SPAM, Status.MERGED)

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="tickets")
    status = models.SmallIntegerField(_("status"), choices=Status.choices, default=Status.NEW)
    subject = models.CharField(_("subject"), max_length=200, blank=True)
    first_text = models.TextField(blank=True)  # the first message: what ``ticket.message`` carries in events
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("assignee"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # tickets_of_assignee begins with it
    )
    external_id = models.BigIntegerField(_("number in the helpdesk"), null=True)  # of an outside one
    opened_at = models.DateTimeField(_("opened"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)
    first_answer_at = models.DateTimeField(_("first answer"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed"), null=True, blank=True)

    class Meta:
        verbose_name = _("request")
        verbose_name_plural = _("requests")
        constraints = [
            models.UniqueConstraint(
                fields=["conversation"],
                condition=~Q(
                    status__in=[chat_events.CLOSED, chat_events.DELETED, chat_events.SPAM, chat_events.MERGED]
                ),
                name="one_live_ticket_per_conversation",
            )
        ]
        indexes = [
            models.Index(fields=["-opened_at", "-id"], name="tickets_newest"),
            models.Index(fields=["status", "-opened_at", "-id"], name="tickets_by_status"),
            models.Index(
                fields=["-opened_at", "-id"],
                condition=~Q(
                    status__in=[chat_events.CLOSED, chat_events.DELETED, chat_events.SPAM, chat_events.MERGED]
                ),
                name="tickets_live",
            ),
            models.Index(
                fields=["assignee", "-opened_at", "-id"],
                condition=Q(assignee__isnull=False),
                name="tickets_of_assignee",
            ),
            models.Index(fields=["external_id"], condition=Q(external_id__isnull=False), name="tickets_by_external_id"),
        ]

    def __str__(self) -> str:
        return f"№ {self.pk}"


class ServiceWindow(models.Model):
    """The time in which free text may go out. Each is a row, so that missed windows are a query."""

    class State(models.TextChoices):
        OPEN = "open", pgettext_lazy("window", "open")
        SHUT = "shut", pgettext_lazy("window", "shut")

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="windows")
    opened_at = models.DateTimeField(pgettext_lazy("window", "opened"))
    expires_at = models.DateTimeField(_("expires"))
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.OPEN)
    opened_by = models.ForeignKey("Message", null=True, on_delete=models.SET_NULL, related_name="+")
    first_reply_at = models.DateTimeField(_("first reply"), null=True)
    warned_at = models.DateTimeField(_("warned"), null=True)
    warned_mark = models.IntegerField(null=True, editable=False)  # minutes; the nearest that was warned of
    # Written when it shuts, for the report: did the client's last words stay unanswered, and whose chat was it then?
    missed = models.BooleanField(_("missed"), null=True)
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )

    class Meta:
        verbose_name = _("service window")
        verbose_name_plural = _("service windows")
        constraints = [
            models.UniqueConstraint(fields=["conversation"], condition=Q(state="open"), name="one_open_window"),
            models.CheckConstraint(condition=Q(expires_at__gt=F("opened_at")), name="window_expires_after_it_opens"),
        ]
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="open"), name="windows_due"),
            models.Index(fields=["conversation", "-expires_at"], name="windows_of_conversation"),
            models.Index(fields=["expires_at"], condition=Q(missed=True), name="windows_missed"),
            models.Index(
                fields=["expires_at"], condition=Q(state="shut"), include=["conversation"], name="windows_shut"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.opened_at:%Y-%m-%d %H:%M}–{self.expires_at:%Y-%m-%d %H:%M}"


class WindowWarning(models.Model):
    """Operators were told that a window closes soon. Once for a mark; a window that was prolonged begins anew."""

    window = models.ForeignKey(ServiceWindow, on_delete=models.CASCADE, related_name="warnings", db_index=False)
    expires_at = models.DateTimeField()  # as it stood: another time is another warning
    mark = models.IntegerField()  # minutes
    chat_channel = models.ForeignKey(ChatChannel, on_delete=models.CASCADE, related_name="+", db_index=False)
    # Whom it is for; nobody: for all who answer in the channel.
    assignee = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("window warning")
        verbose_name_plural = _("window warnings")
        constraints = [
            models.UniqueConstraint(fields=["window", "expires_at", "mark"], name="one_warning_for_window_and_mark")
        ]
        indexes = [models.Index(fields=["created_at"], name="warnings_by_age")]

    def __str__(self) -> str:
        return f"{self.window_id} {self.mark}"


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
    reason = models.CharField(_("reason"), max_length=40, blank=True)  # a code of ``reasons``
    details = models.JSONField(default=dict, blank=True)  # what the reason's sentence needs; why it was decided so
    quoted = models.ForeignKey(  # the message it answers, where we have it; its index is the partial one below
        "self", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    reactions = models.JSONField(default=list, blank=True)  # [{"by": "client" or "us", "emoji": "👍"}]
    shown = models.JSONField(default=dict, blank=True)  # what is more than text: see ``providers.base.Shown``

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        constraints = [
            models.UniqueConstraint(
                fields=["api_channel", "external_id"],
                condition=~Q(external_id=""),
                name="one_message_per_external_id",
            )
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
    def sentence(self) -> str:
        """The notice or the failure in words, in the reader's language."""
        if not self.reason:
            return ""
        said = reasons.sentence(self.reason, {"name": (self.template or {}).get("name", ""), **self.details})
        return f"{said} {self.provider_words}".strip()

    @property
    def provider_words(self) -> str:
        """Code and title of a failure as the provider put them, where our sentence does not hold them."""
        code = str(self.details.get("code") or "")
        if not code or self.reason == "provider_failed" or self.status != self.Status.FAILED:
            return ""
        return f"({' '.join(filter(None, [code, str(self.details.get('title') or '')]))})"


class Attachment(models.Model):
    """A file of a message: by link, stored here, or still to be fetched from the provider (``media``)."""

    class State(models.TextChoices):
        HERE = "here", _("here")
        WAITING = "waiting", _("being fetched")
        FAILED = "failed", _("could not be fetched")

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="attachments")
    url = models.CharField(max_length=2000, blank=True)
    file = models.FileField(upload_to="inbound/%Y/%m/%d/", blank=True)
    name = models.CharField(max_length=200, blank=True)
    mime = models.CharField(max_length=100, blank=True)
    size = models.BigIntegerField(null=True)
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)  # hex, as the provider says it
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.HERE)
    error = models.CharField(_("error"), max_length=40, blank=True)  # a code of ``reasons``
    tries = models.SmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)  # of one that waits: when it is fetched next

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        indexes = [models.Index(fields=["due_at"], condition=Q(state="waiting"), name="files_to_fetch")]

    def __str__(self) -> str:
        return self.name or self.url


class ContactNote(models.Model):
    """What operators tell each other of a person; the person never sees it."""

    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("author"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    text = models.TextField(_("text"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("note")
        verbose_name_plural = _("notes")

    def __str__(self) -> str:
        return f"{self.pk}"


class Erasure(models.Model):
    """The receipt of an erasure (``erasing``): who, when, and how many rows of what; nothing of the person."""

    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="erasures")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(_("at"), auto_now_add=True)
    counts = models.JSONField(_("what went"), default=dict)

    class Meta:
        verbose_name = _("erasure")
        verbose_name_plural = _("erasures")

    def __str__(self) -> str:
        return f"{self.pk}"


class ErasedMessage(models.Model):
    """That a provider's message was erased: its fingerprint, so that a late redelivery does not bring it back."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="+")
    fingerprint = models.BinaryField(max_length=32)

    class Meta:
        verbose_name = _("erased message")
        verbose_name_plural = _("erased messages")
        constraints = [models.UniqueConstraint(fields=["api_channel", "fingerprint"], name="one_erased_message")]

    def __str__(self) -> str:
        return f"{self.pk}"


class QuickAnswer(models.Model):
    """A text that is said often; see ``quick_answers`` for its variables."""

    name = models.CharField(pgettext_lazy("thing", "name"), max_length=80)
    text = models.TextField(
        _("text"),
        max_length=4096,
        help_text=_(
            # xgettext:no-python-brace-format
            "Variables: {first name}, {client name}, {operator}, {request}, {channel}. What is not known is left out."
        ),
    )
    chat_channels = models.ManyToManyField(
        ChatChannel, verbose_name=_("chat channels"), blank=True, related_name="+", help_text=_("None: all of them.")
    )
    is_used = models.BooleanField(_("in use"), default=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("quick answer")
        verbose_name_plural = _("quick answers")

    def __str__(self) -> str:
        return self.name


class Upload(models.Model):
    """A file that an operator gave (``uploads``): sent as a file, or handed out by a link that expires."""

    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="uploads")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("author"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    # The message with which it went as a file; one that is handed out by its link has none.
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    file = models.FileField(upload_to="outbound/%Y/%m/%d/")
    name = models.CharField(max_length=200)
    mime = models.CharField(max_length=100)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    expires_at = models.DateTimeField(_("expires"))
    downloads = models.IntegerField(_("downloads"), default=0)
    downloaded_at = models.DateTimeField(_("last download"), null=True)

    class Meta:
        verbose_name = _("given file")
        verbose_name_plural = _("given files")
        indexes = [
            models.Index(fields=["conversation", "-id"], name="uploads_of_conversation"),
            models.Index(fields=["expires_at"], condition=Q(message=None), name="uploads_due"),
        ]

    def __str__(self) -> str:
        return self.name


def new_delivery_key() -> str:
    return f"msg_{uuid.uuid4().hex}"


class Delivery(models.Model):
    """One thing to hand to one destination. Same key and same content at every try.

    ``next_attempt_at`` is when it is due; while it is being sent it is the end of the lease, so that a claim whose
    worker died becomes due by itself. ``lease_token`` fences: only who holds it may write the result.
    """

    class Kind(models.TextChoices):
        MESSAGE = "message", _("message to the contact")
        EVENT = "event", _("event for a watcher")
        HELPDESK = "helpdesk", _("message to the helpdesk")
        NOTE = "note", _("note to the helpdesk's operators")

    class State(models.TextChoices):
        PENDING = "pending", _("waiting")
        SENDING = "sending", _("being sent")
        DELIVERED = "delivered", _("handed over")
        UNKNOWN = "unknown", _("outcome unknown")
        CANCELLED = "cancelled", _("cancelled")
        DEAD = "dead", _("given up")

    UNFINISHED = (State.PENDING, State.SENDING)

    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    conversation = models.ForeignKey(Conversation, on_delete=models.PROTECT, related_name="deliveries")
    message = models.ForeignKey(Message, null=True, on_delete=models.PROTECT, related_name="deliveries")
    api_channel = models.ForeignKey(
        ApiChannel, verbose_name=_("destination"), on_delete=models.PROTECT, related_name="deliveries"
    )
    # The helpdesk it goes to, where it goes to one; ``api_channel`` is then the conversation's.
    chat_channel = models.ForeignKey(ChatChannel, null=True, on_delete=models.PROTECT, related_name="deliveries")
    track = models.CharField(_("event"), max_length=60, blank=True)  # which tracked kinds it answers to
    key = models.CharField(_("key"), max_length=40, unique=True, default=new_delivery_key, editable=False)
    payload = models.JSONField(_("content"))
    free_text = models.BooleanField(default=False)  # may go out only while the window is open
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.IntegerField(_("attempts"), default=0)
    attempts_before = models.IntegerField(default=0)  # made before it was last sent again: the timetable starts anew
    next_attempt_at = models.DateTimeField(_("next attempt"), db_default=Now())
    lease_token = models.UUIDField(null=True, editable=False)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        indexes = [
            BrinIndex(fields=["created_at"], name="deliveries_by_time", autosummarize=True),
            models.Index(
                fields=["api_channel", "next_attempt_at", "id"],
                condition=Q(state__in=["pending", "sending"], chat_channel__isnull=True),
                name="deliveries_due",
            ),
            models.Index(
                fields=["api_channel", "conversation", "kind", "id"],
                condition=Q(state__in=["pending", "sending"]),
                name="deliveries_in_line",
            ),
            models.Index(fields=["api_channel"], condition=Q(state="sending"), name="deliveries_in_flight"),
            models.Index(
                fields=["state", "-id"],
                condition=Q(state__in=["dead", "unknown", "cancelled"]),
                name="deliveries_not_made",
            ),
            models.Index(
                fields=["chat_channel", "next_attempt_at", "id"],
                condition=Q(state__in=["pending", "sending"], chat_channel__isnull=False),
                name="deliveries_to_helpdesks",
            ),
        ]

    def __str__(self) -> str:
        return self.key


class DeadLetter(Delivery):
    """A delivery that did not get through, with a page of its own: given up, unknown or cancelled."""

    STATES = (Delivery.State.DEAD, Delivery.State.UNKNOWN, Delivery.State.CANCELLED)

    class Meta:
        proxy = True
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")


class Replay(models.Model):
    """Many dead letters sent again or put aside at one word, in batches by a task; see ``replay_many``."""

    class What(models.TextChoices):
        AGAIN = "again", _("send again")
        DISCARD = "discard", _("put aside")

    what = models.CharField(_("what"), max_length=10, choices=What.choices)
    chosen = models.JSONField(_("chosen"))  # the filter, as ``replay_many.Chosen`` reads it
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    total = models.IntegerField(_("of"))
    done = models.IntegerField(_("done"), default=0)
    left_out = models.JSONField(_("left out"), default=dict)  # code of the forecast -> how many
    reached = models.BigIntegerField(default=0)  # deliveries up to this id have had their turn
    last = models.BigIntegerField()  # the newest delivery that was there when it began
    created_at = models.DateTimeField(_("begun"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("replay")
        verbose_name_plural = _("replays")
        indexes = [models.Index(fields=["id"], condition=Q(finished_at=None), name="replays_at_work")]

    def __str__(self) -> str:
        return f"{self.pk}"


class Ruling(models.Model):
    """What a person decided about a delivery in trouble. Its tries up to ``attempts`` belong to the life before."""

    class What(models.TextChoices):
        AGAIN = "again", _("sent again")
        DISCARD = "discard", _("put aside")
        LEAVE = "leave", _("left as it is")

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="rulings")
    what = models.CharField(_("what"), max_length=10, choices=What.choices)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(_("when"), auto_now_add=True)
    was_state = models.CharField(_("it was"), max_length=10, choices=Delivery.State.choices)
    was_reason = models.CharField(_("reason"), max_length=40, blank=True)
    attempts = models.IntegerField(_("attempts until then"))
    replay = models.ForeignKey(Replay, null=True, on_delete=models.SET_NULL, related_name="rulings")

    class Meta:
        verbose_name = _("decision")
        verbose_name_plural = _("decisions")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.delivery_id} {self.what}"


class Attempt(models.Model):
    """One try of a delivery: when, how long, what came back (cut and redacted)."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="tries")
    number = models.IntegerField(_("number"))
    started_at = models.DateTimeField(_("started"))
    duration_ms = models.IntegerField(_("took, ms"))
    http_status = models.IntegerField(_("HTTP status"), null=True)
    verdict = models.CharField(_("verdict"), max_length=10)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    answer = models.TextField(_("answer"), blank=True)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.number}"


class WebhookEvent(models.Model):
    """A raw request, exactly as received (but for our own secret key, which is blotted out)."""

    class State(models.TextChoices):
        NEW = "new", _("waiting")
        PROCESSED = "processed", _("processed")
        FAILED = "failed", _("failed")

    api_channel = models.ForeignKey(
        ApiChannel, verbose_name=_("API channel"), null=True, on_delete=models.PROTECT, related_name="webhook_events"
    )
    chat_channel = models.ForeignKey(  # where the helpdesk sent it
        ChatChannel, verbose_name=_("chat channel"), null=True, on_delete=models.PROTECT, related_name="webhook_events"
    )
    endpoint = models.CharField(_("endpoint"), max_length=60)
    method = models.CharField(max_length=10, default="POST")
    query_string = models.TextField(blank=True)
    content_type = models.CharField(_("content type"), max_length=200, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    received_at = models.DateTimeField(_("received"), auto_now_add=True)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.NEW)
    attempts = models.IntegerField(_("attempts"), default=0)
    error = models.TextField(_("error"), blank=True)
    traceback = models.TextField(blank=True)
    processed_at = models.DateTimeField(_("processed"), null=True)

    class Meta:
        verbose_name = _("webhook event")
        verbose_name_plural = _("webhook events")
        indexes = [
            models.Index(fields=["api_channel", "id"], condition=Q(state="new"), name="events_waiting"),
            models.Index(fields=["chat_channel", "id"], condition=Q(state="new"), name="desk_events_waiting"),
            models.Index(fields=["-id"], condition=Q(state="failed"), name="events_failed"),
            models.Index(fields=["received_at"], name="events_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class HelpdeskChat(models.Model):
    """A conversation as an outside helpdesk knows it: its numbers there, learned from answers and events."""

    conversation = models.OneToOneField(
        Conversation, primary_key=True, on_delete=models.CASCADE, related_name="helpdesk_chat"
    )
    chat_channel = models.ForeignKey(ChatChannel, on_delete=models.PROTECT, related_name="+")
    chat_id = models.BigIntegerField(null=True)
    client_id = models.BigIntegerField(null=True)
    ticket_id = models.BigIntegerField(null=True)  # the newest one's
    assignee = models.CharField(_("assignee there"), max_length=40, blank=True)
    updated = models.CharField(max_length=40, blank=True)  # the helpdesk's stamp of what we last followed

    class Meta:
        verbose_name = _("chat in the helpdesk")
        verbose_name_plural = _("chats in the helpdesk")
        constraints = [
            models.UniqueConstraint(
                fields=["chat_channel", "chat_id"],
                condition=Q(chat_id__isnull=False),
                name="one_conversation_per_chat_id",
            )
        ]
        indexes = [
            models.Index(fields=["chat_channel", "ticket_id"], name="helpdesk_by_ticket"),
            models.Index(fields=["chat_channel", "client_id"], name="helpdesk_by_client"),
        ]

    def __str__(self) -> str:
        return f"{self.chat_id}"


class HelpdeskReply(models.Model):
    """An operator's reply as it came from an outside helpdesk, by its identity there: see ``helpdesk.identity``.

    The same reply may come as a chat event (``content``, ``ordinal``) and as a comment (``comment_id``).
    """

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+")
    content = models.CharField(max_length=64, blank=True)  # a digest of all that its chat event says
    ordinal = models.IntegerField(default=0)  # the how-manieth equal event of its burst
    comment_id = models.CharField(max_length=60, blank=True)
    words = models.CharField(max_length=64)  # a digest of the text alone: what ties event and comment together
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    came_at = models.DateTimeField()

    class Meta:
        verbose_name = _("reply from the helpdesk")
        verbose_name_plural = _("replies from the helpdesk")
        constraints = [
            models.UniqueConstraint(
                fields=["conversation", "content", "ordinal"], condition=~Q(content=""), name="one_reply_per_event"
            ),
            models.UniqueConstraint(
                fields=["conversation", "comment_id"], condition=~Q(comment_id=""), name="one_reply_per_comment"
            ),
        ]
        indexes = [
            models.Index(fields=["conversation", "words", "came_at"], name="replies_by_words"),
            models.Index(fields=["came_at"], name="replies_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class HelpdeskBurst(models.Model):
    """Equal events that came close together: how many so far, to number them by."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="+")
    content = models.CharField(max_length=64)
    began_at = models.DateTimeField()
    count = models.IntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["conversation", "content"], name="one_burst_at_a_time")]
        indexes = [models.Index(fields=["began_at"], name="bursts_by_age")]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.count}"


class HelpdeskLine(models.Model):
    """How the line to an outside helpdesk stands: what was seen of it, and whether it rests after failures."""

    chat_channel = models.OneToOneField(
        ChatChannel, primary_key=True, on_delete=models.CASCADE, related_name="helpdesk_line"
    )
    seen = models.JSONField(default=dict)  # kind of event -> when the first of it came
    test = models.JSONField(default=dict)  # the dry-run: its token, whether its event came back, its chat
    last_event_at = models.DateTimeField(_("last event"), null=True)
    last_told_at = models.DateTimeField(_("last taken by the helpdesk"), null=True)
    rests_until = models.DateTimeField(_("rests until"), null=True)
    in_a_row = models.IntegerField(_("failures in a row"), default=0)
    last_error = models.CharField(_("last error"), max_length=40, blank=True)
    last_error_at = models.DateTimeField(_("last error at"), null=True)

    class Meta:
        verbose_name = _("line to the helpdesk")
        verbose_name_plural = _("lines to the helpdesk")

    def __str__(self) -> str:
        return f"{self.chat_channel_id}"


class StrayStatus(models.Model):
    """A status whose message is not known yet: it waits to be joined, and is reported when it stays alone."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="+")
    external_id = models.CharField(max_length=190)
    status = models.CharField(max_length=10, choices=Message.Status.choices)
    at = models.DateTimeField(null=True)
    code = models.CharField(max_length=40, blank=True)
    title = models.CharField(max_length=300, blank=True)
    reason = models.CharField(max_length=40, blank=True)
    details = models.CharField(max_length=500, blank=True)
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("status without a message")
        verbose_name_plural = _("statuses without a message")
        indexes = [models.Index(fields=["api_channel", "external_id"], name="stray_by_external_id")]

    def __str__(self) -> str:
        return f"{self.external_id} {self.status}"


class Draft(models.Model):
    """What an operator wrote and has not sent, or could not send (then ``reason`` says why)."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="drafts")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    text = models.TextField()
    reason = models.CharField(max_length=40, blank=True)
    details = models.JSONField(default=dict, blank=True)  # what the reason's sentence needs
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = _("draft")
        verbose_name_plural = _("drafts")
        constraints = [models.UniqueConstraint(fields=["conversation", "user"], name="one_draft_per_operator")]

    def __str__(self) -> str:
        return f"{self.conversation_id}/{self.user_id}"


class Breaker(models.Model):
    """Whether a destination is down; see ``breaker``. A channel that never failed has no row."""

    api_channel = models.OneToOneField(ApiChannel, primary_key=True, on_delete=models.CASCADE, related_name="breaker")
    is_open = models.BooleanField(_("open"), default=False)
    is_probing = models.BooleanField(default=False)
    pause_seconds = models.IntegerField(_("pause, s"), default=0)
    probe_at = models.DateTimeField(_("next probe"), null=True)
    in_a_row = models.IntegerField(_("failures in a row"), default=0)
    failing_since = models.DateTimeField(_("failing since"), null=True)
    recent = models.JSONField(default=list)  # [[unix time, worked], ...] of the last minutes
    rests_until = models.DateTimeField(_("rests until"), null=True)  # the other side asked for it, for all messages

    class Meta:
        verbose_name = _("breaker")
        verbose_name_plural = _("breakers")

    def __str__(self) -> str:
        return f"{self.api_channel_id}: {'open' if self.is_open else 'shut'}"

    @property
    def is_troubled(self) -> bool:
        return self.is_open or self.in_a_row > 0 or bool(self.recent)


class RateLimit(models.Model):
    """How far a limit of a channel is used up; see ``rates``. The account's, or one contact's."""

    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="rate_limits")
    key = models.CharField(max_length=200)
    every = models.FloatField()  # seconds from call to call
    burst = models.IntegerField()
    whole_channel = models.BooleanField()
    met_at = models.DateTimeField()  # when the calls made so far will have kept to the limit

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_channel", "key"], name="one_bucket_per_limit")]
        indexes = [models.Index(fields=["met_at"], name="bucket_by_time")]

    def __str__(self) -> str:
        return f"{self.api_channel_id}/{self.key}"


class Mismatch(models.Model):
    """A message on which the two sides disagree, until they agree again; see ``reconciling``."""

    class Kind(models.TextChoices):
        NOT_OUT = "not_out", _("accepted, not gone out")
        NO_DELIVERY = "no_delivery", _("accepted, nothing carries it")
        SAID_SENT = "said_sent", _("counted as sent, its delivery did not get through")
        UNCONFIRMED = "unconfirmed", _("sent, no status came back")
        STRAY = "stray", _("a status whose message nobody knows")

    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    api_channel = models.ForeignKey(
        ApiChannel, verbose_name=_("API channel"), on_delete=models.CASCADE, related_name="mismatches"
    )
    conversation = models.ForeignKey(Conversation, null=True, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, null=True, on_delete=models.CASCADE, related_name="+")
    stray = models.BigIntegerField(null=True)  # the id of the status, which may be joined or pruned away
    external_id = models.CharField(_("provider's id"), max_length=190, blank=True)
    since = models.DateTimeField(_("since"))
    found_at = models.DateTimeField(_("found"), auto_now_add=True)
    settled_at = models.DateTimeField(_("over"), null=True)

    class Meta:
        verbose_name = _("mismatch")
        verbose_name_plural = _("mismatches")
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "message", "stray"],
                condition=Q(settled_at=None),
                nulls_distinct=False,
                name="one_open_mismatch",
            )
        ]
        indexes = [models.Index(fields=["api_channel", "kind"], condition=Q(settled_at=None), name="mismatches_open")]

    def __str__(self) -> str:
        return f"{self.kind} {self.message_id or self.external_id}"


class Alert(models.Model):
    """Something an admin should know, until it is over. At most one of a kind stands open for one thing."""

    class Kind(models.TextChoices):
        BREAKER = "breaker", _("destination down")
        STUCK = "stuck", _("message not getting through")
        FAILING_LONG = "failing_long", _("destination down for days")
        SWITCHED_OFF = "switched_off", _("channel paused by the portal")
        UNCONFIRMED = "unconfirmed", _("messages without a status")
        MISMATCH = "mismatch", _("the two sides disagree")
        SILENT = "silent", _("no webhooks")

    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="alerts")
    delivery = models.ForeignKey(Delivery, null=True, on_delete=models.CASCADE, related_name="+")
    details = models.JSONField(default=dict)
    raised_at = models.DateTimeField(_("since"), auto_now_add=True)
    settled_at = models.DateTimeField(_("over"), null=True)

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "api_channel", "delivery"],
                condition=Q(settled_at=None),
                nulls_distinct=False,
                name="one_open_alert",
            )
        ]
        indexes = [models.Index(fields=["-raised_at"], condition=Q(settled_at=None), name="alerts_open")]

    def __str__(self) -> str:
        return f"{self.kind} {self.api_channel_id}"


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


class IdempotencyKey(models.Model):
    """A caller's Idempotency-Key with the answer it got, so that a repeat gets the same one."""

    owner = models.CharField(max_length=60)
    key = models.CharField(max_length=200)
    fingerprint = models.BinaryField()  # of the request: the same key with another request is an error
    status = models.IntegerField(null=True)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("idempotency key")
        verbose_name_plural = _("idempotency keys")
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="one_answer_per_idempotency_key")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_by_age")]

    def __str__(self) -> str:
        return f"{self.owner} {self.key}"


class Heartbeat(models.Model):
    """When a part last showed that it works: written by the work itself, not by the process being there."""

    name = models.CharField(max_length=40, primary_key=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name = _("heartbeat")
        verbose_name_plural = _("heartbeats")

    def __str__(self) -> str:
        return self.name
