"""The services with real processes."""
