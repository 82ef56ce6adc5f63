"""Formats shared by several providers and Okno's own public endpoints. Pure: no models, no network."""
