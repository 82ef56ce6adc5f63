#!/usr/bin/env python
"""Django's command line. config/devstack/environment_setup.py prepares the environment first."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        import django  # noqa: F401  # only whether it is there
    except ImportError:
        sys.exit("Django is not installed in this Python. Run `make install`, then `.venv/bin/python manage.py …`.")
    from config.devstack.environment_setup import prepare_environment

    if sys.argv[1:] and not sys.argv[1].startswith("-"):
        sys.argv[1] = sys.argv[1].replace("-", "_")  # verify-backup is verify_backup
    prepare_environment(sys.argv)

    from config.audit.context import set_command
    from config.management import EnglishCommands

    set_command(sys.argv)
    EnglishCommands(sys.argv).execute()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
