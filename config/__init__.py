"""The roof: settings, URLs, the Celery app, the embedded servers. Wires everything, decides nothing."""
