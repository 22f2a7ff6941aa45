"""Words that the code and its texts no longer use, and that each is found where it stands.

docs/glossary.md says which word to take. Stored names (JSON keys, columns, custom ids) are strings
without a space or SQL, which are not looked at. ``python -m tests.unit.test_vocabulary`` prints
what is left, exceptions included.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ("bot", "tests", "benchmarks", "scripts")
PROSE = ("README.md", "config.example.toml", "docs", "workflow_templates")

NAMES: Mapping[str, str] = {
    "agenda": "edit schedule",
    "card": "status message, embed",
    "cashier": "settlement",
    "courier": "delivery",
    "desk": "context, or what it is",
    "hush": "mute, or what it is",
    "kitchen": "rendering",
    "ladder": "delivery methods",
    "mend": "hint, fix",
    "oversight": "watchdog",
    "painter": "engine, image engine",
    "pens": "locks",
    "purse": "budget, wallet",
    "realm": "namespace, server",
    "rung": "delivery method",
    "verdict": "outcome",
    "whisper": "ephemeral",
    "wish": "request",
}
"""Word that may be no part of a name -> what to say instead."""

MISLEADING: Mapping[str, str] = {
    "carry": "run, deliver, hold",
    "promise": "reserve",
    "standing": "position, status",
}
"""Likewise, but names of tests are sentences, in which they may stand."""

PHRASES: Mapping[str, str] = {
    r"knows? nothing (?:of|about)": "leave it out, or state the constraint",
    r"machines? (?:is|are|was|were|being) away": "the backend is unavailable",
    r"c[ao]mes? back|coming back": "is refunded, returns, is available again",
    r"\bgiv(?:e|es|en|ing) back\b": "refund, release, return",
    r"(?<!end of )(?<!of )\bthe line (?:is|waits|moves|goes|keeps)\b": "the queue",
    r"\bin the line\b": "in the queue",
    r"\b(?:kitchen|purse|courier|cashier)s?\b": "see the glossary",
    r"\b(?:oversight|hush|realms?|whisper(?:s|ed)?)\b": "see the glossary",
    r"\b(?:rungs?|ladders?)\b": "delivery method",
    r"\bmend(?:s|ed|ing)?\b": "fix, repair, hint",
    r"\bwish(?:es)?\b": "request",
    r"\bthe house\b": "the code, the bot",
}
"""What may not stand in docstrings, in texts that people read, or in the documentation."""

TEXTS: Mapping[str, str] = {
    r"\bthe line\b(?! (?:of|in) the (?:log|file))": "the queue",
    r"\b(?:is|are|was|were|went) away\b": "unavailable",
    r"\bthe machines\b": "the backend",
}
"""What may not stand in texts that members, moderators and operators read, either."""

ALLOWED: Mapping[tuple[str, str], str] = {
    ("carry_out", ""): "to carry out a plan is plain English",
    ("_carry_out", "tests"): "likewise",
    ("carried_out", ""): "likewise",
    ("painter", "bot/painter"): "the old path of bot.txt2img stays for one release",
    ("painters", "bot/txt2img/engines/sketch"): "the functions that draw one composition each",
    ("PAINTER_ENGINE", "tests"): "the program's environment variables keep their names",
    ("PAINTER_MODEL", "tests"): "likewise",
    ("PAINTER_REPORT", "tests"): "likewise",
}
"""(name or phrase, path or folder, "" for anywhere) that may stay -> why."""

_ENDINGS = ("", "s", "es", "d", "ed", "ing")
_IRREGULAR = {"carry": ("carry", "carries", "carried", "carrying")}
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _forms(words: Mapping[str, str]) -> dict[str, str]:
    return {
        form: instead
        for word, instead in words.items()
        for form in _IRREGULAR.get(word, [word + ending for ending in _ENDINGS])
    }


_NAMES, _MISLEADING = _forms(NAMES), _forms(MISLEADING)


def _allowed(name: str, path: str) -> bool:
    return any(
        name == word and (place in ("", path) or path.startswith(f"{place}/"))
        for word, place in ALLOWED
    )


def names(path: str, text: str) -> Iterator[str]:
    """Yield old words in the identifiers of a Python file, as ``path:line: what``."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.NAME or _allowed(token.string, path):
            continue
        sentence = token.string.startswith("test_")
        for part in _PART.findall(token.string):
            word = part.lower()
            instead = _NAMES.get(word) or (None if sentence else _MISLEADING.get(word))
            if instead is not None:
                yield f"{path}:{token.start[0]}: {token.string}: say {instead}"


def file_names(path: str) -> Iterator[str]:
    """Yield old words in the name of a file or its folders."""
    for part in _PART.findall(path):
        if (instead := _NAMES.get(part.lower())) is not None and not _allowed(part, path):
            yield f"{path}:1: {part} in the file's name: say {instead}"


