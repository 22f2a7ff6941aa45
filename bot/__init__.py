"""Gridbrush: a Discord bot that turns /imagine into one parallel Stable Diffusion workflow."""

__version__ = "0.1.0"
