"""Connection check of an external helpdesk in both directions, without a client; and which events have come so far."""

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

WAIT_SECONDS = 8.0  # to wait for the test message's event
POLL_SECONDS = 0.1
MIN_EVENTS = 5  # after so many events, a checkbox without any is not ticked

OK, WARNING, ERROR = "ok", "warning", "error"


def run_connection_check(chat_channel: ChatChannel, *, wait: float = WAIT_SECONDS) -> list[HelpdeskFinding]:
    """Check both directions step by step; stop at the first error. A marked test chat appears in the helpdesk."""
    if missing := account_settings.missing_settings(chat_channel):
        what = ", ".join(str(setting.label) for setting in missing)
        return [HelpdeskFinding(level=ERROR, sentence=_("Not filled in: %(what)s.") % {"what": what})]
    account = chat_channel.helpdesk_account()
    found = _check_access(chat_channel, account)
    if any(each.level == ERROR and each.stops for each in found):
        return found
    connection, _made = HelpdeskConnection.objects.get_or_create(chat_channel=chat_channel)
    token = f"okno-check-{encryption.new_path_token()[:10]}"
    connection.check_state = {
        "token": token,
        **{name: connection.check_state.get(name) for name in ("chat_id", "client_id")},
    }
    connection.save(update_fields=["check_state"])
    begun = timezone.now()  # the event may arrive before the response
    told = _send_test_message(chat_channel, account, connection, token)
    found.append(told)
    if told.level == OK:
        found.append(_wait_for_test_event(chat_channel, token, told_at=begun, wait=wait))
    return [*found, *_find_unticked_boxes(chat_channel)]


def _check_access(chat_channel: ChatChannel, account: HelpdeskAccount) -> list[HelpdeskFinding]:
    answer = _send_request(chat_channel.provider.build_check_request(account))
    return (
        [answer] if isinstance(answer, HelpdeskFinding) else chat_channel.provider.read_check_findings(answer, account)
    )


def _send_request(request: ApiRequest) -> ApiResponse | HelpdeskFinding:
    try:
        return http_client.send(request, max_bytes=1024 * 1024)
    except http_client.ForbiddenAddress as problem:
        return HelpdeskFinding(level=ERROR, sentence=str(problem))
    except http_client.ConnectionFailed as problem:
        if problem.reason == "name_not_found":
            return HelpdeskFinding(level=ERROR, sentence=_("The name in the API address cannot be found."))
        if problem.reason == "tls":
            return HelpdeskFinding(level=ERROR, sentence=_("The certificate at the API address is not valid."))
        return HelpdeskFinding(level=ERROR, sentence=_("Nothing answers at the API address."))
    except http_client.NoResponse:
        return HelpdeskFinding(level=ERROR, sentence=_("The API address took the call and did not answer in time."))


def _send_test_message(
    chat_channel: ChatChannel, account: HelpdeskAccount, connection: HelpdeskConnection, token: str
) -> HelpdeskFinding:
    telling = HelpdeskCommand(
        kind=contract.MESSAGE,
        key=token,
        text=_("Connection check by the portal. Nothing needs to be done. %(token)s") % {"token": token},
        contact=ContactInfo(name=_("Okno: connection check")),
        at=timezone.now(),
        remote_ids=RemoteIds(
            chat_id=connection.check_state.get("chat_id"), client_id=connection.check_state.get("client_id")
        ),
    )
    request = chat_channel.provider.build_request(telling, account)
    assert isinstance(request, ApiRequest)
    answer = _send_request(request)
    if isinstance(answer, HelpdeskFinding):
        return answer
    answered = chat_channel.provider.read_response(telling, answer)
    if answered.outcome.verdict != ACCEPTED:
        why = outcomes.render_sentence(answered.outcome.reason)
        connection.check_state |= {"chat_id": None, "client_id": None}
        connection.save(update_fields=["check_state"])
        return HelpdeskFinding(level=ERROR, sentence=_("The test message was not taken. %(why)s") % {"why": why})
    connection.check_state |= {"chat_id": answered.remote_ids.chat_id, "client_id": answered.remote_ids.client_id}
    HelpdeskConnection.objects.filter(pk=connection.pk).update(check_state=connection.check_state)
    sentence = _("The test message was taken: chat %(id)s in the helpdesk.")
    return HelpdeskFinding(level=OK, sentence=sentence % {"id": answered.remote_ids.chat_id})


def _wait_for_test_event(chat_channel: ChatChannel, token: str, *, told_at: datetime, wait: float) -> HelpdeskFinding:
    """Wait for the test message's event among the stored events, however busy the workers are."""
    begun = monotonic()
    rows = WebhookEvent.objects.filter(chat_channel=chat_channel)
    before = rows.order_by("-pk").values_list("pk", flat=True).first() or 0
    while monotonic() - begun < wait:
        recent = rows.filter(pk__gt=before - 50).order_by("-pk")[:50]
        if any(token.encode() in bytes(event.body) for event in recent):
            took = monotonic() - begun
            return HelpdeskFinding(
                level=OK, sentence=_("Its event came back after %(seconds).1f s.") % {"seconds": took}
            )
        sleep(POLL_SECONDS)
    connection = HelpdeskConnection.objects.get(chat_channel=chat_channel)
    refused = connection.seen.get("refused", "")
    if refused and datetime.fromisoformat(refused) >= told_at:
        sentence = _("Its event came, but its secret is neither the app ID nor the secret key given here.")
        return HelpdeskFinding(level=ERROR, sentence=sentence)
    if not connection.last_event_at:
        sentence = _(
            "No event has ever come: is the webhook address in “Redirect URL”, and the chat channel in the right "
            "column of “Watch channels”?"
        )
        return HelpdeskFinding(level=ERROR, sentence=sentence)
    if set(connection.seen) <= {"ping", "refused"}:
        sentence = _(
            "The address is right (a ping came), but no chat event: tick “All chat messages”, and move the chat "
            "channel to the right column of “Watch channels”."
        )
        return HelpdeskFinding(level=ERROR, sentence=sentence)
    return HelpdeskFinding(
        level=WARNING, sentence=_("Its event did not come back within %(seconds)d s.") % {"seconds": wait}
    )


def _find_unticked_boxes(chat_channel: ChatChannel) -> list[HelpdeskFinding]:
    sentence = _("“%(box)s” is evidently not ticked: %(why)s.")
    return [
        HelpdeskFinding(level=WARNING, sentence=sentence % {"box": each.box.label, "why": each.box.purpose})
        for each in list_event_boxes(chat_channel)
        if each.is_missed
    ]


# --- what events have shown ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EventBoxStatus:
    """The first event of one checkbox of the helpdesk's settings. `is_missed`: other events show that it is not
    ticked.
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
    connection = HelpdeskConnection.objects.filter(chat_channel=chat_channel).first()
    seen = connection.seen if connection else {}
    many = WebhookEvent.objects.filter(chat_channel=chat_channel)[:MIN_EVENTS].count() >= MIN_EVENTS
    found = []
    for box in chat_channel.provider.event_checkboxes:
        first = seen.get(box.track)
        at = datetime.fromisoformat(first) if first else None
        # A closed or reassigned request should have raised its own event.
        missed = {"message": many, "change": "moved" in seen}.get(box.track, False)
        found.append(EventBoxStatus(box=box, first_at=at, is_missed=box.needed and at is None and missed))
    return found
