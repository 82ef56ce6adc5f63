"""django-allauth's record of email addresses: one confirmed address per user, the one that the user has."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from django.db.models import Q


def sync_email_address(user: Any) -> None:
    """Make the user's address the confirmed one, and forget former ones. An admin's entry needs no confirmation.

    Without the row, allauth would take the present address for a change that waits for its confirmation.
    """
    address = user.email.lower()
    confirmed = EmailAddress.objects.filter(Q(verified=True) | Q(primary=True))
    confirmed.filter(user_id=user.pk).exclude(email=address).delete()
    if address:
        confirmed.filter(email=address).exclude(user_id=user.pk).delete()  # users have different addresses
        EmailAddress.objects.update_or_create(
            user_id=user.pk, email=address, defaults={"verified": True, "primary": True}
        )


def sync_saved_user(*, instance: Any, created: bool, update_fields: Any = None, **_kwargs: Any) -> None:
    """Handle ``post_save`` of users, except new ones: allauth adds the rows of those from single sign-on itself."""
    if not created and (update_fields is None or "email" in update_fields):
        sync_email_address(instance)
