"""The web application, as config.web loads it: Django behind a gate."""

import os

from django.core.wsgi import get_wsgi_application

from config.environment import value
from config.gate import Gate

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django = get_wsgi_application()

from bridge.strangers import strangers  # noqa: E402  # models, which Django must have loaded

application = Gate(django, places=value("WEB_THREADS"), is_refused=strangers.is_refused)
