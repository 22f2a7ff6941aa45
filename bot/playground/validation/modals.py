"""Rules for modals: what a bot may open, and what a person may hand in.

It knows the form's JSON, not the interaction that opened it.
"""

from __future__ import annotations

from bot.playground.state.models import iter_components
from bot.playground.validation.components import (
    ROW,
    SELECTS,
    TEXT_DISPLAY,
    number_components,
    validate_select,
)
from bot.playground.validation.errors import ErrorCollector, Json

TEXT_INPUT, LABEL, FILE_UPLOAD = 4, 18, 19
RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 21, 22, 23
CHOOSERS = (RADIO_GROUP, CHECKBOX_GROUP)
FIELDS = (TEXT_INPUT, *SELECTS, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX)
MOST_TOP = 5


def validate_modal(form: ErrorCollector, value: object) -> Json:
    """Complain about a modal Discord would not open; return it numbered."""
    modal = form.record(value)
    form.at("custom_id").text(modal.get("custom_id"), most=100, least=1)
    form.at("title").text(modal.get("title"), most=45, least=1)
    place = form.at("components")
    seen: set[str] = set()
    for index, raw in enumerate(place.listing(modal.get("components"), most=MOST_TOP, least=1)):
        top = place.at(index).record(raw)
        match top.get("type"):
            case 1:
                inner = place.at(index, "components")
                children = inner.listing(top.get("components"), most=1, least=1)
                for child in children[:1]:
                    node = inner.at(0).record(child)
                    inner.at(0, "label").text(node.get("label"), most=45, least=1)
                    _check_field(inner.at(0), node, (TEXT_INPUT,), seen)
            case 18:
                place.at(index, "label").text(top.get("label"), most=45, least=1)
                if top.get("description") is not None:
                    place.at(index, "description").text(top["description"], most=100)
                spot = place.at(index, "component")
                _check_field(spot, spot.record(top.get("component")), FIELDS, seen)
            case 10:
                place.at(index, "content").text(top.get("content"), most=4000, least=1)
            case _:
                place.at(index, "type").add_error(
                    "UNION_TYPE_CHOICES",
                    f"Value of field type must be one of {(ROW, TEXT_DISPLAY, LABEL)}.",
                )
    if not form.clean:
        return modal
    return {**modal, "components": number_components(modal["components"])}


def _check_field(
    form: ErrorCollector, field: Json, allowed: tuple[int, ...], seen: set[str]
) -> None:
    kind = field.get("type")
    if kind not in allowed:
        form.at("type").add_error(
            "UNION_TYPE_CHOICES", f"Value of field type must be one of {allowed}."
        )
        return
    if form.at("custom_id").text(field.get("custom_id"), most=100, least=1):
        if field["custom_id"] in seen:
            form.at("custom_id").add_error(
                "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated"
            )
        seen.add(field["custom_id"])
    if kind in SELECTS:
        validate_select(form, field)
    elif kind in CHOOSERS:
        least = 2 if kind == RADIO_GROUP else 1
        form.at("options").listing(field.get("options"), most=10, least=least)
    elif kind == TEXT_INPUT:
        if field.get("style") not in (1, 2):
            form.at("style").add_error("BASE_TYPE_CHOICES", "Value must be one of (1, 2).")
        for key, least in (("min_length", 0), ("max_length", 1)):
            if field.get(key) is not None:
                form.at(key).whole(field[key], least=least, most=4000)
        if field.get("placeholder") is not None:
            form.at("placeholder").text(field["placeholder"], most=100)
        if field.get("value") is not None:
            form.at("value").text(field["value"], most=4000)


def modal_fields(modal: Json) -> list[Json]:
    """Return the fields a person fills in, in reading order."""
    return [node for node in iter_components(modal["components"]) if node["type"] in FIELDS]


def submitted_components(modal: Json, values: Json) -> list[Json]:
    """Return the ``components`` of a submission: the modal's skeleton with values by custom id.

    A text input takes a string, a checkbox a bool, a radio group one string, all others a list.
    Unknown ids are a KeyError: a driver's mistake.
    """
    unknown = set(values) - {field["custom_id"] for field in modal_fields(modal)}
    if unknown:
        raise KeyError(f"the form has no field {sorted(unknown)}")
    return [_filled(top, values) for top in modal["components"]]


def _filled(node: Json, values: Json) -> Json:
    kept = {"type": node["type"], "id": node["id"]}
    if node["type"] == ROW:
        return {**kept, "components": [_filled(child, values) for child in node["components"]]}
    if node["type"] == LABEL:
        return {**kept, "component": _filled(node["component"], values)}
    if node["type"] == TEXT_DISPLAY:
        return kept
    kept["custom_id"] = node["custom_id"]
    given = values.get(node["custom_id"])
    if node["type"] == TEXT_INPUT:
        return {**kept, "value": node.get("value", "") if given is None else str(given)}
    if node["type"] == CHECKBOX:
        return {**kept, "value": bool(node.get("default")) if given is None else bool(given)}
    chosen = [entry["value"] for entry in node.get("options", ()) if entry.get("default")]
    if given is not None:
        chosen = [str(one) for one in (given if isinstance(given, list | tuple) else [given])]
    if node["type"] == RADIO_GROUP:
        return {**kept, "value": chosen[0] if chosen else None}
    return {**kept, "values": chosen}


def validate_submission(modal: Json, components: list[Json]) -> str | None:
    """Return what the client would say about a filled form, or None if it may go."""
    handed_in = {
        node["custom_id"]: node for node in iter_components(components) if "custom_id" in node
    }
    for field in modal_fields(modal):
        name = field["custom_id"]
        node = handed_in.pop(name, None)
        if node is None:
            return f"{name}: This field is missing"
        problem = _field_problem(field, node)
        if problem:
            return f"{field.get('label') or name}: {problem}"
    return f"The form has no field {sorted(handed_in)}" if handed_in else None


def _field_problem(field: Json, node: Json) -> str | None:
    required = field.get("required", True)
    if field["type"] == TEXT_INPUT:
        value = node.get("value")
        if not isinstance(value, str):
            return "Text is needed here"
        if not value:
            return "This field is required" if required else None
        least, most = field.get("min_length") or 0, field.get("max_length") or 4000
        if not least <= len(value) <= most:
            return f"Must be between {least} and {most} characters"
        return None
    if field["type"] in (CHECKBOX, RADIO_GROUP):
        return None
    values = node.get("values") or []
    least = field.get("min_values", 1) if required else 0
    if len(values) > field.get("max_values", 10 if field["type"] in CHOOSERS else 1):
        return "Too many are chosen"
    if len(values) < least:
        return "This field is required"
    options = {entry["value"] for entry in field.get("options", ())}
    if field["type"] in (3, *CHOOSERS) and not set(values) <= options:
        return "That is not among the choices"
    return None
