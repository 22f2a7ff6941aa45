"""Rules for message bodies: what Discord accepts in a message, a reply, an edit.

It turns a request body and its files into a ``MessageBody`` or refuses with Discord's own errors. It
knows no channel, no permission and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from bot.playground.state.models import (
    COMPONENTS_V2,
    EPHEMERAL,
    SUPPRESS_EMBEDS,
    SUPPRESS_NOTIFICATIONS,
    Attachment,
    Upload,
)
from bot.playground.validation.components import ComponentValidator, validate_alt_text, validate_url
from bot.playground.validation.errors import ErrorCollector, Json, api_error, read_snowflake
from bot.playground.validation.mentions import check_allowed_mentions

MOST_CONTENT = 2000
MOST_FILES = 10
FILE_BYTES = 10 * 1024 * 1024
REQUEST_BYTES = 25 * 1024 * 1024
EMBED_TOTAL = 6000


class BodyKind(Enum):
    """Where a body came in; the value holds the flags that may be set there."""

    CHANNEL = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2
    REPLY = CHANNEL | EPHEMERAL
    EDIT = SUPPRESS_EMBEDS | COMPONENTS_V2


@dataclass(slots=True)
class AttachmentEntry:
    """One entry of the body's ``attachments``: a kept file's id, or the number of a new one."""

    id: int
    filename: str | None
    description: str | None


@dataclass(slots=True)
class MessageBody:
    """A checked body. ``given`` names the keys that were sent, for edits change only those.

    ``listed`` is None when the body has no ``attachments``: then an edit keeps every file.
    """

    present_keys: frozenset[str]
    content: str = ""
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    flags: int = 0
    tts: bool = False
    listed: list[AttachmentEntry] | None = None
    uploads: dict[int, Upload] = field(default_factory=dict)
    allowed_mentions: Json | None = None
    nonce: str | int | None = None
    enforce_nonce: bool = False
    reference_id: int | None = None
    reference_required: bool = True


@dataclass(frozen=True, slots=True)
class ExistingMessage:
    """What an edit finds: the files, the flags, and whether text, embeds or components exist."""

    attachments: tuple[Attachment, ...]
    flags: int
    content: bool
    embeds: bool
    components: bool


def validate_sizes(uploads: dict[int, Upload], request_bytes: int) -> None:
    """Refuse more than ten files, a file above 10 MiB, or a request above 25 MiB."""
    if len(uploads) > MOST_FILES:
        raise api_error(30015)
    if request_bytes > REQUEST_BYTES:
        raise api_error(40005)
    if any(len(upload.content) > FILE_BYTES for upload in uploads.values()):
        raise api_error(40005)


def parse_message_body(
    body: Json,
    uploads: dict[int, Upload],
    kind: BodyKind,
    *,
    position: ExistingMessage | None = None,
    form: ErrorCollector | None = None,
) -> MessageBody:
    """Check a message body; ``standing`` is the message it edits, None for a new one.

    Raises 50035 with every wrong field, or 50006 when nothing would be left to see.
    """
    form = form or ErrorCollector()
    payload = MessageBody(present_keys=frozenset(body), uploads=uploads)
    if body.get("content") is not None and form.at("content").text(
        body["content"], most=MOST_CONTENT
    ):
        payload.content = body["content"]
    payload.flags = _read_flags(form.at("flags"), body.get("flags"), kind)
    payload.tts = bool(body.get("tts"))
    payload.allowed_mentions = check_allowed_mentions(
        form.at("allowed_mentions"), body.get("allowed_mentions")
    )
    payload.listed = _read_attachments(form.at("attachments"), body, uploads, position)
    payload.embeds = validate_embeds(form.at("embeds"), body.get("embeds") or [])
    for unknown in ("poll", "sticker_ids", "stickers"):
        if body.get(unknown):
            form.at(unknown).add_error("BASE_TYPE_BAD", "The playground has no such thing.")
    _read_nonce(form, body, payload)
    _read_reference(form.at("message_reference"), body.get("message_reference"), payload)
    had_v2 = position is not None and bool(position.flags & COMPONENTS_V2)
    v2 = had_v2 or bool(payload.flags & COMPONENTS_V2)
    if body.get("components"):
        check = ComponentValidator(_filenames(payload, position))
        check.message(form.at("components"), body["components"], v2=v2)
        payload.components = body["components"]
    if v2:
        _check_v2(form, body, position if not had_v2 else None)
    form.settle()
    if not _leaves_something(payload, position):
        raise api_error(50006)
    return payload


def _read_flags(form: ErrorCollector, value: object, kind: BodyKind) -> int:
    if value is None:
        return 0
    if not form.whole(value, least=0, most=(1 << 31) - 1):
        return 0
    assert isinstance(value, int)
    # Flags that may not be set here are dropped without a word, as Discord does.
    return value & int(kind.value)


def _read_attachments(
    form: ErrorCollector, body: Json, uploads: dict[int, Upload], position: ExistingMessage | None
) -> list[AttachmentEntry] | None:
    if body.get("attachments") is None:
        return [] if "attachments" in body else None
    kept = {attachment.id for attachment in position.attachments} if position else set()
    listed = []
    for index, value in enumerate(form.listing(body["attachments"], most=MOST_FILES)):
        entry = form.at(index).record(value)
        number = read_snowflake(entry.get("id"))
        if number is None or (number not in uploads and number not in kept):
            form.at(index, "id").add_error(
                "ATTACHMENT_NOT_FOUND", "The attachment is neither uploaded nor on the message."
            )
            continue
        validate_alt_text(form.at(index, "description"), entry.get("description"))
        if entry.get("filename") is not None:
            form.at(index, "filename").text(entry["filename"], most=1024, least=1)
        listed.append(AttachmentEntry(number, entry.get("filename"), entry.get("description")))
    if len(listed) + sum(number not in {one.id for one in listed} for number in uploads) > (
        MOST_FILES
    ):
        raise api_error(30015)
    return listed


def validate_embeds(form: ErrorCollector, value: object) -> list[Json]:
    """Complain about embeds beyond Discord's limits, singly and 6000 characters in all."""
    embeds = form.listing(value, most=10)
    total = 0
    for index, raw in enumerate(embeds):
        place = form.at(index)
        embed = place.record(raw)
        total += _check_texts(place, embed, (("title", 256), ("description", 4096)))
        for inner, key, most in (("footer", "text", 2048), ("author", "name", 256)):
            if embed.get(inner) is not None:
                record = place.at(inner).record(embed[inner])
                total += _check_texts(place.at(inner), record, ((key, most),))
        for number, entry in enumerate(
            place.at("fields").listing(embed.get("fields") or [], most=25)
        ):
            spot = place.at("fields", number)
            record = spot.record(entry)
            for key, most in (("name", 256), ("value", 1024)):
                if spot.at(key).text(record.get(key), most=most, least=1):
                    total += len(record[key])
        for key in ("image", "thumbnail"):
            if embed.get(key) is not None:
                url = place.at(key).record(embed[key]).get("url")
                if not str(url).startswith("attachment://"):
                    validate_url(place.at(key, "url"), url, most=2048)
        if embed.get("url") is not None:
            validate_url(place.at("url"), embed["url"], most=2048)
        if embed.get("color") is not None:
            place.at("color").whole(embed["color"], least=0, most=0xFFFFFF)
    if total > EMBED_TOTAL:
        form.add_error(
            "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {EMBED_TOTAL}"
        )
    return embeds


