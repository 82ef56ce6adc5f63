"""Notifications of operators about what concerns them."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .conversations import Conversation
from .notes import ConversationNote

MAX_TEXT = 200


class NotificationKind(models.TextChoices):
    """Why an operator is notified. Messages and closing windows have no rows: they follow from the chats."""

    MESSAGE = "message", pgettext_lazy("notification", "New messages")
    ASSIGNED = "assigned", pgettext_lazy("notification", "Chats assigned to me")
    MENTIONED = "mentioned", pgettext_lazy("notification", "Mentions in notes")
    CLOSING = "closing", pgettext_lazy("notification", "Closing windows")
    WOKEN = "woken", pgettext_lazy("notification", "Snoozed chats that are back")


class Notification(models.Model):
    """One notification for one user. Pages show it once, and it is not kept for long."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,  # notifications_of_user
    )
    kind = models.CharField(_("kind"), max_length=12, choices=NotificationKind.choices)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="notifications")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    text = models.CharField(_("text"), max_length=MAX_TEXT, blank=True, default="")
    # The note whose words these are: they go with it.
    note = models.ForeignKey(
        ConversationNote, null=True, on_delete=models.CASCADE, related_name="+", db_index=False, db_constraint=False
    )
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        default_permissions = ()
        indexes = [
            models.Index(fields=["user", "-id"], name="notifications_of_user"),
            models.Index(fields=["created_at"], name="notifications_by_age"),
            models.Index(fields=["note"], condition=Q(note__isnull=False), name="notifications_of_note"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.conversation_id}"


class NotificationSettings(models.Model):
    """What one user is notified of, and how. A user without a row has the defaults."""

    class Scope(models.TextChoices):
        """Whose new messages the user is notified of."""

        MINE = "mine", _("In my chats")
        UNASSIGNED = "unassigned", _("In my chats and in unassigned ones")
        ALL = "all", _("In all chats I can see")

    class Sound(models.TextChoices):
        OFF = "off", pgettext_lazy("sound", "No sound")
        CHIME = "chime", pgettext_lazy("sound", "Chime")
        DROP = "drop", pgettext_lazy("sound", "Drop")
        MARIMBA = "marimba", pgettext_lazy("sound", "Marimba")
        KNOCK = "knock", pgettext_lazy("sound", "Knock")

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", primary_key=True)
    scope = models.CharField(_("New messages"), max_length=12, choices=Scope.choices, default=Scope.UNASSIGNED)
    muted_kinds = ArrayField(models.CharField(max_length=12), blank=True, default=list)
    sound = models.CharField(_("Sound"), max_length=12, choices=Sound.choices, default=Sound.CHIME)
    volume = models.PositiveSmallIntegerField(_("Volume"), default=60, validators=[MaxValueValidator(100)])
    sound_when_hidden = models.BooleanField(_("Only when Okno is in the background"), default=False)
    shows_text = models.BooleanField(
        _("Show the text of messages in notifications"),
        default=True,
        help_text=_("If off, notifications name the client only. Others who see your screen read no messages."),
    )

    class Meta:
        verbose_name = _("notification settings")
        verbose_name_plural = _("notification settings")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id}"


class PushKey(models.Model):
    """The portal's key pair for web push (VAPID). One row, made when it is first needed."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    public_key = models.CharField(max_length=100)  # uncompressed point, base64url
    secret = models.BinaryField()  # private key (PEM), encrypted
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=Q(id=1), name="one_push_key")]

    def __str__(self) -> str:
        return self.public_key


class PushSubscription(models.Model):
    """A browser that gets push messages for its user, as long as the session lasts in which they allowed it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)  # SHA-256 of the endpoint, hex
    secret = models.BinaryField()  # endpoint and keys as JSON, encrypted: enough to send push messages
    host = models.CharField(max_length=200)  # of the browser's push service
    user_agent = models.CharField(max_length=300, blank=True)
    session_key = models.CharField(max_length=40)
    language = models.CharField(max_length=10)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    sent_at = models.DateTimeField(null=True)  # of the last message that the push service accepted

    class Meta:
        verbose_name = _("push subscription")
        verbose_name_plural = _("push subscriptions")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["digest"], name="one_push_subscription_per_endpoint")]

    def __str__(self) -> str:
        return self.host


class PushMessage(models.Model):
    """A push message for one browser. Best effort: it is given up after minutes, and its row is deleted soon."""

    subscription = models.ForeignKey(PushSubscription, on_delete=models.CASCADE, related_name="+", db_index=False)
    key = models.CharField(max_length=60)  # what happened; one message each
    kind = models.CharField(max_length=12)
    conversation = models.ForeignKey(Conversation, null=True, on_delete=models.CASCADE, related_name="+")
    notification = models.ForeignKey(Notification, null=True, on_delete=models.CASCADE, related_name="+")
    attempts = models.SmallIntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField(null=True, db_default=Now())  # null: finished
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["subscription", "key"], name="one_push_message_per_event")]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(next_attempt_at__isnull=False), name="pushes_due")
        ]

    def __str__(self) -> str:
        return self.key
