"""The Celery app: a doorbell for the database's work, and the clock that rings it.

PostgreSQL is the truth. A task carries ids or nothing, may run twice, and may be lost: beat rings again.
The options are the lessons of docs/decisions.md; the figures belong together, change them together.
"""

import os
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.signals import beat_init, celeryd_init, setup_logging, task_prerun
from django.conf import settings

from .file_permissions import restrict_permissions, set_umask
from .serving import redis_transport  # noqa: F401  # puts the transport right

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Longer than any task may run. The shortest among programs on one broker wins, so the broker is ours alone.
VISIBILITY_TIMEOUT = 300
REDIS_OPTIONS = {
    "visibility_timeout": VISIBILITY_TIMEOUT,
    "health_check_interval": 15,
    "socket_connect_timeout": 2,
    "socket_timeout": 5,
    "socket_keepalive": True,
    "retry_on_timeout": True,
}
QUEUES = ("inbound", "outbound", "housekeeping")
# Name of the task (in bridge.tasks): its queue, and how often beat rings it, in seconds.
SCHEDULE: dict[str, tuple[str, float]] = {
    "process_inbox": ("inbound", 2),
    "send_due_deliveries": ("outbound", 2),
    "download_files": ("housekeeping", 5),
    "send_helpdesk_commands": ("outbound", 2),
    "expire_windows": ("housekeeping", 5),
    "send_closing_reminders": ("housekeeping", 20),
    "process_pending_corrections": ("housekeeping", 15),
    "release_assignments": ("housekeeping", 60),
    "record_heartbeat": ("housekeeping", 10),
    "drop_held_replies": ("housekeeping", 60),
    "sync_templates": ("housekeeping", 60),  # each channel hourly, by Registry.next_sync_at
    "run_bulk_actions": ("housekeeping", 5),
    "check_health": ("housekeeping", 300),
    "reconcile_messages": ("housekeeping", 600),
    "prune_expired_rows": ("housekeeping", 3600),
}

app = Celery("okno")
app.conf.update(
    broker_url=settings.REDIS_URL,
    broker_transport_options=REDIS_OPTIONS,
    result_backend_transport_options=REDIS_OPTIONS,
    visibility_timeout=VISIBILITY_TIMEOUT,
    redis_socket_connect_timeout=2,
    redis_socket_timeout=5,
    redis_backend_health_check_interval=15,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_pool_limit=8,
    # A doorbell rings once and never keeps the web waiting.
    task_publish_retry=False,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    # A call is over after 20 s; one that is not is ended in the middle, the row's attempt count stands.
    task_soft_time_limit=50,
    task_time_limit=60,
    worker_prefetch_multiplier=1,
    # A call that is cut off may be made once more. A task that the broker gives out again meanwhile does no harm.
    worker_cancel_long_running_tasks_on_connection_loss=False,
    # For SIGQUIT. SIGTERM stays Celery's warm shutdown: this one sleeps its full time even when work is done.
    worker_soft_shutdown_timeout=20,
    worker_enable_soft_shutdown_on_idle=False,
    worker_max_tasks_per_child=100_000,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    task_default_queue="housekeeping",
    task_routes={f"bridge.tasks.{name}": {"queue": queue} for name, (queue, _) in SCHEDULE.items()},
    enable_utc=True,
    timezone="UTC",
    # In memory: beat's own file breaks where a SIGTERM comes while it is written, and all it would keep is when the
    # hourly tasks last ran. They run at the start as well.
    beat_scheduler="celery.beat:Scheduler",
    beat_schedule={
        name: {
            "task": f"bridge.tasks.{name}",
            "schedule": seconds,
            # A ring that nobody heard is of no use later.
            "options": {"expires": max(seconds * 3, 30)},
        }
        for name, (_, seconds) in SCHEDULE.items()
    },
    # Celery's Django support would close the database connection after each task: eighteen times slower.
    CELERY_DB_REUSE_MAX=1_000_000_000,
)
app.autodiscover_tasks(["bridge"])


@celeryd_init.connect
def set_worker_umask(**_: Any) -> None:
    """Before the worker forks: its processes inherit it."""
    set_umask()
    restrict_permissions(settings.DATA_DIR)


@beat_init.connect
def run_schedule_now(**_: Any) -> None:
    """Beat rings for the first time only after each interval; what waited while it was down need not wait longer."""
    with suppress(Exception):  # a broker that is down will be rung later
        for name in SCHEDULE:
            app.send_task(f"bridge.tasks.{name}", retry=False)


@task_prerun.connect
def close_dead_connections(**_: Any) -> None:
    """What Django does before a request: a connection that PostgreSQL's restart broke is opened anew."""
    from django.db import close_old_connections

    close_old_connections()


@setup_logging.connect
def disable_celery_logging(**_: Any) -> None:
    """Having a listener here keeps Celery from setting up logging of its own."""
