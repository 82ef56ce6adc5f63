"""The Celery app, its options and the schedule. `config.beat` imports this module without Django's settings and apps.

Tasks are wake-ups for work that is stored in PostgreSQL. A task carries IDs or nothing, may run twice, and may be
lost, because beat starts it again. docs/decisions.md explains the options. The timeouts depend on each other.
"""

import os
import signal
import time
from typing import Any

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import Celery, Task
from celery.signals import (
    celeryd_after_setup,
    celeryd_init,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_before_create_process,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from .environment import read_setting
from .environment_check import exit_if_invalid
from .file_permissions import restrict_permissions, set_umask
from .serving import redis_transport  # noqa: F401  # patches Kombu

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
exit_if_invalid()  # before the first setting is read: worker and beat import this module first

# Longer than the longest task. The shortest value of all programs on a broker applies, so Okno needs its own broker.
VISIBILITY_TIMEOUT = 300
REDIS_OPTIONS = {
    "visibility_timeout": VISIBILITY_TIMEOUT,
    "health_check_interval": 15,
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "socket_keepalive": True,
}
QUEUES = ("inbound", "outbound", "events", "housekeeping")
# Task in bridge.tasks → its queue, and the interval of beat in seconds.
SCHEDULE: dict[str, tuple[str, float]] = {
    "process_inbox": ("inbound", 2),
    "send_due_deliveries": ("outbound", 2),
    "send_due_events": ("events", 2),
    "download_files": ("housekeeping", 5),
    "expire_windows": ("housekeeping", 5),
    "send_closing_reminders": ("housekeeping", 20),
    "run_automation": ("housekeeping", 5),
    "process_pending_corrections": ("housekeeping", 15),
    "release_assignments": ("housekeeping", 60),
    "record_heartbeat": ("housekeeping", 10),
    "drop_held_replies": ("housekeeping", 60),
    "sync_templates": ("housekeeping", 60),  # each channel hourly, by Registry.next_sync_at
    "run_bulk_actions": ("housekeeping", 5),
    "check_health": ("housekeeping", 300),
    "check_portal": ("housekeeping", 30),
    "route_alerts": ("housekeeping", 10),
    "send_pushes": ("housekeeping", 3),
    "reconcile_messages": ("housekeeping", 600),
    "prune_expired_rows": ("housekeeping", 600),
    "reapply_erasures": ("housekeeping", 300),
}

OPTIONS: dict[str, Any] = {
    "broker_url": read_setting("REDIS_URL"),
    "broker_transport_options": REDIS_OPTIONS,
    "result_backend_transport_options": REDIS_OPTIONS,
    "visibility_timeout": VISIBILITY_TIMEOUT,
    "redis_socket_connect_timeout": 2,
    "redis_socket_timeout": 5,
    "redis_backend_health_check_interval": 15,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_limit": 8,
    # Retries would delay a web request. Only `bridge.wakeups` tries twice, without a pause.
    "task_publish_retry": False,
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": False,
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    # A run looks for work for 20 s (worker_runs.RUN_SECONDS), and its last HTTP calls end 20 s later. A task that
    # exceeds the limit is killed; its rows keep their attempt counts.
    "task_soft_time_limit": 50,
    "task_time_limit": 60,
    "worker_prefetch_multiplier": 1,
    # Canceling would repeat HTTP calls. A task that the broker delivers a second time does no harm.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # Used for SIGQUIT only. A soft shutdown always takes its full time, so SIGTERM keeps the warm shutdown.
    "worker_soft_shutdown_timeout": 20,
    "worker_enable_soft_shutdown_on_idle": False,
    "worker_max_tasks_per_child": 100_000,
    # kB. A process at work needs 150 MB; one that has grown beyond this is replaced after its task.
    "worker_max_memory_per_child": 500_000,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "task_default_queue": "housekeeping",
    "task_routes": {f"bridge.tasks.{name}": {"queue": queue} for name, (queue, _) in SCHEDULE.items()},
    "enable_utc": True,
    "timezone": "UTC",
    # In memory. Beat's schedule file breaks if SIGTERM arrives during a write, and it would only save the times of the
    # last runs. All tasks run at the start anyway.
    "beat_scheduler": "celery.beat:Scheduler",
    "beat_schedule": {
        name: {
            "task": f"bridge.tasks.{name}",
            "schedule": seconds,
            # A late wake-up is useless, because the next one follows.
            "options": {"expires": max(seconds * 3, 30)},
        }
        for name, (_, seconds) in SCHEDULE.items()
    },
    # By default Celery closes the database connection after each task, which is 18 times slower.
    "CELERY_DB_REUSE_MAX": 1_000_000_000,
}


class WaitingTask(Task):
    """Task that begins nothing while the database has the schema of another release. Beat starts it again."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from channels_setup.schema_pauses import run_unless_waiting

        # Not Task.__call__, which would replace the request that the worker has prepared.
        return run_unless_waiting(self.name, self.run, *args, **kwargs)


app = Celery("okno", task_cls=WaitingTask)
app.conf.update(OPTIONS)
app.autodiscover_tasks(["bridge"])


@celeryd_init.connect
def set_worker_umask(**_: Any) -> None:
    """Set the umask before the worker forks, so that its processes inherit it."""
    from django.conf import settings

    from channels_setup import database_schema

    from .audit.context import set_worker

    database_schema.watch.is_enabled = True
    set_umask()
    restrict_permissions(settings.DATA_DIR)
    set_worker()


@celeryd_after_setup.connect
def initialize_libraries(**_: Any) -> None:
    """Initialize the database driver once for all processes that the worker will fork."""
    from .shared_memory import initialize_database_driver

    initialize_database_driver()


@worker_before_create_process.connect
def share_memory(**_: Any) -> None:
    from .shared_memory import freeze_loaded_objects

    freeze_loaded_objects()


@celeryd_after_setup.connect
def prepare_worker_runs(instance: Any, **_: Any) -> None:
    """Record the queues and the number of processes of the worker before it forks; runs of tasks depend on them."""
    from bridge.worker_runs import worker_process

    worker_process.prepare(queues=app.amqp.queues.consume_from, places=instance.concurrency)


@worker_process_init.connect
@worker_shutting_down.connect
def close_shutdown_writer(**_: Any) -> None:
    """Close this process's copy of the pipe's write end. The parent's is the last one: closing it ends all waits."""
    from bridge.worker_runs import worker_process

    worker_process.close_writer()


@worker_process_init.connect
def use_prepared_statements(**_: Any) -> None:
    from channels_setup import prepared_statements

    prepared_statements.enable()


@worker_process_init.connect
def ignore_late_time_limits(**_: Any) -> None:
    """Obey the soft time limit only while a task runs.

    A worker that was waiting for its broker reads results late, and sends the signal of the limit to the processes of
    tasks that have ended: these processes ended, too.
    """
    task_prerun.connect(_obey_time_limit, weak=False)
    task_postrun.connect(_ignore_time_limit, weak=False)


def _obey_time_limit(**_: Any) -> None:
    signal.signal(SIG_SOFT_TIMEOUT, soft_timeout_sighandler)


def _ignore_time_limit(**_: Any) -> None:
    signal.signal(SIG_SOFT_TIMEOUT, signal.SIG_IGN)


@task_prerun.connect
def close_dead_connections(**_: Any) -> None:
    """Replace database connections that a restart of PostgreSQL broke, as Django does before a request."""
    from django.db import close_old_connections

    close_old_connections()


@task_prerun.connect
def note_task_start(task: Any, **_: Any) -> None:
    task.request.started_at = time.monotonic()


@task_postrun.connect
def count_task_run(task: Any, state: str | None, **_: Any) -> None:
    """Count a run that ended. A run that was killed does not arrive here; its heartbeat ages."""
    from bridge.metrics import catalog

    name = str(task.name).removeprefix("bridge.tasks.")
    catalog.TASKS.count(name, "success" if state == "SUCCESS" else "failure")
    catalog.TASK_DURATION.observe(time.monotonic() - task.request.started_at, name)


@worker_process_shutdown.connect
def flush_telemetry(**_: Any) -> None:
    from bridge import tracing
    from bridge.metrics import flushing

    flushing.flush_safely()
    tracing.flush()


@setup_logging.connect
def disable_celery_logging(**_: Any) -> None:
    """Keep Django's logging: with a receiver of this signal, Celery does not configure its own."""
