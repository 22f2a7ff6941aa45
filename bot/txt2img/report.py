"""Write the report of a run, for the job script that started the program.

One ``key=value`` per line, so that a shell can read it: ``engine``, ``steps``, ``negative`` (1 or
0), and where there is one ``model``, ``guidance``, ``sampler`` and ``sha256`` (of the model).
"""

from __future__ import annotations

from pathlib import Path

from bot.txt2img.engines.base import RunReport


def write_report(report: RunReport, path: str) -> None:
    """Write the report to ``path`` atomically; an empty path writes nothing."""
    if not path:
        return
    lines = [f"engine={report.engine}"]
    if report.model:
        lines.append("model=" + " ".join(report.model.split()))
    lines.append(f"steps={report.steps}")
    if report.guidance is not None:
        lines.append(f"guidance={report.guidance:g}")
    if report.sampler:
        lines.append("sampler=" + " ".join(report.sampler.split()))
    if report.sha256:
        lines.append(f"sha256={report.sha256}")
    lines.append(f"negative={int(report.negative)}")
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(target)
