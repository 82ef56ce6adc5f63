"""An index for the count of calls in flight; built without holding up deliveries."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("bridge", "0012_uploads")]

    operations = [
        AddIndexConcurrently(
            model_name="delivery",
            index=models.Index(
                fields=["api_channel"], condition=models.Q(("state", "sending")), name="deliveries_in_flight"
            ),
        ),
    ]
