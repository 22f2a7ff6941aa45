"""Every workflow there can be goes into its document and comes back."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.workflow.document import (
    S3,
    Container,
    EnvVar,
    For,
    Http,
    Launch,
    Mount,
    Range,
    Resources,
    Run,
    RunResources,
    Step,
    Transport,
    Use,
    Workflow,
)

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAMES = st.from_regex("[A-Za-z0-9_]{1,8}", fullmatch=True)
PATHS = TEXT.map(lambda text: "/" + "".join(text.splitlines()))
URLS = NAMES.map(lambda name: f"https://{name}.example.org/")
COUNTS = st.integers(1, 2**31 - 1)
ENV = st.lists(st.builds(EnvVar, NAMES.map(lambda name: f"_{name}"), TEXT), max_size=3).map(tuple)
CONTAINERS = st.builds(
    Container,
    st.from_regex("[a-z0-9/._-]{1,8}(:[A-Za-z0-9._:-]{1,5})?", fullmatch=True),
    registry=st.none() | st.just("registry.example.org"),
    apptainer=st.booleans(),
    deepsquare_hosted=st.booleans(),
    mounts=st.lists(
        st.builds(Mount, PATHS, PATHS, st.sampled_from(["", "ro", "rw"])), max_size=2
    ).map(tuple),
    read_only_root_fs=st.booleans(),
    x11=st.booleans(),
)
RUNS = st.builds(
    Run,
    TEXT,
    resources=st.builds(
        RunResources, COUNTS, st.none() | COUNTS, st.none() | COUNTS, st.integers(0, 9)
    ),
    env=ENV,
    map_uid=st.none() | st.integers(0, 9),
    work_dir=st.none() | PATHS,
    disable_cpu_binding=st.booleans(),
) | st.builds(
    Run,
    TEXT,
    shell=st.sampled_from([None, "/bin/bash", "/bin/ash", "/bin/sh", "ENTRYPOINT"]),
    container=CONTAINERS,
    network=st.sampled_from(["slirp4netns", "pasta"]),
    dns=st.lists(st.ip_addresses().map(str), max_size=2).map(tuple),
    mpi=st.sampled_from([None, "none", "pmix_v4", "pmi2"]),
)
LEAVES = st.builds(Step, name=st.none() | NAMES, condition=st.none() | NAMES, run=RUNS)


def _deeper(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[Step]:
    group = st.lists(steps, min_size=1, max_size=2).map(tuple)
    items = st.lists(TEXT, min_size=1, max_size=3).map(tuple)
    ranges = st.builds(Range, st.integers(-9, 0), st.integers(0, 9), st.sampled_from([0, 1, 4]))
    use = st.builds(Use, st.just("host/owner/repo@v1"), ENV, st.none() | st.just("OUT"), group)
    return (
        st.builds(Step, steps=group, catch=group, finally_=group)
        | st.builds(Step, loop=st.builds(For, st.just(True), group, items=items))
        | st.builds(Step, loop=st.builds(For, st.just(True), group, range=ranges))
        | st.builds(Step, launch=st.builds(Launch, group, NAMES, st.integers(0, 64)))
        | st.builds(Step, use=use)
    )


TRANSPORTS = st.builds(Transport, http=st.builds(Http, URLS)) | st.builds(
    Transport,
    s3=st.builds(S3, TEXT, st.just("s3://bucket"), PATHS, TEXT, TEXT, URLS, st.booleans()),
)
WORKFLOWS = st.builds(
    Workflow,
    st.builds(Resources, COUNTS, COUNTS, COUNTS, st.integers(0, 64)),
    st.lists(st.recursive(LEAVES, _deeper, max_leaves=6), max_size=3).map(tuple),
    env=ENV,
    enable_logging=st.booleans(),
    input=st.none() | TRANSPORTS,
    input_mode=st.none() | st.integers(0, 511),
    output=st.none() | TRANSPORTS,
    continuous_output_sync=st.booleans(),
)


@settings(max_examples=80, deadline=None)
@given(WORKFLOWS)
def test_every_workflow_comes_back_from_its_document(workflow: Workflow) -> None:
    document = workflow.to_dict()
    assert Workflow.from_dict(document) == workflow
    assert Workflow.from_dict(json.loads(json.dumps(document))) == workflow


@settings(max_examples=40, deadline=None)
@given(WORKFLOWS)
def test_no_document_holds_a_null_or_an_empty_optional_text(workflow: Workflow) -> None:
    required = {"value", "command", "options", "region", "accessKeyId", "secretAccessKey"}

    def check(part: object, key: str) -> None:
        assert part is not None
        assert part != "" or key in required
        if isinstance(part, dict):
            for name, item in part.items():
                check(item, name)
        elif isinstance(part, list) and key != "items":
            for item in part:
                check(item, key)

    check(workflow.to_dict(), "")
