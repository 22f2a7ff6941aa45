"""Parse and validate the body of a message, a response or an edit.

Invalid bodies raise Discord's own errors. Permissions are checked by the REST endpoints.
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
from bot.playground.validation.errors import ErrorCollector, Json, api_error, parse_snowflake
from bot.playground.validation.mentions import validate_allowed_mentions

MAX_CONTENT_CHARS = 2000
MAX_FILES = 10
MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_REQUEST_BYTES = 25 * 1024 * 1024
MAX_EMBED_CHARS = 6000


class BodyKind(Enum):
    """The use of a body; the value holds the message flags that may be set with it."""

    CHANNEL = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2
    REPLY = CHANNEL | EPHEMERAL
    EDIT = SUPPRESS_EMBEDS | COMPONENTS_V2


@dataclass(slots=True)
class AttachmentEntry:
    """An entry of ``attachments``: the id of a kept file, or the number of an upload."""

    id: int
    filename: str | None
    description: str | None


@dataclass(slots=True)
class MessageBody:
    """A valid body. ``present_keys`` are the keys that were sent: an edit changes only those.

    ``listed`` holds the entries of ``attachments``; None if the key is absent, and then an edit
    keeps every file.
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
    """The message that an edit changes: its files and flags, and what content it has."""

    attachments: tuple[Attachment, ...]
    flags: int
    content: bool
    embeds: bool
    components: bool


def validate_sizes(uploads: dict[int, Upload], request_bytes: int) -> None:
    """Raise ApiError for more than 10 files, a file above 10 MiB, or a request above 25 MiB."""
    if len(uploads) > MAX_FILES:
        raise api_error(30015)
    if request_bytes > MAX_REQUEST_BYTES:
        raise api_error(40005)
    if any(len(upload.content) > MAX_FILE_BYTES for upload in uploads.values()):
        raise api_error(40005)


def parse_message_body(
    body: Json,
    uploads: dict[int, Upload],
    kind: BodyKind,
    *,
    existing: ExistingMessage | None = None,
    form: ErrorCollector | None = None,
) -> MessageBody:
    """Parse a message body; ``existing`` is the message it edits, None for a new one.

    Raises ApiError: 50035 with all invalid fields, or 50006 if the message would be empty.
    """
    form = form or ErrorCollector()
    payload = MessageBody(present_keys=frozenset(body), uploads=uploads)
    if body.get("content") is not None and form.at("content").check_string(
        body["content"], max_chars=MAX_CONTENT_CHARS
    ):
        payload.content = body["content"]
    payload.flags = _parse_flags(form.at("flags"), body.get("flags"), kind)
    payload.tts = bool(body.get("tts"))
    payload.allowed_mentions = validate_allowed_mentions(
        form.at("allowed_mentions"), body.get("allowed_mentions")
    )
    payload.listed = _parse_attachments(form.at("attachments"), body, uploads, existing)
    payload.embeds = validate_embeds(form.at("embeds"), body.get("embeds") or [])
    for unknown in ("poll", "sticker_ids", "stickers"):
        if body.get(unknown):
            form.at(unknown).add_error("BASE_TYPE_BAD", "The playground does not support this.")
    _parse_nonce(form, body, payload)
    _parse_reference(form.at("message_reference"), body.get("message_reference"), payload)
    had_v2 = existing is not None and bool(existing.flags & COMPONENTS_V2)
    v2 = had_v2 or bool(payload.flags & COMPONENTS_V2)
    if body.get("components"):
        check = ComponentValidator(_filenames(payload, existing))
        check.message(form.at("components"), body["components"], v2=v2)
        payload.components = body["components"]
    if v2:
        _validate_v2(form, body, existing if not had_v2 else None)
    form.raise_errors()
    if not _has_visible_content(payload, existing):
        raise api_error(50006)
    return payload


def _parse_flags(form: ErrorCollector, value: object, kind: BodyKind) -> int:
    if value is None:
        return 0
    if not form.check_integer(value, minimum=0, maximum=(1 << 31) - 1):
        return 0
    assert isinstance(value, int)
    # Discord ignores flags that may not be set here.
    return value & int(kind.value)


