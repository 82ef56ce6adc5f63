"""Settings for the Django plugin of mypy, which needs no servers."""

from config.devstack.environment_setup import prepare_environment

prepare_environment(["manage.py", "check"])

from config.settings import *  # noqa: E402, F403
