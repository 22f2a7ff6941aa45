"""Implement the rules of a member's Discord client."""
