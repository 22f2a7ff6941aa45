"""Application services: they take a job from its request to its delivered result.

They import neither Discord nor a concrete backend.
"""
