import os

import requests
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.load.settings")
app = Celery("naive", broker=os.environ["REDIS_URL"])
app.conf.update(task_ignore_result=True, task_default_queue="naive")


@app.task
def relay(pk: int) -> None:
    from tests.load.naive.models import Relayed

    row = Relayed.objects.get(pk=pk)
    requests.post(row.url, json=row.body, timeout=10).raise_for_status()
    row.state = "done"
    row.save()
