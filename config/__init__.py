"""Project package: settings, URLs, Celery app, WSGI application, and the code around the apps."""
