"""Alert routes: where the notifications of problems go, by email, in a chat, or by a webhook."""

from __future__ import annotations

from datetime import datetime, time
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from channels_setup import encryption

from . import known_secrets
from .api_channels import ApiChannel
from .redacted_fields import RedactedCharField

MAX_DELAY_MINUTES = 24 * 60


class AlertSeverity(models.TextChoices):
    """Severity of an alert, lowest first."""

    INFO = "info", _("info")
    WARNING = "warning", _("warning")
    CRITICAL = "critical", _("critical")

    @property
    def rank(self) -> int:
        return list(AlertSeverity).index(self)


class AlertRoute(models.Model):
    """One destination of alerts, with the rules which alerts it gets and when. ``secret`` is encrypted."""

    class Kind(models.TextChoices):
        EMAIL = "email", _("Email")
        TELEGRAM = "telegram", "Telegram"
        CHAT = "chat", "Slack, Mattermost"
        WEBHOOK = "webhook", _("Webhook")

    class Language(models.TextChoices):
        RUSSIAN = "ru", "Русский"
        ENGLISH = "en", "English"

    name = models.CharField(_("name"), max_length=100, unique=True)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind.choices)
    is_enabled = models.BooleanField(_("enabled"), default=True)
    # Email: addresses, separated by commas. Telegram: the chat's ID. Webhook: its URL. Chat: empty, the URL is secret.
    target = models.CharField(_("recipient"), max_length=500, blank=True)
    secret = models.BinaryField(null=True, editable=False)  # bot token, chat's URL, or key of the signature
    environment_digest = models.BinaryField(null=True, editable=False)  # hash of its text in ALERT_ROUTES
    min_severity = models.CharField(
        _("from severity"), max_length=10, choices=AlertSeverity.choices, default=AlertSeverity.WARNING
    )
    api_channels = models.ManyToManyField(
        ApiChannel,
        verbose_name=_("API channels"),
        blank=True,
        related_name="alert_routes",
        help_text=_("Only alerts of these channels. Empty: all alerts, also those of the portal as a whole."),
    )
    language = models.CharField(_("language"), max_length=2, choices=Language.choices, default=Language.RUSSIAN)
    wait_minutes = models.PositiveIntegerField(
        _("escalation after, min"),
        default=0,
        validators=[MaxValueValidator(MAX_DELAY_MINUTES)],
        help_text=_("0: told at once. Otherwise told only of alerts that nobody has opened for so long."),
    )
    collect_minutes = models.PositiveIntegerField(
        _("collect for, min"),
        default=0,
        validators=[MaxValueValidator(MAX_DELAY_MINUTES)],
        help_text=_("Alerts of so many minutes are sent as one message. Critical ones are sent at once."),
    )
    # Both or neither, in the portal's time zone.
    quiet_from = models.TimeField(_("quiet from"), null=True, blank=True)
    quiet_until = models.TimeField(
        _("until"),
        null=True,
        blank=True,
        help_text=_("In the portal's time zone. Critical alerts are sent all the same, others when the time is over."),
    )
    tells_resolved = models.BooleanField(_("also tell when an alert is resolved"), default=True)
    failing_since = models.DateTimeField(_("failing since"), null=True, editable=False)
    last_error = models.CharField(
        max_length=40, blank=True, default="", editable=False
    )  # a code of ``bridge.outcomes``
    last_answer = RedactedCharField(_("answer"), max_length=300, blank=True, default="", editable=False)
    last_sent_at = models.DateTimeField(_("last message"), null=True, editable=False)
    retry_at = models.DateTimeField(null=True, editable=False)  # after a message was given up, nothing until then
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("alert route")
        verbose_name_plural = _("alert routes")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def set_secret(self, value: str) -> None:
        self.secret = encryption.encrypt(value) if value else None
        known_secrets.invalidate()

    def reveal_secret(self) -> str:
        return encryption.decrypt(self.secret) if self.secret is not None else ""

    def is_quiet(self, moment: datetime) -> bool:
        """Return whether the quiet hours include ``moment``. They may span midnight."""
        if self.quiet_from is None or self.quiet_until is None:
            return False
        now = moment.astimezone(ZoneInfo(settings.TIME_ZONE)).time()
        return _is_between(now, self.quiet_from, self.quiet_until)

    def forget_failures(self) -> None:
        """Let the next message be sent at once: the settings changed, or a message arrived."""
        self.failing_since, self.retry_at, self.last_error, self.last_answer = None, None, "", ""


def _is_between(now: time, start: time, end: time) -> bool:
    return start <= now < end if start <= end else now >= start or now < end
