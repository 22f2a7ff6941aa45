"""Decide what a server's moderators allow: pauses, channels, limits, words and blocks.

Pure: the rules are read by the caller, in the transaction that accepts the request. A place in
direct messages belongs to no server and has no rules but the words for adults.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, TypeVar

from bot.domain.adult_words import ADULT_WORDS
from bot.domain.errors import InvalidRequest, NotAllowed
from bot.domain.request import Request
from bot.domain.text import normalize_text
from bot.domain.word_filter import WordMatch, WordRule, iter_matches

Value = TypeVar("Value")
PauseMode: TypeAlias = Literal["pause", "drain"]

MAX_REASON_CHARS: Final = 300
MAX_PAUSE: Final = timedelta(days=365)
MIN_PAUSE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request is made: a channel, or a thread in ``parent_id``; 0 means none.

    ``age_restricted`` is Discord's own flag; a thread has that of its parent.
    """

    channel_id: int = 0
    parent_id: int = 0
    category_id: int = 0
    age_restricted: bool = False

    @property
    def ids(self) -> tuple[int, ...]:
        """Return the ids that rules can name, the most specific first."""
        return tuple(id for id in (self.channel_id, self.parent_id, self.category_id) if id)


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of one server. Jobs that run go on, waiting ones do not start.

    ``until`` None is until it is resumed. ``refuses``: no new requests are accepted either. A
    ``drain`` always refuses them, and tells the log channel when the last job has ended.
    """

    reason: str = ""
    until: datetime | None = None
    refuses: bool = False
    mode: PauseMode = "pause"

    def is_active(self, at: datetime) -> bool:
        """Return whether it holds at ``at``."""
        return self.until is None or at < self.until

    @property
    def notice(self) -> str:
        """Return the sentence for waiting jobs and refused members."""
        what = "have paused requests" if self.mode == "pause" else "let no more requests start"
        until = f" until <t:{int(self.until.timestamp())}:f>" if self.until else ""
        why = f": {self.reason}" if self.reason else "."
        return f"The moderators of this server {what}{until}{why}"

    def to_setting(self) -> Mapping[str, object]:
        """Return the JSON value of the setting ``paused``."""
        return {
            "reason": self.reason,
            "until": self.until.isoformat() if self.until else None,
            "refuses": self.refuses,
            "mode": self.mode,
        }

    @classmethod
    def from_setting(cls, value: object) -> Pause | None:
        """Return the pause of a stored setting; None for none.

        A text or ``true`` was written by earlier versions: they refused requests with that reason.
        """
        if not value:
            return None
        if not isinstance(value, Mapping):
            return cls(value if isinstance(value, str) else "", refuses=True)
        until = value.get("until")
        return cls(
            str(value.get("reason", "")),
            datetime.fromisoformat(until) if isinstance(until, str) else None,
            bool(value.get("refuses")),
            "drain" if value.get("mode") == "drain" else "pause",
        )


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """What moderators set for a channel, a thread, or all channels of a category.

    ``allowed`` None: only limits. ``running`` jobs may run at once, ``between`` is the minimum time
    between two requests of one member; None is no limit of its own.
    """

    channel_id: int
    allowed: bool | None = None
    running: int | None = None
    between: timedelta | None = None
    max_rows: int | None = None
    max_samples: int | None = None


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """The limits in one place; ``between_in`` is the channel or category that set ``between``."""

    running: int | None = None
    between: timedelta | None = None
    between_in: int = 0
    max_rows: int | None = None
    max_samples: int | None = None


def is_allowed(rules: Sequence[ChannelRule], place: Place) -> bool:
    """Return whether requests are allowed in ``place``.

    The most specific rule that says so decides. Without one they are allowed, unless the server
    allows some other channels: then only those.
    """
    by_channel = {rule.channel_id: rule.allowed for rule in rules}
    for id in place.ids:
        if (allowed := by_channel.get(id)) is not None:
            return allowed
    return not any(rule.allowed for rule in rules)


def limits_in(rules: Sequence[ChannelRule], place: Place) -> ChannelLimits:
    """Return the limits in ``place``; for each, the most specific rule that sets it decides."""
    by_channel = {rule.channel_id: rule for rule in rules}
    found = [by_channel[id] for id in place.ids if id in by_channel]

    return ChannelLimits(
        running=_first(rule.running for rule in found),
        between=_first(rule.between for rule in found),
        between_in=_first(rule.channel_id for rule in found if rule.between is not None) or 0,
        max_rows=_first(rule.max_rows for rule in found),
        max_samples=_first(rule.max_samples for rule in found),
    )


def _first(values: Iterable[Value | None]) -> Value | None:
    return next((value for value in values if value is not None), None)


def check_place(
    rules: Sequence[ChannelRule],
    place: Place,
    request: Request,
    since_last: timedelta | None,
    *,
    together: int = 1,
) -> None:
    """Raise NotAllowed or InvalidRequest for a request that the place does not allow.

    ``since_last`` is the time since the member's last accepted request in the channels that share
    the limit; None if there was none. ``together`` is how many requests are accepted at once.
    """
    if not is_allowed(rules, place):
        allowed = [f"<#{rule.channel_id}>" for rule in rules if rule.allowed][:5]
        where = f" Use {', '.join(allowed)}." if allowed else ""
        raise NotAllowed(f"Requests are not allowed in this channel.{where}")
    limits = limits_in(rules, place)
    for field, value, most in (
        ("rows", request.rows, limits.max_rows),
        ("samples", request.samples, limits.max_samples),
    ):
        if most is not None and value > most:
            raise InvalidRequest(field, f"In this channel {field} can be 1 to {most}, not {value}.")
    if limits.between is not None and together > 1:
        raise NotAllowed(
            f"In this channel, wait {format_seconds(limits.between)} between two requests. "
            "Several grids at once are not possible here."
        )
    if limits.between is not None and since_last is not None and since_last < limits.between:
        left = max(1, round((limits.between - since_last).total_seconds()))
        raise NotAllowed(
            f"In this channel, wait {format_seconds(limits.between)} between two requests. "
            f"Try again in {left} second{'s' if left != 1 else ''}."
        )


def format_seconds(length: timedelta) -> str:
    """Return a short length of time in words."""
    seconds = round(length.total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


@dataclass(frozen=True, slots=True)
class WordDecision:
    """The rule that a request breaks, and the text it was found in."""

    match: WordMatch
    field: str

    @property
    def holds(self) -> bool:
        """Return whether moderators decide; otherwise it is refused."""
        return self.match.rule.effect == "hold"

    def message(self, *, show_word: bool) -> str:
        """Return the sentence for the member; ``show_word`` is the server's setting."""
        what = f" (`{self.match.excerpt.replace('`', chr(39))}`)" if show_word else ""
        allowed = " It is allowed only in age-restricted channels." if self.match.rule.adult else ""
        return f"A word rule of this server does not allow this {self.field}{what}.{allowed}"


