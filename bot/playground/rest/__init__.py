"""Implement Discord's REST API."""
