"""Embeds and components of a job's result, and of its details. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bot.domain.grid import caption, format_steps
from bot.domain.image_engine import UNKNOWN, EngineInfo
from bot.domain.job import Job
from bot.domain.permutations import to_typed_prompt
from bot.domain.request import Request
from bot.domain.text import truncate_utf16, utf16_length
from bot.frontend.custom_ids import ComponentAction, CustomId, custom_id
from bot.frontend.formatting import (
    code_block,
    escape_user_text,
    format_duration,
    format_footer,
    format_prompt,
    join_numbers,
    pluralize,
    short_id,
    timestamp,
)
from bot.frontend.message_content import (
    AMBER,
    BLUE,
    GREEN,
    MAX_ACTION_ROWS,
    MAX_BUTTONS_PER_ROW,
    MAX_DESCRIPTION,
    MAX_FIELD_VALUE,
    MAX_OPTIONS,
    MAX_URL,
    ActionRow,
    ButtonSpec,
    EmbedField,
    MessageContent,
    SelectOption,
    SelectSpec,
)
from bot.services.budget import JobCost, format_cost
from bot.services.gallery import StarOutcome

MAX_NEGATIVE: Final = 400
_RESERVED: Final = 60
_MAX_SEEDS: Final = 30
_MAX_ENGINES: Final = 4


@dataclass(frozen=True, slots=True)
class Link:
    """The URL of full-size row ``row``, short enough for a link button."""

    row: int
    url: str


def public_links(job: Job, *, plain: bool = False) -> tuple[Link, ...]:
    """Return links to the rows that the workflow published for everyone.

    Only fetched rows count, because their host was checked; none of a job whose images nobody may
    see. ``plain`` also allows http, for operators who want links only.
    """
    if job.is_withheld:
        return ()
    schemes = ("https://", "http://") if plain else ("https://",)
    return tuple(
        Link(row.number, row.artifact.url)
        for row in job.rows
        if row.number in job.fetched_rows
        and row.artifact is not None
        and row.artifact.url.startswith(schemes)
        and len(row.artifact.url) <= MAX_URL
    )


def result_message(
    job: Job,
    *,
    image: str,
    links: Sequence[Link] = (),
    page: str = "",
    upscaling: bool = True,
    note: str = "",
) -> MessageContent:
    """Return the result: the attached file ``image`` and all components.

    ``page`` is the address of its page on the picture server, "" if there is none.
    """
    fields = [EmbedField("Negative prompt", _format_negative(job))] * bool(job.request.negative)
    missing = missing_rows(job)
    if missing:
        fields.append(EmbedField("Incomplete", _format_missing(job, missing)))
    if note:
        fields.append(EmbedField("Full-size rows", note))
    return MessageContent(
        title="Upscaled" if job.request.origin is not None else "Done",
        description=f"{format_prompt(job)}\n{_format_author(job)}",
        colour=AMBER if missing else GREEN,
        fields=tuple(fields),
        footer=f"{caption(job)}\n{format_footer(job)}",
        image=image,
        controls=result_components(job, links, page=page, upscaling=upscaling),
    )


def result_components(
    job: Job, links: Sequence[Link], *, page: str = "", upscaling: bool
) -> tuple[ActionRow, ...]:
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
        star_button(job),
        ButtonSpec("Details", custom_id(ComponentAction.DETAILS, job)),
        ButtonSpec("Delete", custom_id(ComponentAction.ASK_DELETE, job), style="danger"),
    )
    fits = len(actions) + len(about) <= MAX_BUTTONS_PER_ROW
    rows: list[ActionRow] = [(*actions, *about)] if fits else [tuple(actions), about]
    if not one:
        rows.append((image_select(job, ComponentAction.OPEN),))
        if upscaling:
            rows.append((image_select(job, ComponentAction.UPSCALE),))
    return (*rows, *_link_rows(links, page, MAX_ACTION_ROWS - len(rows)))


def without_delete(content: MessageContent) -> MessageContent:
    """Return a result without its Delete button."""
    delete = f"gb:{ComponentAction.ASK_DELETE}:"
    rows = (
        tuple(control for control in row if not control.custom_id.startswith(delete))
        for row in content.controls
    )
    return replace(content, controls=tuple(row for row in rows if row))


def star_button(job: Job) -> ButtonSpec:
    """Return the button that gives a member's star to a result, or takes it back."""
    return ButtonSpec("⭐ Star", custom_id(ComponentAction.STAR, job))


def format_star(outcome: StarOutcome, *, own: bool) -> str:
    """Return what a press of the star has changed; ``own``: the result is the member's."""
    if not outcome.starred:
        return f"You took your star back. This result has {pluralize(outcome.count.stars, 'star')}."
    parts = [
        f"⭐ Starred. This result has {pluralize(outcome.count.stars, 'star')}.",
        "`/favourites` lists what you have starred.",
        "Your own star does not count for the gallery." if own else "",
        f"It goes to the gallery: <#{outcome.goes_to}>." if outcome.goes_to else "",
    ]
    return " ".join(filter(None, parts))


def gallery_message(job: Job, image: str, link: str) -> MessageContent:
    """Return a result for the gallery, with a ``link`` to its original."""
    buttons = (
        ButtonSpec("Open the original", url=link),
        star_button(job),
        ButtonSpec("Details", custom_id(ComponentAction.DETAILS, job)),
    )
    return MessageContent(
        title="Starred by members",
        description=(
            f"{format_prompt(job)}\nby <@{job.request.author.id}> "
            f"in <#{job.request.place.channel_id}>"
        ),
        colour=AMBER,
        footer=f"{caption(job)}\n{gallery_mark(job.id)}",
        image=image,
        controls=(buttons,),
    )


