"""Consent of contacts to be written to, and their opt-outs."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from .contacts import Contact


class OptOut(models.TextChoices):
    """Which templates a contact does not want. Stored per contact; the broader one of merged contacts counts."""

    NONE = "", pgettext_lazy("opt-out", "none")
    MARKETING = "marketing", pgettext_lazy("opt-out", "marketing only")
    ALL = "all", pgettext_lazy("opt-out", "all templates")


class OptOutSource(models.TextChoices):
    """Who reported the opt-out, or took it back."""

    WORDS = "words", _("the client's message")
    OPERATOR = "operator", _("an operator")
    API = "api", _("the API")
    IMPORT = "import", _("an import")
    WHATSAPP = "whatsapp", _("WhatsApp's settings")


class ConsentSource(models.TextChoices):
    """How a contact agreed to be written to in WhatsApp."""

    WEBSITE = "website", _("form on the website")
    IN_PERSON = "in_person", _("in person or by phone")
    CONTRACT = "contract", _("contract or order")
    OTHER_CHANNEL = "channel", _("email or another messenger")
    OTHER = "other", _("another way")


class ContactConsent(models.Model):
    """Consent and opt-out of one contact. Without a row, the portal knows neither."""

    contact = models.OneToOneField(Contact, primary_key=True, on_delete=models.CASCADE, related_name="consent")
    opt_out = models.CharField(
        _("opted out of"), max_length=10, choices=OptOut, blank=True, default=OptOut.NONE, db_default=""
    )
    # Of the last change of `opt_out`, also if it was taken back.
    opt_out_source = models.CharField(max_length=10, choices=OptOutSource, blank=True, default="", db_default="")
    opt_out_reason = models.CharField(max_length=200, blank=True, default="", db_default="")  # or the client's words
    opt_out_at = models.DateTimeField(null=True)
    opt_out_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    source = models.CharField(
        _("how the client agreed"), max_length=10, choices=ConsentSource, blank=True, default="", db_default=""
    )
    note = models.CharField(_("note"), max_length=200, blank=True, default="", db_default="")
    recorded_at = models.DateTimeField(null=True)
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["contact"], condition=~Q(opt_out=""), name="consents_opted_out"),
            models.Index(fields=["contact"], condition=~Q(source=""), name="consents_recorded"),
        ]

    def __str__(self) -> str:
        return f"{self.contact_id} {self.opt_out or self.source}"
