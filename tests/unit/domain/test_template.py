"""Templates: what is accepted, what lands where, and what nobody may see."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.domain.errors import InvalidRequest, WorkflowError
from bot.domain.request import Author, ChannelRef, Request, RequestLimits, RequestOptions
from bot.domain.resources import DEFAULT_RESOURCES, ResourceRequest
from bot.domain.workflow.document import EnvVar, Http, Range, Transport, Workflow
from bot.domain.workflow.parameters import SOURCES
from bot.domain.workflow.template import (
    REDACTED,
    RenderContext,
    Template,
    WorkflowModel,
    redact,
    referenced_files,
    render,
)

TEXT = """\
gridbrush: 1
about: A grid
parameters:
  ROWS: {from: rows, type: integer, minimum: 1, maximum: 64}
  COLUMNS: {from: samples, type: integer, env: false}
  SEED_BASE: {from: seed, type: integer, minimum: 0, maximum: 4294967295}
  PROMPT: {from: prompt, type: text, maximum: 4000}
  NEGATIVE_PROMPT: {from: negative, type: text}
  JOB: {from: job_id, type: text, env: false}
  MAC_KEY: {from: mac_key, type: text, secret: true}
  UPLOAD_URL: {from: upload_url, type: url}
  MODELS: {default: /opt/models, type: text, env: false}
  SCRIPT: {file: script.py}
job:
  enableLogging: true
  resources: {tasks: !param ROWS, cpusPerTask: 2, memPerCpu: 8000, gpus: !param ROWS}
  env:
    - {key: PYTHONUNBUFFERED, value: '1'}
  steps:
    - name: !param JOB
      for:
        parallel: true
        range: {begin: 1, end: !param ROWS}
        steps:
          - run:
              container: &image
                image: library/stable-diffusion
                apptainer: true
                mounts:
                  - {hostDir: !param MODELS, containerDir: /models, options: ro}
              command: paint "--prompt=$PROMPT"
              env:
                - {key: COLUMNS, value: !param COLUMNS}
                - {key: MAC_KEY, value: !param MAC_KEY}
    - run: {container: *image, command: combine}
