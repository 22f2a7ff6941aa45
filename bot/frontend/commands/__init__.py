"""The slash commands: one module each, with ``build(desk) -> Command | Group | tuple of them``.

A module is found by lying here; no list names it. One that needs buttons of its own names them in
``ITEMS``. What every answer has in common is ``bot.frontend.responses``' business.
"""
