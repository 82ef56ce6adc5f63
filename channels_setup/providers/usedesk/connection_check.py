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

SKEW_NOTICED, SKEW_WRONG = 30, 300  # seconds between their clock and ours


def read_findings(response: ApiResponse, account: HelpdeskAccount) -> list[HelpdeskFinding]:
    found = [_compare_clocks(response)]
    if response.status in (301, 302, 303, 307, 308, 404, 405):
        sentence = _("The API address responds with HTTP %(status)d. It is not the address of Usedesk's API.")
        return [*found, HelpdeskFinding(level="error", sentence=str(sentence) % {"status": response.status})]
    try:
        listed = json.loads(response.body)
    except (ValueError, RecursionError):
        sentence = _("The API address does not belong to Usedesk's API (HTTP %(status)d).")
        return [*found, HelpdeskFinding(level="error", sentence=str(sentence) % {"status": response.status})]
    if isinstance(listed, dict):
        listed = listed.get("channels", listed)
    if not isinstance(listed, list):
        return [*found, _explain_missing_list(response)]
    found.append(HelpdeskFinding(level="ok", sentence=_("The secret key is accepted.")))
    return [*found, _find_own_channel([item for item in listed if isinstance(item, dict)], account)]


def _compare_clocks(response: ApiResponse) -> HelpdeskFinding:
    try:
        theirs: datetime | None = parsedate_to_datetime(response.headers.get("date", ""))
    except (TypeError, ValueError):
        theirs = None
    if theirs is None:
        return HelpdeskFinding(
            level="warning", sentence=_("Usedesk's server sends no date, so the clocks cannot be compared.")
        )
    apart = abs((timezone.now() - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))).total_seconds())
    if apart < SKEW_NOTICED:
        return HelpdeskFinding(level="ok", sentence=_("The clocks agree."))
    level = "error" if apart >= SKEW_WRONG else "warning"
    sentence = _("The clocks differ by %(seconds)d s: one of the two servers has the wrong time.")
    return HelpdeskFinding(level=level, sentence=str(sentence) % {"seconds": round(apart)}, stops=False)


def _explain_missing_list(response: ApiResponse) -> HelpdeskFinding:
    failure, _body = judge_response(response)
    if failure is not None and failure.reason == "helpdesk_unauthorized":
        return HelpdeskFinding(level="error", sentence=_("Usedesk does not accept the secret key."))
    sentence = _("Usedesk did not list its channels (HTTP %(status)d).")
    return HelpdeskFinding(level="error", sentence=str(sentence) % {"status": response.status})


def _find_own_channel(listed: list[Json], account: HelpdeskAccount) -> HelpdeskFinding:
    wanted = parse_external_id(account.options.get("channel_id"))
    own = next((item for item in listed if parse_external_id(item.get("channel_id")) == wanted), None)
    values = {"id": wanted, "kind": as_text((own or {}).get("channel_type"))}
    if own is None:
        chats = [as_text(item.get("channel_id")) for item in listed if item.get("channel_type") == "chat"]
        sentence = _("There is no channel %(id)s in Usedesk. Chat channels there: %(chats)s.")
        return HelpdeskFinding(
            level="error", sentence=str(sentence) % (values | {"chats": ", ".join(chats[:10]) or "—"})
        )
    if values["kind"] != "chat":
        sentence = _("Channel %(id)s is not a chat channel: its type is “%(kind)s”.")
        return HelpdeskFinding(level="error", sentence=str(sentence) % values)
    return HelpdeskFinding(level="ok", sentence=str(_("Chat channel %(id)s exists.")) % values)
