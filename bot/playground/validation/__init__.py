"""Validate request bodies by Discord's rules."""
