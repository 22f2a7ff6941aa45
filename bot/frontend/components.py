"""What can be pressed on a card, and the custom ids that say so. Knows jobs, not what a press does.

A custom id carries all that a press needs, ``gb:<verb>:<job id>`` and up to two numbers, so a
button works for as long as its message exists, whatever became of the process that posted it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bot.domain.job import Job
from bot.domain.request import Request
from bot.frontend.messages import (
    BUTTONS_IN_ROW,
    CONTROL_ROWS,
    OPTIONS,
    URL,
    ActionRow,
    ButtonSpec,
    SelectOption,
    SelectSpec,
)


class ComponentAction(StrEnum):
    """What a control asks for."""

    CANCEL = "cancel"
    REROLL = "reroll"
    EDIT = "edit"
    OPEN = "open"
    UPSCALE = "upscale"
    ASK_DELETE = "delete"
    CONFIRM_DELETE = "remove"
    DETAILS = "details"
    RETRY = "retry"


CUSTOM_ID_PATTERN: Final = re.compile(
    rf"gb:(?P<verb>{'|'.join(ComponentAction)}):(?P<job>[a-z2-7]{{16}})"
    r"(?::(?P<first>[0-9]{1,19}))?(?::(?P<second>[0-9]{1,19}))?"
)
MAX_ID: Final = 2**63 - 1
"""Discord's ids fit 63 bits, as do the store's numbers."""


@dataclass(frozen=True, slots=True)
class CustomId:
    """A custom id, taken apart. ``numbers`` are the verb's own: row and column, or a message id."""

    verb: ComponentAction
    job_id: str
    numbers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return ":".join(["gb", self.verb, self.job_id, *(str(number) for number in self.numbers)])

    @classmethod
    def parse(cls, custom_id: str) -> CustomId | None:
        """The press that a custom id stands for; None if it is none of ours."""
        match = CUSTOM_ID_PATTERN.fullmatch(custom_id)
        if match is None:
            return None
        numbers = tuple(int(part) for part in (match["first"], match["second"]) if part)
        if any(number > MAX_ID for number in numbers):
            return None
        return cls(ComponentAction(match["verb"]), match["job"], numbers)


@dataclass(frozen=True, slots=True)
class Link:
    """The full-size row ``row``, wherever it lies; an address that a button can hold."""

    row: int
    url: str


def public_links(job: Job, *, plain: bool = False) -> tuple[Link, ...]:
    """The rows that the workflow published for everyone to download.

    Only rows that were fetched count: their address was checked against the trusted hosts, which
    are reached by https unless they are this machine. ``plain``: those count as well, because the
    operator wants links and nothing else.
    """
    schemes = ("https://", "http://") if plain else ("https://",)
    return tuple(
        Link(row.number, row.artifact.url)
        for row in job.rows
        if row.number in job.fetched_rows
        and row.artifact is not None
        and row.artifact.url.startswith(schemes)
        and len(row.artifact.url) <= URL
    )


def custom_id(verb: ComponentAction, job: Job, *numbers: int) -> str:
    """The custom id of a control of this job."""
    return str(CustomId(verb, job.id, numbers))


def queued_components(job: Job) -> tuple[ActionRow, ...]:
    """A job on its way can be cancelled, until it is collected."""
    return ((ButtonSpec("Cancel", custom_id(ComponentAction.CANCEL, job)),),)


def failed_components(job: Job) -> tuple[ActionRow, ...]:
    """A job without a result can be tried again, or changed first."""
    again = ButtonSpec("Try again", custom_id(ComponentAction.RETRY, job), style="primary")
    if job.request.origin is not None:
        return ((again,),)
    return ((again, ButtonSpec("Edit & run again", custom_id(ComponentAction.EDIT, job))),)


