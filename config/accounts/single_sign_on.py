"""Single sign-on by OpenID Connect (django-allauth): the identity provider's groups decide the role."""

from __future__ import annotations

import logging
from typing import Any

from allauth.account.models import EmailAddress
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.base.constants import AuthError
from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from channels_setup.roles import Role, assign_role
from config.audit import record
from config.audit.models import Action

from . import sessions
from .email_addresses import find_users_by_email, sync_email_address

logger = logging.getLogger(__name__)


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """Creates users at their first sign-in, links existing ones by verified email, and sets the role each time."""

    def authenticate_by_email(self, sociallogin: Any) -> tuple[Any, str] | None:
        """Find the user whose address this is, if the provider has verified it.

        allauth would also match users who have entered the address as their new one and not confirmed it.
        """
        for address in sociallogin.email_addresses:
            if not address.verified or not self.can_authenticate_by_email(sociallogin, address.email):
                continue
            for user in find_users_by_email(address.email):
                sync_email_address(user)  # allauth deletes the password of a user whose address is not confirmed
                return user, address.email
        return None

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Refuse people in no listed group, and emails of local users that the provider has not verified.

        The role of an existing user changes here, before the new session begins: a weaker role ends all older sessions.
        Users who signed in this way before, and are in no listed group any more, lose their role.
        """
        role = role_of_groups(read_groups(sociallogin.account.extra_data))
        if may_assign_role(sociallogin, role):
            assign_role(sociallogin.user, role=role)
        if role is None:
            raise ImmediateHttpResponse(
                refuse_user(request, sociallogin.user, _("Your account is in no group that may use this portal."))
            )
        if not sociallogin.is_existing:
            check_email_addresses(request, sociallogin)

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[Any]:
        """Return the provider from the environment. Without one, no query is spent on each sign-in page."""
        return super().list_apps(request, provider, client_id) if settings.SOCIALACCOUNT_PROVIDERS else []

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True  # `pre_social_login` has refused everybody else

    def on_authentication_error(self, request: HttpRequest, provider: Any, **kwargs: Any) -> None:
        if kwargs.get("error") != AuthError.CANCELLED:  # which has its own page
            raise ImmediateHttpResponse(report_failure(request, kwargs.get("exception")))


def check_email_addresses(request: HttpRequest, sociallogin: Any) -> None:
    """Refuse a new user with an unverified address of another user. Store no other unverified address either.

    Otherwise a person who only entered an address at the provider would later share the account with its owner.
    """
    verified = [address for address in sociallogin.email_addresses if address.verified]
    for address in sociallogin.email_addresses:
        if not address.verified and get_user_model().objects.filter(email__iexact=address.email).exists():
            sentence = _("A user with this email address exists, and your provider has not verified it.")
            raise ImmediateHttpResponse(refuse_user(request, sociallogin.user, sentence))
    sociallogin.email_addresses = verified
    sociallogin.user.email = verified[0].email if verified else ""
    # Another user may have entered the address as the new one. The provider knows better whose it is.
    emails = [address.email.lower() for address in verified]
    EmailAddress.objects.filter(email__in=emails, verified=False).delete()


def read_groups(claims: dict[str, Any]) -> list[str]:
    """Return the groups from the ID token or the user information (``OIDC_GROUPS_CLAIM``)."""
    for part in (claims.get("userinfo"), claims.get("id_token"), claims):
        groups = part.get(settings.OIDC_GROUPS_CLAIM) if isinstance(part, dict) else None
        if isinstance(groups, str):
            return [groups]
        if isinstance(groups, list):
            return [str(group) for group in groups]
    return []


def role_of_groups(groups: list[str]) -> Role | None:
    """Return the strongest role in ``OIDC_GROUP_ROLES`` whose group the user is in."""
    found = set()
    for pair in settings.OIDC_GROUP_ROLES:
        group, _equals, role = pair.rpartition("=")
        if group.strip() in groups:
            found.add(Role(role.strip()))
    return next((role for role in Role if role in found), None)


def may_assign_role(sociallogin: Any, role: Role | None) -> bool:
    """Return whether the groups decide this user's role now. A superuser keeps all rights.

    Without a role, only for linked users: an email address alone must not take away a local user's role.
    """
    if not sociallogin.is_existing or sociallogin.user.is_superuser:
        return False
    return role is not None or bool(sociallogin.account.pk)


def assign_role_from_groups(*, request: HttpRequest, user: Any, sociallogin: Any = None, **_kwargs: Any) -> None:
    """Handle allauth's ``user_logged_in``: give a new user the role of their groups."""
    if sociallogin is None:
        return
    if Role.of_user(user) is None:
        assign_role(user, role=role_of_groups(read_groups(sociallogin.account.extra_data)))
    sessions.keep_session(request, user)  # a lower role has ended all sessions, also the one that begins here


def uses_only_single_sign_on(user: Any) -> bool:
    """Return whether the user has no password here but an account at the identity provider."""
    return not user.has_usable_password() and SocialAccount.objects.filter(user_id=user.pk).exists()


def refuse_user(request: HttpRequest, user: Any, sentence: str) -> HttpResponse:
    """Refuse a person whom the provider or a passkey identified, and record it. A person without a user has no name."""
    record.record_action(Action.SIGN_IN_FAILED, "accounts.user", user.pk, label=user.get_username() if user.pk else "")
    return refuse_access(request, sentence)


def refuse_access(request: HttpRequest, sentence: str) -> HttpResponse:
    return render(request, "account/refused.html", {"sentence": sentence}, status=403)


def report_failure(request: HttpRequest, problem: Any) -> HttpResponse:
    """Log only the kind of the problem, because its text may quote a token. Return a page that says what to do."""
    logger.warning("single sign-on failed: %s", type(problem).__name__ if problem else "refused by the provider")
    return refuse_access(request, _("Single sign-on failed. Try again, or sign in by password."))
