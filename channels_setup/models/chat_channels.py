"""Chat channels: where conversations are shown, in the built-in desk or in an external helpdesk."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from channels_setup import encryption, permissions, time_zones
from channels_setup.providers import default_helpdesk, helpdesks
from channels_setup.providers.base import SECRET
from channels_setup.providers.base.helpdesk import Helpdesk, HelpdeskAccount
from channels_setup.working_hours import WorkingHours

from . import known_secrets
from .webhook_addresses import WebhookAddressed


def helpdesk_choices() -> list[tuple[str, Any]]:
    return [(kind, provider.label) for kind, provider in helpdesks().items()]


def default_company_id() -> int:
    return int(settings.COMPANY_ID)


class ChatChannelQuerySet(models.QuerySet["ChatChannel"]):
    def visible_to(self, user: Any) -> ChatChannelQuerySet:
        """Return the channels whose chats a user may see: all for admins, assigned ones for supervisors and operators.

        None for users who may see no chats, such as auditors.
        """
        limited = getattr(user, "limited_to_chat_channels", None)  # by an API token
        if limited is not None:
            return self.filter(pk__in=limited)
        if not user.has_perm(permissions.VIEW_CHATS):
            return self.none()
        if user.has_perm(permissions.VIEW_ALL_CHATS):
            return self
        return self.filter(services=user) if getattr(user, "is_service", False) else self.filter(operators=user)

    def listed_for(self, user: Any) -> ChatChannelQuerySet:
        """Return the channels whose settings a user may see: also all for auditors."""
        return self if permissions.sees_settings_only(user) else self.visible_to(user)

    def list_visible_ids(self, user: Any) -> list[int]:
        return list(self.visible_to(user).order_by().values_list("pk", flat=True))


class ChatChannel(WebhookAddressed):
    """A channel that receives conversations. Its number is the chat ID («id чата») that the provider needs."""

    name = models.CharField(_("name"), max_length=200)
    kind = models.CharField(_("helpdesk"), max_length=40, choices=helpdesk_choices, default=default_helpdesk)
    company_id = models.BigIntegerField(_("company ID"), default=default_company_id)
    operators = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        verbose_name=_("operators"),
        blank=True,
        related_name="chat_channels",
        help_text=_("They see and answer the chats of this channel. Admins see all chats."),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=time_zones.NAME_LENGTH,
        blank=True,
        default="",
        db_default="",
        validators=[time_zones.validate_time_zone],
        help_text=_(
            "Working hours, reminders and reports of this channel follow it. Empty: the portal's setting TIME_ZONE. "
            "Pages show times in the time zone of the reader's profile."
        ),
    )
    # Both or neither. Without them the channel is always staffed.
    work_from = models.TimeField(_("working hours from"), null=True, blank=True)
    work_until = models.TimeField(
        _("until"),
        null=True,
        blank=True,
        help_text=_(
            "If a window would close outside working hours, operators get the reminder before the working day ends."
        ),
    )
    work_weekends = models.BooleanField(_("on weekends too"), default=True)
    hides_phones = models.BooleanField(
        _("hide clients' phone numbers from operators"),
        default=False,
        db_default=False,
        help_text=_(
            "Operators see +7 ••• ••• 12-34 instead, on all pages, in files and in the API. They still find a client "
            "by the full number. Admins and supervisors see whole numbers. If an API channel serves several chat "
            "channels, one of them hides the numbers in all."
        ),
    )
    recognizes_opt_outs = models.BooleanField(
        _("recognize opt-outs"),
        default=True,
        db_default=True,
        help_text=_(
            "A client who sends one of these words as the whole message gets no more templates. Free text in the open "
            "window is still possible."
        ),
    )
    opt_out_words = models.CharField(
        _("words to opt out"),
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text=_("Separate them with commas. Empty: STOP, UNSUBSCRIBE, СТОП, ОТПИСКА and similar words."),
    )
    opt_in_words = models.CharField(
        _("words to opt in again"),
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text=_("Separate them with commas. Empty: START, SUBSCRIBE, СТАРТ, ПОДПИСКА, ПОДПИСАТЬСЯ."),
    )
    assigns_answerer = models.BooleanField(
        _("assign an unassigned chat to the first operator who replies"),
        default=True,
        db_default=True,
        help_text=_("If several people may answer at once, the first reply takes the chat."),
    )
    options = models.JSONField(_("options"), default=dict, blank=True, editable=False)  # by ``provider.settings``
    secret = models.BinaryField(null=True, editable=False)  # the helpdesk's key, encrypted
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    objects = ChatChannelQuerySet.as_manager()

    class Meta:
        verbose_name = _("chat channel")
        verbose_name_plural = _("chat channels")
        ordering = ["id"]
        permissions = [("view_all_chats", _("Can see the chats of all channels"))]

    def __str__(self) -> str:
        return f"{self.name} ({self.pk})"

    @property
    def provider(self) -> Helpdesk:
        return helpdesks()[self.kind]

    @property
    def zone(self) -> tzinfo:
        """Return the channel's time zone, or the portal's."""
        return time_zones.find_time_zone(self.time_zone)

    @property
    def working_hours(self) -> WorkingHours | None:
        """Return the working hours; None if the channel is always staffed."""
        if self.work_from is None or self.work_until is None:
            return None
        return WorkingHours(
            start=self.work_from,
            end=self.work_until,
            weekends=self.work_weekends,
            zone=self.zone,
        )

    def clean(self) -> None:
        if (self.work_from is None) != (self.work_until is None):
            raise ValidationError({"work_until": _("Enter both times of the working hours, or neither.")})
        if self.work_from and self.work_until and self.work_until <= self.work_from:
            raise ValidationError({"work_until": _("The working day must end after it starts.")})

    def helpdesk_account(self) -> HelpdeskAccount:
        """Return the account that helpdesk code works with, its key in clear."""
        return HelpdeskAccount(
            id=self.pk,
            name=self.name,
            company_id=self.company_id,
            options=self.options,
            secret=encryption.decrypt(self.secret) if self.secret else "",
        )

    def set_secret(self, value: str) -> None:
        """Set the helpdesk's key, encrypted; an empty value removes it. Does not save the row."""
        self.secret = encryption.encrypt(value) if value else None

    def secret_tails(self) -> dict[str, str]:
        """Return the last characters of the helpdesk's key by setting name."""
        if not self.secret:
            return {}
        tail = encryption.visible_tail(encryption.decrypt(self.secret))
        return {setting.name: tail for setting in self.provider.settings if setting.kind == SECRET}

    def save_secret(self, name: str, value: str) -> bool:
        """Save the helpdesk's key and return whether it changed."""
        is_new = value != self.helpdesk_account().secret
        self.set_secret(value)
        ChatChannel.objects.filter(pk=self.pk).update(secret=self.secret)
        known_secrets.invalidate()
        return is_new
