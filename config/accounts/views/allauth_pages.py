"""django-allauth's views with facts that our pages need in addition."""

from __future__ import annotations

from typing import Any

from allauth.account.views import PasswordResetView
from allauth.mfa.base.views import IndexView
from django.conf import settings

from config.accounts import second_factor


class RequestPasswordReset(PasswordResetView):
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"can_email": bool(settings.EMAIL_HOST)}


class SecondFactorIndex(IndexView):
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"second_factor_missing": second_factor.is_missing(self.request)}
