"""Working hours of a chat channel, in its time zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

SATURDAY = 5


@dataclass(frozen=True, kw_only=True)
class WorkingHours:
    """Hours from ``start`` to ``end`` of the same day. ``weekends``: they apply on weekends, too."""

    start: time
    end: time
    weekends: bool
    zone: tzinfo

    def is_at_work(self, moment: datetime) -> bool:
        local = moment.astimezone(self.zone)
        return self._is_day(local) and self.start <= local.time() < self.end

    def end_of_day(self, moment: datetime) -> datetime:
        return self._at(moment.astimezone(self.zone), self.end)

    def next_start(self, moment: datetime) -> datetime:
        """Return the first start of a working day after ``moment``."""
        day = moment.astimezone(self.zone)
        begins = self._at(day, self.start)
        while begins <= moment or not self._is_day(begins):
            day += timedelta(days=1)
            begins = self._at(day, self.start)
        return begins

    def last_end(self, moment: datetime) -> datetime:
        """Return the last end of a working day at or before ``moment``."""
        day = moment.astimezone(self.zone)
        ends = self._at(day, self.end)
        while ends > moment or not self._is_day(ends):
            day -= timedelta(days=1)
            ends = self._at(day, self.end)
        return ends

    def _is_day(self, local: datetime) -> bool:
        return self.weekends or local.weekday() < SATURDAY

    def _at(self, local: datetime, at: time) -> datetime:
        return datetime.combine(local.date(), at, tzinfo=self.zone)
