"""Broken templates: each is refused with the file, the line, the path and a mend."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import WorkflowError
from bot.domain.workflow.template import Template, referenced_files
from tests.unit.domain.test_template import FILES, TEXT, smallest


def refusal(text: str, files: dict[str, str] | None = None) -> WorkflowError:
    with pytest.raises(WorkflowError) as caught:
        Template.load(text, "grid.yaml", FILES if files is None else files)
    assert caught.value.hint.endswith((".", "?"))
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("about: A grid", "about: [", 4, "a flow sequence that begins on line 2"),
        ("about: A grid", "about: 'A", 18, "expected <block end>"),
        ("about: A grid", "about: A\ngrid", 4, "could not find expected ':'"),
        ("about: A grid", "about: \x07", 2, "YAML does not allow (U+0007)"),
        ("about: A grid", "about: *nobody", 2, "undefined alias"),
        ("about: A grid", "about: !!python/name:os.system", 2, "tag !!python/name:os.system"),
        ("about: A grid", 'about: "\\UFFFFFFFF"', 2, "out of range"),
        ("about: A grid", 'about: "\\U00110000"', 2, "out of range"),
        ("gridbrush: 1", f"%YAML {'1' * 5000}.0\n---", 1, "out of range"),
        ("about: A grid", "about: !include x", 2, "the tag !include is unknown"),
        ("about: A grid", "about: !!set {a}", 2, "the tag !!set is unknown"),
        ("about: A grid", "about: !!binary YQ==", 2, "the tag !!binary is unknown"),
        ("about: A grid", "about: !!int ''", 2, "cannot be read as int"),
        ("about: A grid", "about: !!bool maybe", 2, "cannot be read as bool"),
        ("about: A grid", f"about: {'9' * 5000}", 2, "cannot be read as int"),
        ("about: A grid", "about: !param", 2, "!param has no name"),
        ("about: A grid", "about: !param [a]", 2, "!param has no name"),
        ("about: A grid", "about: A grid\n1: x", 3, "a key must be text"),
        ("about: A grid", "about: A grid\n? [a]\n: x", 3, "a key must be text"),
        ("about: A grid", "about: A grid\n<<: {a: b}", 3, "a key must be text"),
        ("about: A grid", "about: A grid\n!param about: x", 3, "a key must be text"),
        ("about: A grid", "about: A grid\nabout: B", 3, "the key about is given twice"),
        ("about: A grid", "about: A grid\n--- \nabout: B", 3, "another document"),
    ],
)
def test_broken_yaml_is_refused_with_its_line(old: str, new: str, line: int, said: str) -> None:
    error = refusal(TEXT.replace(old, new))
    assert error.location == f"grid.yaml, line {line}"
    assert said in error.problem


@pytest.mark.parametrize(
    ("old", "new", "line", "where", "said"),
    [
        ("gridbrush: 1", "gridbrush: 2", 1, "gridbrush", "is format 2"),
        ("about: A grid", "about: ''", 2, "about", "is not one line of text"),
        ("about: A grid", "about: !param ROWS", 2, "about", "must be text, not a placeholder"),
        ("about: A grid", "about: 1.5", 2, "about", "must be text, not a fraction. Put it in q"),
        ("about: A grid", "abuot: A grid", 2, "abuot", "Did you mean about?"),
        ("about: A grid", "", 1, "about", "is missing"),
        ("  ROWS: {", "  R-S: {", 4, "parameters.R-S", "not a name for an environment variable"),
        ("  ROWS: {", "  CPUS: {", 4, "parameters.CPUS", "uses itself"),
        ("  ROWS: {", "  DEEPSQUARE_X: {", 4, "parameters.DEEPSQUARE_X", "uses itself"),
        ("  ROWS: {", "  APPTAINERENV_X: {", 4, "parameters.APPTAINERENV_X", "uses itself"),
        ("from: rows", "from: row", 4, "parameters.ROWS.from", "Allowed are: prompt, negative"),
        ("from: rows, ", "", 4, "parameters.ROWS", "one of from, default and file"),
        ("from: rows", "from: rows, default: 4", 4, "parameters.ROWS", "one of from, default and"),
        ("from: rows", "form: rows", 4, "parameters.ROWS.form", "Did you mean from?"),
        ("rows, type: integer", "rows, type: number", 4, "parameters.ROWS.type", "integer, text"),
        ("rows, type: integer", "rows, type: text", 4, "parameters.ROWS.type", "type: integer"),
        ("minimum: 1,", "minimum: 65,", 4, "parameters.ROWS", "minimum above its maximum"),
        ("maximum: 4000", "maximum: 40000", 7, "parameters.PROMPT.maximum", "is 1 to 32000"),
        ("maximum: 4000", "minimum: -1", 7, "parameters.PROMPT.minimum", "-1 is too small"),
        ("maximum: 4000", "maximum: 0", 7, "parameters.PROMPT.maximum", "0 is too small"),
        ("type: url}", "type: url, maximum: 9}", 11, "parameters.UPLOAD_URL", "cannot have bounds"),
        ("text, secret: true", "text, secret: true, optional: true", 10,
         "parameters.MAC_KEY.optional", "is not a URL"),
        ("text, secret: true", "text", 10, "parameters.MAC_KEY", "is not secret"),
        ("/opt/models,", "7,", 12, "parameters.MODELS.default", "must be text"),
        ("/opt/models,", "models,", 30, "job.steps[0].for.steps[0].run.container.mounts[0].hostDir",
         "is not an absolute path"),
        ("script.py}", "../script.py}", 13, "parameters.SCRIPT.file", "is not a plain file name"),
        ("script.py}", "script.py, type: url}", 13, "parameters.SCRIPT.type", "Write type: text"),
        ("script.py}", "script.py, maximum: 1}", 13, "parameters.SCRIPT", "cannot have bounds"),
        ("script.py}", "gone.py}", 13, "parameters.SCRIPT.file", "there is no file gone.py"),
        ("enableLogging: true", "enableLogging: false", 15, "job.enableLogging", "is not set"),
        ("gpus: !param ROWS", "gpus: !param ROW", 16, "job.resources.gpus", "Did you mean ROWS?"),
        (", gpus: !param ROWS", "", 16, "job.resources.gpus", "is missing"),
        ("PYTHONUNBUFFERED", "NTASKS", 18, "job.env[0].key", "uses itself"),
        ("PYTHONUNBUFFERED", "ROWS", 18, "job.env[0].key", "is also the name of a parameter"),
        ("PYTHONUNBUFFERED", "!param JOB", 18, "job.env[0].key", "a parameter is not allowed"),
        ("!param JOB", "x", 9, "parameters.JOB", "is not used"),
        ("!param JOB", "!param PROMPT", 20, "job.steps[0].name", "free text is only allowed"),
        ("!param JOB", "!param SCRIPT", 20, "job.steps[0].name", "free text is only allowed"),
        ("!param JOB", "!param MAC_KEY", 20, "job.steps[0].name", "secret is only allowed in"),
        ("name: !param JOB", "if: !param JOB", 20, "job.steps[0].if", '"$JOB"'),
        ("'1'}", "'1', x: !param ROWS}", 18, "job.env[0].x", "no such key here"),
        ("!param MODELS", "!param ROWS", 12, "parameters.MODELS", "is not used"),
        ("value: !param COLUMNS", "value: !param MAC_KEY", 33,
         "job.steps[0].for.steps[0].run.env[0].value", "Write key: MAC_KEY beside it"),
        ("key: COLUMNS", "key: LD_PRELOAD", 33,
         "job.steps[0].for.steps[0].run.env[0].value", "uses itself"),
        ("command: combine", "command: !param ROWS", 35, "job.steps[1].run.command", '"$ROWS"'),
        ("command: combine", "shel: x", 35, "job.steps[1].run.shel", "Did you mean shell?"),
        ("apptainer: true", "mountHome: true", 26,
         "job.steps[0].for.steps[0].run.container", "runs under Enroot"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_refused_with_line_and_path(
    old: str, new: str, line: int, where: str, said: str
) -> None:
    assert TEXT.count(old) >= 1
    error = refusal(TEXT.replace(old, new, 1))
    assert error.location == f"grid.yaml, line {line}, {where}"
    assert said in str(error)


def test_an_optional_parameter_is_only_allowed_where_it_can_be_left_out() -> None:
    text = TEXT.replace("type: url}", "type: url, optional: true}")
    assert Template.load(text, "grid.yaml", FILES).parameters["UPLOAD_URL"].optional
    error = refusal(text.replace("name: !param JOB", "name: !param UPLOAD_URL"))
    assert error.location == "grid.yaml, line 20, job.steps[0].name"
    assert "is only allowed in input, output" in error.problem
    whole = (
        "gridbrush: 1\nabout: a\nparameters:\n  X: {from: model_url, type: url, optional: true}\n"
    )
    assert refusal(f"{whole}job: !param X\n").location == "grid.yaml, line 5, job"


def test_an_empty_file_is_refused() -> None:
    assert refusal("").location == "grid.yaml, line 1, the document"


def test_parameters_must_be_a_mapping() -> None:
    error = refusal(smallest("  - ROWS"))
    assert error.location == "grid.yaml, line 3, parameters"
    with pytest.raises(WorkflowError, match="line 3, parameters"):
        referenced_files(smallest("  - ROWS"), "grid.yaml")


def test_a_job_must_be_a_mapping() -> None:
    error = refusal("gridbrush: 1\nabout: small\nparameters: {}\njob: nothing\n")
    assert error.location == "grid.yaml, line 4, job"


def test_a_broken_first_line_is_found_when_only_the_files_are_asked_for() -> None:
    with pytest.raises(WorkflowError, match=r"grid\.yaml, line 1"):
        referenced_files("[", "grid.yaml")


def test_a_template_without_free_text_may_run_under_enroot() -> None:
    text = smallest("  ROWS: {from: rows, type: integer, maximum: 4}")
    enroot = text.replace("command: 'true'", "command: 'true', container: {image: x}")
    assert Template.load(enroot, "grid").parameters["ROWS"].maximum == 4


@pytest.mark.parametrize(
    "bounds", ["maximum: -3", "minimum: 5", "minimum: 2, maximum: 9", "env: true"]
)
def test_whatever_the_bounds_a_trial_value_lies_within(bounds: str) -> None:
    parameter = Template.load(
        smallest(f"  SHIFT: {{from: seed, type: integer, {bounds}}}"), "grid"
    ).parameters["SHIFT"]
    assert [parameter.validate(value) for value in parameter.examples()] == [None, None]


def test_yaml_words_that_look_like_dates_are_text() -> None:
    text = smallest("  DAY: {default: 2024-01-01}\n  SIGN: {default: =}\n  PI: {default: x}")
    parameters = Template.load(text, "grid").parameters
    assert [parameter.default for parameter in parameters.values()] == ["2024-01-01", "=", "x"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\0b", "contains a NUL character"),
        ("\ud83d", "is not valid Unicode"),
        ("x" * 128_001, "has 128001 bytes"),
    ],
)
def test_a_file_that_fits_into_no_variable_is_refused(content: str, said: str) -> None:
    error = refusal(TEXT, {"script.py": content})
    assert error.location == "grid.yaml, line 13, parameters.SCRIPT.file"
    assert said in error.problem


def test_aliases_that_stand_for_a_billion_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "too large" in refusal("\n".join(lines)).problem


def test_an_alias_that_holds_itself_is_refused() -> None:
    assert "too large" in refusal("about: &a [*a]").problem


def test_brackets_without_end_are_refused() -> None:
    assert "nested too deeply" in refusal("about: " + "[" * 5_000).problem


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_damaged_template_is_refused_in_our_own_words_or_loads(
    data: st.DataObject,
) -> None:
    at = data.draw(st.integers(0, len(TEXT)))
    until = data.draw(st.integers(at, min(len(TEXT), at + 30)))
    damage = data.draw(st.text(max_size=8) | st.sampled_from(["[", "}", "!param ", "*image", "\n"]))
    try:
        template = Template.load(TEXT[:at] + damage + TEXT[until:], "grid.yaml", FILES)
    except WorkflowError as refused:
        where = refused.location
    else:
        where = f"{template.name}, line 1"
    assert where.startswith("grid.yaml, line ")
