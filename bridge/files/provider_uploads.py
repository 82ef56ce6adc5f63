"""Provider uploads: our files, uploaded to the provider before their message and sent by the provider's ID.

This applies if the provider accepts uploads and the channel is configured for it; otherwise the provider downloads the
file by its link. Messages with the same content share an ID as long as the provider keeps the file, so retries and
broadcasts upload a file once. If the upload fails, nothing is sent to the client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.core.files.storage import default_storage

from bridge import outcomes, service_window
from bridge.models import Delivery, ProviderUpload
from channels_setup import http_client
from channels_setup.codecs.bodies import BadBody
from channels_setup.codecs.values import FileInfo
from channels_setup.providers.base import ACCEPTED, RETRY, UNKNOWN, Account, Messenger, OutboundFile, Outcome

UPLOAD_TIMEOUT_SECONDS = 30.0  # for one file; together with the message's call within the lease


@dataclass(frozen=True, kw_only=True)
class CachedUpload:
    """A file uploaded to the provider. ``ttl``: how long the provider keeps it."""

    sha256: str
    mime: str
    external_id: str
    ttl: timedelta


def find_cached_uploads(deliveries: Iterable[Delivery]) -> Mapping[int, str]:
    """Return delivery ID → the provider's ID of a file that the provider still keeps."""
    keys_by_delivery = {
        row.pk: (row.api_channel_id, file["sha256"], file["mime"])
        for row in deliveries
        if (file := _get_uploadable_file(row))
    }
    if not keys_by_delivery:
        return {}
    rows = ProviderUpload.objects.filter(
        api_channel__in={channel_id for channel_id, _sha256, _mime in keys_by_delivery.values()},
        sha256__in={sha256 for _channel_id, sha256, _mime in keys_by_delivery.values()},
        expires_at__gt=service_window.database_now(),
    )
    ids = {(row.api_channel_id, row.sha256, row.mime): row.external_id for row in rows}
    return {pk: ids[key] for pk, key in keys_by_delivery.items() if key in ids}


def _get_uploadable_file(delivery: Delivery) -> Mapping[str, str] | None:
    """Return the delivery's stored file if the provider accepts uploads."""
    if delivery.kind != Delivery.Kind.MESSAGE or not delivery.api_channel.provider.accepts_uploads:
        return None
    first: Mapping[str, str] = next(iter(delivery.payload.get("files") or ()), {})
    return first if first.get("stored") and first.get("sha256") else None


def upload_file(
    file: FileInfo, provider: Messenger, account: Account
) -> http_client.Exchange[CachedUpload | Outcome | None]:
    """Upload a file, without the database. Return the upload, the failure, or None to send the link."""
    with default_storage.open(file.stored, "rb") as opened:
        request = provider.build_upload_request(
            OutboundFile(name=file.name, mime=file.mime, content=opened.read()), account
        )
    if request is None:
        return None
    try:
        answer = yield http_client.Call(request=request, seconds=UPLOAD_TIMEOUT_SECONDS)
        outcome = provider.judge_response(answer)
        if outcome.verdict == ACCEPTED:
            external_id = provider.read_upload_id(answer)
            return CachedUpload(sha256=file.sha256, mime=file.mime, external_id=external_id, ttl=provider.upload_ttl)
    except (http_client.NoResponse, BadBody):
        outcome = Outcome(verdict=UNKNOWN)
    return Outcome(verdict=RETRY, reason="destination_error") if outcome.verdict == UNKNOWN else outcome


def cache_upload(channel_id: int, upload: CachedUpload) -> None:
    """Store an upload, so that other messages with the same file use it."""
    expires_at = service_window.database_now() + upload.ttl
    ProviderUpload.objects.update_or_create(
        api_channel_id=channel_id,
        sha256=upload.sha256,
        mime=upload.mime,
        defaults={"external_id": upload.external_id, "expires_at": expires_at},
    )


def forget_rejected_upload(delivery: Delivery, reason: str) -> None:
    """Forget an upload after the provider rejected a message because of it: the next attempt uploads it again."""
    if outcomes.get_effects(reason).forget_upload and (file := _get_uploadable_file(delivery)):
        ProviderUpload.objects.filter(api_channel=delivery.api_channel_id, sha256=file["sha256"]).delete()
