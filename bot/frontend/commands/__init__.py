"""The slash commands, one module each: ``build(context) -> Command | Group | tuple``.

Modules are discovered here. A module with dynamic items lists them in ``ITEMS``, one that handles
submitted forms lists the functions in ``FORM_HANDLERS``.
"""
