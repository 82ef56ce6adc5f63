"""Calls of 360dialog's Messaging API that differ from the Graph API. Paths hold no IDs: the key identifies the number.

GET /health_status returns the Graph API's fields of the number, GET /v1/configs/webhook the webhook address, and
/v1/configs/templates the templates in pages by offset. Source: docs.360dialog.com.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.values import as_text, parse_whole_number
from channels_setup.providers.base import AccountFinding

from .graph_account import Reader, read_number_findings
from .graph_contacts import one_line

HEALTH, WEBHOOK = "health", "webhook"
HEALTH_PATH, WEBHOOK_PATH, TEMPLATES_PATH = "health_status", "v1/configs/webhook", "v1/configs/templates"
HEALTH_FIELDS = "id,health_status,display_phone_number,verified_name,name_status,quality_rating"
PAGE_SIZE = 200
SENDING_LABELS: Mapping[str, str | Promise] = {
    "AVAILABLE": _("possible"),
    "LIMITED": _("limited"),
    "BLOCKED": _("blocked"),
}


def list_check_queries() -> dict[str, tuple[str, str]]:
    """Return path and fields of each query by its name."""
    return {HEALTH: (HEALTH_PATH, HEALTH_FIELDS), WEBHOOK: (WEBHOOK_PATH, "")}


def list_readers(*, number_id: str, account_id: str) -> dict[str, Reader]:
    """Return the reader of each query's response by the query's name."""
    return {
        HEALTH: lambda body: read_health(body, number_id=number_id, account_id=account_id),
        WEBHOOK: lambda body: iter([read_webhook(body)]),
    }


def read_health(body: Mapping[str, Any], *, number_id: str, account_id: str) -> Iterator[AccountFinding]:
    """Yield the status of the number and its account, and errors if the IDs in the settings belong to others."""
    health = body.get("health_status")
    health = health if isinstance(health, dict) else {}
    entities = [entity for entity in _list(health.get("entities")) if isinstance(entity, dict)]
    ids = {as_text(entity.get("entity_type")).upper(): as_text(entity.get("id")) for entity in entities}
    word = as_text(health.get("can_send_message")).upper()[:40]
    if body.get("display_phone_number"):
        yield from read_number_findings(body)
    else:
        yield AccountFinding(
            level="ok", sentence=_("The provider confirms the account."), facts={"health": word or "?"}
        )
    reported_number, reported_account = as_text(body.get("id")) or ids.get("PHONE_NUMBER", ""), ids.get("WABA", "")
    if reported_number and number_id and reported_number != number_id:
        sentence = _("The key belongs to the phone number ID %(id)s. Correct the ID in the settings.")
        yield AccountFinding(level="error", sentence=sentence % {"id": one_line(reported_number, 40)})
    if reported_account and account_id and reported_account != account_id:
        sentence = _("The key belongs to the WhatsApp Business account ID %(id)s. Correct the ID in the settings.")
        yield AccountFinding(level="error", sentence=sentence % {"id": one_line(reported_account, 40)})
    if word:
        yield _read_sending(word, entities)


def _read_sending(word: str, entities: Sequence[Mapping[str, Any]]) -> AccountFinding:
    level = {"AVAILABLE": "ok", "BLOCKED": "error"}.get(word, "warning")
    label = SENDING_LABELS.get(word, one_line(word, 40))
    reasons = [reason for entity in entities for reason in _list_reasons(entity)]
    sentence = _("Sending messages is %(word)s.") if not reasons else _("Sending messages is %(word)s: %(why)s")
    return AccountFinding(
        level=level, sentence=sentence % {"word": label, "why": " ".join(reasons)[:500]}, facts={"health": word}
    )


def _list_reasons(entity: Mapping[str, Any]) -> Iterator[str]:
    for error in _list(entity.get("errors")):
        if isinstance(error, dict):
            texts = (error.get("error_description"), error.get("possible_solution"))
            yield " ".join(filter(None, (one_line(text, 200) for text in texts)))
    for line in _list(entity.get("additional_info")):
        yield one_line(line, 200)


def read_webhook(body: Mapping[str, Any]) -> AccountFinding:
    url = one_line(body.get("url"), 300)
    if url:
        return AccountFinding(
            level="ok", sentence=_("Webhooks go to: %(names)s.") % {"names": url}, facts={"subscribed": url}
        )
    sentence = _(
        "The provider has no webhook address, so it sends no webhooks. Enter the address from this page there."
    )
    return AccountFinding(level="error", sentence=sentence, facts={"subscribed": "no"})


def read_template_rows(body: Mapping[str, Any]) -> list[Any] | None:
    """Return the templates of a list or an export in the Graph API's shape; None if the body is neither."""
    rows = body.get("waba_templates")
    return [convert_template_row(row) for row in rows] if isinstance(rows, list) else None


def convert_template_row(row: Any) -> Any:
    """Return a template as the Graph API lists it. Its ID is the Graph API's, which webhooks use, not 360dialog's."""
    if not isinstance(row, dict):
        return row
    return {**row, "id": as_text(row.get("external_id")) or as_text(row.get("id"))}


def read_next_offset(body: Mapping[str, Any]) -> str:
    """Return the offset of the next page, or "" after the last one. Raises BadBody if the page has no offset."""
    count = len(_list(body.get("waba_templates")))
    total = parse_whole_number(as_text(body.get("total")).strip())
    if total is None or not count:
        return ""
    begin = as_text(body.get("offset") or 0)
    if not (begin.isascii() and begin.isdigit() and len(begin) < 10):
        raise BadBody(_("The provider's list of templates has another page, but no cursor for it."))
    end = int(begin) + count
    return str(end) if end < total else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