def _parse_attachments(
    form: ErrorCollector, body: Json, uploads: dict[int, Upload], existing: ExistingMessage | None
) -> list[AttachmentEntry] | None:
    if body.get("attachments") is None:
        return [] if "attachments" in body else None
    kept = {attachment.id for attachment in existing.attachments} if existing else set()
    listed = []
    for index, value in enumerate(form.check_list(body["attachments"], max_items=MAX_FILES)):
        entry = form.at(index).check_object(value)
        number = parse_snowflake(entry.get("id"))
        if number is None or (number not in uploads and number not in kept):
            form.at(index, "id").add_error(
                "ATTACHMENT_NOT_FOUND", "The attachment is neither uploaded nor on the message."
            )
            continue
        validate_alt_text(form.at(index, "description"), entry.get("description"))
        if entry.get("filename") is not None:
            form.at(index, "filename").check_string(entry["filename"], max_chars=1024, min_chars=1)
        listed.append(AttachmentEntry(number, entry.get("filename"), entry.get("description")))
    if len(listed) + sum(number not in {one.id for one in listed} for number in uploads) > (
        MAX_FILES
    ):
        raise api_error(30015)
    return listed


def validate_embeds(form: ErrorCollector, value: object) -> list[Json]:
    """Validate embeds by Discord's limits for each, and 6000 characters for all together."""
    embeds = form.check_list(value, max_items=10)
    total = 0
    for index, raw in enumerate(embeds):
        place = form.at(index)
        embed = place.check_object(raw)
        total += _validate_strings(place, embed, (("title", 256), ("description", 4096)))
        for inner, key, maximum in (("footer", "text", 2048), ("author", "name", 256)):
            if embed.get(inner) is not None:
                record = place.at(inner).check_object(embed[inner])
                total += _validate_strings(place.at(inner), record, ((key, maximum),))
        for number, entry in enumerate(
            place.at("fields").check_list(embed.get("fields") or [], max_items=25)
        ):
            spot = place.at("fields", number)
            record = spot.check_object(entry)
            for key, maximum in (("name", 256), ("value", 1024)):
                if spot.at(key).check_string(record.get(key), max_chars=maximum, min_chars=1):
                    total += len(record[key])
        for key in ("image", "thumbnail"):
            if embed.get(key) is not None:
                url = place.at(key).check_object(embed[key]).get("url")
                if not str(url).startswith("attachment://"):
                    validate_url(place.at(key, "url"), url, max_chars=2048)
        if embed.get("url") is not None:
            validate_url(place.at("url"), embed["url"], max_chars=2048)
        if embed.get("color") is not None:
            place.at("color").check_integer(embed["color"], minimum=0, maximum=0xFFFFFF)
    if total > MAX_EMBED_CHARS:
        form.add_error(
            "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {MAX_EMBED_CHARS}"
        )
    return embeds


def _validate_strings(
    form: ErrorCollector, record: Json, limits: tuple[tuple[str, int], ...]
) -> int:
    total = 0
    for key, maximum in limits:
        text: Any = record.get(key)
        if text is not None and form.at(key).check_string(text, max_chars=maximum):
            total += len(text)
    return total


def _parse_nonce(form: ErrorCollector, body: Json, payload: MessageBody) -> None:
    nonce = body.get("nonce")
    if nonce is None:
        return
    if isinstance(nonce, int) or form.at("nonce").check_string(nonce, max_chars=25):
        payload.nonce = nonce
        payload.enforce_nonce = bool(body.get("enforce_nonce"))


def _parse_reference(form: ErrorCollector, value: object, payload: MessageBody) -> None:
    if value is None:
        return
    reference = form.check_object(value)
    payload.reference_id = parse_snowflake(reference.get("message_id"))
    payload.reference_required = bool(reference.get("fail_if_not_exists", True))
    if payload.reference_id is None:
        form.at("message_id").add_error("NUMBER_TYPE_COERCE", "A value is not snowflake.")


def _filenames(payload: MessageBody, existing: ExistingMessage | None) -> set[str]:
    names = {upload.filename for upload in payload.uploads.values()}
    listed = None if payload.listed is None else {one.id for one in payload.listed}
    for attachment in existing.attachments if existing else ():
        if listed is None or attachment.id in listed:
            names.add(attachment.filename)
    return names


def _validate_v2(form: ErrorCollector, body: Json, converted: ExistingMessage | None) -> None:
    """Reject content or embeds beside Components V2, sent or kept from the edited message."""
    message = "The 'content' and 'embeds' fields cannot be used with the IS_COMPONENTS_V2 flag."
    for key in ("content", "embeds"):
        kept = converted is not None and key not in body and getattr(converted, key)
        if body.get(key) or kept:
            form.at(key).add_error("MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", message)


def _has_visible_content(payload: MessageBody, existing: ExistingMessage | None) -> bool:
    """Return whether the message has visible content; components count only with the V2 flag."""
    before = existing or ExistingMessage((), 0, False, False, False)
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
