"""Users and API tokens. Other apps refer to the user model through ``settings.AUTH_USER_MODEL``."""
