from django.core.wsgi import get_wsgi_application

from .celery_app import app  # the tasks' broker

application = get_wsgi_application()
__all__ = ["app", "application"]
