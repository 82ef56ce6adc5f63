"""Imports of contacts: the rows of a file between its dry run and its end."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import Value
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ApiChannel

LIFETIME = timedelta(days=1)  # of an import that was not finished, and of refused rows
UNDO_WITHIN = timedelta(days=7)
HISTORY = timedelta(days=90)  # of the result


def compute_expiry() -> datetime:
    return timezone.now() + LIFETIME


class ContactImport(models.Model):
    """One uploaded table of contacts. The rows are deleted when the import has ended, and the result stays a while."""

    class State(models.TextChoices):
        DRAFT = "draft", _("not applied yet")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        UNDOING = "undoing", _("being undone")
        UNDONE = "undone", _("undone")

    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    api_channel = models.ForeignKey(ApiChannel, on_delete=models.CASCADE, related_name="+")
    file_name = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT, db_default=State.DRAFT)
    titles = models.JSONField(default=list, db_default=Value([], output_field=models.JSONField()))
    rows = models.JSONField(default=list, db_default=Value([], output_field=models.JSONField()))
    total = models.IntegerField(default=0, db_default=0)
    position = models.IntegerField(default=0, db_default=0)  # rows applied so far
    # Mapping of columns, consent, and whether names set by people are replaced.
    options = models.JSONField(default=dict, db_default=Value({}, output_field=models.JSONField()))
    counts = models.JSONField(default=dict, db_default=Value({}, output_field=models.JSONField()))
    # [row, sentence, cells]
    refused = models.JSONField(default=list, db_default=Value([], output_field=models.JSONField()))
    # Contacts that the import created → digest of their data then, until it can no longer be undone.
    created = models.JSONField(default=dict, db_default=Value({}, output_field=models.JSONField()))
    # Contacts that other imports created, and that rows of this one name: an undo of those keeps them.
    listed = models.JSONField(default=list, db_default=Value([], output_field=models.JSONField()))
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(default=compute_expiry)

    class Meta:
        verbose_name = _("import of contacts")
        verbose_name_plural = _("imports of contacts")
        default_permissions = ()
        permissions = [("import_contact", _("Can import contacts from a file"))]

    def __str__(self) -> str:
        return f"{self.pk}"
