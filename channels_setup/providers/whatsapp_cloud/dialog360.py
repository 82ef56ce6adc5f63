"""What 360dialog's Messaging API has beside the Graph API: its paths hold no IDs, the key says which number is meant.

GET /health_status asks the Graph API for the number's fields; GET /v1/configs/webhook says where webhooks go;
/v1/configs/templates holds the templates, page by page by offset (docs.360dialog.com).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.values import as_text, parse_external_id

from .graph_account import CheckResult, read_number_findings
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
    """Name -> path and fields."""
    return {HEALTH: (HEALTH_PATH, HEALTH_FIELDS), WEBHOOK: (WEBHOOK_PATH, "")}


def list_readers(*, number_id: str, account_id: str) -> dict[str, Callable[[Mapping[str, Any]], Iterator[CheckResult]]]:
    """Name -> what the good answer to its question means."""
    return {
        HEALTH: lambda body: read_health(body, number_id=number_id, account_id=account_id),
        WEBHOOK: lambda body: iter([read_webhook(body)]),
    }


def read_health(body: Mapping[str, Any], *, number_id: str, account_id: str) -> Iterator[CheckResult]:
    """How the number and its account stand, and whether the IDs in the settings are theirs."""
    told = body.get("health_status")
    told = told if isinstance(told, dict) else {}
    entities = [one for one in _list(told.get("entities")) if isinstance(one, dict)]
    ids = {as_text(one.get("entity_type")).upper(): as_text(one.get("id")) for one in entities}
    word = as_text(told.get("can_send_message")).upper()[:40]
    if body.get("display_phone_number"):
        yield from read_number_findings(body)
    else:
        yield CheckResult(level="ok", sentence=_("The provider confirms the account."), facts={"health": word or "?"})
    their_number, their_account = as_text(body.get("id")) or ids.get("PHONE_NUMBER", ""), ids.get("WABA", "")
    if their_number and number_id and their_number != number_id:
        sentence = _("The key belongs to the number with phone number ID %(id)s: correct it in the settings.")
        yield CheckResult(level="error", sentence=sentence % {"id": one_line(their_number, 40)})
    if their_account and account_id and their_account != account_id:
        sentence = _("The key belongs to the WhatsApp Business account ID %(id)s: correct it in the settings.")
        yield CheckResult(level="error", sentence=sentence % {"id": one_line(their_account, 40)})
    if word:
        yield _sending(word, entities)


def _sending(word: str, entities: Sequence[Mapping[str, Any]]) -> CheckResult:
    level = {"AVAILABLE": "ok", "BLOCKED": "error"}.get(word, "warning")
    shown = SENDING_LABELS.get(word, one_line(word, 40))
    whys = [why for entity in entities for why in _list_reasons(entity)]
    sentence = _("Sending messages is %(word)s.") if not whys else _("Sending messages is %(word)s: %(why)s")
    return CheckResult(
        level=level, sentence=sentence % {"word": shown, "why": " ".join(whys)[:500]}, facts={"health": word}
    )


def _list_reasons(entity: Mapping[str, Any]) -> Iterator[str]:
    for error in _list(entity.get("errors")):
        if isinstance(error, dict):
            words = (error.get("error_description"), error.get("possible_solution"))
            yield " ".join(filter(None, (one_line(word, 200) for word in words)))
    for line in _list(entity.get("additional_info")):
        yield one_line(line, 200)


def read_webhook(body: Mapping[str, Any]) -> CheckResult:
    url = one_line(body.get("url"), 300)
    if url:
        return CheckResult(
            level="ok", sentence=_("Webhooks go to: %(names)s.") % {"names": url}, facts={"subscribed": url}
        )
    sentence = _("The provider has no webhook address, so no webhook will come: enter the one from this page there.")
    return CheckResult(level="error", sentence=sentence, facts={"subscribed": "no"})


def template_rows(body: Mapping[str, Any]) -> list[Any] | None:
    """The templates of a list or an export; None where it is none."""
    rows = body.get("waba_templates")
    return [template_row(row) for row in rows] if isinstance(rows, list) else None


def template_row(row: Any) -> Any:
    """A template as the Graph API lists it. Webhooks know it by the Graph API's ID, not by the provider's own."""
    if not isinstance(row, dict):
        return row
    return {**row, "id": as_text(row.get("external_id")) or as_text(row.get("id"))}


def next_offset(body: Mapping[str, Any]) -> str:
    """Where the list goes on; empty after its last page. Raises BadBody where it does not say where it is."""
    count = len(_list(body.get("waba_templates")))
    total = parse_external_id(body.get("total"))
    if total is None or not count:
        return ""
    begin = as_text(body.get("offset") or 0)
    if not (begin.isascii() and begin.isdigit() and len(begin) < 10):
        raise BadBody(_("The provider's list of templates has another page, but no cursor for it."))
    end = int(begin) + count
    return str(end) if end < total else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
