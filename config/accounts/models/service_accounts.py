"""Service accounts: users of programs (a CRM, a bot, Prometheus). They have API tokens and cannot sign in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channels_setup.models import ChatChannel

from .users import PortalUserManager, User, UserKind, UserQuerySet


class ServiceAccountManager(PortalUserManager):
    def get_queryset(self) -> UserQuerySet:
        rows: UserQuerySet = super().get_queryset().filter(kind=UserKind.SERVICE)
        return rows

    def with_token_count(self) -> Any:
        """Annotate each account with ``working_tokens``, the number of its tokens that work now."""
        works = Q(api_tokens__expires_at=None) | Q(api_tokens__expires_at__gt=timezone.now())
        count = Count("api_tokens", filter=works & Q(api_tokens__revoked_at=None), distinct=True)
        return self.annotate(working_tokens=count)


class ServiceAccount(User):
    """A user row of a program. The database refuses passwords, roles, email and second factors for it."""

    objects: ClassVar[Any] = ServiceAccountManager()

    class Meta:
        proxy = True
        verbose_name = _("service account")
        verbose_name_plural = _("service accounts")

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.kind = UserKind.SERVICE
        if not self.password:
            self.password = make_password(None)  # an unusable one
        super().save(*args, **kwargs)

    @classmethod
    @transaction.atomic
    def create(cls, name: str, *, display_name: str = "", chat_channels: Iterable[ChatChannel] = ()) -> ServiceAccount:
        """Create a service account. Raises ``ValidationError`` for a name that is taken or malformed."""
        account = cls(username=name, display_name=display_name, kind=UserKind.SERVICE, password=make_password(None))
        account.full_clean()
        account.save()
        account.service_chat_channels.set(chat_channels)
        return account
