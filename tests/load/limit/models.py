from django.db import models


class Stored(models.Model):
    external_id = models.CharField(max_length=190, unique=True)
    body = models.TextField()
    received_at = models.DateTimeField()

    class Meta:
        app_label = "limit"

    def __str__(self) -> str:
        return self.external_id


class Outgoing(models.Model):
    stored = models.OneToOneField(Stored, on_delete=models.CASCADE)
    url = models.CharField(max_length=200)
    state = models.CharField(max_length=10, default="pending")
    attempts = models.IntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    lease_token = models.UUIDField(null=True)

    class Meta:
        app_label = "limit"
        indexes = [
            models.Index(
                "next_attempt_at", "id", condition=models.Q(state__in=("pending", "sending")), name="limit_due"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pk}: {self.state}"
