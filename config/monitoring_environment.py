"""Settings of monitoring, a part of `config.environment.SETTINGS`."""

from config.setting_kinds import EnvironmentSetting, parse_dsn, parse_token, parse_url

MONITORING_SETTINGS = (
    EnvironmentSetting(
        "METRICS_TOKEN",
        parse_token,
        "",
        "Token with which Prometheus reads /metrics. It opens nothing else. Empty: only programs on this machine and "
        "API tokens for metrics.",
        is_secret=True,
    ),
    EnvironmentSetting(
        "SENTRY_DSN",
        parse_dsn,
        "",
        "Sentry project that gets reports of logged errors, without texts, phones and requests. "
        "Needs config/monitoring/requirements.txt.",
        is_secret=True,
    ),
    EnvironmentSetting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        parse_url,
        "",
        "OpenTelemetry collector that gets traces by OTLP over HTTP, for example http://collector:4318. "
        "Needs config/monitoring/requirements.txt.",
    ),
)
