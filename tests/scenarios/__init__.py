"""Scenario helpers that several test modules share."""