def gallery_mark(job_id: str) -> str:
    """Return the text by which a post in the gallery is recognised."""
    return f"Gallery · {job_id}"


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


def _link_rows(links: Sequence[Link], page: str, rows: int) -> Iterator[ActionRow]:
    """Yield link buttons for at most ``rows`` action rows; Details shows the rest."""
    buttons = [ButtonSpec("All pictures", url=page)] if page else []
    buttons += [ButtonSpec(f"Row {link.row}", url=link.url) for link in links]
    for start in range(0, min(len(buttons), rows * MAX_BUTTONS_PER_ROW), MAX_BUTTONS_PER_ROW):
        stop = min(start + MAX_BUTTONS_PER_ROW, rows * MAX_BUTTONS_PER_ROW)
        yield tuple(buttons[start:stop])


def missing_rows(job: Job) -> tuple[int, ...]:
    """Return the numbers of the rows that a result lacks."""
    return tuple(row.number for row in job.rows if row.number not in job.fetched_rows)


def _format_missing(job: Job, missing: tuple[int, ...]) -> str:
    rows = f"Rows {join_numbers(missing)}" if len(missing) > 1 else f"Row {missing[0]}"
    back = pluralize(len(missing) * job.request.samples * job.request.cost, "image")
    return f"{rows} could not be generated; {back} refunded."


def _format_negative(job: Job) -> str:
    """Return the negative prompt, and whether the model ignored it."""
    words = escape_user_text(job.request.negative, MAX_NEGATIVE)
    if job.generation and not any(generation.negative for generation in job.generation):
        words += f"\nThis model ({job.made_with}) ignores negative prompts."
    return words


def _format_author(job: Job) -> str:
    author = job.request.author.id
    return f"for <@{author}>" if author else "for the operator"


def details_message(
    job: Job,
    credits: JobCost | None = None,
    engine: EngineInfo = UNKNOWN,
    links: Sequence[Link] | None = None,
) -> MessageContent:
    """Return the request as a command, and the job's times, seeds and costs.

    ``engine`` is the image engine that would run it now. ``links`` are those to the full-size rows,
    by default those that the workflow published.
    """
    request = job.request
    fields = [
        EmbedField("Seeds", _format_seeds(job)),
        EmbedField("Size", f"{request.width} × {request.height} px", inline=True),
        EmbedField("Steps", format_steps(job), inline=True),
        EmbedField("Model", _format_model(job, engine), inline=True),
        EmbedField("Times", _format_times(job)),
    ]
    if made := _format_generation(job):
        fields.insert(4, EmbedField("Generated with", made))
    if (start := request.init_image) is not None:
        text = f"a picture of {start.width} × {start.height} px, strength {start.strength:g}"
        fields.append(EmbedField("Starts from", text))
    if request.cost > 1:
        counted = f"{request.images} × {request.cost} = {request.quota_images} images"
        fields.append(EmbedField("Quota", counted, inline=True))
    if credits is not None and (compute := format_cost(credits)):
        fields.append(EmbedField("Compute", compute, inline=True))
    shown = public_links(job) if links is None else links
    if shown:
        addresses = [f"[row {link.row}]({_escape_url(link.url)})" for link in shown]
        fields.append(EmbedField("Full-size rows", _join_within_field(addresses, " · ")))
    return MessageContent(
        title=f"Details of {short_id(job.id)}",
        description=code_block(to_typed_prompt(request), MAX_DESCRIPTION),
        colour=BLUE,
        fields=tuple(fields),
        footer=job.id,
    )


def _format_model(job: Job, engine: EngineInfo) -> str:
    name = job.made_with or engine.show()
    return f"`{truncate_utf16(name.replace('`', ''), 100) or '-'}`"


def _format_generation(job: Job) -> str:
    """Return guidance, sampler and the model's file, as the engines reported them."""
    lines = []
    for generation in job.generation[:_MAX_ENGINES]:
        guidance = f"guidance {generation.guidance}" if generation.guidance else ""
        sampler = generation.sampler and escape_user_text(f"sampler {generation.sampler}", 120)
        digest = generation.model_sha256 and f"file sha256 `{generation.model_sha256}`"
        lines.append(" · ".join(part for part in (guidance, sampler, digest) if part))
    return "\n".join(dict.fromkeys(line for line in lines if line))


def _format_times(job: Job) -> str:
    parts = [f"requested {timestamp(job.created_at, 'f')} by <@{job.request.author.id}>"]
    if job.started_at is not None:
        parts.append(f"waited {format_duration((job.started_at - job.created_at).total_seconds())}")
        if job.ended_at is not None:
            parts.append(f"took {format_duration((job.ended_at - job.started_at).total_seconds())}")
    return ", ".join(parts)


def _format_seeds(job: Job) -> str:
    rows = job.rows
    if len(rows) > _MAX_SEEDS and rows[-1].seed - rows[0].seed == len(rows) - 1:
        first, last = rows[0], rows[-1]
        span = f"row {first.number}: {first.seed} to row {last.number}: {last.seed}"
        return f"{span}, plus 1 for each row"
    return _join_within_field([f"row {row.number}: {row.seed}" for row in rows], ", ")


def _join_within_field(parts: list[str], separator: str) -> str:
    """Join as many parts as a field holds, and count the rest."""
    shown: list[str] = []
    remaining = MAX_FIELD_VALUE - _RESERVED
    for part in parts:
        remaining -= utf16_length(part) + len(separator)
        if remaining < 0:
            break
        shown.append(part)
    text = separator.join(shown)
    left = len(parts) - len(shown)
    return (
        f"{text}{separator}{left} more; open them with the menu below the result" if left else text
    )


def _escape_url(url: str) -> str:
    """Return the URL without parentheses, which would end a markdown link."""
    return url.replace("(", "%28").replace(")", "%29")
