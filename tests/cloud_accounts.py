"""The WhatsApp Cloud account of the recorded payloads, as a provider account and as a database row."""

from __future__ import annotations

from typing import Any

from channels_setup import account_settings
from channels_setup.models import ApiChannel
from channels_setup.providers.base import Account
from tests.cloud_corpus import PHONE_NUMBER_ID, WABA_ID, signed
from tests.factories import ApiChannelFactory

KIND = "whatsapp_cloud"
APP_SECRET = "5f2b0c9ad8e14c3f9a7d61e2b4c8f0a1"
ACCESS_TOKEN = "EAAGm0PX4ZCpsBAKZCtest0000000000000000"
VERIFY_TOKEN = "otkroy-sesam-42"
SETTINGS = {
    "phone_number_id": PHONE_NUMBER_ID,
    "waba_id": WABA_ID,
    "access_token": ACCESS_TOKEN,
    "app_secret": APP_SECRET,
    "verify_token": VERIFY_TOKEN,
}


def cloud_account(**options: str) -> Account:
    """Return the account. `settings` replace the usual plain settings, such as `base_url`."""
    secret = ("access_token", "app_secret", "verify_token")
    plain = {name: value for name, value in SETTINGS.items() if name not in secret}
    return Account(
        id=1,
        name="Shop",
        app_id="12345",
        options=plain | options,
        credentials={name: (SETTINGS[name],) for name in secret},
    )


def cloud_channel(*, settings: dict[str, str] | None = None, **fields: Any) -> ApiChannel:
    channel: Any = ApiChannelFactory(kind=KIND, secret=True, **fields)
    account_settings.save_values(channel, SETTINGS | (settings or {}))
    made: ApiChannel = channel
    return made


def proof(body: bytes) -> dict[str, str]:
    """Return the header with Meta's signature of a body."""
    return {"x-hub-signature-256": signed(body, APP_SECRET)["X-Hub-Signature-256"]}
