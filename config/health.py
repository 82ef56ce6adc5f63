"""Two questions of two askers: is this process alive (restart it), is the portal working (alarm someone)."""

from django.http import HttpRequest, JsonResponse


def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok"})
