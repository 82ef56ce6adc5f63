"""The portal's URLs, with the views of the baselines.

Paths under /webhooks/ skip the middleware for browsers, as the portal's webhooks do.
"""

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from config.urls import urlpatterns as portal
from tests.load import live_stream
from tests.load.limit.views import store_for_delivery
from tests.load.naive.models import Relayed
from tests.load.naive.tasks import relay


@csrf_exempt
def bare(request: HttpRequest) -> JsonResponse:
    """Commit one INSERT and do nothing else."""
    Relayed.objects.create(body=request.body.decode())
    return JsonResponse({"status": "accepted"})


class TaskForEach(APIView):
    authentication_classes = ()
    permission_classes = ()
    schema = None

    def post(self, request: Request) -> Response:
        row = Relayed.objects.create(body=request.data, url=request.query_params["to"])
        relay.delay(row.pk)
        return Response({"status": "accepted"})


urlpatterns = [
    path("bare", bare),
    path("bench-stream/", live_stream.stream),
    path("webhooks/bench/bare", bare),
    path("each", TaskForEach.as_view()),
    path("webhooks/bench/limit", store_for_delivery),
    *portal,
]
