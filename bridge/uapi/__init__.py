"""The Usedesk-compatible API, ``/uapi/``."""
