"""What a site cannot do, and the words that it puts before a command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.domain.errors import WorkflowError
from bot.domain.workflow.bash import ContainerRuntime, ContainerStubs, OciRuntime, to_bash
from bot.domain.workflow.document import Container, Mount, Resources, Run, Workflow
from tests.unit.domain.workflows import IMAGE, RESOURCES, STAND_INS, command, site, workflow

# What is refused.


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({"input": {"http": {"url": "https://example.org/x"}}}, "input"),
        ({"output": {"http": {"url": "https://example.org/x"}}}, "output"),
        ({"virtualNetworks": [{"name": "n"}]}, "virtualNetworks"),
        ({"steps": [{"use": {"source": "github.com/a/b"}}]}, "steps[0].use"),
        (
            {"steps": [command(":"), {"steps": [command("", container={"image": IMAGE})]}]},
            "steps[1].steps[0].run.command",
        ),
        (
            {"steps": [command("x", shell="ENTRYPOINT", container={"image": IMAGE})]},
            "steps[0].run.command",
        ),
        (
            {"steps": [command("x", container={"image": "library/other:1"})]},
            "image library/other:1",
        ),
    ],
)
def test_what_only_the_platform_can_do_is_refused_with_its_place(
    tmp_path: Path, document: dict[str, object], where: str
) -> None:
    whole = Workflow.from_dict({"resources": RESOURCES, "steps": [], **document})
    with pytest.raises(WorkflowError) as refused:
        to_bash(whole, site(tmp_path))
    assert refused.value.location == where
    assert refused.value.hint


def test_an_unknown_image_names_the_known_ones() -> None:
    for stand_ins, known in (
        (STAND_INS, "Known: library/stable-diffusion."),
        (ContainerStubs({}), "none"),
    ):
        with pytest.raises(WorkflowError) as refused:
            stand_ins.command_prefix(Container("other:1"), "/scratch")
        assert known in refused.value.hint


# Container runtimes.

VARIABLES = (
    "--env=STORAGE_PATH=/deepsquare",
    "--env=DEEPSQUARE_INPUT=/deepsquare/input",
    "--env=DEEPSQUARE_OUTPUT=/deepsquare/output",
    "--env=DEEPSQUARE_ENV=/deepsquare/env",
)


@pytest.mark.parametrize(
    ("container", "image"),
    [
        (Container("a/b:1"), "docker://a/b:1"),
        (Container("a/b:1", registry="r.example"), "docker://r.example/a/b:1"),
        (Container("/images/b.sif"), "/images/b.sif"),
        (
            Container("a/b:1", registry="r.example", deepsquare_hosted=True),
            "/opt/software/r.example/a/b:1",
        ),
    ],
)
def test_apptainer_runs_the_image_with_the_scratch_folder_inside(
    container: Container, image: str
) -> None:
    assert OciRuntime("apptainer").command_prefix(container, "/scratch") == (
        *("apptainer", "exec", "--nv", *VARIABLES),
        *("--bind=/scratch:/deepsquare:rw", "--pwd=/deepsquare", image),
    )


@pytest.mark.parametrize(("gpus", "device"), [(True, ["--device=nvidia.com/gpu=all"]), (False, [])])
def test_podman_runs_the_steps_shell_and_not_the_images_own_program(
    gpus: bool, device: list[str]
) -> None:
    mounts = (Mount("/opt/m", "/models", "ro"), Mount("/opt/n", "/n", ""))
    container = Container("a/b:1", registry="r.example", mounts=mounts)
    runtime = OciRuntime("podman", shared=("/caches",), gpus=gpus)
    assert runtime.command_prefix(container, "/scratch") == (
        *("podman", "run", "--rm", "--env-host", "--network=host", *device, *VARIABLES),
        *("--volume=/opt/m:/models:ro", "--volume=/opt/n:/n:rw", "--volume=/caches:/caches:rw"),
        *("--volume=/scratch:/deepsquare:rw", "--workdir=/deepsquare", "--entrypoint="),
        "r.example/a/b:1",
    )


@pytest.mark.parametrize(("gpus", "flag"), [(True, ["--nv"]), (False, [])])
def test_apptainer_mounts_what_the_container_and_the_site_ask_for(
    gpus: bool, flag: list[str]
) -> None:
    container = Container("/b.sif", mounts=(Mount("/opt/m", "/models", "ro"),))
    runtime = OciRuntime("apptainer", shared=("/caches",), gpus=gpus)
    assert runtime.command_prefix(container, "/scratch") == (
        *("apptainer", "exec", *flag, *VARIABLES),
        *("--bind=/opt/m:/models:ro", "--bind=/caches:/caches:rw"),
        *("--bind=/scratch:/deepsquare:rw", "--pwd=/deepsquare", "/b.sif"),
    )


def test_the_words_before_a_command_stand_in_their_order(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Cluster:
        def command_prefix(self, run: Run, resources: Resources, name: str) -> tuple[str, ...]:
            gpus = run.resources.gpus_per_task
            return ("srun", f"--ntasks={resources.tasks}", f"--gpus={gpus}", f"--job-name={name}")

    containers: ContainerRuntime = OciRuntime("apptainer")
    own = [{"key": "A", "value": "b c"}]
    step = {
        "name": "my step",
        **command(
            "paint it",
            env=own,
            shell="/bin/bash",
            container={"image": "/b.sif"},
            resources={"gpusPerTask": 1},
        ),
    }
    script = to_bash(workflow(step), site(tmp_path, launcher=Cluster(), containers=containers))
    (line,) = (line for line in script.splitlines() if " srun " in line)
    head = "run_step srun --ntasks=2 --gpus=1 '--job-name=my step' env 'A=b c' apptainer exec"
    assert head in line
    assert line.endswith("/b.sif /bin/bash -c 'paint it')")
