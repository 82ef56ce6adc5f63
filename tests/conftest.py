"""The ground the tests stand on: real PostgreSQL and Valkey of their own, and nothing beyond loopback."""

import os

import django

from tests import servers_for_tests

# Before Django reads its settings, in the controller and again in each xdist process.
servers_for_tests.set_environment()
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()


def pytest_unconfigure() -> None:
    servers_for_tests.leave()
