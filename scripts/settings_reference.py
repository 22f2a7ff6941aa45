"""Write docs/settings.md: every setting with type, default, bounds, variable and explanation.

Types, defaults and bounds come from the settings models, explanations from the comments of
config.example.toml, which a test keeps in step with the models. Run by ``make docs``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bot.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Settings

Generated from the settings models. A setting comes from `config.toml` or from its environment
variable, which wins. Lists in variables are JSON. `gridbrush check` shows what is in force and why.
"""


def explanations(example: str) -> dict[tuple[str, str], str]:
    """Return the comment above each key of config.example.toml, by section and key.

    Keys that follow one another share the comment above the first.
    """
    found: dict[tuple[str, str], str] = {}
    section = ""
    text: list[str] = []
    fresh = False
    for line in example.splitlines():
        if header := re.fullmatch(r"#?\[([a-z_.]+)\]", line):
            section, text, fresh = header[1], [], False
        elif key := re.match(r"#?([a-z_]+) = ", line):
            found[section, key[1]] = " ".join(text)
            fresh = False
        elif line.startswith("# "):
            text = [*text, line[2:].strip()] if fresh else [line[2:].strip()]
            fresh = True
        elif not line:
            fresh = False
    return found


def settings(schema: dict[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[str, str, Any]]:
    """Yield section, key and JSON schema of every setting below ``schema``."""
    definitions = schema.get("$defs", {})
    for name, field in schema["properties"].items():
        below = definitions.get(field.get("$ref", "").rpartition("/")[2])
        if below and "properties" in below:
            yield from settings({**below, "$defs": definitions}, (*at, name))
        else:
            yield ".".join(at), name, field


def row(section: str, key: str, field: dict[str, Any], explanation: str) -> str:
    """Return the setting's row of the table."""
    kinds = [one for one in (field.get("type"), field.get("format")) if one]
    kinds += [one.get("type", "") for one in field.get("anyOf", ()) if one.get("type") != "null"]
    bounds = [
        f"{sign} {field[name]}"
        for name, sign in (("minimum", "≥"), ("maximum", "≤"), ("multipleOf", "multiple of"))
        if name in field
    ]
    if "enum" in field:
        bounds.append("one of " + ", ".join(f"`{one}`" for one in field["enum"]))
    variable = "GRIDBRUSH_" + "__".join([*section.split("."), key]).upper()
    default = field.get("default", "")
    shown = "" if default in ("", [], {}, "**********") else f"`{default}`"
    text = explanation.replace("|", "\\|")
    kind = ", ".join([*kinds[:1], *bounds])
    return f"| `{key}` | {kind} | {shown} | {text}<br>`{variable}` |"


def main() -> None:
    """Write the page."""
    explained = explanations((ROOT / "config.example.toml").read_text("utf-8"))
    lines, section = [HEAD], None
    for at, key, field in settings(Settings.model_json_schema()):
        if at != section:
            lines += [f"\n## [{at}]\n", "| key | type | default | |", "|---|---|---|---|"]
            section = at
        lines.append(row(at, key, field, explained.get((at, key), "")))
    (ROOT / "docs" / "settings.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
