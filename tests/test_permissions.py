"""A user's permissions: all of them in one question, and the same ones that Django finds."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission

from config.accounts.permissions import SingleQueryBackend

pytestmark = pytest.mark.django_db


@pytest.fixture
def vera() -> Any:
    """Has one permission of her own, one by a group, and one by both."""
    own, grouped, both = Permission.objects.order_by("pk")[:3]
    group = Group.objects.create(name="Admins")
    group.permissions.set([grouped, both])
    person = get_user_model()._default_manager.create_user("vera")
    person.user_permissions.set([own, both])
    person.groups.add(group)
    return person


def again(person: Any) -> Any:
    return get_user_model()._default_manager.get(pk=person.pk)


def test_one_finds_what_django_finds(vera: Any) -> None:
    assert len(SingleQueryBackend().get_all_permissions(again(vera))) == 3
    assert SingleQueryBackend().get_all_permissions(again(vera)) == ModelBackend().get_all_permissions(again(vera))


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_superuser": True}])
def test_those_who_may_nothing_or_everything_are_as_django_has_them(vera: Any, change: dict[str, bool]) -> None:
    type(vera).objects.filter(pk=vera.pk).update(**change)

    assert SingleQueryBackend().get_all_permissions(again(vera)) == ModelBackend().get_all_permissions(again(vera))


def test_all_permissions_are_one_question(vera: Any, django_assert_num_queries: Any) -> None:
    person = again(vera)

    with django_assert_num_queries(1):
        assert person.has_perm(sorted(SingleQueryBackend().get_all_permissions(person))[0])
        assert not person.has_perm("bridge.no_such_thing")
