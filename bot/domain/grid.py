"""The picture: where its rows and cells lie, what is said about it, and how it fits a message.

A row is the strip that ``txt2img.py`` makes of one batch: torchvision's layout, each picture with a
border of two pixels that neighbours share; a batch of one has no border. The grid is the strips,
stacked. Boxes are ``(left, top,
right, bottom)`` in pixels, right and bottom exclusive, as Pillow takes them. Nothing here touches a
pixel, and limits on bytes are the caller's to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from bot.domain.job import Job
from bot.domain.request import Request
from bot.domain.text import truncate_utf16

Size: TypeAlias = tuple[int, int]
Box: TypeAlias = tuple[int, int, int, int]
Format: TypeAlias = Literal["png", "jpeg", "webp"]

BORDER: Final = 2
"""Pixels between pictures and around them (torchvision's default padding)."""

PREVIEW_SIDE: Final = 4096
"""The longest side, in pixels, that Discord's clients are known to preview without fail."""

WEBP_SIDE: Final = 16_383
"""The longest side that a WebP file can have: its header has 14 bits for it."""

MAX_ALT_TEXT_LENGTH: Final = 1024

_JPEG_QUALITY = 95  # written in a fifth of the time that WebP takes, and in colour as sharp as PNG
_WEBP_QUALITIES = (90, 80)
_SHRINKING = (0.75, 0.5, 0.35, 0.25, 0.18, 0.12)
_SMALLEST_QUALITY = 75


@dataclass(frozen=True, slots=True)
class GridGeometry:
    """A grid of ``rows`` × ``samples`` pictures, each ``width`` × ``height`` pixels."""

    width: int
    height: int
    rows: int
    samples: int

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.rows, self.samples) < 1:
            raise ValueError("a grid has at least one picture of one pixel")

    @property
    def border(self) -> int:
        """Pixels around each picture: torchvision returns a single picture as it is."""
        return BORDER if self.samples > 1 else 0

    @property
    def strip_size(self) -> Size:
        """Width and height of one row."""
        border = self.border
        return (self.width + border) * self.samples + border, self.height + 2 * border

    @property
    def size(self) -> Size:
        """Width and height of the grid."""
        width, height = self.strip_size
        return width, height * self.rows

    def row_box(self, row: int) -> Box:
        """Where row ``row`` (from 1) lies in the grid."""
        self._check("row", row, self.rows)
        width, height = self.strip_size
        return 0, (row - 1) * height, width, row * height

    def cell_box(self, row: int, column: int) -> Box:
        """Where one picture lies in the grid, without its border; both numbers from 1.

        With ``row`` 1 it is where the picture lies in its own row's strip.
        """
        self._check("column", column, self.samples)
        left = self.border + (column - 1) * (self.width + self.border)
        top = self.row_box(row)[1] + self.border
        return left, top, left + self.width, top + self.height

    def scaled_to(self, side: int) -> float:
        """The largest factor, at most 1, at which neither side is longer than ``side`` pixels."""
        return min(1.0, side / max(self.size))

    @staticmethod
    def _check(name: str, number: int, count: int) -> None:
        if not 1 <= number <= count:
            raise ValueError(f"{name} {number} of {count}")


def grid_geometry(request: Request) -> GridGeometry:
    """The grid that a request asks for."""
    return GridGeometry(request.width, request.height, request.rows, request.samples)


@dataclass(frozen=True, slots=True)
class Encoding:
    """A way to write a picture down. ``quality`` is 1 to 100, or None for lossless PNG."""

    format: Format
    scale: float
    quality: int | None

    def size(self, full: Size) -> Size:
        """The size in pixels that a picture of size ``full`` gets; never larger, never nothing."""
        return max(1, int(full[0] * self.scale)), max(1, int(full[1] * self.scale))


def encodings(geometry: GridGeometry, side: int = PREVIEW_SIDE) -> tuple[Encoding, ...]:
    """The ways to write the grid down, from the best to the smallest, to try one after the other.

    The first is lossless; then quality falls, then size. None has a side longer than ``side``.
    """
    largest = geometry.scaled_to(min(side, WEBP_SIDE))
    return (
        Encoding("png", largest, None),
        Encoding("jpeg", largest, _JPEG_QUALITY),
        *(Encoding("webp", largest, quality) for quality in _WEBP_QUALITIES),
        *(Encoding("webp", largest * factor, _SMALLEST_QUALITY) for factor in _SHRINKING),
    )


def encodings_within(
    geometry: GridGeometry, limit: int, *, png_bytes: int | None, side: int = PREVIEW_SIDE
) -> tuple[Encoding, ...]:
    """The encodings worth trying for a file of at most ``limit`` bytes, best first.

    ``png_bytes`` is what the rows' own PNG files weigh together, or None if unknown: stacked
    unscaled they weigh about the same, so a PNG that cannot fit is not computed to find that out.
    """
    methods = encodings(geometry, side)
    if png_bytes is not None and png_bytes * methods[0].scale ** 2 > limit:
        return methods[1:]
    return methods


def file_name(
    kind: Literal["grid", "row", "image"],
    row: int | None = None,
    column: int | None = None,
    extension: Format = "png",
) -> str:
    """``grid.png``, ``row-01.png``, ``row-01-img-02.png``: the names the workflow gives, too."""
    match kind, row, column:
        case "grid", None, None:
            stem = "grid"
        case "row", int(), None:
            stem = f"row-{row:02}"
        case "image", int(), int():
            stem = f"row-{row:02}-img-{column:02}"
        case _:
            raise ValueError(f"{kind} with row {row} and column {column} names no file")
    return f"{stem}.{extension}"


def caption(job: Job) -> str:
    """The settings of a job in one line, without the prompt: nothing in it is the member's text."""
    request = job.request
    if request.origin is not None:
        # Size and steps are left out: they were the first picture's, and enlarging has its own.
        what = f"picture {request.origin.column} of row {request.origin.row}, enlarged"
        return " · ".join(part for part in (what, f"seed {request.seed}", job.painter) if part)
    parts = [_extent(request)]
    if job.is_partial:
        made = len(job.fetched_rows or job.ready_rows)
        parts.append(f"{made} of {request.rows} rows could be made")
    parts += [
        f"{request.width} × {request.height} px",
        f"seed {request.seed}",
        show_steps(job),
    ]
    if job.painter:
        parts.append(job.painter)
    if request.style:
        parts.append(f"style {request.style}")
    return " · ".join(parts)


def show_steps(job: Job) -> str:
    """``30 steps``, and how many really ran where that is known and another number."""
    asked, ran = job.request.steps, job.steps_run
    return f"{asked} steps" if ran in (0, asked) else f"{asked} steps ({ran} run)"


def alt_text(request: Request, row: int | None = None, column: int | None = None) -> str:
    """What a picture shows, for who cannot see it: the grid, one row of it, or one picture.

    At most MAX_ALT_TEXT_LENGTH UTF-16 units, so however Discord counts, it fits.
    """
    if row is None:
        what = "Picture" if request.images == 1 else f"Grid of {_extent(request)}"
    elif column is None:
        what = f"Row {row} of {request.rows}"
    else:
        what = f"Picture {column} of row {row}"
    return truncate_utf16(f"{what}: {request.prompt}", MAX_ALT_TEXT_LENGTH)


def _extent(request: Request) -> str:
    if request.images == 1:
        return "1 picture"
    return f"{request.rows} × {request.samples} pictures"
