"""Carries a job from acceptance to delivery. Knows neither Discord nor a concrete backend."""
