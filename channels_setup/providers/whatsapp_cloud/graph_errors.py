"""The Graph API's error codes: which of our reasons each is, and what becomes of the message.

Logic rests on the code and the details, never on the HTTP status or the title. Codes not in the table are left to
their details. The reasons' sentences stand in ``bridge.outcomes`` with all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """``verdict`` is one of ``providers.base``; ``whole``: everything on the channel waits ``seconds``.

    ``contact_backoff_base``: this contact waits 1 s, then so many times as long at each refusal.
    """

    verdict: str
    reason: str
    whole: bool = False
    seconds: float | None = None
    contact_backoff_base: float | None = None


def _all(codes: Iterable[int], meaning: Meaning) -> dict[str, Meaning]:
    return {str(code): meaning for code in codes}


CODES: Mapping[str, Meaning] = {
    # the channel pauses with everything held, until an admin has mended it
    **_all((0, 190), Meaning("pause", "wa_token")),
    **_all((3, 10, *range(200, 300), 131005), Meaning("pause", "wa_permission")),
    **_all((131031, 368), Meaning("pause", "wa_account_locked")),
    **_all((131037, 131042, 131045), Meaning("pause", "wa_account_setup")),
    **_all((133000, *range(133005, 133011), 133015, 133016), Meaning("pause", "wa_registration")),
    **_all((131048,), Meaning("pause", "wa_spam_limit")),
    # later, of itself
    **_all((1, 2, 131000, 131016, 133004), Meaning("retry", "wa_busy")),
    **_all((4, 80007), Meaning("retry", "wa_call_limit", whole=True, seconds=300)),
    **_all((130429,), Meaning("retry", "wa_throughput", whole=True, seconds=5)),
    **_all((131057, 2494100), Meaning("retry", "wa_maintenance", whole=True, seconds=60)),
    **_all((131056,), Meaning("retry", "wa_pair_limit", contact_backoff_base=4)),
    **_all((132069,), Meaning("retry", "wa_flow_busy")),
    # this message never
    **_all((33, 100, 131008, 131009, 131021, 131051, 135000), Meaning("permanent", "wa_invalid_request")),
    **_all((130403,), Meaning("permanent", "wa_blocked_by_us")),
    **_all((130472,), Meaning("permanent", "wa_experiment")),
    **_all((130497,), Meaning("permanent", "wa_country")),
    **_all((131026,), Meaning("permanent", "wa_undeliverable")),
    **_all((131030,), Meaning("permanent", "wa_test_number")),
    **_all((131047,), Meaning("permanent", "wa_window_closed")),
    **_all((131049,), Meaning("permanent", "wa_marketing_limit")),
    **_all((131050,), Meaning("permanent", "wa_marketing_stopped")),
    **_all((131052,), Meaning("permanent", "wa_client_file_failed")),
    **_all((131053,), Meaning("permanent", "wa_file_rejected")),
    **_all((131060,), Meaning("permanent", "wa_unavailable")),
    **_all((131062,), Meaning("permanent", "wa_needs_phone")),
    **_all((131063,), Meaning("permanent", "wa_marketing_off")),
    # the template waits, or has to be mended
    **_all((131064,), Meaning("permanent", "wa_categories_limit")),
    **_all((132000, 132008, 132012, 132018), Meaning("permanent", "wa_template_values")),
    **_all((132001,), Meaning("permanent", "wa_template_unknown")),
    **_all((132005,), Meaning("permanent", "wa_template_too_long")),
    **_all((132007,), Meaning("permanent", "wa_template_policy")),
    **_all((132015,), Meaning("permanent", "wa_template_paused")),
    **_all((132016,), Meaning("permanent", "wa_template_disabled")),
    **_all((132068,), Meaning("permanent", "wa_flow_blocked")),
}
NEW_LINE_IN_VALUE = "new-line"  # said under 100, 132000 and 132018; the words are what is stable
UNKNOWN_CODE = Meaning("permanent", "provider_failed")


def meaning_of(code: str, details: str = "") -> Meaning:
    if NEW_LINE_IN_VALUE in details and code in ("100", "132000", "132018"):
        return CODES["132018"]
    return CODES.get(code, UNKNOWN_CODE)


def reason_of(code: str, details: str = "") -> str:
    return meaning_of(code, details).reason
