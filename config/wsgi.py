"""The WSGI application for config.serving.server: Django behind the request body buffer."""

import os

import django as framework

from config.audit.context import set_web_server
from config.environment import read_setting
from config.file_permissions import restrict_permissions, set_umask

from .serving.body_buffer import BodyBuffer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
set_umask()
set_web_server()
framework.setup(set_prefix=False)

from config.web.wsgi_handler import TolerantHandler  # noqa: E402  # needs loaded settings

django = TolerantHandler()

from django.conf import settings  # noqa: E402

from bridge.intake.flood_guard import unknown_token_guard  # noqa: E402  # needs loaded models
from bridge.intake.group_commit import group_committer  # noqa: E402  # as above
from channels_setup import database_schema, prepared_statements  # noqa: E402  # needs loaded apps
from config.serving.schema_gate import SchemaGate  # noqa: E402  # as above

database_schema.watch.is_enabled = True
prepared_statements.enable_reads()
restrict_permissions(settings.DATA_DIR)
application = BodyBuffer(
    SchemaGate(django), slots=read_setting("WEB_THREADS"), is_refused=unknown_token_guard.is_refused
)
group_committer.slots = application.slots
