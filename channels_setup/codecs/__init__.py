"""Wire shapes shared by several providers and by our own public endpoints. Pure: no models, no network."""
