"""Automation of chats: settings per chat channel, snoozed chats, macros, and what the portal did by itself."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.models import ChatChannel, Team

from .conversations import Conversation, Ticket
from .messages import Message
from .windows import ServiceWindow

MAX_MINUTES = 24 * 60


class ChannelAutomation(models.Model):
    """Automatic assignment and automatic replies of one chat channel. Without a row, everything is off."""

    chat_channel = models.OneToOneField(
        ChatChannel, verbose_name=_("chat channel"), on_delete=models.CASCADE, related_name="automation"
    )
    assigns_chats = models.BooleanField(
        _("assign chats automatically"),
        default=False,
        help_text=_(
            "An unassigned chat that waits for a reply goes to the online operator with the fewest waiting chats. If "
            "no operator is online, it waits."
        ),
    )
    team = models.ForeignKey(
        Team,
        verbose_name=_("only to members of"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text=_("Empty: to all operators of the channel. A chat of a team always goes to a member of that team."),
    )
    max_waiting_chats = models.PositiveSmallIntegerField(
        _("waiting chats per operator, at most"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("An operator with this many waiting chats gets no more. Empty: no limit."),
    )
    prefers_former_assignee = models.BooleanField(
        _("prefer the operator who helped the client last"),
        default=True,
        help_text=_("If this operator is online and below the limit."),
    )
    returns_after_minutes = models.PositiveSmallIntegerField(
        _("reassign if the operator is gone for, minutes"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_MINUTES)],
        help_text=_(
            "A waiting chat whose operator has been offline or away for so long goes to a colleague who is online. "
            "Empty: it stays."
        ),
    )
    away_text = models.TextField(
        _("reply outside working hours"),
        blank=True,
        max_length=4096,
        help_text=_(
            # xgettext:no-python-brace-format
            "Sent once per 24-hour window to a client who writes outside working hours, unless an operator has "
            "replied since closing time. The chat stays in “Needs reply”. Variables: {first name}, {client name}, "
            "{channel}, {opens}. Empty: no reply."
        ),
    )
    greeting_text = models.TextField(
        _("greeting"),
        blank=True,
        max_length=4096,
        help_text=_(
            # xgettext:no-python-brace-format
            "Sent once to a client who writes for the first time, during working hours. Variables: {first name}, "
            "{client name}, {channel}. Empty: no greeting."
        ),
    )

    class Meta:
        verbose_name = _("automation of a chat channel")
        verbose_name_plural = _("automation of chat channels")

    def __str__(self) -> str:
        return str(self.chat_channel_id)


class AutomaticAssignment(models.Model):
    """An assignment by the portal. The newest one of each user decides between users with the same load."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="automatic_assignments")
    ticket = models.ForeignKey(Ticket, null=True, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,  # automatic_assignments_of_user
    )
    # The user was gone, so a colleague got the chat. The user may get this request again, unlike after giving it back.
    was_gone = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("automatic assignment")
        verbose_name_plural = _("automatic assignments")
        indexes = [
            models.Index(fields=["user", "-created_at"], name="automatic_assignments_of_user"),
            models.Index(fields=["created_at"], name="automatic_assignments_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.user_id}"


class AutomaticReply(models.Model):
    """An automatic reply that was decided on: at most one of a kind per service window."""

    class Kind(models.TextChoices):
        AWAY = "away", _("reply outside working hours")
        GREETING = "greeting", _("greeting")

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="automatic_replies")
    window = models.ForeignKey(ServiceWindow, on_delete=models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL, related_name="+")
    reason = models.CharField(max_length=40, blank=True)  # code of ``outcomes``, if the reply was refused
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("automatic reply")
        verbose_name_plural = _("automatic replies")
        constraints = [
            models.UniqueConstraint(fields=["window", "kind"], name="one_automatic_reply_per_window"),
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id} {self.kind}"


class Snooze(models.Model):
    """A chat that leaves the list of waiting chats until a time, or until the client writes.

    ``Conversation.snoozed_until`` decides. A client's message clears it in the statement that stores the message; the
    next run of the automation then deletes this row and notifies.
    """

    conversation = models.OneToOneField(Conversation, on_delete=models.CASCADE, related_name="snooze")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    until = models.DateTimeField(null=True)  # the chosen time; null: until the client writes
    is_before_closing = models.BooleanField(default=False)  # wakes earlier than chosen, because the window closes
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("snoozed chat")
        verbose_name_plural = _("snoozed chats")

    def __str__(self) -> str:
        return f"{self.conversation_id}"


class Macro(models.Model):
    """Several actions on a chat that run together or not at all. ``owner``: only they see it; null: shared."""

    class Assignment(models.TextChoices):
        KEEP = "", _("do not change")
        ME = "me", _("the person who runs it")
        NOBODY = "nobody", _("nobody")
        USER = "user", _("a person")
        TEAM = "team", _("a team")

    class SnoozeChoice(models.TextChoices):
        NONE = "", _("do not snooze")
        LATER = "later", _("for 3 hours")
        TOMORROW = "tomorrow", _("until tomorrow, 9:00")
        MONDAY = "monday", _("until Monday, 9:00")
        REPLY = "reply", _("until the client writes")

    name = models.CharField(pgettext_lazy("thing", "name"), max_length=80)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("owner"), null=True, blank=True, on_delete=models.CASCADE,
        related_name="+",
    )  # fmt: skip
    chat_channels = models.ManyToManyField(
        ChatChannel,
        verbose_name=_("chat channels"),
        blank=True,
        related_name="+",
        help_text=_("If none is selected, all chat channels have it."),
    )
    reply_text = models.TextField(
        _("reply to the client"),
        blank=True,
        max_length=4096,
        help_text=_(
            "With the variables of quick replies. After the window has closed, only a template's text is sent."
        ),
    )
    note_text = models.TextField(_("internal note"), blank=True, max_length=4096)
    add_tags = ArrayField(models.CharField(max_length=255), verbose_name=_("add tags"), blank=True, default=list)
    remove_tags = ArrayField(models.CharField(max_length=255), verbose_name=_("remove tags"), blank=True, default=list)
    assignment = models.CharField(
        _("assign to"), max_length=10, choices=Assignment.choices, blank=True, default=Assignment.KEEP
    )
    assign_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("person"), null=True, blank=True, on_delete=models.SET_NULL,
        related_name="+", db_index=False,
    )  # fmt: skip
    assign_team = models.ForeignKey(
        Team, verbose_name=_("team"), null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    status = models.SmallIntegerField(
        _("status of the request"),
        null=True,
        blank=True,
        choices=[(int(value), Ticket.Status(value).label) for value in (
            Ticket.Status.OPEN, Ticket.Status.PENDING, Ticket.Status.ON_HOLD, Ticket.Status.SOLVED,
            Ticket.Status.CLOSED, Ticket.Status.SPAM,
        )],
    )  # fmt: skip
    snooze = models.CharField(
        _("snooze"), max_length=10, choices=SnoozeChoice.choices, blank=True, default=SnoozeChoice.NONE
    )
    is_used = models.BooleanField(_("in use"), default=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("macro")
        verbose_name_plural = _("macros")

    def __str__(self) -> str:
        return self.name
