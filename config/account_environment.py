"""Settings of users and sign-in: part of the table in config.environment."""

from config.setting_kinds import EnvironmentSetting, choices, pairs, parse_url, positive

ROLES = ("admin", "supervisor", "operator", "auditor")
ACCOUNT_SETTINGS = (
    EnvironmentSetting(
        "SECOND_FACTOR_ROLES",
        choices(*ROLES, "none"),
        None,
        "Roles that need a second factor: admin, supervisor, operator, auditor, or none. "
        "Default: admin if PUBLIC_URL is https, else none.",
    ),
    EnvironmentSetting(
        "OWN_TOKEN_ROLES",
        choices(*ROLES, "none"),
        ["admin", "supervisor", "operator"],
        "Roles whose users may create API tokens of their own, or none.",
    ),
    EnvironmentSetting("OWN_TOKEN_MAX_DAYS", positive, 365, "Longest validity of a user's own API token, in days."),
    EnvironmentSetting("SESSION_IDLE_HOURS", positive, 12, "A browser without any use for so long must sign in again."),
    EnvironmentSetting(
        "OIDC_SERVER_URL",
        parse_url,
        "",
        "Single sign-on: the OpenID Connect issuer, for example https://id.company.example.",
    ),
    EnvironmentSetting("OIDC_CLIENT_ID", str, "", "Single sign-on: the client ID of this portal."),
    EnvironmentSetting("OIDC_CLIENT_SECRET", str, "", "Single sign-on: the client secret.", is_secret=True),
    EnvironmentSetting("OIDC_NAME", str, "Single sign-on", "Single sign-on: the label of its button."),
    EnvironmentSetting("OIDC_GROUPS_CLAIM", str, "groups", "Single sign-on: the claim that lists a user's groups."),
    EnvironmentSetting(
        "OIDC_GROUP_ROLES",
        pairs(*ROLES),
        [],
        "Single sign-on: role by group, as group=role, for example okno-admins=admin,support=operator. Roles: admin, "
        "supervisor, operator, auditor; the first of them wins. Users in none of these groups are refused.",
    ),
)
