"""The web application, as config.web loads it: Django behind a gate."""

import os

from django.core.wsgi import get_wsgi_application

from config.environment import value
from config.gate import Gate
from config.private_files import make_private, set_umask

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
set_umask()
django = get_wsgi_application()

from django.conf import settings  # noqa: E402

from bridge.strangers import strangers  # noqa: E402  # models, which Django must have loaded

make_private(settings.DATA_DIR)
application = Gate(django, places=value("WEB_THREADS"), is_refused=strangers.is_refused)