def _check_texts(form: ErrorCollector, record: Json, limits: tuple[tuple[str, int], ...]) -> int:
    total = 0
    for key, most in limits:
        text: Any = record.get(key)
        if text is not None and form.at(key).text(text, most=most):
            total += len(text)
    return total


def _read_nonce(form: ErrorCollector, body: Json, payload: MessageBody) -> None:
    nonce = body.get("nonce")
    if nonce is None:
        return
    if isinstance(nonce, int) or form.at("nonce").text(nonce, most=25):
        payload.nonce = nonce
        payload.enforce_nonce = bool(body.get("enforce_nonce"))


def _read_reference(form: ErrorCollector, value: object, payload: MessageBody) -> None:
    if value is None:
        return
    reference = form.record(value)
    payload.reference_id = read_snowflake(reference.get("message_id"))
    payload.reference_required = bool(reference.get("fail_if_not_exists", True))
    if payload.reference_id is None:
        form.at("message_id").add_error("NUMBER_TYPE_COERCE", "A value is not snowflake.")


def _filenames(payload: MessageBody, position: ExistingMessage | None) -> set[str]:
    names = {upload.filename for upload in payload.uploads.values()}
    listed = None if payload.listed is None else {one.id for one in payload.listed}
    for attachment in position.attachments if position else ():
        if listed is None or attachment.id in listed:
            names.add(attachment.filename)
    return names


def _check_v2(form: ErrorCollector, body: Json, turning: ExistingMessage | None) -> None:
    """Complain about content beside Components V2, sent or (when turning) left standing."""
    message = "The 'content' and 'embeds' fields cannot be used with the IS_COMPONENTS_V2 flag."
    for key in ("content", "embeds"):
        left = turning is not None and key not in body and getattr(turning, key)
        if body.get(key) or left:
            form.at(key).add_error("MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", message)


def _leaves_something(payload: MessageBody, position: ExistingMessage | None) -> bool:
    """Whether anything can be seen afterwards; components count only by their V2 flag."""
    before = position or ExistingMessage((), 0, False, False, False)
    v2 = bool((payload.flags | before.flags) & COMPONENTS_V2)
    content = bool(payload.content) if "content" in payload.present_keys else before.content
    embeds = bool(payload.embeds) if "embeds" in payload.present_keys else before.embeds
    components = (
        bool(payload.components) if "components" in payload.present_keys else before.components
    )
    if payload.listed is None:
        files = bool(before.attachments) or bool(payload.uploads)
    else:
        files = bool(payload.listed) or bool(payload.uploads)
    return content or embeds or files or (v2 and components)
