"""The portal's settings with our failpoints in it, for the stack of the rig."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as PORTAL
from tests.guard import stay_on_loopback

stay_on_loopback()
INSTALLED_APPS = [*PORTAL, "tests.faults.failpoints.Failpoints"]
