"""Accounts, recorded payloads and sample requests for the contract tests of providers."""

from datetime import UTC, datetime
from pathlib import Path

from channels_setup.codecs.chat_events import build_chat_event, build_client, build_ticket
from channels_setup.providers.base import Account, ContactInfo, DeliveryRequest, RawRequest
from channels_setup.providers.base.helpdesk import HelpdeskAccount
from tests import cloud_accounts as cloud

PAYLOADS = Path(__file__).parent.parent / "payloads"
SECRET = "0123456789abcdef0123456789abcdef01234567"
ACCOUNT = Account(id=1, name="Shop", app_id="12345", redirect_url="https://hooks.example/x", secrets=(SECRET,))
HELPDESK_OPTIONS = {"base_url": "https://desk.example/uapi/", "channel_id": 870, "app_id": "51423"}
HELPDESK_ACCOUNT = HelpdeskAccount(id=1, name="Shop", company_id=150001, options=HELPDESK_OPTIONS, secret=SECRET)
# Modules with the account, the channel and the signatures of kinds whose recordings belong to one account.
AUTHENTICATED = {cloud.KIND: cloud}


def account_of(kind: str) -> Account:
    return AUTHENTICATED[kind].cloud_account() if kind in AUTHENTICATED else ACCOUNT


def build_raw_request(body: bytes, content_type: str = "application/json", *, method: str = "POST") -> RawRequest:
    return RawRequest(method=method, query_string="", content_type=content_type, headers={}, body=body)


def sample_delivery() -> DeliveryRequest:
    """Build the delivery of an operator's reply."""
    client = build_client(id=5, name="Анна", email="", phone="+79210000000", external_id="79210000000")
    ticket = build_ticket(
        id=7,
        status_id=1,
        subject="?",
        client_id=5,
        assignee_id=None,
        updated_at=None,
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
        channel_id=801,
        email="",
        company_id=1,
        message="?",
    )
    event = build_chat_event(
        app_id="12345",
        chat_id=70001,
        sender="user",
        text="Да 🙌",
        client=client,
        ticket=ticket,
        state=None,
        message_id=9,
        platform="whatsapp",
    )
    contact = ContactInfo(external_id="79210000000", phone="+79210000000")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return DeliveryRequest(key="msg_1", attempt=1, at=at, event=event, text="Да 🙌", contact=contact)
