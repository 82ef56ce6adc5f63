"""Beat, which runs without Django's apps."""

import os
import subprocess
import sys

from django.conf import settings


def test_beat_writes_its_log_lines() -> None:
    """A log line is redacted by the secrets that Django's models know, where there are models."""
    program = (
        "import logging, config.beat; config.beat.configure_logging();"
        " logging.getLogger('celery.beat').error('broker gone: %r', OSError(111, 'refused'))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "broker gone" in run.stderr and "Traceback" not in run.stderr
