"""How the stand-in ComfyUI validates a graph: the errors, their types and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MAX_LISTED = 20

Errors = dict[str, Any]


def is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2


def validate(
    graph: Mapping[str, Any], info: Mapping[str, Any]
) -> tuple[Errors | None, list[str], Errors]:
    """The error that refuses the graph, the outputs that would run, and the errors of nodes."""
    for id, node in graph.items():
        node_class = node.get("class_type")
        if node_class not in info:
            message = f"Cannot execute because node {node_class} does not exist."
            return _error("invalid_prompt", message, f"Node ID '#{id}'"), [], {}
    outputs = [id for id, node in graph.items() if info[node["class_type"]]["output_node"]]
    if not outputs:
        return _error("prompt_no_outputs", "Prompt has no outputs"), [], {}
    node_errors: Errors = {}
    good = []
    for output in outputs:
        bad = {
            id: found
            for id in sorted(_upstream(graph, output))
            if (found := _node_errors(graph[id], info[graph[id]["class_type"]]))
        }
        for id, found in bad.items():
            known = node_errors.setdefault(
                id,
                {
                    "errors": found,
                    "dependent_outputs": [],
                    "class_type": graph[id]["class_type"],
                },
            )
            known["dependent_outputs"].append(output)
        if not bad:
            good.append(output)
    if not good:
        kind = "prompt_outputs_failed_validation"
        return _error(kind, "Prompt outputs failed validation"), [], node_errors
    return None, good, node_errors


def _upstream(graph: Mapping[str, Any], id: str) -> set[str]:
    found = {id}
    for value in graph[id]["inputs"].values():
        if is_link(value):
            found |= _upstream(graph, value[0])
    return found


def _error(kind: str, message: str, details: str = "", **extra: Any) -> Errors:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _node_errors(node: Mapping[str, Any], info: Mapping[str, Any]) -> list[Errors]:
    errors = []
    for name, spec in info["input"]["required"].items():
        if name not in node["inputs"]:
            errors.append(
                _error(
                    "required_input_missing",
                    "Required input is missing",
                    name,
                    input_name=name,
                )
            )
        elif not is_link(value := node["inputs"][name]):
            errors += _value_errors(node["class_type"], name, value, spec)
    return errors


def _value_errors(node_class: str, name: str, value: Any, spec: Any) -> list[Errors]:
    kind = spec[0]
    options = spec[1] if len(spec) > 1 else {}
    extra = {"input_name": name, "input_config": list(spec), "received_value": value}
    values = options.get("options") if kind == "COMBO" else kind
    if isinstance(values, list):
        if node_class == "LoadImage":
            if value in values:
                return []
            # This node checks its file itself.
            details = f"{name} - Invalid image file: {value}"
            message = "Custom validation failed for node"
            return [_error("custom_validation_failed", message, details, **extra)]
        if value in values:
            return []
        listed = str(values)
        if len(values) > _MAX_LISTED:
            listed, extra["input_config"] = f"(list of length {len(values)})", None
        details = f"{name}: '{value}' not in {listed}"
        return [_error("value_not_in_list", "Value not in list", details, **extra)]
    if kind in ("INT", "FLOAT"):
        try:
            value = int(value) if kind == "INT" else float(value)
        except (TypeError, ValueError) as error:
            message = f"Failed to convert an input value to a {kind} value"
            details = f"{name}, {value}, {error}"
            return [_error("invalid_input_type", message, details, **extra)]
        if "min" in options and value < options["min"]:
            message = f"Value {value} smaller than min of {options['min']}"
            return [_error("value_smaller_than_min", message, name, **extra)]
        if "max" in options and value > options["max"]:
            message = f"Value {value} bigger than max of {options['max']}"
            return [_error("value_bigger_than_max", message, name, **extra)]
    elif kind != "STRING":
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        return [_error("bad_linked_input", message, name, **extra)]
    return []
