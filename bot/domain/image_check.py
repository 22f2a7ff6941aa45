"""Decide about finished images that a detector has looked at. Pure.

A detector gives each image a score from 0 to 1 for each of its labels. The operator names labels
and thresholds; an image that reaches one is marked. What follows from a mark is an action, which
the operator chooses and the moderators of each server can change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeAlias, get_args

ImageAction: TypeAlias = Literal["allow", "spoiler", "hold", "block"]
"""What happens to marked images; ``allow``: they are posted, so nothing is checked."""

IMAGE_ACTIONS: Final[tuple[ImageAction, ...]] = get_args(ImageAction)

NUDENET_LABELS: Final = (
    "FEMALE_GENITALIA_COVERED",
    "FACE_FEMALE",
    "BUTTOCKS_EXPOSED",
    "FEMALE_BREAST_EXPOSED",
    "FEMALE_GENITALIA_EXPOSED",
    "MALE_BREAST_EXPOSED",
    "ANUS_EXPOSED",
    "FEET_EXPOSED",
    "BELLY_COVERED",
    "FEET_COVERED",
    "ARMPITS_COVERED",
    "ARMPITS_EXPOSED",
    "FACE_MALE",
    "BELLY_EXPOSED",
    "MALE_GENITALIA_EXPOSED",
    "ANUS_COVERED",
    "FEMALE_BREAST_COVERED",
    "BUTTOCKS_COVERED",
)
"""The labels of NudeNet 3, in the order of its outputs."""

NUDENET_THRESHOLDS: Final[Mapping[str, float]] = {
    "ANUS_EXPOSED": 0.5,
    "FEMALE_BREAST_EXPOSED": 0.5,
    "FEMALE_GENITALIA_EXPOSED": 0.5,
    "MALE_GENITALIA_EXPOSED": 0.5,
}
"""What NudeNet marks unless the operator names labels."""

_MAX_NAMED: Final = 3


class ImageOutcome(StrEnum):
    """What was decided about a job's images; the values are stored.

    ``RESTRICTED``: they are marked, and may be shown where the channel is age-restricted.
    """

    UNCHECKED = ""
    PASSED = "passed"
    RESTRICTED = "restricted"
    SPOILER = "spoiler"
    HELD = "held"
    BLOCKED = "blocked"
    APPROVED = "approved"


@dataclass(frozen=True, slots=True)
class Mark:
    """A label whose threshold an image reaches; ``row`` and ``column`` count from 1."""

    label: str
    score: float
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check has found; ``problem`` says why it could not be done."""

    marks: tuple[Mark, ...] = ()
    problem: str = ""

    @property
    def reason(self) -> str:
        """Return what moderators read: why it could not be checked, or the strongest marks."""
        if self.problem:
            return f"image check failed: {self.problem}"
        marks = sorted(self.marks, key=lambda mark: -mark.score)
        named = [
            f"{mark.label} {mark.score:.2f} in row {mark.row}, image {mark.column}"
            for mark in marks[:_MAX_NAMED]
        ]
        more = len(marks) - len(named)
        return f"image check: {'; '.join(named)}" + (f"; {more} more" if more > 0 else "")


def find_marks(
    scores: Iterable[Sequence[Mapping[str, float]]],
    rows: Iterable[int],
    thresholds: Mapping[str, float],
) -> tuple[Mark, ...]:
    """Return the marks of all images; ``scores`` has one list for each of ``rows``."""
    return tuple(
        Mark(label, image[label], row, column)
        for row, images in zip(rows, scores, strict=True)
        for column, image in enumerate(images, 1)
        for label, threshold in thresholds.items()
        if image.get(label, 0.0) >= threshold
    )


def decide(
    finding: Finding,
    action: ImageAction,
    *,
    age_restricted: bool,
    adult_by_flag: bool,
    moderated: bool,
) -> ImageOutcome:
    """Return what happens to the images.

    What could not be checked is held, whatever the action is. With ``adult_by_flag`` marks count
    only where the channel is not ``age_restricted``. Without moderators (``moderated``, in direct
    messages) nobody could approve what is held, so it is blocked.
    """
    held = ImageOutcome.HELD if moderated else ImageOutcome.BLOCKED
    if finding.problem:
        return held
    if not finding.marks:
        return ImageOutcome.PASSED
    if age_restricted and adult_by_flag:
        return ImageOutcome.RESTRICTED
    return {
        "allow": ImageOutcome.PASSED,
        "spoiler": ImageOutcome.SPOILER,
        "hold": held,
        "block": ImageOutcome.BLOCKED,
    }[action]


def parse_action(stored: object) -> ImageAction | None:
    """Return the action of a stored setting, None if there is none."""
    return next((action for action in IMAGE_ACTIONS if action == stored), None)
