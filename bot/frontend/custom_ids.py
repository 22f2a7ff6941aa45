"""Custom ids of the components of job messages, and which a message has. Pure.

A custom id is ``gb:<verb>:<job id>`` and up to two numbers. It holds all state, so a component
works as long as its message exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import discord

from bot.domain.job import Job


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
    STAR = "star"
    VARY_SUBTLE = "vary-subtle"
    VARY_STRONG = "vary-strong"


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


def custom_id(verb: ComponentAction, job: Job, *numbers: int) -> str:
    """Return the custom id of a component of this job."""
    return str(CustomId(verb, job.id, numbers))


def parse_selection(value: str) -> tuple[str, int, int] | None:
    """Parse an option value: ``("cell", row, column)`` or ``("rows", first, last)``."""
    match = re.fullmatch(r"(cell|rows):([0-9]{1,3}):([0-9]{1,3})", value)
    return (match[1], int(match[2]), int(match[3])) if match else None


def has_component(message: discord.Message, custom_id: str) -> bool:
    """Return whether a message has a component with this custom id."""
    return custom_id in _custom_ids(message.components)


def job_ids_on(message: discord.Message) -> frozenset[str]:
    """Return the ids of the jobs that a message's components name."""
    targets = (CustomId.parse(custom_id) for custom_id in _custom_ids(message.components))
    return frozenset(target.job_id for target in targets if target is not None)


def _custom_ids(components: Any) -> Iterator[str]:
    for component in components:
        found = getattr(component, "custom_id", None)
        if found:
            yield found
        yield from _custom_ids(getattr(component, "children", ()))
        accessory = getattr(component, "accessory", None)
        if accessory is not None:
            yield from _custom_ids((accessory,))
