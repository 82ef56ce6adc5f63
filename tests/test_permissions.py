"""Permissions of a user: read in one query, and equal to Django's own result."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission

from config.accounts.permissions import SingleQueryBackend

pytestmark = pytest.mark.django_db


@pytest.fixture
def vera() -> Any:
    """Create a user with one own permission, one from a group, and one from both."""
    own, grouped, both = Permission.objects.order_by("pk")[:3]
    group = Group.objects.create(name="Admins")
    group.permissions.set([grouped, both])
    person = get_user_model()._default_manager.create_user("vera")
    person.user_permissions.set([own, both])
    person.groups.add(group)
    return person


def reload_user(person: Any) -> Any:
    return get_user_model()._default_manager.get(pk=person.pk)


def test_each_permission_equals_djangos(vera: Any) -> None:
    assert len(SingleQueryBackend().get_all_permissions(reload_user(vera))) == 3
    assert SingleQueryBackend().get_all_permissions(reload_user(vera)) == ModelBackend().get_all_permissions(
        reload_user(vera)
    )


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_superuser": True}])
def test_users_with_no_or_all_permissions_equal_djangos(vera: Any, change: dict[str, bool]) -> None:
    type(vera).objects.filter(pk=vera.pk).update(**change)

    assert SingleQueryBackend().get_all_permissions(reload_user(vera)) == ModelBackend().get_all_permissions(
        reload_user(vera)
    )


def test_all_permissions_are_one_query(vera: Any, django_assert_num_queries: Any) -> None:
    person = reload_user(vera)

    with django_assert_num_queries(1):
        assert person.has_perm(sorted(SingleQueryBackend().get_all_permissions(person))[0])
        assert not person.has_perm("bridge.no_such_thing")
