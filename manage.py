#!/usr/bin/env python
"""Django's command line. config/devstack/environment_setup.py prepares the environment first."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed in this Python. Run `make install`, then `.venv/bin/python manage.py …`.")
    from config.devstack.environment_setup import prepare_environment

    if sys.argv[1:] and not sys.argv[1].startswith("-"):
        sys.argv[1] = sys.argv[1].replace("-", "_")  # verify-backup is verify_backup
    prepare_environment(sys.argv)

    from config.audit.context import set_command

    set_command(sys.argv)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
