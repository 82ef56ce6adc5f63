"""All counters and histograms. Gauges, which are read at each scrape: `config.monitoring.gauges`.

Labels have few values: no person, no text, no address. A channel is "api-3" or "chat-3", its ID with its kind;
`okno_channel_info` has its name.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.models import Delivery, Message, WebhookEvent
from channels_setup.providers.base import ACCEPTED, PAUSE, PERMANENT, RETRY, UNKNOWN

from .counters import FAST_BUCKETS, SLOW_BUCKETS, Counter, Histogram, Metric

KINDS = Delivery.Kind.values
OUTBOUND_STATUSES = [
    status.value
    for status in Message.Status
    if status not in (Message.Status.RECEIVED, Message.Status.PENDING, Message.Status.SENDING)
]
FIRST_ATTEMPT, DELIVERED = "first_attempt", "delivered"
STORED, RETRIED, FAILED, NO_DISK_SPACE = "stored", "retried", "failed", "no_disk_space"
NEW, DUPLICATE = "new", "duplicate"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

EVENTS_STORED = Counter("okno_webhook_events_stored_total", "Webhooks that were accepted and committed.", ["channel"])
EVENTS_FINISHED = Counter(
    "okno_webhook_events_finished_total",
    "Webhooks that the inbox has finished, by outcome.",
    ["channel", "outcome"],
    known_values={"outcome": [WebhookEvent.State.PROCESSED, *WebhookEvent.STUCK]},
)
INBOX_DELAY = Histogram(
    "okno_inbox_delay_seconds", "From the arrival of a webhook until its messages are stored.", buckets=SLOW_BUCKETS
)
MESSAGES_RECEIVED = Counter(
    "okno_messages_received_total",
    "Messages of clients. Duplicates are stored once.",
    ["channel", "outcome"],
    known_values={"outcome": [NEW, DUPLICATE]},
)
MESSAGE_STATUSES = Counter(
    "okno_message_statuses_total",
    "Messages to clients that reached a status. One message can reach several.",
    ["channel", "status"],
    known_values={"status": OUTBOUND_STATUSES},
)
REPLIES = Counter(
    "okno_replies_total",
    "Replies of operators and programs, by decision: text, template, or refuse.",
    ["channel", "decision"],
    known_values={"decision": ["text", "template", "refuse"]},
)
ATTEMPTS = Counter(
    "okno_delivery_attempts_total",
    "Attempts to deliver, by verdict.",
    ["channel", "kind", "verdict"],
    known_values={"kind": KINDS, "verdict": [ACCEPTED, RETRY, PERMANENT, PAUSE, UNKNOWN]},
)
ATTEMPT_DURATION = Histogram(
    "okno_delivery_attempt_duration_seconds",
    "Duration of the call of an attempt.",
    ["kind"],
    known_values={"kind": KINDS},
    buckets=FAST_BUCKETS,
)
DELIVERY_DELAY = Histogram(
    "okno_delivery_delay_seconds",
    "From the creation of a delivery until its first attempt, and until the destination accepted it.",
    ["kind", "stage"],
    known_values={"kind": KINDS, "stage": [FIRST_ATTEMPT, DELIVERED]},
    buckets=SLOW_BUCKETS,
)
WINDOWS_CLOSED = Counter("okno_windows_closed_total", "Service windows that expired.")
FILE_DOWNLOADS = Counter(
    "okno_file_downloads_total",
    "Attempts to download a client's file, by outcome.",
    ["channel", "outcome"],
    known_values={"outcome": [STORED, RETRIED, FAILED, NO_DISK_SPACE]},
)
SENT, SKIPPED, GIVEN_UP, REJECTED, UNSUBSCRIBED = "sent", "skipped", "given_up", "rejected", "unsubscribed"
PUSHES = Counter(
    "okno_push_messages_total",
    "Push messages to operators' devices, by outcome.",
    ["outcome"],
    known_values={"outcome": [SENT, SKIPPED, RETRIED, GIVEN_UP, REJECTED, UNSUBSCRIBED]},
)
TASKS = Counter(
    "okno_task_runs_total",
    "Runs of background tasks, by outcome.",
    ["task", "outcome"],
    known_values={"outcome": ["success", "failure"]},
)
TASK_DURATION = Histogram(
    "okno_task_duration_seconds",
    "Duration of background tasks. Tasks of inbox and deliveries wait for work for 20 seconds.",
    ["task"],
    buckets=(0.1, 1, 5, 15, 30, 50),
)
REQUEST_DURATION = Histogram(
    "okno_http_request_duration_seconds",
    "Duration of web requests, from the complete body to the response.",
    ["route", "method", "status"],
    known_values={"route": ["/webhooks/"], "method": ["POST"], "status": ["2xx", "4xx", "5xx"]},
    buckets=FAST_BUCKETS,
)
REJECTED_REQUESTS = Counter(
    "okno_http_requests_rejected_total",
    "Requests that were rejected before Django, by reason.",
    ["reason"],
    known_values={
        "reason": [
            "bad_content_type",
            "incomplete_body",
            "length_required",
            "too_large",
            "too_many_sign_ins",
            "too_many_unfinished",
            "too_slow",
            "unknown_webhook_address",
        ]
    },
)


def name_api_channel(pk: int | None) -> str:
    """Return the value of the label ``channel`` for an API channel."""
    return f"api-{pk}"


def name_alert_route(pk: int) -> str:
    """Return the value of the label ``channel`` for an alert route."""
    return f"alert-{pk}"


def name_chat_channel(pk: int | None) -> str:
    """Return the value of the label ``channel`` for a chat channel with an external helpdesk."""
    return f"chat-{pk}"


# A client's message comes from an API channel, and only a chat channel with an external helpdesk gets copies and notes.
API_CHANNEL_ONLY = (MESSAGES_RECEIVED, MESSAGE_STATUSES, REPLIES, FILE_DOWNLOADS)
KINDS_BY_PREFIX = {
    "api": (Delivery.Kind.MESSAGE, Delivery.Kind.REACTION, Delivery.Kind.EVENT),
    "chat": (Delivery.Kind.HELPDESK, Delivery.Kind.NOTE),
    "alert": (Delivery.Kind.ALERT, Delivery.Kind.ALERT_EMAIL),
}


def can_exist(metric: Metric, labels: Mapping[str, str]) -> bool:
    """Return whether a series can ever count something. The others are left out."""
    prefix = labels.get("channel", "api").partition("-")[0]
    if metric is ATTEMPTS:
        return labels["kind"] in KINDS_BY_PREFIX[prefix]
    return prefix == "api" if metric in API_CHANNEL_ONLY else prefix != "alert"