def result_components(job: Job, links: Sequence[Link], *, upscaling: bool) -> tuple[ActionRow, ...]:
    """Everything that can be done with a result; at most five rows."""
    one = len(job.fetched_rows) * job.request.samples == 1
    upscaled = job.request.origin is not None
    actions = []
    if not upscaled:
        actions.append(
            ButtonSpec("Re-roll", custom_id(ComponentAction.REROLL, job), style="primary")
        )
        actions.append(ButtonSpec("Edit & run again", custom_id(ComponentAction.EDIT, job)))
    if one:
        row = job.fetched_rows[0]
        actions.append(ButtonSpec("Open full size", custom_id(ComponentAction.OPEN, job, row, 1)))
        if upscaling and not upscaled:
            actions.append(ButtonSpec("Upscale", custom_id(ComponentAction.UPSCALE, job, row, 1)))
    about = (
        ButtonSpec("Details", custom_id(ComponentAction.DETAILS, job)),
        ButtonSpec("Delete", custom_id(ComponentAction.ASK_DELETE, job), style="danger"),
    )
    fits = len(actions) + len(about) <= BUTTONS_IN_ROW
    rows: list[ActionRow] = [(*actions, *about)] if fits else [tuple(actions), about]
    if not one:
        rows.append((image_select(job, ComponentAction.OPEN),))
        if upscaling:
            rows.append((image_select(job, ComponentAction.UPSCALE),))
    return (*rows, *_link_rows(links, CONTROL_ROWS - len(rows)))


def image_select(job: Job, verb: ComponentAction) -> SelectSpec:
    """A menu of the result's pictures or, where they are too many for one, of its rows."""
    rows, columns = job.fetched_rows, job.request.samples
    what = "Open" if verb is ComponentAction.OPEN else "Upscale"
    if len(rows) * columns <= OPTIONS:
        return SelectSpec(custom_id(verb, job), f"{what} an image …", _cells(job.request, rows))
    span = -(-len(rows) // OPTIONS)
    groups = [rows[start : start + span] for start in range(0, len(rows), span)]
    options = tuple(
        SelectOption(
            f"Row {group[0]} …" if span == 1 else f"Rows {group[0]} to {group[-1]} …",
            f"rows:{group[0]}:{group[-1]}",
        )
        for group in groups
    )
    return SelectSpec(custom_id(verb, job), f"{what} an image: which row? …", options)


def image_selects(job: Job, verb: ComponentAction, first: int, last: int) -> tuple[ActionRow, ...]:
    """Menus of the pictures in the rows ``first`` to ``last``, one below the other."""
    cells = _cells(job.request, tuple(row for row in job.fetched_rows if first <= row <= last))
    parts = [cells[start : start + OPTIONS] for start in range(0, len(cells), OPTIONS)]
    return tuple(
        # The number only tells menus apart, which must not share a custom id.
        (
            SelectSpec(
                custom_id(verb, job, 0, number), f"{part[0].label} to {part[-1].label} …", part
            ),
        )
        for number, part in enumerate(parts[:CONTROL_ROWS], 1)
    )


def parse_selection(value: str) -> tuple[str, int, int] | None:
    """What an option says: ``("cell", row, column)`` or ``("rows", first, last)``."""
    match = re.fullmatch(r"(cell|rows):([0-9]{1,3}):([0-9]{1,3})", value)
    return (match[1], int(match[2]), int(match[3])) if match else None


def confirm_delete_components(job_id: str, message_id: int) -> tuple[ActionRow, ...]:
    """The second press that removes a message for good."""
    press = CustomId(ComponentAction.CONFIRM_DELETE, job_id, (message_id,))
    return ((ButtonSpec("Delete for good", str(press), style="danger"),),)


def _cells(request: Request, rows: Sequence[int]) -> tuple[SelectOption, ...]:
    return tuple(
        SelectOption(
            f"Row {row}, image {column}",
            f"cell:{row}:{column}",
            f"seed {request.row_seed(row)}",
        )
        for row in rows
        for column in range(1, request.samples + 1)
    )


def _link_rows(links: Sequence[Link], rows: int) -> Iterator[ActionRow]:
    """Link buttons in at most ``rows`` rows; what does not fit is found under Details."""
    for start in range(0, min(len(links), rows * BUTTONS_IN_ROW), BUTTONS_IN_ROW):
        stop = min(start + BUTTONS_IN_ROW, rows * BUTTONS_IN_ROW)
        yield tuple(ButtonSpec(f"Row {link.row}", url=link.url) for link in links[start:stop])
