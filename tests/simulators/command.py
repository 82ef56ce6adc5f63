"""Command line of the Meta simulator, for demos, training and process tests: ``python -m tests.simulators.meta``."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from dataclasses import fields
from functools import partial

from tests.simulators.behavior import Behavior, check
from tests.simulators.meta import MetaSimulator

NAMES = ("access_token", "app_secret", "verify_token", "phone_number_id", "waba_id", "display_number")


def main(arguments: list[str]) -> int:
    options = vars(parser().parse_args(arguments))
    behavior = {field.name: options.pop(field.name) for field in fields(Behavior)}
    portal, number = options.pop("portal_url"), options.pop("phone")
    settings = {name: value for name, value in options.items() if value is not None}
    settings["behavior"] = Behavior(**{name: value for name, value in behavior.items() if value is not None})
    try:
        simulator = MetaSimulator(**settings)
    except OSError as problem:
        ports = f"{settings['port']} and {settings['port'] + 1}"
        sys.exit(f"Cannot listen on the ports {ports} ({problem.strerror}). Choose another one with --port.")
    with simulator as meta:
        meta.phone(number, name="Анна")
        meta.add_template()
        if portal and not meta.connect(portal):
            print(f"{portal} did not return the challenge, so it gets no webhooks", file=sys.stderr)
        ready = {"base_url": meta.url, "media_url": meta.media_url, "control": f"{meta.url}/_simulator/"}
        ready |= {name: getattr(meta, name) for name in NAMES if name != "app_secret"}
        print(json.dumps({"ready": ready | {"app_secret": meta.webhook_sender.app_secret}}))
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.simulators.meta", description=__doc__)
    made.add_argument("--port", type=int, default=8163, help="Port of the Graph API.")
    made.add_argument("--portal-url", default="", help="The channel's webhook address in the portal.")
    made.add_argument("--phone", default="447700900101", help="Digits of a client's phone.")
    made.add_argument("--auth-header", help="Header for the bare token, such as D360-API-KEY.")
    made.add_argument("--signature-header", help="Header with the signature instead of X-Hub-Signature-256.")
    made.add_argument("--seed", type=int)
    made.add_argument("--own-media-host", action="store_true", help="Serve files on the next port.")
    for name in NAMES:
        made.add_argument(f"--{name.replace('_', '-')}")
    for field in fields(Behavior):
        flag = f"--{field.name.replace('_', '-')}"
        made.add_argument(flag, type=partial(check, field.name), metavar=str(field.default))
    return made
