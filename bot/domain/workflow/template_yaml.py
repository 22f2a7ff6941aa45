"""The text of a template file: strict YAML with line numbers and ``!param NAME`` placeholders.

Stricter than YAML: no tag but ``!param``, no key twice, no merge keys, and aliases only as far as
the written-out document stays small. This module does not know what the keys mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from bot.domain.errors import WorkflowError
from bot.domain.workflow.schema import Path, path

_DEEPEST = 64
_MOST_PARTS = 10_000
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where ``!param NAME`` stood."""

    name: str


@dataclass(frozen=True, slots=True)
class ParsedTemplate:
    """The content of a template file; ``lines`` holds each path's first line, counted from 1."""

    name: str
    content: object
    lines: Mapping[str, int] = field(repr=False)

    def locate_error(self, error: WorkflowError) -> WorkflowError:
        """The same error, its path preceded by this file and the line nearest to that path."""
        known = error.location
        while known and known not in self.lines:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        line = self.lines.get(known, 1)
        return _at(self.name, line, error.problem, error.hint, error.location)


def parse_template(text: str, name: str) -> ParsedTemplate:
    """The content of the template ``name``. Raises WorkflowError with the line to blame."""
    try:
        node = _Composer(text).root()
    except yaml.MarkedYAMLError as error:
        problem = error.problem or "is not YAML"
        if error.context and error.context_mark:
            begins = error.context_mark.line + 1
            problem = f"{problem}, {error.context} that begins on line {begins}"
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _at(name, line, problem, "Mend the YAML there.") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"holds a character that YAML does not allow (U+{error.character:04X})"
        raise _at(name, line, problem, "Remove it.") from None
    builder = _Builder(name)
    content = builder.build(node, ()) if node else None
    return ParsedTemplate(name, content, builder.lines)


def _at(name: str, line: int, problem: str, hint: str, where: str = "") -> WorkflowError:
    place = f"{name}, line {line}"
    return WorkflowError(f"{place}, {where}" if where else place, problem, hint)


class _Composer(yaml.SafeLoader):
    """Makes YAML's nodes, to a bounded depth."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def root(self) -> yaml.Node | None:
        """The document's one node, or None if the document is empty."""
        try:
            return self.get_single_node()
        except (ValueError, OverflowError):
            # PyYAML's scanner does not expect "\UFFFFFFFF", nor a version of 5,000 digits.
            problem = "an escape or a number is out of range"
            raise yaml.MarkedYAMLError(None, None, problem, self.get_mark()) from None

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self._depth == _DEEPEST:
            raise yaml.MarkedYAMLError(None, None, "nested too deeply", mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Turns nodes into plain values, and notes where they stood."""

    def __init__(self, name: str) -> None:
        self.lines: dict[str, int] = {}
        self._name = name
        self._parts = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, where: Path) -> object:
        self._parts += 1
        # Aliases repeat nodes, or even hold themselves: a few lines could stand for a billion.
        if self._parts > _MOST_PARTS or len(where) > _DEEPEST:
            raise self._fault(node, "its aliases make the document too large", "Write them out.")
        self.lines.setdefault(path(where), node.start_mark.line + 1)
        if node.tag == "!param":
            return self._placeholder(node)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return tuple(self.build(item, (*where, at)) for at, item in enumerate(node.value))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise self._unknown_tag(node)

    def _mapping(self, node: yaml.MappingNode, where: Path) -> dict[str, object]:
        content: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if key_node.tag != f"{_TAG}str":
                raise self._fault(key_node, "a key must be text", "Put it in quotes.")
            if key in content:
                raise self._fault(key_node, f"the key {key} stands here twice", "Remove one.")
            self.lines[path((*where, key))] = key_node.start_mark.line + 1
            content[key] = self.build(value_node, (*where, key))
        return content

    def _placeholder(self, node: yaml.Node) -> Placeholder:
        if isinstance(node, yaml.ScalarNode) and node.value:
            return Placeholder(node.value)
        raise self._fault(node, "!param has no name", "Write !param and the parameter's name.")

    def _scalar(self, node: yaml.ScalarNode) -> object:
        kind = node.tag.removeprefix(_TAG)
        try:
            match kind:
                # YAML 1.1 reads dates into plain words, and = has a type of its own: text, here.
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
            raise self._fault(node, f"cannot be read as {kind}", "Mend it.") from None
        raise self._unknown_tag(node)

    def _unknown_tag(self, node: yaml.Node) -> WorkflowError:
        tag = node.tag.replace(_TAG, "!!")
        return self._fault(node, f"the tag {tag} is not known here", "Only !param NAME is.")

    def _fault(self, node: yaml.Node, problem: str, hint: str) -> WorkflowError:
        return _at(self._name, node.start_mark.line + 1, problem, hint)
