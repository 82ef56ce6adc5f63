import json

from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

# One statement, which commits by itself. A message that is known already is not delivered again.
STORE_SQL = """
WITH stored AS (
    INSERT INTO limit_stored (external_id, body, received_at) VALUES (%s, %s, clock_timestamp())
    ON CONFLICT (external_id) DO NOTHING RETURNING id
)
INSERT INTO limit_outgoing (stored_id, url, state, attempts, next_attempt_at)
SELECT id, %s, 'pending', 0, clock_timestamp() FROM stored
"""


@csrf_exempt
def store_for_delivery(request: HttpRequest) -> JsonResponse:
    body = request.body.decode()
    with connection.cursor() as cursor:
        cursor.execute(STORE_SQL, [json.loads(body)["id"], body, request.GET["to"]])
    return JsonResponse({"status": "accepted"})
