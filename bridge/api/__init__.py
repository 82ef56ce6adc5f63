"""REST API of the portal, ``/api/v1/``."""
