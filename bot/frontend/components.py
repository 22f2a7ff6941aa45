"""Buttons and selects of job messages, and their custom ids. Pure.

A custom id is ``gb:<verb>:<job id>`` and up to two numbers. It holds all state, so a component
works as long as its message exists.
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
    MAX_ACTION_ROWS,
    MAX_BUTTONS_PER_ROW,
    MAX_OPTIONS,
    MAX_URL,
    ActionRow,
    ButtonSpec,
    SelectOption,
    SelectSpec,
)


class ComponentAction(StrEnum):
    """What a component does; the values are part of posted custom ids."""

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
    """A parsed custom id. ``numbers``: row and column, or a message id."""

    verb: ComponentAction
    job_id: str
    numbers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return ":".join(["gb", self.verb, self.job_id, *(str(number) for number in self.numbers)])

    @classmethod
    def parse(cls, custom_id: str) -> CustomId | None:
        """Return the parsed custom id, or None if it is not one of these."""
        match = CUSTOM_ID_PATTERN.fullmatch(custom_id)
        if match is None:
            return None
        numbers = tuple(int(part) for part in (match["first"], match["second"]) if part)
        if any(number > MAX_ID for number in numbers):
            return None
        return cls(ComponentAction(match["verb"]), match["job"], numbers)


@dataclass(frozen=True, slots=True)
class Link:
    """The URL of full-size row ``row``, short enough for a link button."""

    row: int
    url: str


def public_links(job: Job, *, plain: bool = False) -> tuple[Link, ...]:
    """Return links to the rows that the workflow published for everyone.

    Only fetched rows count, because their host was checked. ``plain`` also allows http, for
    operators who want links only.
    """
    schemes = ("https://", "http://") if plain else ("https://",)
    return tuple(
        Link(row.number, row.artifact.url)
        for row in job.rows
        if row.number in job.fetched_rows
        and row.artifact is not None
        and row.artifact.url.startswith(schemes)
        and len(row.artifact.url) <= MAX_URL
    )


def custom_id(verb: ComponentAction, job: Job, *numbers: int) -> str:
    """Return the custom id of a component of this job."""
    return str(CustomId(verb, job.id, numbers))


def queued_components(job: Job) -> tuple[ActionRow, ...]:
    """Return the Cancel button of a job that has not finished."""
    return ((ButtonSpec("Cancel", custom_id(ComponentAction.CANCEL, job)),),)


def failed_components(job: Job) -> tuple[ActionRow, ...]:
    """Return the buttons of a job without a result."""
    again = ButtonSpec("Try again", custom_id(ComponentAction.RETRY, job), style="primary")
    if job.request.origin is not None:
        return ((again,),)
    return ((again, ButtonSpec("Edit & run again", custom_id(ComponentAction.EDIT, job))),)


def result_components(job: Job, links: Sequence[Link], *, upscaling: bool) -> tuple[ActionRow, ...]:
    """Return the components of a result, at most five action rows."""
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
    fits = len(actions) + len(about) <= MAX_BUTTONS_PER_ROW
    rows: list[ActionRow] = [(*actions, *about)] if fits else [tuple(actions), about]
    if not one:
        rows.append((image_select(job, ComponentAction.OPEN),))
        if upscaling:
            rows.append((image_select(job, ComponentAction.UPSCALE),))
    return (*rows, *_link_rows(links, MAX_ACTION_ROWS - len(rows)))


def image_select(job: Job, verb: ComponentAction) -> SelectSpec:
    """Return a select of the result's images or, if these are too many, of its rows."""
    rows, columns = job.fetched_rows, job.request.samples
    what = "Open" if verb is ComponentAction.OPEN else "Upscale"
    if len(rows) * columns <= MAX_OPTIONS:
        return SelectSpec(custom_id(verb, job), f"{what} an image …", _cells(job.request, rows))
    span = -(-len(rows) // MAX_OPTIONS)
    groups = [rows[start : start + span] for start in range(0, len(rows), span)]
    options = tuple(
        SelectOption(
            f"Row {group[0]} …" if span == 1 else f"Rows {group[0]} to {group[-1]} …",
            f"rows:{group[0]}:{group[-1]}",
        )
        for group in groups
    )
    return SelectSpec(custom_id(verb, job), f"{what} an image: choose a row …", options)


def image_selects(job: Job, verb: ComponentAction, first: int, last: int) -> tuple[ActionRow, ...]:
    """Return selects of the images in the rows ``first`` to ``last``, one per action row."""
    cells = _cells(job.request, tuple(row for row in job.fetched_rows if first <= row <= last))
    parts = [cells[start : start + MAX_OPTIONS] for start in range(0, len(cells), MAX_OPTIONS)]
    return tuple(
        # The number makes the custom ids of the selects different.
        (
            SelectSpec(
                custom_id(verb, job, 0, number), f"{part[0].label} to {part[-1].label} …", part
            ),
        )
        for number, part in enumerate(parts[:MAX_ACTION_ROWS], 1)
    )


def parse_selection(value: str) -> tuple[str, int, int] | None:
    """Parse an option value: ``("cell", row, column)`` or ``("rows", first, last)``."""
    match = re.fullmatch(r"(cell|rows):([0-9]{1,3}):([0-9]{1,3})", value)
    return (match[1], int(match[2]), int(match[3])) if match else None


def confirm_delete_components(job_id: str, message_id: int) -> tuple[ActionRow, ...]:
    """Return the button that confirms a deletion."""
    target = CustomId(ComponentAction.CONFIRM_DELETE, job_id, (message_id,))
    return ((ButtonSpec("Delete permanently", str(target), style="danger"),),)


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
    """Yield link buttons for at most ``rows`` action rows; Details shows the rest."""
    for start in range(0, min(len(links), rows * MAX_BUTTONS_PER_ROW), MAX_BUTTONS_PER_ROW):
        stop = min(start + MAX_BUTTONS_PER_ROW, rows * MAX_BUTTONS_PER_ROW)
        yield tuple(ButtonSpec(f"Row {link.row}", url=link.url) for link in links[start:stop])
