"""The whole public surface on one screen."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from bridge import api, files, start, uapi, webhooks
from channels_setup.views import handover
from config import health

urlpatterns: list[URLPattern | URLResolver] = [
    # machines
    path("webhooks/<slug:kind>/<str:token>/", webhooks.ProviderWebhook.as_view(), name="webhook"),
    *[re_path(rf"^uapi/{method}/?$", view, name=f"uapi-{method}") for method, view in uapi.METHODS.items()],
    path("api/v1/", include(api.router.urls)),
    path("api/schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path(
        "api/docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api-schema", template_name="bridge/api_docs.html"),
        name="api-docs",
    ),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    # files
    path("files/<int:pk>/", files.chat_file, name="file"),
    path("files/shared/<str:signature>/", files.signed_file, name="signed-file"),
    # people
    path("", start.start, name="start"),
    path("handover/<str:token>/", handover, name="handover"),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
]
