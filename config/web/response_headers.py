"""Default response headers: no caching, and no access to device features that no page uses."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from config.web import csp_reports

GetResponse = Callable[[HttpRequest], HttpResponse]

UNUSED_FEATURES = (
    *("accelerometer", "camera", "display-capture", "geolocation", "gyroscope", "magnetometer", "microphone", "midi"),
    *("payment", "screen-wake-lock", "usb", "xr-spatial-tracking"),
)
PERMISSIONS_POLICY = ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES)


def add_default_headers(get_response: GetResponse) -> GetResponse:
    """Add the default headers. This is the outermost middleware, so that all responses get them."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        if "report-to csp" in response.headers.get("Content-Security-Policy", ""):
            response.headers["Reporting-Endpoints"] = f'csp="{csp_reports.REPORT_PATH}"'
        return response

    return middleware