def check_words(
    rules: Iterable[WordRule], texts: Mapping[str, str], *, age_restricted: bool
) -> WordDecision | None:
    """Return the first broken rule, one that refuses before one that holds; None if there is none.

    ``texts`` maps what the member knows it as (``prompt``, ``negative prompt``) to the text. Rules
    for adult words do not hold where the channel is age-restricted.
    """
    active = [rule for rule in rules if not (rule.adult and age_restricted)]
    held: WordDecision | None = None
    for field, text in texts.items():
        for match in iter_matches(active, text) if text else ():
            decision = WordDecision(match, field)
            if not decision.holds:
                return decision
            held = held or decision
    return held


def texts_of(request: Request, styles: Mapping[str, str]) -> Mapping[str, str]:
    """Return everything in a request that a member can write or choose, for ``check_words``."""
    return {
        "prompt": request.prompt,
        "negative prompt": request.negative,
        "style": styles.get(request.style, "") if request.style else "",
    }


_SHIPPED_RULES: Final = tuple(
    # No row of a table has a negative id.
    WordRule(-number, word, adult=True)
    for number, word in enumerate(ADULT_WORDS, 1)
)


def shipped_rules(settings: Mapping[str, object]) -> tuple[WordRule, ...]:
    """Return the rules for adult words that come with the bot, without those a server has off."""
    off = parse_words_off(settings.get("adult_words_off"))
    return tuple(rule for rule in _SHIPPED_RULES if rule.pattern not in off)


def parse_words_off(stored: object) -> tuple[str, ...]:
    """Return the shipped words that are off, from the stored setting."""
    return tuple(str(word) for word in stored) if isinstance(stored, list) else ()


def parse_model_roles(stored: object) -> dict[str, tuple[int, ...]]:
    """Return the roles that may use a model, by model, from the stored setting."""
    if not isinstance(stored, Mapping):
        return {}
    return {str(model): tuple(ids) for model, ids in stored.items() if ids}


def check_model(roles: Mapping[str, Sequence[int]], model: str, role_ids: Collection[int]) -> None:
    """Raise NotAllowed for a model that is kept for roles that the member does not have."""
    wanted = roles.get(model)
    if wanted and not any(id in role_ids for id in wanted):
        names = ", ".join(f"<@&{id}>" for id in wanted[:5])
        raise NotAllowed(f"On this server the model {model} is only for {names}.")


def parse_reason(text: str, field: str = "reason") -> str:
    """Return a moderator's reason on one line. Raises InvalidRequest if it is too long."""
    reason = normalize_text(text)
    if len(reason) > MAX_REASON_CHARS:
        raise InvalidRequest(
            field,
            f"{field} can have 0 to {MAX_REASON_CHARS} characters, not {len(reason)}.",
        )
    return reason
