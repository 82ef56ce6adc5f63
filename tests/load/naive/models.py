from django.db import models


class Relayed(models.Model):
    body = models.JSONField()
    url = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, default="new")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "naive"

    def __str__(self) -> str:
        return f"{self.pk}: {self.state}"
