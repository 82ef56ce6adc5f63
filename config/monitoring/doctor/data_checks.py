"""Checks of what is stored: keys, channels, users, alerts and erasures."""

from __future__ import annotations

from collections.abc import Iterator

from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from bridge.channel_health import alerts
from bridge.maintenance import erasure_log
from bridge.models import Alert, Delivery
from channels_setup import encryption
from channels_setup.management.commands.rotate_field_keys import encrypted_texts
from channels_setup.models import (
    AlertRoute,
    ApiChannel,
    ChannelState,
    ChatChannel,
    Credential,
    Secret,
    WebhookAddress,
)
from channels_setup.roles import Role
from config.accounts.models import User

from .findings import Finding, error, note, warning

CHECKED_SECRETS = 500  # of each kind, the newest ones


def check_secrets() -> Iterator[Finding]:
    """Decrypt stored secrets: a removed key stops their channels, and locks out users with a second factor."""
    first = Fernet(settings.FIELD_KEYS[0])
    lost, old = set(), False
    for owner, token in list_encrypted():
        try:
            encryption.decrypt(token)
        except ImproperlyConfigured:
            lost.add(owner)
            continue
        try:
            first.decrypt(token)
        except InvalidToken:
            old = True
    if lost:
        problem = f"No key of FIELD_KEYS decrypts secrets of: {', '.join(sorted(lost))}."
        yield error("keys.lost", problem, "Add the key that was removed from FIELD_KEYS.")
    if old:
        problem = "Secrets are still encrypted with an older key."
        yield note("keys.old", problem, "Run `manage.py rotate_field_keys` before you remove it.")


def list_encrypted() -> Iterator[tuple[str, bytes]]:
    """Yield what `rotate_field_keys` re-encrypts: the name of the owner, and the encrypted text."""
    for model in (Secret, Credential):
        for row in model.objects.select_related("api_channel").order_by("-pk")[:CHECKED_SECRETS]:
            yield row.api_channel.name, bytes(row.token)
    addresses = WebhookAddress.objects.select_related("api_channel", "chat_channel")
    for address in addresses.order_by("-pk")[:CHECKED_SECRETS]:
        yield str(address.api_channel or address.chat_channel), bytes(address.token)
    for owner in (ChatChannel, AlertRoute):
        for name, token in owner.objects.exclude(secret=None).order_by("-pk").values_list("name", "secret"):
            yield name, bytes(token or b"")
    factors = Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN).select_related("user")
    for factor in factors.order_by("-pk")[:CHECKED_SECRETS]:
        for text in encrypted_texts(factor.data):
            yield f"{factor.user.get_username()} (second factor)", text.encode()


def check_channels() -> Iterator[Finding]:
    if not ApiChannel.objects.exists():
        yield note("channels.none", "There is no API channel.", "Add one in the admin, or by `manage.py channel add`.")
    for channel in ApiChannel.objects.filter(state=ChannelState.FAILING).order_by("pk"):
        problem = f"“{channel.name}” is failing ({channel.last_error or 'unknown reason'})."
        yield error("channels.failing", problem, f"See its page: {settings.PUBLIC_URL}/admin/")
    for channel in ApiChannel.objects.unarchived().filter(state=ChannelState.PAUSED).order_by("pk"):
        problem = f"“{channel.name}” is paused: its messages wait."
        yield warning("channels.paused", problem, f"Run `manage.py channel resume {channel.pk}` when it may send.")


def check_alerts() -> Iterator[Finding]:
    for (kind, severity), count in alerts.count_open_alerts().items():
        if count:
            problem = f"Open alerts, {Alert.Kind(kind).label} ({severity}): {count}."
            yield warning("alerts.open", problem, "See Alerts in the admin.")


def check_dead_letters() -> Iterator[Finding]:
    if count := Delivery.objects.filter(state=Delivery.State.DEAD).count():
        yield note("deliveries.dead", f"{count} deliveries were given up.", "Run `manage.py dead_letters list`.")


def check_users() -> Iterator[Finding]:
    people = list(User.objects.people().filter(is_active=True).prefetch_related("groups"))
    if not any(Role.of_user(user) == Role.ADMIN for user in people):
        yield error("users.no_admin", "There is no administrator.", "Run `manage.py user add NAME --role admin`.")


def check_demo() -> Iterator[Finding]:
    """Report the demo's users, if they still have the demo's passwords."""
    passwords = {"vera": settings.DEMO_PASSWORDS["admin"], "boris": settings.DEMO_PASSWORDS["operator"]}
    for user in User.objects.people().filter(is_active=True, username__in=passwords):
        password = passwords[user.username]
        if password and user.check_password(password):
            make = error if settings.IS_HTTPS else note
            problem = f"The demo's user “{user.username}” has the demo's password."
            yield make("users.demo_password", problem, f"Run `manage.py user password {user.username}`, or disable it.")


def check_erasures() -> Iterator[Finding]:
    restored = erasure_log.find_restored_contacts(erasure_log.list_missing_entries())
    if count := sum(map(len, restored.values())):
        problem = f"{count} erased people are in the database again, after a restore."
        yield error("erasures.restored", problem, "Run `manage.py reapply_erasures`.")
