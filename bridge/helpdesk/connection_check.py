"""Connection check of an external helpdesk in both directions, and the event types received so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from time import monotonic, sleep

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from bridge import outcomes
from channels_setup import account_settings, encryption, http_client
from channels_setup.models import ChatChannel
from channels_setup.providers.base import ACCEPTED, ApiRequest, ApiResponse, ContactInfo
from channels_setup.providers.base import helpdesk as contract
from channels_setup.providers.base.helpdesk import (
    EventCheckbox,
    HelpdeskAccount,
    HelpdeskCommand,
    HelpdeskFinding,
    RemoteIds,
)

from ..models import HelpdeskConnection, WebhookEvent

WAIT_SECONDS = 8.0  # for the test message's event
POLL_SECONDS = 0.1
MIN_EVENTS = 5  # after this many events, a checkbox without events counts as not ticked

OK, WARNING, ERROR = "ok", "warning", "error"


def run_connection_check(chat_channel: ChatChannel, *, wait: float = WAIT_SECONDS) -> list[HelpdeskFinding]:
    """Check both directions step by step; stop at the first error. A marked test chat appears in the helpdesk."""
    if missing := account_settings.missing_settings(chat_channel):
        names = ", ".join(str(setting.label) for setting in missing)
        return [HelpdeskFinding(level=ERROR, sentence=_("Missing settings: %(names)s.") % {"names": names})]
    account = chat_channel.helpdesk_account()
    findings = _check_access(chat_channel, account)
    if any(each.level == ERROR and each.ends_check for each in findings):
        return findings
    connection, _made = HelpdeskConnection.objects.get_or_create(chat_channel=chat_channel)
    token = f"okno-check-{encryption.new_path_token()[:10]}"
    connection.check_state = {
        "token": token,
        **{name: connection.check_state.get(name) for name in ("chat_id", "client_id")},
    }
    connection.save(update_fields=["check_state"])
    sent_at = timezone.now()  # the event may arrive before the response
    finding = _send_test_message(chat_channel, account, connection, token)
    findings.append(finding)
    if finding.level == OK:
        findings.append(_wait_for_test_event(chat_channel, token, sent_at=sent_at, wait=wait))
    return [*findings, *_find_unticked_boxes(chat_channel)]


def _check_access(chat_channel: ChatChannel, account: HelpdeskAccount) -> list[HelpdeskFinding]:
    response = _send_request(chat_channel.provider.build_check_request(account))
    if isinstance(response, HelpdeskFinding):
        return [response]
    return chat_channel.provider.read_check_findings(response, account)


def _send_request(request: ApiRequest) -> ApiResponse | HelpdeskFinding:
    try:
        return http_client.send(request, max_bytes=1024 * 1024)
    except http_client.ForbiddenAddress as problem:
        return HelpdeskFinding(level=ERROR, sentence=str(problem))
    except http_client.ConnectionFailed as problem:
        if problem.reason == "name_not_found":
            return HelpdeskFinding(
                level=ERROR, sentence=_("The host in the API address cannot be found. Check the address.")
            )
        if problem.reason == "tls":
            return HelpdeskFinding(level=ERROR, sentence=_("The certificate at the API address is not valid."))
        return HelpdeskFinding(level=ERROR, sentence=_("Cannot connect to the API address. Check the address."))
    except http_client.NoResponse:
        return HelpdeskFinding(level=ERROR, sentence=_("The API address did not respond in time. Try again."))


def _send_test_message(
    chat_channel: ChatChannel, account: HelpdeskAccount, connection: HelpdeskConnection, token: str
) -> HelpdeskFinding:
    command = HelpdeskCommand(
        kind=contract.MESSAGE,
        key=token,
        text=_("Connection check by the portal. No action is needed. %(token)s") % {"token": token},
        contact=ContactInfo(name=_("Okno: connection check")),
        at=timezone.now(),
        remote_ids=RemoteIds(
            chat_id=connection.check_state.get("chat_id"), client_id=connection.check_state.get("client_id")
        ),
    )
    request = chat_channel.provider.build_request(command, account)
    assert isinstance(request, ApiRequest)
    response = _send_request(request)
    if isinstance(response, HelpdeskFinding):
        return response
    result = chat_channel.provider.read_response(command, response)
    if result.outcome.verdict != ACCEPTED:
        why = outcomes.render_sentence(result.outcome.reason)
        connection.check_state |= {"chat_id": None, "client_id": None}
        connection.save(update_fields=["check_state"])
        return HelpdeskFinding(
            level=ERROR, sentence=_("The helpdesk did not accept the test message. %(why)s") % {"why": why}
        )
    connection.check_state |= {"chat_id": result.remote_ids.chat_id, "client_id": result.remote_ids.client_id}
    HelpdeskConnection.objects.filter(pk=connection.pk).update(check_state=connection.check_state)
    sentence = _("The helpdesk accepted the test message: chat %(id)s.")
    return HelpdeskFinding(level=OK, sentence=sentence % {"id": result.remote_ids.chat_id})


def _wait_for_test_event(chat_channel: ChatChannel, token: str, *, sent_at: datetime, wait: float) -> HelpdeskFinding:
    """Wait for the test message's event among the stored events, whether or not a worker has processed it."""
    started = monotonic()
    rows = WebhookEvent.objects.filter(chat_channel=chat_channel)
    before = rows.order_by("-pk").values_list("pk", flat=True).first() or 0
    while monotonic() - started < wait:
        recent = rows.filter(pk__gt=before - 50).order_by("-pk")[:50]
        if any(token.encode() in bytes(event.body) for event in recent):
            sentence = _("The event of the test message arrived after %(seconds).1f s.")
            return HelpdeskFinding(level=OK, sentence=sentence % {"seconds": monotonic() - started})
        sleep(POLL_SECONDS)
    connection = HelpdeskConnection.objects.get(chat_channel=chat_channel)
    refused = connection.first_events.get("refused", "")
    if refused and datetime.fromisoformat(refused) >= sent_at:
        sentence = _("The event arrived, but its secret is neither the app ID nor the secret key set here.")
        return HelpdeskFinding(level=ERROR, sentence=sentence)
    if not connection.last_event_at:
        sentence = _(
            "No event has arrived yet. Check that “Redirect URL” contains the webhook address and that the chat "
            "channel is in the right column of “Watch channels”."
        )
        return HelpdeskFinding(level=ERROR, sentence=sentence)
    if set(connection.first_events) <= {"ping", "refused"}:
        sentence = _(
            "The address is correct (a ping arrived), but there was no chat event. Tick “All chat messages”, and move "
            "the chat channel to the right column of “Watch channels”."
        )
        return HelpdeskFinding(level=ERROR, sentence=sentence)
    sentence = _("The event of the test message did not arrive within %(seconds)d s.")
    return HelpdeskFinding(level=WARNING, sentence=sentence % {"seconds": wait})


