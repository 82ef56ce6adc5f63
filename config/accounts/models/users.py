"""Users of the portal: people who sign in, and service accounts of programs."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from channels_setup.time_zones import validate_time_zone


class UserKind(models.TextChoices):
    PERSON = "person", _("person")
    SERVICE = "service", _("service account")


class UserQuerySet(models.QuerySet["User"]):
    def people(self) -> UserQuerySet:
        """Return the people, without service accounts. Lists of people and of possible assignees use it."""
        return self.filter(kind=UserKind.PERSON)


class PortalUserManager(UserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]  # a class made at run time
    """Django's manager with ``people``."""


class User(AbstractUser):
    """A person who signs in, or a service account. Empty preferences follow the portal's settings."""

    kind = models.CharField(
        _("kind"),
        max_length=10,
        choices=UserKind,
        default=UserKind.PERSON,
        db_default=UserKind.PERSON,
        editable=False,
    )
    # Not ``ChatChannel.operators``: a service account is never an operator, so it gets no chats and no reminders.
    service_chat_channels = models.ManyToManyField(
        "channels_setup.ChatChannel",
        verbose_name=_("chat channels"),
        blank=True,
        related_name="services",
        help_text=_("Its programs see only the chats of these channels."),
    )
    display_name = models.CharField(
        _("display name"),
        max_length=100,
        blank=True,
        db_default="",
        help_text=_("Shown to colleagues and clients instead of first and last name."),
    )
    language = models.CharField(
        _("language"),
        max_length=10,
        blank=True,
        db_default="",
        choices=settings.LANGUAGES,
        help_text=_("If empty, the language of the browser is used."),
    )
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        blank=True,
        db_default="",
        validators=[validate_time_zone],
        help_text=_(
            "Times are shown in this zone, for example Europe/Moscow. If empty, the portal's time zone is used."
        ),
    )
    signature = models.TextField(
        _("signature"),
        max_length=500,
        blank=True,
        db_default="",
        help_text=_(
            # xgettext:no-python-brace-format
            "Quick replies insert it for the variable {signature}."
        ),
    )

    sign_in_notices = models.BooleanField(
        _("Email me when I sign in on a new device"),
        default=True,
        db_default=True,
    )

    # Increased to end all sessions. The database does it for a deactivated user and for one who is no longer staff.
    session_epoch = models.PositiveIntegerField(default=0, db_default=0, editable=False)

    limited_to_chat_channels: frozenset[int] | None = None  # set for one request by an API token

    objects: ClassVar[Any] = PortalUserManager()

    class Meta(AbstractUser.Meta):
        constraints = [
            models.CheckConstraint(
                name="service_account_cannot_sign_in",
                condition=Q(kind=UserKind.PERSON)
                | Q(kind=UserKind.SERVICE, password__startswith="!", email="", is_staff=False, is_superuser=False),
            ),
            models.UniqueConstraint(
                Lower("email"),
                condition=~Q(email=""),
                name="unique_email_where_given",
                violation_error_message=_("Another user has this email address."),
            ),
        ]

    def get_full_name(self) -> str:
        """Return the display name, or else first and last name; empty if there is none."""
        return self.display_name or super().get_full_name()

    @property
    def is_service(self) -> bool:
        return self.kind == UserKind.SERVICE

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Return what a session must contain to be valid: it depends on the password and on ``session_epoch``."""
        by_password = super()._get_session_auth_hash(secret=secret)  # type: ignore[misc]  # missing in django-stubs
        if not self.session_epoch:
            return str(by_password)
        return salted_hmac("okno.session_epoch", f"{by_password}{self.session_epoch}", secret=secret).hexdigest()
