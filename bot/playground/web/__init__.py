"""Serve the page that emulates a Discord client, and its endpoints."""
