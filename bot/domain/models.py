"""Models that members can choose: their defaults, bounds, cost, and who may use them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from bot.domain.image_engine import UNKNOWN, EngineInfo
from bot.domain.text import truncate_utf16

NO_NEGATIVE_FAMILIES: Final = frozenset({"flux", "schnell", "lcm"})
"""Model families in which a negative prompt has no effect: no error, the same image."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model of the table ``[models.<id>]``. 0, "" and None mean: as for the whole server.

    ``width`` and ``height`` in pixels, ``steps``, ``guidance`` and ``sampler`` are defaults.
    ``cost``: each picture counts as so many images of the quota. ``roles`` are the ids of the
    roles whose members may use it; empty for everybody. ``loras`` are the names of the LoRAs that a
    prompt may name. ``engine`` is what makes its images.
    """

    id: str
    title: str = ""
    about: str = ""
    family: str = ""
    width: int = 0
    height: int = 0
    steps: int = 0
    guidance: float | None = None
    sampler: str = ""
    min_pixels: int = 0
    max_pixels: int = 0
    max_steps: int = 0
    negative: bool | None = None
    img2img: bool = True
    cost: int = 1
    roles: frozenset[int] = frozenset()
    loras: tuple[str, ...] = ()
    engine: EngineInfo = UNKNOWN

    @property
    def name(self) -> str:
        """Return the name for members: the title, or the id."""
        return self.title or self.id

    @property
    def takes_negative(self) -> bool:
        """Return whether a negative prompt changes the image."""
        if self.negative is not None:
            return self.negative
        return self.engine.negative and self.family not in NO_NEGATIVE_FAMILIES

    def is_open_to(self, role_ids: Collection[int] | None) -> bool:
        """Return whether a member with these roles may use it; None may use every model."""
        return role_ids is None or not self.roles or not self.roles.isdisjoint(role_ids)

    def format_choice(self, max_length: int) -> str:
        """Return title, what it is for and what it costs, in at most ``max_length`` UTF-16 units.

        The cost is never cut off.
        """
        cost = f" ({self.cost} images each)" if self.cost > 1 else ""
        text = f"{self.name}: {self.about}" if self.about else self.name
        return truncate_utf16(text, max_length - len(cost)) + cost
