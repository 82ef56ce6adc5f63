"""django-allauth's record of email addresses: one confirmed address per user, the one that the user has."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.auth import get_user_model
from django.db.models import Q


def find_users_by_email(email: str) -> list[Any]:
    """Return the user with this address, in any case. The database alone may take “ı” for “i”, as in another domain."""
    users = get_user_model().objects.filter(email__iexact=email)
    return [user for user in users if user.email.lower() == email.lower()]


def sync_email_address(user: Any) -> None:
    """Make the user's address the confirmed one, and forget former ones. An admin's entry needs no confirmation.

    Without the row, allauth would take the present address for a change that waits for its confirmation.
    """
    address = user.email.lower()
    if EmailAddress.objects.filter(user_id=user.pk, primary=True).exclude(email=address).exists():
        cancel_change(user)  # decided before the present address
    confirmed = EmailAddress.objects.filter(Q(verified=True) | Q(primary=True))
    confirmed.filter(user_id=user.pk).exclude(email=address).delete()
    if address:
        confirmed.filter(email=address).exclude(user_id=user.pk).delete()  # users have different addresses
        EmailAddress.objects.update_or_create(
            user_id=user.pk, email=address, defaults={"verified": True, "primary": True}
        )


def cancel_change(user: Any, **_kwargs: Any) -> None:
    """Cancel a change of address that waits for its confirmation. Its link stops working.

    A new password and ended sessions lock out everybody else, who must not come back by a link sent before.
    """
    EmailAddress.objects.filter(user_id=user.pk, verified=False).exclude(email=user.email.lower()).delete()


def sync_saved_user(*, instance: Any, created: bool, update_fields: Any = None, **_kwargs: Any) -> None:
    """Handle ``post_save`` of users, except new ones: allauth adds the rows of those from single sign-on itself."""
    if not created and (update_fields is None or "email" in update_fields):
        sync_email_address(instance)
