"""Project around django-webhook (https://pypi.org/project/django-webhook/). It imports nothing of the portal.

A view stores a message; the package's signal enqueues a Celery task, which stores an event, posts it, and marks it.
"""