def _find_unticked_boxes(chat_channel: ChatChannel) -> list[HelpdeskFinding]:
    sentence = _("“%(box)s” does not seem to be ticked: %(why)s.")
    return [
        HelpdeskFinding(level=WARNING, sentence=sentence % {"box": each.box.label, "why": each.box.purpose})
        for each in list_event_boxes(chat_channel)
        if each.is_missed
    ]


# --- events received so far ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EventBoxStatus:
    """The first event of one checkbox of the helpdesk's settings.

    `is_missed`: other events show that the checkbox is not ticked.
    """

    box: EventCheckbox
    first_at: datetime | None
    is_missed: bool

    @property
    def state(self) -> str:
        if self.first_at:
            return "done"
        return "trouble" if self.is_missed else "now" if self.box.needed else "later"

    @property
    def label(self) -> str | Promise:
        return self.box.label


def list_event_boxes(chat_channel: ChatChannel) -> list[EventBoxStatus]:
    """Return the status of each event checkbox of the helpdesk."""
    connection = HelpdeskConnection.objects.filter(chat_channel=chat_channel).first()
    first_events = connection.first_events if connection else {}
    has_many_events = WebhookEvent.objects.filter(chat_channel=chat_channel)[:MIN_EVENTS].count() >= MIN_EVENTS
    boxes = []
    for box in chat_channel.provider.event_checkboxes:
        first = first_events.get(box.track)
        at = datetime.fromisoformat(first) if first else None
        # A closed or reassigned request should have raised its own event.
        missed = {"message": has_many_events, "change": "moved" in first_events}.get(box.track, False)
        boxes.append(EventBoxStatus(box=box, first_at=at, is_missed=box.needed and at is None and missed))
    return boxes
