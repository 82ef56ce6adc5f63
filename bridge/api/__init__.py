"""The portal's own API, ``/api/v1/``."""
