"""The bot as seen in Discord: everything that imports discord.py, and nothing that decides."""
