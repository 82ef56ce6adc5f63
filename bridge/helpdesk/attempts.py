"""One attempt to send to an external helpdesk: look up an earlier attempt of unknown outcome, then call."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from django.utils import timezone

from bridge.outbox.response_excerpt import excerpt_response
from channels_setup import http_client
from channels_setup.providers.base import (
    ACCEPTED,
    PAUSE,
    RETRY,
    UNKNOWN,
    ApiRequest,
    ApiResponse,
    ContactInfo,
    FileInfo,
    Outcome,
)
from channels_setup.providers.base import helpdesk as contract
from channels_setup.providers.base.helpdesk import (
    Helpdesk,
    HelpdeskAccount,
    HelpdeskCommand,
    HelpdeskResult,
    LookupResult,
    RemoteIds,
)

from ..models import Attachment, Delivery, HelpdeskChat

logger = logging.getLogger(__name__)

MAX_REPEATS = 50  # longest run of equal messages in which a lookup can identify one
MAX_LOOKUPS = 5  # attempts after which inconclusive lookups are given up
MAX_UPLOAD_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ClaimedCommand:
    """A claimed delivery with everything that its thread needs.

    `may_have_arrived`: an earlier attempt may have reached the helpdesk.
    """

    delivery: Delivery
    provider: Helpdesk
    account: HelpdeskAccount
    command: HelpdeskCommand
    may_have_arrived: bool


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """The result of one attempt."""

    item: ClaimedCommand
    result: HelpdeskResult
    may_have_arrived: bool  # this attempt or an earlier one
    started_at: datetime
    duration_ms: int
    http_status: int | None = None
    answer: str = ""


def build_command(delivery: Delivery, account: HelpdeskAccount, *, repeats: int = 0) -> HelpdeskCommand:
    """Build the command of a delivery, with the helpdesk's IDs that are known by now."""
    payload = delivery.payload
    link = HelpdeskChat.objects.filter(conversation=delivery.conversation_id).first()
    at = payload.get("at")
    return HelpdeskCommand(
        kind=delivery.track,
        key=delivery.key,
        text=payload.get("text", ""),
        contact=ContactInfo(**payload.get("contact", {})),
        at=datetime.fromisoformat(at) if at else None,
        external_id=payload.get("external_id", ""),
        files=tuple(FileInfo(url=url) for url in payload.get("files", [])),
        uploads=tuple(_read_uploads(delivery)) if account.options.get("files") == "comment" else (),
        remote_ids=RemoteIds(chat_id=link.chat_id, client_id=link.client_id, ticket_id=link.ticket_id)
        if link
        else RemoteIds(),
        repeats=repeats,
    )


def _read_uploads(delivery: Delivery) -> Iterator[contract.AttachedFile]:
    """Yield the files themselves if all are stored here and small enough; otherwise they are sent as links."""
    if delivery.message_id is None or not delivery.payload.get("files"):
        return
    attachments = list(Attachment.objects.filter(message=delivery.message_id).order_by("pk"))
    if not all(each.file and each.file.size <= MAX_UPLOAD_BYTES for each in attachments):
        return
    for each in attachments:
        with each.file.open("rb") as stored:
            yield contract.AttachedFile(name=each.name, mime=each.mime, content=stored.read())


def count_repeats(delivery: Delivery) -> int:
    """Count equal deliveries right before this one, so that a lookup can tell them apart."""
    before = Delivery.objects.filter(
        conversation=delivery.conversation_id, kind=delivery.kind, track=delivery.track, pk__lt=delivery.pk
    ).order_by("-pk")
    contents = [(row.payload.get("text"), row.payload.get("files")) for row in before.only("payload")[:MAX_REPEATS]]
    own = (delivery.payload.get("text"), delivery.payload.get("files"))
    return next((index for index, content in enumerate(contents) if content != own), len(contents))


# --- attempt ---------------------------------------------------------------------------------------------


def attempt_command(item: ClaimedCommand, acquire: Callable[[], None]) -> CommandResult:
    """Look up an earlier attempt if needed, and call, in a thread without the database. Never raises."""
    started_at, started = timezone.now(), time.monotonic()
    response: ApiResponse | None = None
    trace, may_have_arrived = "", item.may_have_arrived
    try:
        lookup = _find_existing(item, acquire) if may_have_arrived else None
        if lookup is not None and lookup.arrived:
            result, may_have_arrived = (
                HelpdeskResult(outcome=Outcome(verdict=ACCEPTED), remote_ids=lookup.remote_ids),
                False,
            )
        elif lookup is not None and lookup.arrived is None and _count_attempts(item) < MAX_LOOKUPS:
            result = HelpdeskResult(outcome=Outcome(verdict=RETRY, reason="outcome_unknown"))
        else:
            is_missing = lookup is not None and lookup.arrived is False
            result, response = _send_command(item, acquire, may_be_duplicate=may_have_arrived and not is_missing)
            may_have_arrived = False
    except http_client.ForbiddenAddress:
        result = HelpdeskResult(outcome=Outcome(verdict=PAUSE, reason="helpdesk_wrong_address"))
    except http_client.ConnectionFailed:
        result = HelpdeskResult(outcome=Outcome(verdict=RETRY, reason="helpdesk_unreachable"))
    except http_client.NoResponse:
        result, may_have_arrived = HelpdeskResult(outcome=Outcome(verdict=UNKNOWN, reason="outcome_unknown")), True
    except Exception:
        logger.exception("attempt failed", extra={"delivery": item.delivery.pk})
        result = HelpdeskResult(outcome=Outcome(verdict=RETRY, reason="internal_error"))
        trace = traceback.format_exc(limit=-3)
    return CommandResult(
        item=item,
        result=result,
        may_have_arrived=may_have_arrived,
        started_at=started_at,
        duration_ms=int((time.monotonic() - started) * 1000),
        http_status=response.status if response else None,
        answer=excerpt_response(response, [item.account.secret]) if response else trace,
    )


def _count_attempts(item: ClaimedCommand) -> int:
    return item.delivery.attempts - item.delivery.attempts_before


def _find_existing(item: ClaimedCommand, acquire: Callable[[], None]) -> LookupResult | None:
    """Return whether an earlier attempt arrived, or None if the helpdesk offers no lookup."""
    request, lookup = item.provider.build_lookup_request(item.command, item.account), None
    while request is not None:
        acquire()
        try:
            response = http_client.send(request, max_bytes=4 * 1024 * 1024)
        except http_client.NoResponse:
            return LookupResult(arrived=None)
        lookup = item.provider.read_lookup(item.command, response, item.account)
        request = lookup.next_request
    return lookup


def _send_command(
    item: ClaimedCommand, acquire: Callable[[], None], *, may_be_duplicate: bool
) -> tuple[HelpdeskResult, ApiResponse | None]:
    request = item.provider.build_request(item.command, item.account)
    if not isinstance(request, ApiRequest):
        return HelpdeskResult(outcome=request), None
    acquire()
    response = http_client.send(request)
    try:
        result = item.provider.read_response(item.command, response)
    except Exception:  # the request was sent: look it up later
        logger.exception("response not read", extra={"delivery": item.delivery.pk})
        raise http_client.NoResponse from None
    if may_be_duplicate and result.outcome.verdict == ACCEPTED:
        result = replace(result, outcome=replace(result.outcome, reason="helpdesk_possible_duplicate"))
    return result, response
