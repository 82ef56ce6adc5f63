"""What mypy's Django plugin reads: the settings without any server behind them."""

from config.devstack.launch import prepare

prepare(["manage.py", "check"])

from config.settings import *  # noqa: E402, F403
