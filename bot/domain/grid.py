"""Geometry, encodings, captions and alt texts of grids; computes numbers only, no pixels.

A row is the strip that ``txt2img.py`` makes of one batch: torchvision's layout, each image with a
border of two pixels that neighbours share; a batch of one has no border. The grid is the strips,
stacked. Boxes are ``(left, top, right, bottom)`` in pixels, right and bottom exclusive, as in
Pillow.
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
"""Pixels between images and around them (torchvision's default padding)."""

MAX_PREVIEW_SIDE: Final = 4096
"""Maximum side, in pixels, that Discord's clients are known to preview."""

MAX_WEBP_SIDE: Final = 16_383
"""Maximum side of a WebP file, in pixels: its header has 14 bits for it."""

MAX_ALT_TEXT_LENGTH: Final = 1024
"""In UTF-16 units."""

_JPEG_QUALITY = 95  # takes a fifth of the time that WebP does, with colour as sharp as PNG's
_WEBP_QUALITIES = (90, 80)
_WEBP_SCALES = (0.75, 0.5, 0.35, 0.25, 0.18, 0.12)
_MIN_WEBP_QUALITY = 75


@dataclass(frozen=True, slots=True)
class GridGeometry:
    """Layout of ``rows`` × ``samples`` images, each ``width`` × ``height`` pixels."""

    width: int
    height: int
    rows: int
    samples: int

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.rows, self.samples) < 1:
            raise ValueError("a grid has at least one image of one pixel")

    @property
    def border(self) -> int:
        """Return the pixels around each image; 0 for a single one, as in torchvision."""
        return BORDER if self.samples > 1 else 0

    @property
    def strip_size(self) -> Size:
        """Return width and height of one row."""
        border = self.border
        return (self.width + border) * self.samples + border, self.height + 2 * border

    @property
    def size(self) -> Size:
        """Return width and height of the grid."""
        width, height = self.strip_size
        return width, height * self.rows

    def row_box(self, row: int) -> Box:
        """Return the box of row ``row`` (from 1) in the grid."""
        self._validate_number("row", row, self.rows)
        width, height = self.strip_size
        return 0, (row - 1) * height, width, row * height

    def cell_box(self, row: int, column: int) -> Box:
        """Return the box of one image in the grid, without border; both numbers from 1.

        With ``row`` 1 that is also the image's box in its own row's strip.
        """
        self._validate_number("column", column, self.samples)
        left = self.border + (column - 1) * (self.width + self.border)
        top = self.row_box(row)[1] + self.border
        return left, top, left + self.width, top + self.height

    def max_scale(self, side: int) -> float:
        """Return the largest scale, at most 1, at which no side exceeds ``side`` pixels."""
        return min(1.0, side / max(self.size))

    @staticmethod
    def _validate_number(name: str, number: int, count: int) -> None:
        if not 1 <= number <= count:
            raise ValueError(f"{name} {number} of {count}")


def grid_geometry(request: Request) -> GridGeometry:
    """Return the geometry of the grid that a request asks for."""
    return GridGeometry(request.width, request.height, request.rows, request.samples)


@dataclass(frozen=True, slots=True)
class Encoding:
    """Image encoding. ``quality`` is 1 to 100, or None for lossless PNG."""

    format: Format
    scale: float
    quality: int | None

    def size(self, full: Size) -> Size:
        """Return the scaled size in pixels of an image of size ``full``; at least 1 × 1."""
        return max(1, int(full[0] * self.scale)), max(1, int(full[1] * self.scale))


def encodings(geometry: GridGeometry, side: int = MAX_PREVIEW_SIDE) -> tuple[Encoding, ...]:
    """Return the encodings to try for a grid, best first.

    The first is lossless; then quality falls, then size. No side is longer than ``side`` pixels.
    """
    max_scale = geometry.max_scale(min(side, MAX_WEBP_SIDE))
    return (
        Encoding("png", max_scale, None),
        Encoding("jpeg", max_scale, _JPEG_QUALITY),
        *(Encoding("webp", max_scale, quality) for quality in _WEBP_QUALITIES),
        *(Encoding("webp", max_scale * factor, _MIN_WEBP_QUALITY) for factor in _WEBP_SCALES),
    )


def encodings_within(
    geometry: GridGeometry, limit: int, *, png_bytes: int | None, side: int = MAX_PREVIEW_SIDE
) -> tuple[Encoding, ...]:
    """Return the encodings worth trying for a file of at most ``limit`` bytes, best first.

    ``png_bytes`` is the total size of the rows' PNG files, or None if unknown. The stacked PNG has
    about the same size, so a PNG that cannot fit is left out.
    """
    candidates = encodings(geometry, side)
    if png_bytes is not None and png_bytes * candidates[0].scale ** 2 > limit:
        return candidates[1:]
    return candidates


def file_name(
    kind: Literal["grid", "row", "image"],
    row: int | None = None,
    column: int | None = None,
    extension: Format = "png",
) -> str:
    """Return ``grid.png``, ``row-01.png`` or ``row-01-img-02.png``, as the workflow names them."""
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
    """Return the settings of a job in one line, without any text of the member."""
    request = job.request
    if request.origin is not None:
        # Size and steps are left out: they belong to the first image, not to the upscaled one.
        what = f"picture {request.origin.column} of row {request.origin.row}, upscaled"
        parts = [what, f"seed {request.seed}", job.made_with, *format_generation(job)]
        return " · ".join(part for part in parts if part)
    parts = [_format_count(request)]
    if job.is_partial:
        made = len(job.fetched_rows or job.ready_rows)
        parts.append(f"{made} of {request.rows} rows could be made")
    parts += [
        f"{request.width} × {request.height} px",
        f"seed {request.seed}",
        format_steps(job),
    ]
    if job.made_with:
        parts.append(job.made_with)
    parts += format_generation(job)
    if request.style:
        parts.append(f"style {request.style}")
    return " · ".join(parts)


def format_steps(job: Job) -> str:
    """Return ``30 steps``, or ``30 steps (31 run)`` where another number really ran."""
    asked, ran = job.request.steps, job.steps_run
    return f"{asked} steps" if ran in (0, asked) else f"{asked} steps ({ran} run)"


def format_generation(job: Job) -> tuple[str, ...]:
    """Return sampler, guidance and the model's file, where all rows that report them agree.

    The file is named by the first ten digits of its sha256, as model sites do.
    """
    samplers = {generation.sampler for generation in job.generation}
    guidances = {generation.guidance for generation in job.generation}
    digests = {generation.model_sha256[:10] for generation in job.generation}
    values = (("", samplers), ("guidance ", guidances), ("file ", digests))
    return tuple(
        f"{label}{value}" for label, found in values if len(found) == 1 and (value := min(found))
    )


def alt_text(request: Request, row: int | None = None, column: int | None = None) -> str:
    """Return the alt text of the grid, of one row, or of one image.

    It has at most MAX_ALT_TEXT_LENGTH UTF-16 units.
    """
    if row is None:
        what = "Picture" if request.images == 1 else f"Grid of {_format_count(request)}"
    elif column is None:
        what = f"Row {row} of {request.rows}"
    else:
        what = f"Picture {column} of row {row}"
    return truncate_utf16(f"{what}: {request.prompt}", MAX_ALT_TEXT_LENGTH)


def _format_count(request: Request) -> str:
    if request.images == 1:
        return "1 picture"
    return f"{request.rows} × {request.samples} pictures"
