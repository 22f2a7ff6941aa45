"""Validate modals: those that a bot opens, and the values that a member submits."""

from __future__ import annotations

from bot.playground.state.models import iter_components
from bot.playground.validation.components import (
    ACTION_ROW,
    SELECTS,
    TEXT_DISPLAY,
    number_components,
    validate_select,
)
from bot.playground.validation.errors import ErrorCollector, Json

TEXT_INPUT, LABEL, FILE_UPLOAD = 4, 18, 19
RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 21, 22, 23
OPTION_GROUPS = (RADIO_GROUP, CHECKBOX_GROUP)
FIELDS = (TEXT_INPUT, *SELECTS, FILE_UPLOAD, RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX)
MAX_TOP_COMPONENTS = 5


def validate_modal(form: ErrorCollector, value: object) -> Json:
    """Validate a modal and return it with numbered components."""
    modal = form.check_object(value)
    form.at("custom_id").check_string(modal.get("custom_id"), max_chars=100, min_chars=1)
    form.at("title").check_string(modal.get("title"), max_chars=45, min_chars=1)
    place = form.at("components")
    seen: set[str] = set()
    for index, raw in enumerate(
        place.check_list(modal.get("components"), max_items=MAX_TOP_COMPONENTS, min_items=1)
    ):
        top = place.at(index).check_object(raw)
        match top.get("type"):
            case 1:
                inner = place.at(index, "components")
                children = inner.check_list(top.get("components"), max_items=1, min_items=1)
                for child in children[:1]:
                    node = inner.at(0).check_object(child)
                    inner.at(0, "label").check_string(node.get("label"), max_chars=45, min_chars=1)
                    _validate_field(inner.at(0), node, (TEXT_INPUT,), seen)
            case 18:
                place.at(index, "label").check_string(top.get("label"), max_chars=45, min_chars=1)
                if top.get("description") is not None:
                    place.at(index, "description").check_string(top["description"], max_chars=100)
                spot = place.at(index, "component")
                _validate_field(spot, spot.check_object(top.get("component")), FIELDS, seen)
            case 10:
                place.at(index, "content").check_string(
                    top.get("content"), max_chars=4000, min_chars=1
                )
            case _:
                place.at(index, "type").add_error(
                    "UNION_TYPE_CHOICES",
                    f"Value of field type must be one of {(ACTION_ROW, TEXT_DISPLAY, LABEL)}.",
                )
    if not form.is_valid:
        return modal
    return {**modal, "components": number_components(modal["components"])}


def _validate_field(
    form: ErrorCollector, field: Json, allowed: tuple[int, ...], seen: set[str]
) -> None:
    kind = field.get("type")
    if kind not in allowed:
        form.at("type").add_error(
            "UNION_TYPE_CHOICES", f"Value of field type must be one of {allowed}."
        )
        return
    if form.at("custom_id").check_string(field.get("custom_id"), max_chars=100, min_chars=1):
        if field["custom_id"] in seen:
            form.at("custom_id").add_error(
                "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated"
            )
        seen.add(field["custom_id"])
    if kind in SELECTS:
        validate_select(form, field)
    elif kind in OPTION_GROUPS:
        minimum = 2 if kind == RADIO_GROUP else 1
        form.at("options").check_list(field.get("options"), max_items=10, min_items=minimum)
    elif kind == TEXT_INPUT:
        if field.get("style") not in (1, 2):
            form.at("style").add_error("BASE_TYPE_CHOICES", "Value must be one of (1, 2).")
        for key, minimum in (("min_length", 0), ("max_length", 1)):
            if field.get(key) is not None:
                form.at(key).check_integer(field[key], minimum=minimum, maximum=4000)
        if field.get("placeholder") is not None:
            form.at("placeholder").check_string(field["placeholder"], max_chars=100)
        if field.get("value") is not None:
            form.at("value").check_string(field["value"], max_chars=4000)


def modal_fields(modal: Json) -> list[Json]:
    """Return the input fields of a modal in reading order."""
    return [node for node in iter_components(modal["components"]) if node["type"] in FIELDS]


def submitted_components(modal: Json, values: Json) -> list[Json]:
    """Return the ``components`` of a submission of ``modal``, with ``values`` by custom id.

    A text input takes a string, a checkbox a bool, a radio group one string, all others a list.
    Raises KeyError for an unknown id.
    """
    unknown = set(values) - {field["custom_id"] for field in modal_fields(modal)}
    if unknown:
        raise KeyError(f"the modal has no field {sorted(unknown)}")
    return [_fill_in(top, values) for top in modal["components"]]


def _fill_in(node: Json, values: Json) -> Json:
    kept = {"type": node["type"], "id": node["id"]}
    if node["type"] == ACTION_ROW:
        return {**kept, "components": [_fill_in(child, values) for child in node["components"]]}
    if node["type"] == LABEL:
        return {**kept, "component": _fill_in(node["component"], values)}
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
    """Return the client's error message for a submission, or None if it is valid."""
    submitted_fields = {
        node["custom_id"]: node for node in iter_components(components) if "custom_id" in node
    }
    for field in modal_fields(modal):
        name = field["custom_id"]
        node = submitted_fields.pop(name, None)
        if node is None:
            return f"{name}: This field is missing"
        problem = _field_problem(field, node)
        if problem:
            return f"{field.get('label') or name}: {problem}"
    return f"The modal has no field {sorted(submitted_fields)}" if submitted_fields else None


def _field_problem(field: Json, node: Json) -> str | None:
    required = field.get("required", True)
    if field["type"] == TEXT_INPUT:
        value = node.get("value")
        if not isinstance(value, str):
            return "Text is needed here"
        if not value:
            return "This field is required" if required else None
        minimum, maximum = field.get("min_length") or 0, field.get("max_length") or 4000
        if not minimum <= len(value) <= maximum:
            return f"Must be between {minimum} and {maximum} characters"
        return None
    if field["type"] in (CHECKBOX, RADIO_GROUP):
        return None
    values = node.get("values") or []
    minimum = field.get("min_values", 1) if required else 0
    if len(values) > field.get("max_values", 10 if field["type"] in OPTION_GROUPS else 1):
        return "Too many are chosen"
    if len(values) < minimum:
        return "This field is required"
    options = {entry["value"] for entry in field.get("options", ())}
    if field["type"] in (3, *OPTION_GROUPS) and not set(values) <= options:
        return "That is not among the choices"
    return None
