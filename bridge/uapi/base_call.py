"""One call of the public API, as its method sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.core.files.uploadedfile import UploadedFile

from bridge.models import Contact
from bridge.person_erased import PersonErased
from channels_setup.models import ApiChannel


@dataclass(frozen=True, kw_only=True)
class UapiCall:
    """One authenticated call with its decoded parameters. ``contact_ids``: the clients that it is about."""

    api_channel: ApiChannel
    values: dict[str, Any]
    files: tuple[UploadedFile, ...]
    writes: bool = True
    contact_ids: set[int] = field(default_factory=set)

    def link_contact(self, contact: Contact) -> None:
        """Record that the call is about this client. Raises PersonErased if it would write to an erased one."""
        self.contact_ids.update((contact.pk, contact.owner_id))
        if self.writes and contact.erased_at:
            raise PersonErased
