import json

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from .models import Stored


@csrf_exempt
def store(request: HttpRequest) -> JsonResponse:
    Stored.objects.create(body=json.loads(request.body))
    return JsonResponse({"status": "accepted"})


urlpatterns = [path("store", store)]
