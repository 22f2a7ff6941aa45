"""Everything the sketch engine draws with: words to scenes, scenes to layers, layers to pixels.

Knows nothing of command lines, files or progress; randomness comes in as :class:`~.dice.Dice`.
"""
