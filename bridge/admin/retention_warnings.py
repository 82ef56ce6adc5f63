"""Warning on saving an API channel: what its retention deletes next."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bridge.maintenance import retention_preview, retention_rules
from bridge.models import RetentionKind
from channels_setup.models import ApiChannel


def retention_warnings(channel: ApiChannel) -> list[str]:
    """Return a warning about messages that the next run of ``retention`` expires, or nothing."""
    days = retention_rules.get_channel_days(RetentionKind.MESSAGES)[channel.pk]
    count = retention_preview.count_channel_rows(RetentionKind.MESSAGES, channel.pk, days)
    if not count:
        return []
    sentence = ngettext(
        "%(count)s message is older than this channel keeps messages. Deletion of its text and files begins within ten "
        "minutes. To keep them, change the limit now.",
        "%(count)s messages are older than this channel keeps messages. Deletion of their texts and files begins "
        "within ten minutes. To keep them, change the limit now.",
        count,
    )
    return [sentence % {"count": format_count(count)}]


def format_count(count: int) -> str:
    """Return the count, or that there may be more."""
    return str(count) if count < retention_preview.MAX_COUNTED else _("%(count)s or more") % {"count": count}
