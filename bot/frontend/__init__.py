"""The Discord bot: every module that imports discord.py. Rules live in ``bot.services``."""
