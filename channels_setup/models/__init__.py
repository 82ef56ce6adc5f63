"""Models of chat channels, API channels, their keys and hand-overs, and of teams. Other packages import from here."""

from .alert_routes import AlertRoute, AlertSeverity
from .api_channels import (
    CREDENTIAL_OVERLAP,
    ApiChannel,
    ApiChannelQuerySet,
    ChannelState,
    UnknownPolicy,
    messenger_choices,
)
from .chat_channels import ChatChannel, ChatChannelQuerySet, default_company_id, helpdesk_choices
from .handovers import HANDOVER_TTL, Handover
from .keys import Credential, Secret
from .teams import Team, TeamQuerySet
from .webhook_addresses import ADDRESS_OVERLAP, WebhookAddress

__all__ = [
    "ADDRESS_OVERLAP",
    "CREDENTIAL_OVERLAP",
    "HANDOVER_TTL",
    "AlertRoute",
    "AlertSeverity",
    "ApiChannel",
    "ApiChannelQuerySet",
    "ChannelState",
    "ChatChannel",
    "ChatChannelQuerySet",
    "Credential",
    "Handover",
    "Secret",
    "Team",
    "TeamQuerySet",
    "UnknownPolicy",
    "WebhookAddress",
    "default_company_id",
    "helpdesk_choices",
    "messenger_choices",
]
