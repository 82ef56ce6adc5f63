"""Settings of the tests: the portal's own, with a fast password hasher and loopback allowed as a destination."""

import os
import tempfile
from pathlib import Path

from config import settings as portal
from config.settings import *  # noqa: F403
from tests.databases import TEMPLATE
from tests.guard import stay_on_loopback
from tests.servers_for_tests import own_valkey_database

stay_on_loopback()
REDIS_URL = own_valkey_database(portal.REDIS_URL)
os.environ["REDIS_URL"] = REDIS_URL  # Celery's options are read from the environment
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
RELAY_ALLOWED_PRIVATE_CIDRS = ["127.0.0.0/8"]
# Tests without a database clear the cache too. `tests/test_shared_cache.py` tests the portal's own.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
DATABASES["default"]["TEST"] = {"TEMPLATE": TEMPLATE}  # noqa: F405
# A test's worker is found by its name. The audit triggers need a name that begins with okno.
DATABASES["default"]["OPTIONS"]["application_name"] = os.environ.get("PGAPPNAME", "okno")  # noqa: F405
ERASURE_LOG = str(Path(tempfile.mkdtemp(prefix="okno-erasures-")) / "erasures.jsonl")
MIN_FREE_DISK_MB = 0  # the suite must run on a nearly full disk too
