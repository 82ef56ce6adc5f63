"""The portal's settings, with the naive app added."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS as PORTAL

INSTALLED_APPS = [*PORTAL, "tests.load.naive"]
ROOT_URLCONF = "tests.load.naive.urls"
