"""The local stand-in for Stability's ``scripts/txt2img.py``: a program of its own.

Run it as ``python -m bot.txt2img``. It knows prompts, pictures and progress bars, and nothing of
the rest of the bot, which only ever sees its files and its output.
"""
