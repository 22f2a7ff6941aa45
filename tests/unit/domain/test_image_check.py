"""What follows from the scores of images: marks, outcomes, and the words for moderators."""

from __future__ import annotations

import pytest

from bot.domain.errors import IllegalTransition
from bot.domain.events import Delivered, Failed, FailureReason, ImagesChecked
from bot.domain.image_check import (
    IMAGE_ACTIONS,
    NUDENET_LABELS,
    NUDENET_THRESHOLDS,
    Finding,
    ImageAction,
    ImageOutcome,
    Mark,
    decide,
    find_marks,
    parse_action,
)
from bot.domain.job import JobState, apply_event, charged_images
from tests.unit.domain.job_factories import DELIVERING, NOW, RUNNING, after

MARKED = Finding((Mark("FACE_FEMALE", 0.83, 1, 2),))
FAILED = Finding(problem="the process ended")
CLEAN = Finding()
PASSED, RESTRICTED, SPOILER, HELD, BLOCKED = (
    *(ImageOutcome.PASSED, ImageOutcome.RESTRICTED, ImageOutcome.SPOILER),
    *(ImageOutcome.HELD, ImageOutcome.BLOCKED),
)


@pytest.mark.parametrize(
    ("finding", "action", "age_restricted", "by_flag", "moderated", "outcome"),
    [
        (CLEAN, "hold", False, True, True, PASSED),
        (CLEAN, "block", True, False, False, PASSED),
        (MARKED, "allow", False, True, True, PASSED),
        (MARKED, "spoiler", False, True, True, SPOILER),
        (MARKED, "hold", False, True, True, HELD),
        (MARKED, "block", False, True, True, BLOCKED),
        # Discord's own flag, where the server goes by it
        *((MARKED, action, True, True, True, RESTRICTED) for action in IMAGE_ACTIONS),
        (MARKED, "spoiler", True, False, True, SPOILER),
        (MARKED, "hold", True, False, True, HELD),
        # direct messages have no moderators
        (MARKED, "hold", False, True, False, BLOCKED),
        (MARKED, "spoiler", False, True, False, SPOILER),
        # what could not be checked is never posted
        *((FAILED, action, True, True, True, HELD) for action in IMAGE_ACTIONS),
        *((FAILED, action, False, False, False, BLOCKED) for action in IMAGE_ACTIONS),
    ],
)
def test_the_outcome_follows_from_finding_action_and_place(
    finding: Finding,
    action: ImageAction,
    age_restricted: bool,
    by_flag: bool,
    moderated: bool,
    outcome: ImageOutcome,
) -> None:
    place = {"age_restricted": age_restricted, "adult_by_flag": by_flag, "moderated": moderated}
    assert decide(finding, action, **place) is outcome


def test_a_mark_names_label_row_and_image_and_a_score_at_the_threshold_counts() -> None:
    scores = [({"A": 0.5, "B": 0.2},), ({"A": 0.49, "B": 0.9}, {})]
    marks = find_marks(scores, (1, 3), {"A": 0.5, "B": 0.8})
    assert marks == (Mark("A", 0.5, 1, 1), Mark("B", 0.9, 3, 1))


def test_moderators_read_the_strongest_marks_or_the_problem() -> None:
    marks = tuple(Mark("A", score / 10, 1, score) for score in range(1, 6))
    assert Finding(marks).reason == (
        "image check: A 0.50 in row 1, image 5; A 0.40 in row 1, image 4; "
        "A 0.30 in row 1, image 3; 2 more"
    )
    assert MARKED.reason == "image check: FACE_FEMALE 0.83 in row 1, image 2"
    assert FAILED.reason == "image check failed: the process ended"


@pytest.mark.parametrize("stored", [None, "", "never", 1, ["hold"], {"hold": 1}])
def test_an_unknown_action_is_none(stored: object) -> None:
    assert parse_action(stored) is None


def test_every_action_is_known_and_the_defaults_are_labels() -> None:
    assert [parse_action(action) for action in IMAGE_ACTIONS] == list(IMAGE_ACTIONS)
    assert set(NUDENET_THRESHOLDS) <= set(NUDENET_LABELS)


def test_held_images_are_withheld_until_they_are_approved() -> None:
    job = after(*DELIVERING)
    held = apply_event(job, ImagesChecked(HELD), NOW)
    assert (job.is_held, held.is_held, held.is_withheld) == (False, True, True)
    approved = apply_event(held, ImagesChecked(ImageOutcome.APPROVED), NOW)
    assert (approved.is_held, approved.is_withheld) == (False, False)
    delivered = apply_event(approved, Delivered("channel"), NOW)
    assert delivered.state is JobState.FINISHED


def test_refused_images_stay_withheld_and_cost_nothing() -> None:
    job = apply_event(after(*DELIVERING), ImagesChecked(HELD), NOW)
    refused = apply_event(job, Failed(FailureReason.NOT_ALLOWED, "No."), NOW)
    assert (refused.is_held, refused.is_withheld, charged_images(refused)) == (False, True, 0)
    assert apply_event(refused, ImagesChecked(ImageOutcome.APPROVED), NOW) == refused


def test_images_that_are_not_finished_cannot_be_checked() -> None:
    job = after(*RUNNING)
    with pytest.raises(IllegalTransition):
        apply_event(job, ImagesChecked(PASSED), NOW)
