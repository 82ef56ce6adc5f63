"""Warning on saving an API channel: what its retention deletes next."""

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bridge.maintenance import retention
from channels_setup.models import ApiChannel

MAX_COUNTED = 100_000


def retention_warnings(channel: ApiChannel) -> list[str]:
    """Return a warning about messages that the next run of ``retention`` expires, or nothing."""
    cutoffs = retention.find_cutoffs("keep_messages_days", settings.MESSAGE_RETENTION_DAYS)
    cutoff = next((one for one in cutoffs if one.api_channel_id == channel.pk), None)
    count = retention.count_expiring_messages(cutoff, limit=MAX_COUNTED) if cutoff else 0
    if not count:
        return []
    sentence = ngettext(
        "%(count)s message is older than this channel keeps messages. Its text and files will be deleted within an "
        "hour. To keep them, change the limit now.",
        "%(count)s messages are older than this channel keeps messages. Their texts and files will be deleted within "
        "an hour. To keep them, change the limit now.",
        count,
    )
    shown = str(count) if count < MAX_COUNTED else _("%(count)s or more") % {"count": count}
    return [sentence % {"count": shown}]
