"""Many pictures on one sheet, laid out as torchvision's ``make_grid`` does.

Pictures stand in reading order with two black pixels around each and between them. Knows pixels
only, not files.
"""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

BORDER = 2
"""Pixels between two pictures and around the sheet."""


def make_grid(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """The sheet of ``pictures`` (at least one, all of one size), ``columns`` to a row.

    A single picture comes back as it is, without a border: that is what ``make_grid`` does, and
    who cuts a sheet apart has to know it.
    """
    if len(pictures) == 1:
        return pictures[0]
    width, height = pictures[0].size
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    size = ((width + BORDER) * columns + BORDER, (height + BORDER) * rows + BORDER)
    sheet = Image.new("RGB", size)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        left, top = (width + BORDER) * column + BORDER, (height + BORDER) * row + BORDER
        sheet.paste(picture, (left, top))
    return sheet
