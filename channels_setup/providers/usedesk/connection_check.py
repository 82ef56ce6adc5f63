"""Connection check: what Usedesk's list of channels shows about the account's settings and the clocks."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.values import as_text, parse_external_id
from channels_setup.providers.base import ApiResponse, Json
from channels_setup.providers.base.helpdesk import HelpdeskAccount, HelpdeskFinding

from .responses import judge_response

SKEW_WARNING, SKEW_ERROR = 30, 300  # seconds between Usedesk's clock and ours


def read_findings(response: ApiResponse, account: HelpdeskAccount) -> list[HelpdeskFinding]:
    found = [_compare_clocks(response)]
    if response.status in (301, 302, 303, 307, 308, 404, 405):
        sentence = _("The API address responds with HTTP %(status)d. It is not the address of Usedesk's API.")
        return [*found, HelpdeskFinding(level="error", sentence=str(sentence) % {"status": response.status})]
    try:
        channels = json.loads(response.body)
    except (ValueError, RecursionError):
        sentence = _("The API address does not belong to Usedesk's API (HTTP %(status)d).")
        return [*found, HelpdeskFinding(level="error", sentence=str(sentence) % {"status": response.status})]
    if isinstance(channels, dict):
        channels = channels.get("channels", channels)
    if not isinstance(channels, list):
        return [*found, _explain_missing_list(response)]
    found.append(HelpdeskFinding(level="ok", sentence=_("The secret key is accepted.")))
    return [*found, _find_own_channel([item for item in channels if isinstance(item, dict)], account)]


def _compare_clocks(response: ApiResponse) -> HelpdeskFinding:
    try:
        remote_time: datetime | None = parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError):
        remote_time = None
    if remote_time is None:
        return HelpdeskFinding(
            level="warning", sentence=_("Usedesk's server sends no date, so the clocks cannot be compared.")
        )
    remote_time = remote_time if remote_time.tzinfo else remote_time.replace(tzinfo=UTC)
    skew = abs((timezone.now() - remote_time).total_seconds())
    if skew < SKEW_WARNING:
        return HelpdeskFinding(level="ok", sentence=_("The clocks agree."))
    level = "error" if skew >= SKEW_ERROR else "warning"
    sentence = _("The clocks differ by %(seconds)d s: one of the two servers has the wrong time.")
    return HelpdeskFinding(level=level, sentence=str(sentence) % {"seconds": round(skew)}, ends_check=False)


def _explain_missing_list(response: ApiResponse) -> HelpdeskFinding:
    failure, _body = judge_response(response)
    if failure is not None and failure.reason == "helpdesk_unauthorized":
        return HelpdeskFinding(level="error", sentence=_("Usedesk does not accept the secret key."))
    sentence = _("Usedesk did not list its channels (HTTP %(status)d).")
    return HelpdeskFinding(level="error", sentence=str(sentence) % {"status": response.status})


def _find_own_channel(channels: list[Json], account: HelpdeskAccount) -> HelpdeskFinding:
    channel_id = parse_external_id(account.options.get("channel_id"))
    own = next((item for item in channels if parse_external_id(item.get("channel_id")) == channel_id), None)
    values = {"id": channel_id, "kind": as_text((own or {}).get("channel_type"))}
    if own is None:
        chats = [as_text(item.get("channel_id")) for item in channels if item.get("channel_type") == "chat"]
        sentence = _("There is no channel %(id)s in Usedesk. Chat channels there: %(chats)s.")
        return HelpdeskFinding(
            level="error", sentence=str(sentence) % (values | {"chats": ", ".join(chats[:10]) or "—"})
        )
    if values["kind"] != "chat":
        sentence = _("Channel %(id)s is not a chat channel: its type is “%(kind)s”.")
        return HelpdeskFinding(level="error", sentence=str(sentence) % values)
    return HelpdeskFinding(level="ok", sentence=str(_("Chat channel %(id)s exists.")) % values)
