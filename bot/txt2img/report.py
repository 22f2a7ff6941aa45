"""The report of a run: what really painted, for whoever started the program.

One ``key=value`` a line: ``engine``, ``model`` (left out where there is none), ``steps``,
``guidance`` (left out likewise) and ``negative`` (1 or 0). Lines, because a shell reads them.
"""

from __future__ import annotations

from pathlib import Path

from bot.txt2img.engines.base import Report


def write_report(report: Report, path: str) -> None:
    """Write the report to ``path``, whole or not at all; nothing for an empty path."""
    if not path:
        return
    lines = [f"engine={report.engine}"]
    if report.model:
        lines.append("model=" + " ".join(report.model.split()))
    lines.append(f"steps={report.steps}")
    if report.guidance is not None:
        lines.append(f"guidance={report.guidance:g}")
    lines.append(f"negative={int(report.negative)}")
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(target)
