"""Who writes: one contact at one API channel."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from channels_setup.models import ApiChannel

from ..words import contact_words


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
        return letters(self.name, self.phone)


def letters(name: str, phone: str) -> str:
    """What stands in a client's round picture."""
    words = [word for word in name.split() if word[0].isalnum()]
    return "".join(word[0] for word in words[:2]).upper() or phone[-2:] or "·"
