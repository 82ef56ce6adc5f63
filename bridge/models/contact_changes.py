"""History of changes to contacts by users and programs."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from bridge import phone_visibility
from channels_setup.models import ApiChannel

from .contacts import Contact
from .desk import ContactNote


class ContactChange(models.Model):
    """A change of one field or note of a contact: old and new value."""

    class Field(models.TextChoices):
        NAME = "name", pgettext_lazy("person", "name")
        PHONE = "phone", _("phone")
        EMAIL = "email", _("email")
        NOTE = "note", _("note")
        FIELD = "field", _("field")  # an additional one: its title is part of the values

    class Source(models.TextChoices):
        OPERATOR = "operator", _("an operator")
        API = "api", _("the API")
        PROGRAM = "program", _("a program of the API channel")

    contact = models.ForeignKey(Contact, on_delete=models.CASCADE, related_name="changes", db_index=False)
    field = models.CharField(_("field"), max_length=10, choices=Field.choices)
    note = models.ForeignKey(ContactNote, null=True, on_delete=models.SET_NULL, related_name="changes")
    old = models.TextField(_("from"), blank=True)
    new = models.TextField(_("to"), blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("by"), null=True, on_delete=models.SET_NULL, related_name="+"
    )
    api_channel = models.ForeignKey(  # whose program made the change
        ApiChannel, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    source = models.CharField(_("source"), max_length=10, choices=Source.choices)
    at = models.DateTimeField(_("when"), db_default=Now())

    class Meta:
        verbose_name = _("change of a contact")
        verbose_name_plural = _("changes of contacts")
        indexes = [models.Index(fields=["contact", "-id"], name="changes_of_contact")]

    def __str__(self) -> str:
        return f"{self.contact_id} {self.field}"

    @property
    def visible_values(self) -> tuple[str, str]:
        """Return the old and the new value as the user of the current request may see them."""
        if self.field not in (self.Field.NAME, self.Field.PHONE):
            return self.old, self.new
        channel = self.contact.api_channel_id
        return phone_visibility.visible_id(self.old, channel), phone_visibility.visible_id(self.new, channel)
