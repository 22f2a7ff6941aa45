"""Combine pictures into one grid with the layout of torchvision's ``make_grid``.

Pictures are in reading order, with two black pixels between them and around the grid.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

BORDER = 2
"""Pixels between two pictures and around the grid."""


def make_grid(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Return the grid of ``pictures`` (at least one, all of one size), ``columns`` per row.

    A single picture is returned unchanged, without a border, as torchvision does.
    """
    if len(pictures) == 1:
        return pictures[0]
    width, height = pictures[0].size
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    size = ((width + BORDER) * columns + BORDER, (height + BORDER) * rows + BORDER)
    grid = Image.new("RGB", size)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        left, top = (width + BORDER) * column + BORDER, (height + BORDER) * row + BORDER
        grid.paste(picture, (left, top))
    return grid
