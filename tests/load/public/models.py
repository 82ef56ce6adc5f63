from django.db import models


class Stored(models.Model):
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "public"

    def __str__(self) -> str:
        return str(self.pk)
