"""What mypy's Django plugin reads: the settings without any server behind them."""

from config.devstack.environment_setup import prepare_environment

prepare_environment(["manage.py", "check"])

from config.settings import *  # noqa: E402, F403
