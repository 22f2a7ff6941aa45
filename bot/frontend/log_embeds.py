"""What the log channel shows: an entry for each action, report and hold. Pure.

The footer holds the entry's number, by which the bot finds a message that it may have posted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from bot.frontend.formatting import escape_user_text, pluralize, short_id, timestamp
from bot.frontend.message_content import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    MAX_FIELD_VALUE,
    RED,
    ActionRow,
    ButtonSpec,
    EmbedField,
    MessageContent,
)
from bot.services.reports import LogMessage

_MAX_TEXT: Final = 900
_MAX_DETAIL: Final = 300
_TITLES: Final[Mapping[str, str]] = {
    "pause": "Requests paused",
    "drain": "Server is draining",
    "drained": "Server is drained",
    "resume": "Requests resumed",
    "channel-set": "Channel rule set",
    "channel-remove": "Channel rule removed",
    "word-add": "Word rule added",
    "word-remove": "Word rule removed",
    "block": "Member blocked",
    "unblock": "Member unblocked",
    "cancel": "Requests cancelled",
    "approve": "Request approved",
    "reject": "Request rejected",
    "image-block": "Images blocked and refunded",
    "setting": "Setting changed",
    "export": "Audit exported",
    "removed": "Result removed",
    "quota-set": "Quota set",
    "quota-remove": "Quota rule removed",
    "quota-grant": "Images granted",
    "quota-reset": "Quota reset",
    "summary": "Earlier actions",
}
_DECISIONS: Final[Mapping[str, str]] = {
    "removed": "Removed",
    "refunded": "Removed and refunded",
    "blocked": "Author blocked",
    "dismissed": "Dismissed",
    "approved": "Approved",
    "rejected": "Rejected and refunded",
    "cancelled": "Cancelled",
}
_SENTENCES: Final[Mapping[tuple[str, object], str]] = {
    ("refuses", True): "New requests are refused",
    ("refuses", False): "New requests are accepted, and wait",
    ("mode", "pause"): "",
    ("mode", "drain"): "",
    ("whole_word", True): "Found as a whole word",
    ("whole_word", False): "Found anywhere in words",
    ("effect", "refuse"): "Requests are refused",
    ("effect", "hold"): "Requests wait for a moderator",
    ("adult", True): "Not in age-restricted channels",
    ("adult", False): "",
    ("cancelled", 0): "",
}
"""What a detail of an action says that is clearer than its name and value."""
_LABELS: Final[Mapping[str, str]] = {
    "cancelled": "Requests cancelled",
    "pattern": "Word",
    "was": "Before",
    "is": "Now",
}
_MENTIONS: Final[Mapping[str, str]] = {"user": "<@{}>", "role": "<@&{}>", "channel": "<#{}>"}


def entry_mark(message: LogMessage) -> str:
    """Return the text by which a posted entry is recognised."""
    return f"Entry {message.id}"


def log_entry(message: LogMessage) -> MessageContent:
    """Return the entry as it is now, with buttons while moderators can decide."""
    match message.kind:
        case "report":
            return _report_entry(message)
        case "hold":
            return _hold_entry(message)
        case "action":
            return _action_entry(message)


def format_report(body: Mapping[str, Any]) -> str:
    """Return an open report in one line."""
    count = pluralize(int(body.get("count", 1)), "report")
    link = body.get("link")
    job = short_id(str(body.get("job", "")))
    name = f"[`{job}`]({link})" if link else f"`{job}`"
    blocked = ", author blocked" if body.get("decision") == "blocked" else ""
    prompt = escape_user_text(str(body.get("prompt", "")), 120)
    return f"{name} by <@{body.get('author')}>: {count}{blocked}. {prompt}"


def _report_entry(message: LogMessage) -> MessageContent:
    body = message.body
    decision = body.get("decision")
    fields = _evidence_fields(body)
    reasons = [
        f"<@{reporter}>" + (f": {escape_user_text(str(why), 200)}" if why else "")
        for reporter, why in body.get("reasons", ())
    ]
    more = int(body.get("count", 0)) - len(reasons)
    if more > 0:
        reasons.append(f"and {more} more")
    fields.append(EmbedField("Reported by", "\n".join(reasons)[:MAX_FIELD_VALUE] or "Erased"))
    fields += [EmbedField("Done", _format_decision(action)) for action in body.get("actions", ())]
    return MessageContent(
        f"Report: {pluralize(int(body.get('count', 0)), 'member')}",
        _prompt(body),
        GREY if message.is_closed else RED if decision is None else AMBER,
        tuple(fields),
        entry_mark(message),
        str(body.get("picture") or ""),
        () if message.is_closed else (_report_buttons(int(body["report"]), decision),),
    )


def _report_buttons(ident: int, decision: object) -> ActionRow:
    buttons = [
        ButtonSpec("Remove", f"gb-mod:remove:{ident}", style="danger"),
        ButtonSpec("Remove and refund", f"gb-mod:refund:{ident}", style="danger"),
        ButtonSpec("Block author", f"gb-mod:block:{ident}"),
        ButtonSpec("Dismiss", f"gb-mod:dismiss:{ident}"),
    ]
    return tuple(one for one in buttons if decision is None or one.label != "Block author")


def _hold_entry(message: LogMessage) -> MessageContent:
    body = message.body
    _, kind, job_id = message.subject.split(":")
    fields = _evidence_fields(body)
    fields.append(EmbedField("Why", escape_user_text(str(body.get("why", "")), _MAX_TEXT) or "-"))
    if message.is_closed:
        fields.append(EmbedField("Done", _format_hold_end(body)))
    buttons = (
        ButtonSpec("Approve", f"gb-mod:approve:{kind}:{job_id}", style="success"),
        ButtonSpec("Reject", f"gb-mod:reject:{kind}:{job_id}", style="danger"),
    )
    return MessageContent(
        "Waits for a moderator",
        _prompt(body),
        GREY if message.is_closed else AMBER,
        tuple(fields),
        entry_mark(message),
        str(body.get("picture") or ""),
        () if message.is_closed else (buttons,),
    )


def _format_hold_end(body: Mapping[str, Any]) -> str:
    what = _DECISIONS.get(str(body["decision"]), "Decided")
    by = body.get("decided_by")
    if body["decision"] == "cancelled" and by == body["author"]:
        return f"{what} by the member"
    return f"{what} by <@{by}>" if by else what


def _action_entry(message: LogMessage) -> MessageContent:
    body = message.body
    action, detail = str(body.get("action", "")), dict(body.get("detail") or {})
    subject, lines = str(body.get("subject", "")), []
    if by := body.get("by"):
        lines.append(f"By <@{by}>")
    if about := _format_subject(subject):
        lines.append(about)
    if action == "summary":
        lines.append(
            f"{pluralize(int(body['count']), 'action')} from {_time(body['from'])} to "
            f"{_time(body['to'])} could not be posted at the time. The audit has all of them: "
            "`/art-admin export`."
        )
    lines += filter(None, (_format_detail(*one, subject) for one in detail.items()))
    if "prompt" in body:
        lines.append(_prompt(body))
    colour = {"removed": RED, "block": RED, "resume": GREEN, "unblock": GREEN}.get(action, BLUE)
    return MessageContent(
        _TITLES.get(action, action[:100].replace("-", " ").capitalize() or "Action"),
        "\n".join(lines)[:3500],
        colour,
        tuple(_evidence_fields(body)) if "prompt" in body else (),
        entry_mark(message),
        str(body.get("picture") or ""),
    )


def _evidence_fields(body: Mapping[str, Any]) -> list[EmbedField]:
    fields = [
        EmbedField("Author", f"<@{body['author']}>", inline=True),
        EmbedField("Channel", f"<#{body['channel']}>", inline=True),
    ]
    link = body.get("link")
    job = f"`{short_id(str(body['job']))}`"
    fields.append(EmbedField("Request", f"[{job}]({link})" if link else job, inline=True))
    if body.get("seed") is not None:
        fields.append(EmbedField("Seed", str(body["seed"]), inline=True))
    if negative := body.get("negative"):
        fields.append(EmbedField("Negative prompt", escape_user_text(str(negative), _MAX_TEXT)))
    return fields


def _prompt(body: Mapping[str, Any]) -> str:
    return f"**{escape_user_text(str(body.get('prompt', '')), _MAX_TEXT)}**"


def _format_decision(action: Mapping[str, Any]) -> str:
    what = _DECISIONS.get(str(action.get("what")), str(action.get("what")))
    until = f" until {_time(action['until'])}" if action.get("until") else ""
    return f"{what}{until} by <@{action.get('by')}>, {_time(action['at'], 'R')}"


def _format_subject(subject: str) -> str:
    kind, _, ident = subject.partition(":")
    if kind in _MENTIONS and ident.isdecimal():
        return f"{'Member' if kind == 'user' else kind.capitalize()}: {_MENTIONS[kind]}".format(
            ident
        )
    if kind == "job":
        return f"Request: `{short_id(ident)}`"
    if kind == "setting":
        return f"Setting: {ident.replace('_', ' ')}"
    return f"Rule {ident}" if kind == "word" else ""


def _format_detail(key: str, value: Any, subject: str) -> str:
    """Return a line about a detail of an action, "" if there is nothing to say."""
    if value in (None, "", {}):
        return ""
    if isinstance(value, str | int) and (key, value) in _SENTENCES:
        return _SENTENCES[key, value]
    label = _LABELS.get(key, key.replace("_", " ").capitalize())
    return f"{label}: {_format_value(key, value, subject)}"


def _format_value(key: str, value: Any, subject: str) -> str:
    if key == "until" and isinstance(value, str):
        return _time(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and key == "member":
        return f"<@{value}>"
    if isinstance(value, int) and (key == "channel" or subject.endswith("_channel")):
        return f"<#{value}>"
    if isinstance(value, Mapping):
        value = ", ".join(f"{name} {one}" for name, one in value.items())
    return escape_user_text(str(value), _MAX_DETAIL)


def _time(text: object, style: Any = "f") -> str:
    return timestamp(datetime.fromisoformat(str(text)), style)
