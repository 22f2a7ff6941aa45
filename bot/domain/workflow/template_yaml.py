"""Parser of template files: strict YAML with line numbers and ``!param NAME`` placeholders.

Stricter than YAML: no tag but ``!param``, no duplicate keys, no merge keys, and a limit on the
size of the document after aliases are expanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from bot.domain.errors import WorkflowError
from bot.domain.workflow.schema import Path, format_path

_MAX_DEPTH = 64
_MAX_NODES = 10_000
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Position of a ``!param NAME``."""

    name: str


@dataclass(frozen=True, slots=True)
class ParsedTemplate:
    """Content of a template file; ``lines`` maps each path to its first line, from 1."""

    name: str
    content: object
    lines: Mapping[str, int] = field(repr=False)

    def locate_error(self, error: WorkflowError) -> WorkflowError:
        """Return the error with this file and the nearest line before its path."""
        known = error.location
        while known and known not in self.lines:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        line = self.lines.get(known, 1)
        return _error_at(self.name, line, error.problem, error.hint, error.location)


def parse_template(text: str, name: str) -> ParsedTemplate:
    """Parse the template ``name``. Raises WorkflowError with the line of the problem."""
    try:
        node = _Composer(text).root()
    except yaml.MarkedYAMLError as error:
        problem = error.problem or "is not YAML"
        if error.context and error.context_mark:
            begins = error.context_mark.line + 1
            problem = f"{problem}, {error.context} that begins on line {begins}"
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _error_at(name, line, problem, "Fix the YAML there.") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"contains a character that YAML does not allow (U+{error.character:04X})"
        raise _error_at(name, line, problem, "Remove it.") from None
    builder = _Builder(name)
    content = builder.build(node, ()) if node else None
    return ParsedTemplate(name, content, builder.lines)


def _error_at(name: str, line: int, problem: str, hint: str, where: str = "") -> WorkflowError:
    place = f"{name}, line {line}"
    return WorkflowError(f"{place}, {where}" if where else place, problem, hint)


class _Composer(yaml.SafeLoader):
    """YAML composer with a limit on the depth."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def root(self) -> yaml.Node | None:
        """Return the document's root node; None if it is empty."""
        try:
            return self.get_single_node()
        except (ValueError, OverflowError):
            # PyYAML's scanner does not handle "\UFFFFFFFF" or a version of 5,000 digits.
            problem = "an escape or a number is out of range"
            raise yaml.MarkedYAMLError(None, None, problem, self.get_mark()) from None

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self._depth == _MAX_DEPTH:
            raise yaml.MarkedYAMLError(None, None, "nested too deeply", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Conversion of nodes to plain values, with their lines."""

    def __init__(self, name: str) -> None:
        self.lines: dict[str, int] = {}
        self._name = name
        self._node_count = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, where: Path) -> object:
        self._node_count += 1
        # Aliases repeat nodes, or even contain themselves: a few lines could expand to a billion.
        if self._node_count > _MAX_NODES or len(where) > _MAX_DEPTH:
            raise self._error(node, "its aliases make the document too large", "Use fewer aliases.")
        self.lines.setdefault(format_path(where), node.start_mark.line + 1)
        if node.tag == "!param":
            return self._build_placeholder(node)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._build_mapping(node, where)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return tuple(self.build(item, (*where, at)) for at, item in enumerate(node.value))
        if isinstance(node, yaml.ScalarNode):
            return self._build_scalar(node)
        raise self._unknown_tag_error(node)

    def _build_mapping(self, node: yaml.MappingNode, where: Path) -> dict[str, object]:
        content: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if key_node.tag != f"{_TAG}str":
                raise self._error(key_node, "a key must be text", "Put it in quotes.")
            if key in content:
                raise self._error(key_node, f"the key {key} is given twice", "Remove one.")
            self.lines[format_path((*where, key))] = key_node.start_mark.line + 1
            content[key] = self.build(value_node, (*where, key))
        return content

    def _build_placeholder(self, node: yaml.Node) -> Placeholder:
        if isinstance(node, yaml.ScalarNode) and node.value:
            return Placeholder(node.value)
        raise self._error(node, "!param has no name", "Write !param and the parameter's name.")

    def _build_scalar(self, node: yaml.ScalarNode) -> object:
        kind = node.tag.removeprefix(_TAG)
        try:
            match kind:
                # YAML 1.1 gives dates and = types of their own; here they are text.
                case "str" | "timestamp" | "value":
                    return node.value
                case "int":
                    return self._scalars.construct_yaml_int(node)
                case "float":
                    return self._scalars.construct_yaml_float(node)
                case "bool":
                    return self._scalars.construct_yaml_bool(node)
                case "null":
                    return None
        except (ValueError, LookupError):
            raise self._error(node, f"cannot be read as {kind}", "Fix it.") from None
        raise self._unknown_tag_error(node)

    def _unknown_tag_error(self, node: yaml.Node) -> WorkflowError:
        tag = node.tag.replace(_TAG, "!!")
        return self._error(node, f"the tag {tag} is unknown", "Only !param NAME is allowed.")

    def _error(self, node: yaml.Node, problem: str, hint: str) -> WorkflowError:
        return _error_at(self._name, node.start_mark.line + 1, problem, hint)
