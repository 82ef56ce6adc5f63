"""Records of erasures: receipts, fingerprints of what was erased, files still to delete."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ApiChannel, ChatChannel

from .contacts import Contact


class Erasure(models.Model):
    """Receipt of an erasure: who, when, row counts, and what stays outside the portal. Contains no personal data."""

    class Source(models.TextChoices):
        BUTTON = "button", _("button")
        COMMAND = "command", _("command line")
        API = "api", _("API")
        RESTORE = "restore", _("repeated after a restore")

    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="erasures")
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(_("at"), auto_now_add=True)
    source = models.CharField(
        _("source"), max_length=10, choices=Source.choices, default=Source.BUTTON, db_default=Source.BUTTON
    )
    counts = models.JSONField(_("erased data"), default=dict)
    # Numbers of the person in external helpdesks, needed to erase them there: see ``outside_copies``.
    outside = models.JSONField(
        _("stays outside"), default=list, db_default=models.Value([], output_field=models.JSONField())
    )

    class Meta:
        verbose_name = _("erasure")
        verbose_name_plural = _("erasures")

    def __str__(self) -> str:
        return f"{self.pk}"


class ErasedMessage(models.Model):
    """Fingerprint of an erased message or client number, so that a late request does not restore it."""

    api_channel = models.ForeignKey(
        ApiChannel,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,  # one_erased_message
    )
    fingerprint = models.BinaryField(max_length=32)

    class Meta:
        verbose_name = _("erased message")
        verbose_name_plural = _("erased messages")
        constraints = [models.UniqueConstraint(fields=["api_channel", "fingerprint"], name="one_erased_message")]

    def __str__(self) -> str:
        return f"{self.pk}"


class ErasedHelpdeskNumber(models.Model):
    """Fingerprint of an erased person's chat, client or request in an external helpdesk, to refuse its late events."""

    chat_channel = models.ForeignKey(
        ChatChannel,
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,  # one_erased_helpdesk_number
    )
    fingerprint = models.BinaryField(max_length=32)

    class Meta:
        verbose_name = _("erased number in the helpdesk")
        verbose_name_plural = _("erased numbers in the helpdesk")
        constraints = [
            models.UniqueConstraint(fields=["chat_channel", "fingerprint"], name="one_erased_helpdesk_number")
        ]

    def __str__(self) -> str:
        return f"{self.pk}"


class LoggedErasure(models.Model):
    """An entry of the erasure log (``erasure_log``) that this database has applied."""

    log_id = models.UUIDField(primary_key=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("logged erasure")
        verbose_name_plural = _("logged erasures")

    def __str__(self) -> str:
        return f"{self.log_id}"


class FileDeletion(models.Model):
    """A stored file to delete from disk (``files.file_deletions``)."""

    path = models.CharField(max_length=200, unique=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("file to delete")
        verbose_name_plural = _("files to delete")

    def __str__(self) -> str:
        return self.path
