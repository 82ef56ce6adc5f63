"""The portal's settings with failpoints, for the test stack."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as PORTAL
from tests.guard import stay_on_loopback

stay_on_loopback()
INSTALLED_APPS = [*PORTAL, "tests.faults.failpoints.Failpoints"]
