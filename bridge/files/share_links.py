"""Page behind a shared file's link: name, size and one button. No login; the signed link is the key.

Messengers fetch links to preview them, so the page itself is not the download; only the button's URL is counted.
"""

from __future__ import annotations

from typing import TypeVar

from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from bridge import service_window
from bridge.models import Upload

from . import file_responses, uploads

ResponseType = TypeVar("ResponseType", bound=HttpResponseBase)


@require_safe
@never_cache
def show_shared_file(request: HttpRequest, signature: str) -> HttpResponse:
    """Show the page of a shared file, or that its link has expired (410)."""
    upload = _get_upload_or_404(signature)
    is_expired = _is_expired(upload)
    context = {"upload": upload, "signature": signature, "is_expired": is_expired}
    return _disallow_indexing(render(request, "bridge/shared_file.html", context, status=410 if is_expired else 200))


@require_safe
@never_cache
def download_shared_file(request: HttpRequest, signature: str) -> HttpResponseBase:
    """Serve a shared file and count the download."""
    upload = _get_upload_or_404(signature)
    if _is_expired(upload):
        return show_shared_file(request, signature)
    response = file_responses.build_file_response(
        request, upload.file, name=upload.name, mime=upload.mime, is_inline=False
    )
    is_beginning = response.status_code == 200 or response.headers.get("Content-Range", "").startswith("bytes 0-")
    if request.method == "GET" and is_beginning:  # not the rest of a download that was interrupted
        Upload.objects.filter(pk=upload.pk).update(
            downloads=F("downloads") + 1, downloaded_at=service_window.database_now()
        )
    return _disallow_indexing(response)


def _get_upload_or_404(signature: str) -> Upload:
    upload = uploads.find_upload(signature)
    if upload is None:
        raise Http404
    return upload


def _is_expired(upload: Upload) -> bool:
    return upload.expires_at <= service_window.database_now()


def _disallow_indexing(response: ResponseType) -> ResponseType:
    response["X-Robots-Tag"] = "noindex, nofollow"
    response["Referrer-Policy"] = "no-referrer"
    return response
