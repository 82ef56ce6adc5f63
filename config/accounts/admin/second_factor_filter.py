"""Filter of the users list: who has a second factor."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from config.accounts.models import User
from config.accounts.second_factor import FACTORS

FACTORS_OF_USER = Authenticator.objects.filter(user=OuterRef("pk"), type__in=FACTORS)
ACCOUNTS_OF_USER = SocialAccount.objects.filter(user=OuterRef("pk"))


def with_sign_in_facts(users: QuerySet[User]) -> QuerySet[User]:
    """Annotate ``has_second_factor`` and ``is_single_sign_on``."""
    return users.annotate(has_second_factor=Exists(FACTORS_OF_USER), is_single_sign_on=Exists(ACCOUNTS_OF_USER))


class SecondFactorFilter(admin.SimpleListFilter):
    """Users with and without a second factor of this portal. Single sign-on has its own."""

    title = _("second factor")
    parameter_name = "second_factor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Configured")), ("no", _("Missing"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        if self.value() == "no":
            return queryset.exclude(Exists(FACTORS_OF_USER)).exclude(Exists(ACCOUNTS_OF_USER))
        return queryset.filter(Exists(FACTORS_OF_USER)) if self.value() == "yes" else queryset
