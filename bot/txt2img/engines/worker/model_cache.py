"""Hold loaded models within a memory budget; the least recently used one leaves first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bot.txt2img.engines.base import ImageEngine, OutOfMemory
from bot.txt2img.engines.spec import EngineSpec


class LoadedEngine(ImageEngine, Protocol):
    """An engine that occupies memory until it is closed."""

    @property
    def memory_bytes(self) -> int:
        """Return how much memory the model takes."""
        ...

    def close(self) -> None:
        """Free the memory."""
        ...


@dataclass(slots=True)
class _Entry:
    engine: LoadedEngine
    used_at: float


class ModelCache:
    """Load engines by specification and keep them.

    ``load`` loads one, ``estimate`` says beforehand how many bytes it will take (0: unknown).
    ``clock`` is in seconds. Not for several threads at once.
    """

    def __init__(
        self,
        load: Callable[[EngineSpec], LoadedEngine],
        estimate: Callable[[EngineSpec], int],
        clock: Callable[[], float],
    ) -> None:
        self._load = load
        self._estimate = estimate
        self._clock = clock
        self._entries: OrderedDict[EngineSpec, _Entry] = OrderedDict()
        self.loads = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def memory_bytes(self) -> int:
        """Return how much memory the models take together."""
        return sum(entry.engine.memory_bytes for entry in self._entries.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Return the locations of the loaded models, the least recently used first."""
        return tuple(spec.model.location for spec in self._entries)

    def get(self, spec: EngineSpec, budget: int) -> LoadedEngine:
        """Return the engine, loaded if need be; others leave until all take ``budget`` bytes.

        A model that is larger than the budget is loaded alone. Raises what ``load`` raises.
        """
        entry = self._entries.get(spec)
        if entry is None:
            self._evict(budget - self._estimate(spec))
            entry = _Entry(self._load_alone_if_needed(spec), 0.0)
            self._entries[spec] = entry
        self._entries.move_to_end(spec)
        self._evict(budget, keep=spec)  # the estimate, or the budget, may have been another
        entry.used_at = self._clock()
        return entry.engine

    def touch(self, spec: EngineSpec) -> None:
        """Note that the engine was used until now: a long run is no idle time."""
        self._entries[spec].used_at = self._clock()

    def unload_idle(self, seconds: float) -> None:
        """Unload the models that were not used for so long."""
        now = self._clock()
        for spec, entry in list(self._entries.items()):
            if now - entry.used_at >= seconds:
                self._unload(spec)

    def clear(self) -> None:
        """Unload everything."""
        for spec in list(self._entries):
            self._unload(spec)

    def _load_alone_if_needed(self, spec: EngineSpec) -> LoadedEngine:
        self.loads += 1
        try:
            return self._load(spec)
        except OutOfMemory:
            if not self._entries:
                raise
        # What the others take was not known exactly, or the device is shared.
        self.clear()
        return self._load(spec)

    def _evict(self, budget: int, keep: EngineSpec | None = None) -> None:
        while self.memory_bytes > max(0, budget):
            spec = next(iter(self._entries))
            if spec == keep:
                return
            self._unload(spec)

    def _unload(self, spec: EngineSpec) -> None:
        self._entries.pop(spec).engine.close()
