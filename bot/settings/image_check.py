"""Define the section ``[image_check]``: what looks at finished images, and what follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from bot.domain.image_check import NUDENET_LABELS, NUDENET_THRESHOLDS, ImageAction
from bot.settings.sections import Section
from bot.settings.types import (
    OptionalPath,
    SingleLine,
    StrictInt,
    Window,
    refuse_bool,
    validation_error,
)

NUDENET: Final = "nudenet"
_Number = Annotated[float, BeforeValidator(refuse_bool), Field(allow_inf_nan=False)]
_Threshold = Annotated[_Number, Field(gt=0, le=1)]
_Colour = Annotated[_Number, Field(ge=-1000, le=1000)]
_Deviation = Annotated[_Number, Field(gt=0, le=1000)]


def _to_engine(value: object) -> object:
    """Return a path for what is no name, so that it is resolved like every path."""
    if isinstance(value, Path) or value in ("", NUDENET):
        return value
    if not isinstance(value, str) or not value.endswith(".onnx"):
        hint = f'Write "{NUDENET}", or the path of a model that ends in .onnx.'
        raise validation_error("is no image check", hint)
    return Path(value)


class ImageCheckSection(Section):
    """``[image_check]``: ``engine`` is "", ``nudenet``, or the path of an ONNX model.

    ``labels`` are thresholds from 0 to 1. ``label_file``, ``size``, ``mean`` and ``std`` are for a
    model of one's own.
    """

    engine: Annotated[Path | SingleLine, BeforeValidator(_to_engine)] = ""
    labels: dict[str, _Threshold] = Field(default_factory=dict)
    action: ImageAction = "hold"
    label_file: OptionalPath = None
    size: StrictInt = Field(default=0, ge=0, le=4096)
    mean: tuple[_Colour, _Colour, _Colour] = (0.0, 0.0, 0.0)
    std: tuple[_Deviation, _Deviation, _Deviation] = (1.0, 1.0, 1.0)
    timeout: Window = timedelta(minutes=1)

    @property
    def enabled(self) -> bool:
        """Return whether images are checked."""
        return self.engine != ""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Return the labels that mark an image, with the score that it takes."""
        return self.labels or (NUDENET_THRESHOLDS if self.engine == NUDENET else {})

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        if self.engine == NUDENET:
            unknown = [label for label in self.labels if label not in NUDENET_LABELS]
            if unknown:
                hint = f"NudeNet has {', '.join(sorted(NUDENET_LABELS))}."
                raise validation_error("names a label that NudeNet does not have", hint, "labels")
        elif self.enabled and not self.labels:
            hint = "Write which labels of the model mark an image, as in { nsfw = 0.7 }."
            raise validation_error("is empty, so no image would be marked", hint, "labels")
        return self
