"""Settings of monitoring, a part of `config.environment.SETTINGS`."""

from config.setting_kinds import EnvironmentSetting, parse_token

MONITORING_SETTINGS = (
    EnvironmentSetting(
        "METRICS_TOKEN",
        parse_token,
        "",
        "Token with which Prometheus reads /metrics. It opens nothing else. Empty: only programs on this machine and "
        "API tokens for metrics.",
        is_secret=True,
    ),
)
