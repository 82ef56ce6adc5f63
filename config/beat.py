"""Celery beat: starts the tasks of the schedule. Start it with `python -m config.beat`.

It loads Celery, but neither Django's apps nor Celery's command line, which saves 80 MB of memory. One beat is enough; a
second one does no harm.
"""

import logging.config
import os
import signal
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.apps.beat import Beat
from celery.beat import Service
from celery.signals import beat_init, setup_logging

from .celery import OPTIONS, SCHEDULE
from .environment import read_setting
from .file_permissions import set_umask

app = Celery("okno", fixups=[])  # without Celery's integration for Django
app.conf.update(OPTIONS)


@setup_logging.connect
def configure_logging(**_: Any) -> None:
    """Log in the format of the other processes, which Django configures."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "plain": {"()": "config.monitoring.log_format.build_formatter", "style": read_setting("LOG_FORMAT")}
            },
            "filters": {"plain": {"()": "config.monitoring.log_redaction.ArgumentRedactor"}},
            "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["plain"]}},
            "root": {"handlers": ["console"], "level": "WARNING"},
        }
    )


@beat_init.connect
def run_schedule_now(**_: Any) -> None:
    """Start all tasks when beat starts. Beat itself would wait for the first interval of each task."""
    with suppress(Exception):  # without the broker, the tasks start at their next interval
        for name in SCHEDULE:
            app.send_task(f"bridge.tasks.{name}", retry=False)


class StatelessBeat(Beat):
    """Beat whose schedule is in memory, so that it has nothing to save when it ends."""

    def install_sync_handler(self, service: Service) -> None:
        """Exit at once on SIGTERM and SIGINT.

        Celery's own handler closes the connection of a call that is under way and raises SystemExit in it. The call
        then fails with another error, which is logged, and beat goes on.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))


if __name__ == "__main__":
    set_umask()
    StatelessBeat(app=app, loglevel="WARNING", quiet=True).run()
