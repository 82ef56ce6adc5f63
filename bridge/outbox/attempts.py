"""Values that the steps of a delivery pass on: the claim, the result of its calls, the result of the attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bridge.files.provider_uploads import CachedUpload
from bridge.models import Delivery
from channels_setup.providers.base import ApiResponse, CallRate, Outcome
from channels_setup.providers.base.helpdesk import RemoteIds

if TYPE_CHECKING:
    from .policies import DestinationPolicy

NO_IDS = RemoteIds()


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """A claimed delivery. `interrupted`: a worker died during an earlier attempt, so its outcome is unknown."""

    policy: DestinationPolicy
    delivery: Delivery
    interrupted: bool


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """What the calls of one attempt returned."""

    outcome: Outcome
    response: ApiResponse | None = None
    upload: CachedUpload | None = None  # the file that this attempt uploaded to the provider
    contact_rates: tuple[CallRate, ...] = ()  # this contact's limits, if the outcome reports them as exhausted
    remote_ids: RemoteIds = NO_IDS  # the helpdesk's IDs
    may_have_arrived: bool = False  # at a helpdesk, by this attempt or an earlier one


@dataclass(frozen=True, kw_only=True)
class AttemptResult(CallResult):
    """The result of one attempt, as it is saved."""

    claimed: ClaimedDelivery
    started_at: datetime
    duration_ms: int
    http_status: int | None = None
    answer: str = ""
