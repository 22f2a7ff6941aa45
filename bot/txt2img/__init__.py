"""Emulate Stability's ``scripts/txt2img.py`` as a local program, ``python -m bot.txt2img``.

The package imports nothing else of the project: the bot starts it as a process and reads its files
and its output.
"""