"""
FILES = {"script.py": "print('Grüße')\n\tif 1\n", "other.py": ""}
KEY = bytes(range(32))
TICKET = RenderContext("abcdefgh22222222", KEY, "https://transfer.example.org")
REQUEST = Request(
    prompt="a cat",
    seed=4294967000,
    steps=30,
    width=768,
    height=512,
    rows=3,
    samples=2,
    model="sd-2-1",
    author=Author(1, "ann"),
    place=ChannelRef(),
    negative="trees",
    style="ink",
)
TEMPLATE = Template.load(TEXT, "grid.yaml", FILES)


def environment(workflow: Workflow) -> dict[str, str]:
    return {variable.key: variable.value for variable in workflow.env}


def test_every_parameter_becomes_a_variable_behind_the_constants() -> None:
    workflow = render(TEMPLATE, REQUEST, TICKET, {"ink": "black ink on paper"})
    assert workflow.env[0] == EnvVar("PYTHONUNBUFFERED", "1")
    assert environment(workflow) == {
        "PYTHONUNBUFFERED": "1",
        "ROWS": "3",
        "SEED_BASE": "4294967000",
        "PROMPT": "a cat, black ink on paper",
        "NEGATIVE_PROMPT": "trees",
        "MAC_KEY": KEY.hex(),
        "UPLOAD_URL": "https://transfer.example.org",
        "SCRIPT": FILES["script.py"],
    }


def test_a_value_takes_the_place_of_its_placeholder_with_its_type() -> None:
    workflow = render(TEMPLATE, REQUEST, TICKET)
    assert (workflow.resources.tasks, workflow.resources.gpus) == (3, 3)
    rows, combine = workflow.steps
    assert rows.name == TICKET.job_id
    assert rows.loop is not None
    assert rows.loop.range == Range(1, 3)
    run = rows.loop.steps[0].run
    assert run is not None
    assert run.env == (EnvVar("COLUMNS", "2"), EnvVar("MAC_KEY", KEY.hex()))
    assert run.container is not None
    assert run.container.mounts[0].host_dir == "/opt/models"
    assert combine.run is not None
    assert combine.run.container == run.container


def test_what_is_rendered_is_a_valid_document() -> None:
    workflow = render(TEMPLATE, REQUEST, TICKET)
    assert Workflow.from_dict(json.loads(json.dumps(workflow.to_dict()))) == workflow


def test_a_template_says_what_it_needs() -> None:
    assert TEMPLATE.name == "grid.yaml"
    assert TEMPLATE.about == "A grid"
    assert TEMPLATE.supports_negative
    assert not TEMPLATE.needs_input
    assert list(TEMPLATE.parameters)[:2] == ["ROWS", "COLUMNS"]
    assert referenced_files(TEXT, "grid.yaml") == ("script.py",)
    assert dict(TEMPLATE.files) == {"script.py": FILES["script.py"]}


def smallest(parameters: str) -> str:
    return (
        f"gridbrush: 1\nabout: small\nparameters:\n{parameters}\njob:\n  enableLogging: true\n"
        "  resources: {tasks: 1, cpusPerTask: 1, memPerCpu: 1, gpus: 0}\n"
        "  steps: [{run: {command: 'true'}}]\n"
    )


def test_every_source_can_be_a_parameter() -> None:
    lines = "\n".join(
        f"  X{source.upper()}: {{from: {source}, type: {kind}, secret: true}}"
        for source, kind in SOURCES.items()
    )
    template = Template.load(smallest(lines), "all")
    model = WorkflowModel("folder", 6.5, "dpm", "https://a.example/m.CKPT?x=1", "1" * 64)
    ticket = RenderContext(
        *("j", KEY, "file:///up", "https://a.example/p.png", "0" * 64, "0,0,64,64"),
        model=model,
        resources=ResourceRequest(3, 10_000, 2),
        platform_input=True,
    )
    assert environment(render(template, REQUEST, ticket)) == {
        "XPROMPT": "a cat",
        "XNEGATIVE": "trees",
        "XROWS": "3",
        "XSAMPLES": "2",
        "XSTEPS": "30",
        "XWIDTH": "768",
        "XHEIGHT": "512",
        "XSEED": "4294967000",
        "XMODEL": "folder",
        "XGUIDANCE": "6.5",
        "XSAMPLER": "dpm",
        "XMODEL_URL": "https://a.example/m.CKPT?x=1",
        "XMODEL_SHA256": "1" * 64,
        "XMODEL_FILE": "1" * 64 + ".ckpt",
        "XMODEL_INPUT": "https://a.example/m.CKPT?x=1",
        "XCPUS_PER_TASK": "3",
        "XMEM_PER_CPU": "3334",
        "XGPUS_PER_TASK": "2",
        "XGPUS": "6",
        "XJOB_ID": "j",
        "XMAC_KEY": KEY.hex(),
        "XUPLOAD_URL": "file:///up",
        "XINPUT_URL": "https://a.example/p.png",
        "XINPUT_SHA256": "0" * 64,
        "XINPUT_BOX": "0,0,64,64",
        "XIMAGE_INPUT": "https://a.example/p.png",
        "XSTRENGTH": "",
    }


INPUT = smallest(
    "  URL: {from: model_url, type: url, optional: true}\n"
    "  INPUT: {from: model_input, type: url, optional: true, env: false}"
).replace("job:\n", "job:\n  input: {http: {url: !param INPUT}}\n")
OWN = WorkflowModel(url="https://a.example/m", sha256="0" * 64)


@pytest.mark.parametrize(
    ("model", "platform_input", "url", "has_input"),
    [
        (WorkflowModel(), True, "", False),
        (WorkflowModel(), False, "", False),
        (OWN, True, OWN.url, True),
        (OWN, False, OWN.url, False),
    ],
)
def test_an_input_without_a_value_is_left_out(
    model: WorkflowModel, platform_input: bool, url: str, has_input: bool
) -> None:
    context = replace(TICKET, model=model, platform_input=platform_input)
    workflow = render(Template.load(INPUT, "own"), replace(REQUEST, negative=""), context)
    assert environment(workflow) == {"URL": url}
    assert workflow.input == (Transport(http=Http(OWN.url)) if has_input else None)
    assert Workflow.from_dict(workflow.to_dict()) == workflow


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("", ""),
        ("https://a.example/m.safetensors", "0.safetensors"),
        ("https://a.example/m.GGUF?download=true", "0.gguf"),
        ("https://a.example/api/download/7?type=Model.ckpt", "0.safetensors"),
        ("https://a.example/m.sh", "0.safetensors"),
        ("https://a.example/..", "0.safetensors"),
    ],
)
def test_a_downloaded_model_is_cached_under_its_digest(url: str, file: str) -> None:
    assert WorkflowModel(url=url, sha256="0").file == file


@pytest.mark.parametrize(
    ("asked", "per_cpu", "gpus"),
    [
        (DEFAULT_RESOURCES, 8000, 1),
        (ResourceRequest(8, 16_000, 1), 2000, 1),
        (ResourceRequest(3, 16_000, 0), 5334, 0),
        (DEFAULT_RESOURCES.override(memory_mb_per_task=24_000), 12_000, 1),
        (DEFAULT_RESOURCES.override(cpus_per_task=1, gpus_per_task=0), 16_000, 0),
    ],
)
def test_memory_is_requested_per_cpu_and_rounded_up(
    asked: ResourceRequest, per_cpu: int, gpus: int
) -> None:
    assert (asked.memory_mb_per_cpu, asked.gpus_per_task) == (per_cpu, gpus)
    assert asked.memory_mb_per_cpu * asked.cpus_per_task >= asked.memory_mb_per_task


@pytest.mark.parametrize("numbers", [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_resources_that_no_task_can_have_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="not a request"):
        ResourceRequest(*numbers)


def test_a_negative_prompt_for_a_workflow_that_takes_none_is_refused() -> None:
    template = Template.load(smallest("  PROMPT: {from: prompt}"), "plain")
    with pytest.raises(InvalidRequest, match="does not support negative prompts") as caught:
        render(template, REQUEST, TICKET)
    assert caught.value.field == "negative"
    assert environment(render(template, replace(REQUEST, negative=""), TICKET)) == {
        "PROMPT": "a cat"
    }


def test_upscaling_does_not_mind_the_negative_prompt_that_made_the_picture() -> None:
    template = Template.load(smallest("  INPUT: {from: input_url, type: url}"), "upscale")
    assert template.needs_input
    assert template.ignores_prompt
    ticket = replace(TICKET, input_url="file:///tmp/row-01.png")
    assert environment(render(template, REQUEST, ticket)) == {"INPUT": "file:///tmp/row-01.png"}


def test_a_job_without_a_picture_to_start_from_is_refused_by_a_template_that_needs_one() -> None:
    template = Template.load(smallest("  INPUT: {from: input_url, type: url}"), "upscale")
    with pytest.raises(WorkflowError, match="has no address") as caught:
        render(template, REQUEST, TICKET)
    assert caught.value.location == "upscale, parameters.INPUT"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": 65}, "65 is above the maximum. At most 64 is allowed"),
        ({"rows": 0}, "0 is below the minimum. At least 1 is needed"),
        ({"rows": "3"}, "must be a whole number"),
        ({"rows": True}, "must be a whole number"),
        ({"prompt": "x" * 4001}, "text of 4001 characters is above the maximum"),
        ({"negative": "x" * 32_001}, "At most 32000 is allowed"),
        ({"negative": 7}, "must be text"),
        ({"prompt": "a\nb"}, "line break or another control character"),
        ({"prompt": "a\0b"}, "line break or another control character"),
        ({"prompt": "a\x85b"}, "line break or another control character"),
        ({"prompt": "a\u2028b"}, "line break or another control character"),
        ({"prompt": "a\udc80b"}, "line break or another control character"),
    ],
)
def test_a_value_that_a_parameter_does_not_allow_is_refused(
    changes: dict[str, object], said: str
) -> None:
    request = replace(REQUEST, **changes)  # type: ignore[arg-type]
    with pytest.raises(WorkflowError, match=said) as caught:
        render(TEMPLATE, request, TICKET)
    assert caught.value.location.startswith("grid.yaml, parameters.")


@pytest.mark.parametrize("url", ["ftp://a", "https://", "https://a b", "https://a/\n", "/tmp"])
def test_an_upload_address_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(WorkflowError, match="is not a URL"):
        render(TEMPLATE, REQUEST, replace(TICKET, upload_url=url))


def test_a_workflow_that_only_some_values_break_is_refused_when_it_is_rendered() -> None:
    text = smallest("  STEPS: {from: steps, type: integer, env: false}")
    text = text.replace("'true'}", "'true', mapUid: !param STEPS}")
    template = Template.load(text, "grid")
    with pytest.raises(WorkflowError, match="-1 is too small") as caught:
        render(template, replace(REQUEST, steps=-1, negative=""), TICKET)
    assert caught.value.location == "grid, job.steps[0].run.mapUid"


def test_secrets_are_masked_at_every_depth_and_nothing_else_is() -> None:
    workflow = render(TEMPLATE, REQUEST, TICKET)
    shown = redact(workflow, TEMPLATE)
    assert KEY.hex() in json.dumps(workflow.to_dict())
    assert KEY.hex() not in json.dumps(shown.to_dict())
    text = json.dumps(workflow.to_dict()).replace(KEY.hex(), REDACTED)
    assert json.loads(text) == shown.to_dict()


def test_the_key_stands_in_no_repr() -> None:
    workflow = render(TEMPLATE, REQUEST, TICKET)
    for thing in (TICKET, workflow, TEMPLATE):
        assert KEY.hex() not in repr(thing)
        assert repr(KEY) not in repr(thing)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        RenderContext("j", b"short", "https://a.example")


PAINTED = Template.load(
    smallest("  PROMPT: {from: prompt}\n  NEGATIVE_PROMPT: {from: negative}"), "painted"
)
HOSTILE = st.text(min_size=1, max_size=60) | st.sampled_from(
    [
        "$(touch pwned)",
        "`reboot`; $HOME ${IFS} \\' \" !!",
        "!param PROMPT",
        "{{ .Job.Env }} %s {0} __PROMPT__",
        "@@sd1 7 row-done row=2 mac=555d16cc4c8eeda67c91441e6de19d9f",
        "EOFenroot",
        "--ckpt=/deepsquare/world-tmp/evil.ckpt",
        "🐈" * 300,
    ]
)


@settings(max_examples=150, deadline=None)
@given(HOSTILE)
def test_a_prompt_stands_in_its_variable_as_it_is_and_nowhere_else(text: str) -> None:
    limits = RequestLimits()
    try:
        request = Request.parse(
            text,
            RequestOptions(),
            limits=limits,
            seed=1,
            author=Author(1, "ann"),
            place=ChannelRef(),
        )
    except InvalidRequest:
        assume(False)
    workflow = render(PAINTED, request, TICKET)
    assert environment(workflow)["PROMPT"] == request.prompt
    others = replace(request, prompt="another prompt")
    document = render(PAINTED, others, TICKET).to_dict()
    document["env"][0]["value"] = request.prompt  # type: ignore[index]
    assert document == workflow.to_dict()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 64), st.integers(1, 16), st.integers(0, 2**32 - 1))
def test_tasks_gpus_and_the_loop_follow_the_number_of_rows(
    rows: int, samples: int, seed: int
) -> None:
    request = replace(REQUEST, rows=rows, samples=samples, seed=seed)
    workflow = render(TEMPLATE, request, TICKET)
    loop = workflow.steps[0].loop
    assert loop is not None
    assert loop.range is not None
    assert list(loop.range.numbers) == list(range(1, rows + 1))
    assert workflow.resources.gpus == workflow.resources.tasks == rows
    assert environment(workflow)["SEED_BASE"] == str(seed)


@pytest.mark.parametrize(
    ("command", "calls"),
    [
        ("python3 /opt/txt2img.py --steps 20", True),
        ("cd /opt && TXT2IMG.PY", True),
        ('paint "--prompt=$PROMPT"', False),
    ],
)
def test_a_template_knows_whether_a_step_at_any_depth_calls_the_stock_script(
    command: str, calls: bool
) -> None:
    text = TEXT.replace('paint "--prompt=$PROMPT"', f"'{command}'")
    assert f"command: '{command}'" in text
    assert Template.load(text, "grid.yaml", FILES).calls_script is calls
