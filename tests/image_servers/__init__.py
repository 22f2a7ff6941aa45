"""Stand-ins for image servers, and the same tests against real ones."""
