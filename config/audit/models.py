"""The audit record. Rows outlive the users and objects that they name, so they have no foreign keys."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class Action(models.TextChoices):
    """What was done."""

    CREATED = "created", pgettext_lazy("audit", "created")
    CHANGED = "changed", pgettext_lazy("audit", "changed")
    DELETED = "deleted", pgettext_lazy("audit", "deleted")
    VIEWED = "viewed", _("viewed")
    EXPORTED = "exported", _("exported")
    SECRET_SHOWN = "secret_shown", _("secret shown")
    LINK_CREATED = "link_created", _("one-time link created")
    SIGNED_IN = "signed_in", _("signed in")
    SIGNED_OUT = "signed_out", _("signed out")
    SIGN_IN_FAILED = "sign_in_failed", _("sign-in failed")
    LOCKED_OUT = "locked_out", _("locked out")
    SESSION_ENDED = "session_ended", _("session ended")
    PASSWORD_CHANGED = "password_changed", _("password changed")
    PASSWORD_RESET = "password_reset", _("password reset")
    SECOND_FACTOR_ADDED = "second_factor_added", _("second factor added")
    SECOND_FACTOR_REMOVED = "second_factor_removed", _("second factor removed")
    SECOND_FACTOR_FAILED = "second_factor_failed", _("second factor failed")
    RECOVERY_CODE_USED = "recovery_code_used", _("recovery code used")


class Source(models.TextChoices):
    """Through what it was done."""

    WEB = "web", _("browser")
    API = "api", _("API")
    SINGLE_SIGN_ON = "single_sign_on", _("single sign-on")
    COMMAND = "command", _("command")
    WORKER = "worker", _("worker")
    DATABASE = "database", _("database client")


class AuditRecord(models.Model):
    """One fact. The database fills in the time, the actor and the origin, whatever the INSERT says."""

    at = models.DateTimeField(_("time"), db_default=Now(), editable=False)
    action = models.CharField(_("action"), max_length=40, choices=Action)
    source = models.CharField(_("source"), max_length=20, choices=Source, db_default="", default="", blank=True)
    actor_id = models.BigIntegerField(_("user number"), null=True)
    actor = models.CharField(_("who"), max_length=200, db_default="", default="", blank=True)
    token_id = models.BigIntegerField(_("API token number"), null=True)
    route = models.CharField(_("route or command"), max_length=200, db_default="", default="", blank=True)
    address = models.CharField(_("IP address"), max_length=64, db_default="", default="", blank=True)
    user_agent = models.CharField(_("browser or program"), max_length=200, db_default="", default="", blank=True)
    request_id = models.CharField(_("request ID"), max_length=64, db_default="", default="", blank=True)
    object_type = models.CharField(_("type of object"), max_length=100, db_default="", default="", blank=True)
    object_id = models.CharField(_("object number"), max_length=64, db_default="", default="", blank=True)
    object_label = models.CharField(_("object"), max_length=200, db_default="", default="", blank=True)
    changes = models.JSONField(_("changes"), db_default={}, default=dict, blank=True)  # column: [before, after]
    details = models.JSONField(_("details"), db_default={}, default=dict, blank=True)

    class Meta:
        db_table = "audit_record"
        verbose_name = _("audit record")
        verbose_name_plural = _("audit records")
        default_permissions = ("view",)
        indexes = [
            BrinIndex(fields=["at"], name="audit_at"),
            models.Index(fields=["object_type", "object_id", "-id"], name="audit_object"),
            models.Index(fields=["actor_id", "-id"], name="audit_actor_id"),
            models.Index(fields=["actor", "-id"], name="audit_actor"),
            models.Index(fields=["action", "-id"], name="audit_action"),
        ]

    def __str__(self) -> str:
        return f"№ {self.pk}"
