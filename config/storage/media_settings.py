"""The storage of files as a value of Django's STORAGES, from the environment."""

from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.environment import read_setting

FILE_SYSTEM = "django.core.files.storage.FileSystemStorage"


def build_media_storage() -> dict[str, Any]:
    """Return the storage. Raises ImproperlyConfigured with one sentence."""
    bucket = read_setting("MEDIA_S3_BUCKET")
    if not bucket:
        return {"BACKEND": FILE_SYSTEM}
    if find_spec("storages") is None or find_spec("boto3") is None:
        raise ImproperlyConfigured(
            "MEDIA_S3_BUCKET needs more packages. Run: pip install --require-hashes -r config/storage/requirements.txt"
        )
    options = {
        "bucket_name": bucket,
        "endpoint_url": read_setting("MEDIA_S3_ENDPOINT_URL") or None,
        "region_name": read_setting("MEDIA_S3_REGION") or None,
        "access_key": read_setting("MEDIA_S3_ACCESS_KEY_ID") or None,
        "secret_key": read_setting("MEDIA_S3_SECRET_ACCESS_KEY") or None,
        "location": read_setting("MEDIA_S3_PREFIX").strip("/"),
    }
    return {"BACKEND": "config.storage.private_s3.PrivateS3Storage", "OPTIONS": options}