def phrases(path: str, line: int, text: str, table: Mapping[str, str]) -> Iterator[str]:
    """Yield old phrases of a text that begins at ``line``."""
    for pattern, instead in table.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if not _allowed(match[0].lower(), path):
                at = line + text.count("\n", 0, match.start())
                yield f"{path}:{at}: {match[0]!r}: say {instead}"


def strings(path: str, text: str) -> Iterator[str]:
    """Yield old phrases in docstrings and in texts that people read, of a module of the bot."""
    tree = ast.parse(text)
    docstrings = {
        id(child.value)
        for node in ast.walk(tree)
        for child in ast.iter_child_nodes(node)
        if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if id(node) in docstrings:
            yield from phrases(path, node.lineno, node.value, PHRASES)
        elif " " in node.value and not path.startswith("bot/store/"):
            yield from phrases(path, node.lineno, node.value, {**PHRASES, **TEXTS})


def python_files() -> list[Path]:
    return [
        path
        for folder in CODE
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not path.name.endswith("_pb2.py")
        and "tests/data" not in path.as_posix()  # made by code of release 0.1, whose names it keeps
        and path != Path(__file__)
    ]


def prose_files() -> list[Path]:
    found = [path for name in PROSE for path in ((ROOT / name), *sorted((ROOT / name).rglob("*")))]
    return [
        path
        for path in found
        if path.suffix in (".md", ".toml", ".yaml") and path.name != "glossary.md"
    ]


def problems_of_names() -> Iterator[str]:
    for path in python_files():
        place = path.relative_to(ROOT).as_posix()
        yield from file_names(place)
        yield from names(place, path.read_text("utf-8"))


def problems_of_texts() -> Iterator[str]:
    for path in python_files():
        place = path.relative_to(ROOT).as_posix()
        if place.startswith("bot/"):
            yield from strings(place, path.read_text("utf-8"))
    for path in prose_files():
        place = path.relative_to(ROOT).as_posix()
        yield from phrases(place, 1, path.read_text("utf-8"), {**PHRASES, **TEXTS})


def test_no_name_says_an_old_word() -> None:
    assert list(problems_of_names()) == []


def test_no_docstring_or_text_says_an_old_phrase() -> None:
    assert list(problems_of_texts()) == []


def test_every_exception_is_still_needed() -> None:
    everything = "\n".join(path.read_text("utf-8") for path in [*python_files(), *prose_files()])
    assert [word for word, _ in ALLOWED if word.lower() not in everything.lower()] == []


@pytest.mark.parametrize("word", [*NAMES, *MISLEADING])
def test_an_old_word_is_found_in_any_name(word: str) -> None:
    planted = f"class {word.title()}Store: pass\n_MAX_{word.upper()} = open_{word}(x.{word})\n"
    found = list(names("bot/x.py", planted))
    assert [problem.split(":")[1] for problem in found] == ["1", "2", "2", "2"]


def test_parts_of_other_words_and_strings_are_no_old_words() -> None:
    fine = "outstanding = wrung(recommend, append, 'rung', {'desk': mended_ is None})"
    assert [problem.split(": ")[1] for problem in names("bot/x.py", fine)] == ["mended_"]
    assert not list(names("tests/test_x.py", "def test_a_promise_is_carried(): pass"))
    assert list(names("tests/test_x.py", "def test_a_wish(): pass"))


def test_an_old_word_is_found_in_the_name_of_a_file() -> None:
    assert list(file_names("bot/frontend/courier.py"))
    assert not list(file_names("bot/frontend/delivery.py"))


@pytest.mark.parametrize(
    ("path", "text", "count"),
    [
        ("bot/x.py", '"""Run jobs. Knows nothing of Discord."""', 1),
        ("bot/x.py", 'class A:\n    """The operator\'s to mend."""', 1),
        ("bot/x.py", 'A = 1\n"""What a courier has."""', 1),
        ("bot/x.py", 'say("The machines are away: the line waits.")', 5),
        ("bot/x.py", 'say(f"{images} images came back")', 1),
        ("bot/x.py", 'log.warning("Given back: %s", job)', 1),
        ("bot/x.py", "KEY = 'rung'", 0),
        ("bot/store/x.py", "execute('SELECT rung FROM deliveries')", 0),
        ("bot/x.py", '"""Return the line of the log that ``marker`` stands on."""', 0),
    ],
)
def test_an_old_phrase_is_found_in_docstrings_and_texts(path: str, text: str, count: int) -> None:
    assert len(list(strings(path, text))) == count


if __name__ == "__main__":
    print(*problems_of_names(), *problems_of_texts(), sep="\n")
