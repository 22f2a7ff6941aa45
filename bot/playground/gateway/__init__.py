"""Implement Discord's gateway: websocket sessions and events."""
