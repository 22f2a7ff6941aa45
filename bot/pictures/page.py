"""The page of one result, as HTML. Everything that a member wrote is escaped. Pure.

Addresses are relative, so the page works below any path of a reverse proxy. Its style and its only
script are files of their own: the Content-Security-Policy allows none in the page.
"""

from __future__ import annotations

from html import escape
from typing import Final

from bot.domain.grid import alt_text, caption, file_name, grid_geometry
from bot.domain.image_check import ImageOutcome
from bot.domain.job import Job
from bot.domain.permutations import to_typed_prompt
from bot.domain.text import truncate_utf16

STYLE: Final = """\
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --main: #4a5cd0; }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 70rem; padding: 1rem; }
h1 { font-size: 1.15rem; font-weight: 600; overflow-wrap: anywhere; margin: .5rem 0 1rem; }
h2 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
img { display: block; max-width: 100%; height: auto; background: var(--soft); }
.grid img { margin: 0 auto; max-height: 90vh; width: auto; }
ol { list-style: none; padding: 0; display: grid; gap: 1rem; }
figure { margin: 0; }
figcaption { font-size: .9rem; padding-top: .25rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { opacity: .75; }
dd { margin: 0; overflow-wrap: anywhere; }
textarea { width: 100%; font: .95rem/1.4 ui-monospace, monospace; padding: .6rem; resize: vertical;
  border: 1px solid var(--line); border-radius: .4rem; background: var(--soft); color: inherit; }
button { font: inherit; min-height: 2.75rem; padding: .4rem 1rem; border: 0; border-radius: .4rem;
  background: var(--main); color: #fff; cursor: pointer; }
summary { cursor: pointer; padding: .75rem 0; }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px; }
footer { margin-top: 2rem; font-size: .85rem; opacity: .75; }
@media (max-width: 30rem) {
  dl { grid-template-columns: 1fr; gap: 0; } dt { margin-top: .4rem; } button { width: 100%; }
}
"""

SCRIPT: Final = """\
"use strict";
const button = document.getElementById("copy");
const command = document.getElementById("command");
const status = document.getElementById("copied");
button.hidden = false;
button.addEventListener("click", async () => {
  command.select();
  try {
    await navigator.clipboard.writeText(command.value);
    status.textContent = "Copied. Paste it in the channel.";
  } catch {
    status.textContent = "Selected. Copy it with the keyboard or the menu.";
  }
});
"""

ICON: Final = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="#4a5cd0">
<path d="M1 1h6v6H1zM9 1h6v6H9zM1 9h6v6H1zM9 9h6v6H9z"/></svg>
"""

_HEAD: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow">
<title>{title}</title>
{assets}
</head>
<body>
"""
_ASSETS: Final = """\
<link rel="stylesheet" href="../../style.css">
<link rel="icon" type="image/svg+xml" href="../../icon.svg">"""
# At addresses of any depth no file can be named.
_NO_ASSETS: Final = '<meta name="color-scheme" content="light dark">'
_MAX_TITLE: Final = 80
_COVERED: Final = frozenset({ImageOutcome.SPOILER, ImageOutcome.RESTRICTED})
"""Marked by the image check: who opens the page decides whether to see them."""
_COVER: Final = "<details>\n<summary>Spoiler: show the pictures</summary>\n"


def result_page(job: Job) -> str:
    """Return the page of a result: grid, rows, settings, and the request as a command."""
    request = job.request
    prompt = request.prompt
    parts = [
        _HEAD.format(
            title=escape(f"{truncate_utf16(prompt, _MAX_TITLE)} · Gridbrush"), assets=_ASSETS
        ),
        f"<main>\n<h1>{escape(prompt)}</h1>\n",
        _COVER if job.image_check in _COVERED else "<div>\n",
        f'<div class="grid"><a href="{file_name("grid")}">{_image(job, 0)}</a></div>\n',
        "<h2>Full-size rows</h2>\n<ol>\n",
        *(_row(job, number) for number in job.fetched_rows),
        "</ol>\n",
        "</details>\n" if job.image_check in _COVERED else "</div>\n",
        "<h2>Settings</h2>\n<dl>\n",
        *(f"<dt>{name}</dt><dd>{escape(value)}</dd>\n" for name, value in _settings(job) if value),
        "</dl>\n",
        '<h2><label for="command">Make it again</label></h2>\n',
        '<textarea id="command" rows="4" readonly spellcheck="false">',
        f"{escape(f'/imagine prompt:{to_typed_prompt(request)}')}</textarea>\n",
        '<p><button id="copy" type="button" hidden>Copy as /imagine</button> ',
        '<span id="copied" role="status"></span></p>\n</main>\n',
        f"<footer>{escape(caption(job))} · {job.id}</footer>\n",
        '<script src="../../copy.js"></script>\n</body>\n</html>\n',
    ]
    return "".join(parts)


def notice_page(title: str, text: str) -> str:
    """Return a page that says why there is nothing to show."""
    head = _HEAD.format(title=escape(title), assets=_NO_ASSETS)
    return f"{head}<main><h1>{escape(title)}</h1><p>{escape(text)}</p></main>\n</body>\n</html>\n"


def _row(job: Job, number: int) -> str:
    name = file_name("row", number)
    seed = job.request.row_seed(number)
    return (
        f'<li><figure><a href="{name}">{_image(job, number)}</a>'
        f'<figcaption>Row {number} · seed {seed} · <a href="{name}" download>Download</a>'
        "</figcaption></figure></li>\n"
    )


def _image(job: Job, row: int) -> str:
    """Return the image of a row, or of the grid for 0."""
    name = file_name("row", row) if row else file_name("grid")
    alt = alt_text(job.request, row) if row else alt_text(job.request)
    size = ""
    if job.request.origin is None:  # an upscaled image has a size of its own
        geometry = grid_geometry(job.request)
        width, height = geometry.strip_size
        height *= 1 if row else len(job.fetched_rows)
        size = f' width="{width}" height="{height}"'
    lazy = ' loading="lazy"' if row else ""
    return f'<img src="{name}" alt="{escape(alt)}"{size}{lazy}>'


def _settings(job: Job) -> tuple[tuple[str, str], ...]:
    request = job.request
    return (
        ("Negative prompt", request.negative),
        ("Style", request.style),
        ("Model", job.made_with),
        ("Size", f"{request.width} × {request.height} px"),
        ("Steps", str(job.steps_run or request.steps)),
        ("Seed", str(request.seed)),
        ("Made", f"{job.created_at:%Y-%m-%d %H:%M} UTC"),
    )
