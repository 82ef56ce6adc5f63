"""Create the project's tables and its webhook.

DATABASE_URL=… REDIS_URL=… WEBHOOK_URL=… python -m tests.load.public.setup
"""

import os

import django
from django.core.management import call_command

if __name__ == "__main__":
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    from django_webhook.models import Webhook, WebhookSecret, WebhookTopic

    webhook = Webhook.objects.create(url=os.environ["WEBHOOK_URL"])
    WebhookSecret.objects.create(webhook=webhook, token="bench-secret-000000")
    webhook.topics.add(WebhookTopic.objects.get_or_create(name="public.Stored/create")[0])
