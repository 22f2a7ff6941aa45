"""Validate message components (action rows, and Components V2 with its flag) and number them."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

from bot.playground.state.models import iter_components
from bot.playground.validation.errors import ErrorCollector, Json

ACTION_ROW, BUTTON, STRING_SELECT = 1, 2, 3
SELECTS = (3, 5, 6, 7, 8)
SECTION, TEXT_DISPLAY, THUMBNAIL, MEDIA_GALLERY, FILE, SEPARATOR, CONTAINER = (
    9,
    10,
    11,
    12,
    13,
    14,
    17,
)
TOP_V2 = (ACTION_ROW, SECTION, TEXT_DISPLAY, MEDIA_GALLERY, FILE, SEPARATOR, CONTAINER)
IN_CONTAINER = (ACTION_ROW, SECTION, TEXT_DISPLAY, MEDIA_GALLERY, FILE, SEPARATOR)

MAX_V2_COMPONENTS = 40
MAX_V2_TEXT_CHARS = 4000


class ComponentValidator:
    """Validate the components of one message; create one validator per message."""

    def __init__(self, filenames: Collection[str]) -> None:
        self._filenames = filenames
        self._custom_ids: set[str] = set()

    def message(self, form: ErrorCollector, components: object, *, v2: bool) -> None:
        """Add an error for everything that Discord rejects in a message's ``components``."""
        nodes = form.check_list(components, max_items=MAX_V2_COMPONENTS if v2 else 5)
        self._children(form, nodes, TOP_V2 if v2 else (ACTION_ROW,))
        if not v2 or not form.is_valid:
            return
        flat = iter_components(nodes)
        if len(flat) > MAX_V2_COMPONENTS:
            form.add_error(
                "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED",
                f"The total number of components must be {MAX_V2_COMPONENTS} or fewer.",
            )
        if sum(len(node["content"]) for node in flat if node["type"] == TEXT_DISPLAY) > (
            MAX_V2_TEXT_CHARS
        ):
            form.add_error(
                "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED",
                f"The displayable text must be {MAX_V2_TEXT_CHARS} or fewer in length.",
            )

    def _children(self, form: ErrorCollector, nodes: list[Any], allowed: tuple[int, ...]) -> None:
        for index, value in enumerate(nodes):
            place = form.at(index)
            node = place.check_object(value)
            kind = node.get("type")
            if kind not in allowed:
                place.at("type").add_error(
                    "UNION_TYPE_CHOICES", f"Value of field type must be one of {allowed}."
                )
                continue
            self._node(place, node)

    def _node(self, form: ErrorCollector, node: Json) -> None:
        match node["type"]:
            case 1:
                self._row(form, node)
            case 9:
                self._section(form, node)
            case 10:
                form.at("content").check_string(
                    node.get("content"), max_chars=MAX_V2_TEXT_CHARS, min_chars=1
                )
            case 12:
                self._gallery(form, node)
            case 13:
                self._media(form.at("file"), node.get("file"), attachment_only=True)
            case 17:
                children = form.at("components").check_list(
                    node.get("components"), max_items=MAX_V2_COMPONENTS, min_items=1
                )
                if node.get("accent_color") is not None:
                    form.at("accent_color").check_integer(
                        node["accent_color"], minimum=0, maximum=0xFFFFFF
                    )
                self._children(form.at("components"), children, IN_CONTAINER)
            case 14:
                if node.get("spacing") not in (None, 1, 2):
                    form.at("spacing").add_error("BASE_TYPE_CHOICES", "Must be 1 or 2.")

    def _row(self, form: ErrorCollector, row: Json) -> None:
        place = form.at("components")
        children = place.check_list(row.get("components"), max_items=5, min_items=1)
        kinds = [child.get("type") for child in children if isinstance(child, dict)]
        if any(kind in SELECTS for kind in kinds) and len(kinds) > 1:
            place.add_error(
                "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "The specified component exceeds maximum width"
            )
        for index, value in enumerate(children):
            child = place.at(index).check_object(value)
            if child.get("type") == BUTTON:
                self._button(place.at(index), child)
            elif child.get("type") in SELECTS:
                self._select(place.at(index), child)
            else:
                place.at(index, "type").add_error(
                    "UNION_TYPE_CHOICES", f"Value of field type must be one of {(2, *SELECTS)}."
                )

    def _custom_id(self, form: ErrorCollector, value: object) -> None:
        if not form.check_string(value, max_chars=100, min_chars=1):
            return
        if value in self._custom_ids:
            form.add_error(
                "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated"
            )
        self._custom_ids.add(str(value))

    def _button(self, form: ErrorCollector, button: Json) -> None:
        style = button.get("style")
        if style not in (1, 2, 3, 4, 5):
            form.at("style").add_error("BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3, 4, 5).")
        if button.get("label") is not None:
            form.at("label").check_string(button["label"], max_chars=80)
        if not button.get("label") and not button.get("emoji"):
            form.add_error("BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", "A label or emoji is needed")
        if style == 5:
            if button.get("custom_id") is not None:
                form.at("custom_id").add_error(
                    "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE",
                    "A custom id and url cannot both be specified",
                )
            validate_url(form.at("url"), button.get("url"), max_chars=512)
            return
        if button.get("url") is not None:
            form.at("url").add_error("BUTTON_COMPONENT_INVALID_URL", "Only links have a url")
        self._custom_id(form.at("custom_id"), button.get("custom_id"))

    def _select(self, form: ErrorCollector, select: Json) -> None:
        self._custom_id(form.at("custom_id"), select.get("custom_id"))
        validate_select(form, select)

    def _section(self, form: ErrorCollector, section: Json) -> None:
        place = form.at("components")
        texts = place.check_list(section.get("components"), max_items=3, min_items=1)
        self._children(place, texts, (TEXT_DISPLAY,))
        accessory = form.at("accessory").check_object(section.get("accessory"))
        if accessory.get("type") == BUTTON:
            self._button(form.at("accessory"), accessory)
        elif accessory.get("type") == THUMBNAIL:
            self._media(form.at("accessory", "media"), accessory.get("media"))
            validate_alt_text(form.at("accessory", "description"), accessory.get("description"))
        else:
            form.at("accessory", "type").add_error(
                "UNION_TYPE_CHOICES", "Value of field type must be one of (2, 11)."
            )

    def _gallery(self, form: ErrorCollector, gallery: Json) -> None:
        place = form.at("items")
        for index, value in enumerate(
            place.check_list(gallery.get("items"), max_items=10, min_items=1)
        ):
            item = place.at(index).check_object(value)
            self._media(place.at(index, "media"), item.get("media"))
            validate_alt_text(place.at(index, "description"), item.get("description"))

    def _media(self, form: ErrorCollector, value: object, *, attachment_only: bool = False) -> None:
        url = form.check_object(value).get("url")
        if isinstance(url, str) and url.startswith("attachment://"):
            if url.removeprefix("attachment://") not in self._filenames:
                form.at("url").add_error(
                    "ATTACHMENT_NOT_FOUND", f"The referenced attachment was not found: {url}"
                )
        elif attachment_only:
            form.at("url").add_error("FILE_COMPONENT_URL", "Only attachment:// urls are supported")
        else:
            validate_url(form.at("url"), url, max_chars=2048)


