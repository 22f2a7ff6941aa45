"""The page that plays a Discord client, and its endpoints."""
