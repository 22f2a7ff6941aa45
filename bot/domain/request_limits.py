"""Limits and defaults of requests, for the whole server and for each model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from bot.domain.errors import InvalidRequest, NotAllowed
from bot.domain.image_engine import UNKNOWN, EngineInfo
from bot.domain.init_image import DEFAULT_STRENGTH
from bot.domain.models import ModelSpec
from bot.domain.request_parsing import RawOption, parse_choice, parse_fixed_model, parse_model
from bot.domain.text import normalize_text, truncate


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Limits and defaults of requests (``[imagine]``, ``[models]``).

    ``width`` and ``height`` in pixels are the default size, and their product is the area that an
    aspect ratio is fitted to; ``max_pixels`` limits width × height of one image; ``max_prompt`` is
    in characters. ``styles`` maps a name to words that are added to the prompt. ``engine`` is the
    image engine, which has limits of its own. ``table`` describes models by id; ``models`` may name
    others, which have the server's limits. ``img2img``: there is a workflow that starts from a
    picture; ``strength`` is how far it departs from it. ``max_permutations`` is how many requests
    one typed text may ask for; 1 switches that off.
    """

    rows: int = 4
    samples: int = 3
    width: int = 768
    height: int = 768
    steps: int = 50
    model: str = "sd-2-1"
    max_rows: int = 8
    max_samples: int = 4
    max_steps: int = 150
    max_pixels: int = 1024 * 1024
    max_prompt: int = 1000
    models: tuple[str, ...] = ("sd-2-1", "wd-1-4")
    styles: Mapping[str, str] = field(default_factory=dict)
    negative: bool = True
    engine: EngineInfo = UNKNOWN
    table: Mapping[str, ModelSpec] = field(default_factory=dict)
    min_pixels: int = 1
    img2img: bool = True
    strength: float = DEFAULT_STRENGTH
    max_permutations: int = 8

    @property
    def selects_model(self) -> bool:
        """Return whether a request selects the model; otherwise naming one has no effect."""
        return bool(self.table) or self.engine.selects_model

    @property
    def names(self) -> tuple[str, ...]:
        """Return every model that a request may name, the default first."""
        return tuple(dict.fromkeys((self.model, *self.models))) if self.selects_model else ()

    @property
    def spoken_names(self) -> tuple[str, ...]:
        """Return what a member may write for a model: names and titles."""
        titles = (spec.title for spec in self.table.values() if spec.title)
        return tuple(dict.fromkeys((*self.models, self.model, *titles)))

    @property
    def phrases(self) -> Mapping[str, Collection[str]]:
        """Return what flags may be followed by although it contains spaces, for ``parse_flags``."""
        return {"model": self.spoken_names, "style": tuple(self.styles)}

    @property
    def highest_max_steps(self) -> int:
        """Return the most steps that any model takes."""
        return max((self.for_model(name).max_steps for name in self.names), default=self.max_steps)

    def names_for(self, role_ids: Collection[int] | None) -> tuple[str, ...]:
        """Return the models that a member with these roles may use, the default first."""
        return tuple(name for name in self.names if self._is_open(name, role_ids))

    def engine_for(self, model: str) -> EngineInfo:
        """Return what makes the images of ``model``."""
        spec = self.table.get(model)
        return self.engine if spec is None else spec.engine

    def for_model(self, model: str) -> RequestLimits:
        """Return the limits and defaults with those of ``model``."""
        spec = self.table.get(model)
        if spec is None:
            return self
        return replace(
            self,
            width=spec.width or self.width,
            height=spec.height or self.height,
            steps=spec.steps or self.steps,
            max_steps=spec.max_steps or self.max_steps,
            min_pixels=spec.min_pixels or self.min_pixels,
            max_pixels=spec.max_pixels or self.max_pixels,
            engine=spec.engine,
        )

    def select_model(
        self, setting: RawOption | None, role_ids: Collection[int] | None, *, typed: bool
    ) -> str:
        """Return the model that ``setting`` names, or the first that the member may use.

        Empty where there is none to choose. ``role_ids`` None may use every model. ``typed``: a
        person named it just now, not a stored request. Raises InvalidRequest for an unknown model,
        NotAllowed for one of other roles.
        """
        if not self.selects_model:
            return parse_fixed_model(setting, self.engine, self.model) if setting else ""
        allowed = self.names_for(role_ids)
        if setting is None:
            if not allowed:
                raise NotAllowed(f"No model of this server is open to you. {_ASK}")
            return allowed[0]
        # The configured default may be named even if the list does not contain it.
        if setting.value == normalize_text(self.model):
            name = self.model
        elif not self.models:
            name = parse_model(setting)
        elif (known := self._find(setting.value)) is not None:
            name = known
        elif typed:
            name = parse_choice(setting, allowed, kind="models")
        else:
            raise InvalidRequest(
                setting.name,
                f"The model {truncate(setting.value)} of that request is not available here "
                "any more. Choose another with Edit & run again, or with /imagine.",
            )
        if not self._is_open(name, role_ids):
            spec = self.table[name]
            roles = " or ".join(f"<@&{role}>" for role in sorted(spec.roles))
            raise NotAllowed(
                f"The model {spec.name} is for members with the role {roles}. {_choose(allowed)}"
            )
        return name

    def require_img2img(self, model: str, role_ids: Collection[int] | None) -> None:
        """Raise InvalidRequest unless images of ``model`` can start from a picture.

        ``role_ids`` None may use every model.
        """
        if not self.img2img:
            raise InvalidRequest(
                "image", "This server cannot start from a picture. Leave the picture out."
            )
        spec = self.table.get(model)
        if spec is None or spec.img2img:
            return
        others = [
            name
            for name in self.names_for(role_ids)
            if name not in self.table or self.table[name].img2img
        ]
        hint = f"Choose another: {', '.join(others)}." if others else "Leave the picture out."
        raise InvalidRequest("image", f"The model {spec.name} cannot start from a picture. {hint}")

    def _find(self, text: str) -> str | None:
        """Return the model of this name or title, ignoring case."""
        titles = {normalize_text(spec.title): spec.id for spec in self.table.values() if spec.title}
        known = titles | {normalize_text(name): name for name in self.names}
        folded = {name.casefold(): found for name, found in known.items()}
        return known.get(text) or folded.get(text.casefold())

    def _is_open(self, name: str, role_ids: Collection[int] | None) -> bool:
        spec = self.table.get(name)
        return spec is None or spec.is_open_to(role_ids)


_ASK = "Please ask a moderator."


def _choose(names: tuple[str, ...]) -> str:
    return f"Choose another: {', '.join(names)}." if names else _ASK