def validate_select(form: ErrorCollector, select: Json) -> None:
    """Validate a select menu of a message or modal, except its custom id."""
    if select.get("placeholder") is not None:
        form.at("placeholder").check_string(select["placeholder"], max_chars=150)
    min_values, max_values = select.get("min_values", 1), select.get("max_values", 1)
    if (
        form.at("min_values").check_integer(min_values, minimum=0, maximum=25)
        and form.at("max_values").check_integer(max_values, minimum=1, maximum=25)
        and min_values > max_values
    ):
        form.at("min_values").add_error("BASE_TYPE_BAD_LENGTH", "min_values above max_values")
    if select["type"] != STRING_SELECT:
        return
    place = form.at("options")
    values: list[object] = []
    for index, entry in enumerate(
        place.check_list(select.get("options"), max_items=25, min_items=1)
    ):
        option = place.at(index).check_object(entry)
        place.at(index, "label").check_string(option.get("label"), max_chars=100, min_chars=1)
        place.at(index, "value").check_string(option.get("value"), max_chars=100, min_chars=1)
        if option.get("description") is not None:
            place.at(index, "description").check_string(option["description"], max_chars=100)
        if option.get("value") in values:
            place.at(index, "value").add_error(
                "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED",
                "The specified option value is already used",
            )
        values.append(option.get("value"))


def validate_alt_text(form: ErrorCollector, value: object) -> None:
    """Add an error for an alternative text of more than 1024 characters."""
    if value is not None:
        form.check_string(value, max_chars=1024)


def validate_url(form: ErrorCollector, value: object, *, max_chars: int) -> None:
    """Add an error unless ``value`` is an http or https URL."""
    if form.check_string(value, max_chars=max_chars, min_chars=1) and not str(value).startswith(
        ("http://", "https://")
    ):
        form.add_error("URL_TYPE_INVALID_SCHEME", "Scheme must be one of ('http', 'https').")


def number_components(components: list[Json]) -> list[Json]:
    """Return a copy as Discord stores it: every component has an id and its default values."""
    kept = copy.deepcopy(components)
    nodes = iter_components(kept)
    taken = {node["id"] for node in nodes if node.get("id")}
    fresh = (number for number in range(1, 10_000) if number not in taken)
    for node in nodes:
        if not node.get("id"):
            node["id"] = next(fresh)
        for key in [key for key, value in node.items() if value is None]:
            del node[key]
        if node["type"] == CONTAINER:
            node.setdefault("accent_color", None)
        if node["type"] in (CONTAINER, FILE, THUMBNAIL):
            node.setdefault("spoiler", False)
        if node["type"] == THUMBNAIL:
            node.setdefault("description", None)
        if node["type"] == SEPARATOR:
            node.setdefault("spacing", 1)
            node.setdefault("divider", True)
        if node["type"] in SELECTS:
            node.setdefault("min_values", 1)
            node.setdefault("max_values", 1)
        for item in node["items"] if node["type"] == MEDIA_GALLERY else ():
            item.setdefault("description", None)
            item.setdefault("spoiler", False)
    return kept
