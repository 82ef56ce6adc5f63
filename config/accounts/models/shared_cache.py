"""Table of Django's database cache, which all web processes share."""

from django.db import models


class SharedCacheEntry(models.Model):
    """An entry of the cache: attempts that django-allauth counts, and one-time codes that were used.

    ``DatabaseCache`` reads and writes the table. The model exists for its migration and for deleting old entries.
    """

    cache_key = models.CharField(primary_key=True, max_length=255)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.cache_key
