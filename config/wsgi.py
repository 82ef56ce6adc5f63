"""The web application, as config.serving.server loads it: Django behind a gate."""

import os

import django as framework

from config.environment import value
from config.private_files import make_private, set_umask

from .serving.body_buffer import Gate

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
set_umask()
framework.setup(set_prefix=False)

from config.web.wsgi_handler import Handler  # noqa: E402  # settings, which Django must have loaded

django = Handler()

from django.conf import settings  # noqa: E402

from bridge.intake.flood_guard import unknown_token_guard  # noqa: E402  # models, which Django must have loaded

make_private(settings.DATA_DIR)
application = Gate(django, places=value("WEB_THREADS"), is_refused=unknown_token_guard.is_refused)
