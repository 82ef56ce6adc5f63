"""The portal's settings, quick where a test need not wait and open to the receivers on loopback."""

from config import settings as portal
from config.settings import *  # noqa: F403
from tests.databases import MIGRATED
from tests.guard import stay_on_loopback
from tests.servers_for_tests import own_valkey_database

stay_on_loopback()
REDIS_URL = own_valkey_database(portal.REDIS_URL)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
RELAY_ALLOWED_PRIVATE_CIDRS = ["127.0.0.0/8"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
DATABASES["default"]["TEST"] = {"TEMPLATE": MIGRATED}  # noqa: F405
DISK_FLOOR_MB = 0  # the suite runs on any disk
