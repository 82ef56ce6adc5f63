"""The portal's settings, with the baselines of the benchmark added."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as PORTAL

INSTALLED_APPS = [*PORTAL, "tests.load.naive", "tests.load.limit"]
ROOT_URLCONF = "tests.load.urls"
