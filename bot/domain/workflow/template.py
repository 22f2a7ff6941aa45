"""Templates: job documents with typed parameters, and ``render``, which sets their values.

A value becomes an environment variable or replaces a whole ``!param NAME``; text is never inserted
into a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, cast
from urllib.parse import urlsplit

from bot.domain.errors import InvalidRequest, WorkflowError
from bot.domain.request import Request
from bot.domain.resources import DEFAULT_RESOURCES, ResourceRequest
from bot.domain.workflow.document import EnvVar, Workflow, iter_steps
from bot.domain.workflow.parameters import (
    Parameter,
    Value,
    substitute,
    validate_file_text,
    validate_name,
    validate_not_reserved,
    validate_placeholders,
)
from bot.domain.workflow.schema import Path, Violation, decode, matches, schema_error
from bot.domain.workflow.template_yaml import parse_template

_MODEL_SUFFIX = re.compile(r"\.(ckpt|safetensors|gguf)\Z", re.IGNORECASE)

REDACTED = "********"
"""Replaces a secret in ``redact``."""


@dataclass(frozen=True, slots=True)
class WorkflowModel:
    """Values of the request's model beside its id.

    ``name`` is how the workflow finds the model where that is not the id, such as a hosted folder.
    None and "" mean the engine's default. A model that is downloaded has a ``url`` and the
    ``sha256`` of its file (64 lower-case hex digits).
    """

    name: str = ""
    guidance: float | None = None
    sampler: str = ""
    url: str = ""
    sha256: str = ""

    @property
    def file(self) -> str:
        """Return the name of the downloaded file in a cache, "" if nothing is downloaded."""
        if not self.url:
            return ""
        suffix = _MODEL_SUFFIX.search(urlsplit(self.url).path)
        return self.sha256 + (suffix[0].lower() if suffix else ".safetensors")


@dataclass(frozen=True, slots=True)
class RenderContext:
    """Values of a job beside its request. ``upload_url`` has no slash at its end.

    ``mac_key`` (16 bytes or more, usually 32, fresh for each job) signs the job's marker lines.
    ``input_url`` and ``input_sha256`` are the picture that a job starts from; ``input_box``, if not
    empty, is the part of it to use: ``left,top,right,bottom`` in pixels. ``platform_input`` is
    whether the platform downloads ``input``; elsewhere a step downloads model and picture itself.
    """

    job_id: str
    mac_key: bytes = field(repr=False)
    upload_url: str
    input_url: str = ""
    input_sha256: str = ""
    input_box: str = ""
    model: WorkflowModel = WorkflowModel()
    resources: ResourceRequest = DEFAULT_RESOURCES
    platform_input: bool = False

    def __post_init__(self) -> None:
        if len(self.mac_key) < 16:
            raise ValueError("a MAC key needs 16 bytes or more")


def _validate_version(version: int) -> Violation | None:
    if version == 1:
        return None
    return Violation(f"is format {version}, which this version does not support", "Use format 1.")


@dataclass(frozen=True, slots=True)
class _Document:
    """Top level of a template file."""

    gridbrush: Annotated[int, _validate_version]
    about: Annotated[str, matches(r".*\S.*", "one line of text", "Say what the template makes.")]
    parameters: object
    job: object


@dataclass(frozen=True, slots=True)
class Template:
    """Validated template. ``job`` is the job document with a Placeholder for each ``!param``.

    ``files`` maps the file names in parameters to their texts.
    """

    name: str
    about: str
    parameters: Mapping[str, Parameter] = field(hash=False)
    job: object = field(hash=False, repr=False)
    files: Mapping[str, str] = field(hash=False, repr=False)

    @classmethod
    def load(cls, text: str, name: str, files: Mapping[str, str] | None = None) -> Template:
        """Parse and validate a template; ``name`` is its file name in errors.

        ``files`` maps names to texts of the files beside it, at least the ``referenced_files``.
        Renders it with small and large values as a trial. Raises WorkflowError, whose ``location``
        has the name, the line and the path.
        """
        source = parse_template(text, name)
        try:
            document = decode(_Document, source.content)
            parameters = _read_parameters(document.parameters)
            texts = _read_files(parameters, files or {})
            template = cls(name, document.about, parameters, document.job, texts)
            validate_placeholders(document.job, parameters)
            for index in (0, 1):
                values = {
                    key: texts[item.file] if item.file else item.examples()[index]
                    for key, item in parameters.items()
                }
                template._check_workflow(template._fill(values))
        except WorkflowError as error:
            raise source.locate_error(error) from None
        return template

    @property
    def supports_negative(self) -> bool:
        """Return whether the workflow supports negative prompts."""
        return "negative" in self._sources

    @property
    def needs_input(self) -> bool:
        """Return whether the workflow starts from an image."""
        return not self._sources.isdisjoint(("input_url", "input_sha256"))

    @property
    def starts_from_picture(self) -> bool:
        """Return whether the workflow makes new images of a prompt and a picture."""
        return {"input_url", "input_sha256", "strength", "prompt"} <= self._sources

    @property
    def calls_script(self) -> bool:
        """Return whether a step calls ``txt2img.py``, so that its limits apply to the job."""
        return any("txt2img" in command.lower() for command in _iter_commands(self.job))

    @property
    def ignores_prompt(self) -> bool:
        """Return whether the workflow uses an image and no prompt."""
        return self.needs_input and "prompt" not in self._sources

    @property
    def _sources(self) -> frozenset[str | None]:
        return frozenset(parameter.source for parameter in self.parameters.values())

    def _fill(self, values: Mapping[str, Value]) -> Workflow:
        """Return the workflow with these values, which must be validated."""
        job = substitute(self.job, values, self.parameters)
        workflow = decode(Workflow, job, ("job",))
        added = (
            EnvVar(key, str(values[key]))
            for key, parameter in self.parameters.items()
            if parameter.env
        )
        return replace(workflow, env=(*workflow.env, *added))

    def _check_workflow(self, workflow: Workflow) -> None:
        if not workflow.enable_logging:
            hint = "Write true: the bot reads results from the log."
            raise schema_error(("job", "enableLogging"), Violation("is not set", hint))
        constants = len(workflow.env) - sum(item.env for item in self.parameters.values())
        for position, variable in enumerate(workflow.env[:constants]):
            where = ("job", "env", position, "key")
            if violation := validate_not_reserved(variable.key):
                raise schema_error(where, violation)
            if variable.key in self.parameters:
                raise schema_error(
                    where, Violation("is also the name of a parameter", "Rename one of the two.")
                )
        if not any(item.is_free_text for item in self.parameters.values()):
            return
        for step_at, step in iter_steps(workflow.steps):
            if step.run and step.run.container and step.run.container.enroot:
                problem = "runs under Enroot, which does not pass every text unchanged"
                violation = Violation(problem, "Add apptainer: true or deepsquareHosted: true.")
                raise schema_error(("job", *step_at, "run", "container"), violation)


def render(
    template: Template,
    request: Request,
    context: RenderContext,
    styles: Mapping[str, str] | None = None,
) -> Workflow:
    """Render the workflow of ``request``; ``styles`` maps style names to words for the prompt.

    Raises InvalidRequest for a negative prompt that the workflow does not support, and
    WorkflowError for a value that the template's parameters do not allow.
    """
    if request.negative and not template.supports_negative and not template.ignores_prompt:
        raise InvalidRequest(
            "negative",
            "This server's workflow does not support negative prompts. Leave it out (negative, "
            "or --no) and say in the prompt what you want to see instead.",
        )
    sources = _source_values(request, context, styles or {})
    values: dict[str, Value] = {}
    for name, parameter in template.parameters.items():
        if parameter.file is not None:
            values[name] = template.files[parameter.file]
            continue
        value = parameter.default if parameter.source is None else sources[parameter.source]
        if violation := parameter.validate(value):
            where = f"{template.name}, parameters.{name}"
            raise WorkflowError(where, violation.problem, violation.hint)
        values[name] = cast(Value, value)  # a parameter accepts nothing else
    try:
        return template._fill(values)
    except WorkflowError as error:
        where = f"{template.name}, {error.location}"
        raise WorkflowError(where, error.problem, error.hint) from None


def redact(workflow: Workflow, template: Template) -> Workflow:
    """Return the workflow for display, with REDACTED for each secret, at any depth."""
    secrets = {name for name, parameter in template.parameters.items() if parameter.secret}
    return Workflow.from_dict(_redact_part(secrets, workflow.to_dict()))


def _read_parameters(document: object) -> Mapping[str, Parameter]:
    where: Path = ("parameters",)
    if not isinstance(document, dict):
        raise schema_error(
            where, Violation("must be a mapping", "Write NAME: {from: …, type: …} in it.")
        )
    parameters = {}
    for name, declaration in document.items():
        if violation := validate_name(name):
            raise schema_error((*where, name), violation)
        parameters[name] = decode(Parameter, declaration, (*where, name))
    return MappingProxyType(parameters)


def referenced_files(text: str, name: str) -> tuple[str, ...]:
    """Return the names of the files beside the template whose texts ``Template.load`` needs.

    Raises WorkflowError as ``Template.load`` does for the same text.
    """
    source = parse_template(text, name)
    try:
        parameters = _read_parameters(decode(_Document, source.content).parameters)
    except WorkflowError as error:
        raise source.locate_error(error) from None
    return tuple(dict.fromkeys(item.file for item in parameters.values() if item.file))


def _read_files(parameters: Mapping[str, Parameter], files: Mapping[str, str]) -> Mapping[str, str]:
    texts = {}
    for name, parameter in parameters.items():
        if parameter.file is None:
            continue
        where = ("parameters", name, "file")
        text = files.get(parameter.file)
        if text is None:
            hint = "Put it into the template's folder."
            raise schema_error(where, Violation(f"there is no file {parameter.file}", hint))
        if violation := validate_file_text(text):
            raise schema_error(where, violation)
        texts[parameter.file] = text
    return MappingProxyType(texts)


def _iter_commands(part: object) -> Iterator[str]:
    """Yield every command in a job document, at any depth."""
    if isinstance(part, dict):
        for key, item in part.items():
            if key == "command" and isinstance(item, str):
                yield item
            yield from _iter_commands(item)
    elif isinstance(part, list | tuple):
        for item in part:
            yield from _iter_commands(item)


def _source_values(
    request: Request, context: RenderContext, styles: Mapping[str, str]
) -> Mapping[str, Value]:
    """Return the value of each source that a parameter can name."""
    model, resources = context.model, context.resources
    return {
        "prompt": request.styled_prompt(styles),
        "negative": request.negative,
        "rows": request.rows,
        "samples": request.samples,
        "steps": request.steps,
        "width": request.width,
        "height": request.height,
        "seed": request.seed,
        # Some workflows need a non-empty text here, even if there is no model to choose.
        "model": model.name or request.model or "none",
        "guidance": "" if model.guidance is None else f"{model.guidance:g}",
        "sampler": model.sampler,
        "model_url": model.url,
        "model_sha256": model.sha256,
        "model_file": model.file,
        "model_input": model.url if context.platform_input else "",
        "cpus_per_task": resources.cpus_per_task,
        "mem_per_cpu": resources.memory_mb_per_cpu,
        "gpus_per_task": resources.gpus_per_task,
        "gpus": request.rows * resources.gpus_per_task,
        "job_id": context.job_id,
        "mac_key": context.mac_key.hex(),
        "upload_url": context.upload_url,
        "input_url": context.input_url,
        "input_sha256": context.input_sha256,
        "input_box": context.input_box,
        "image_input": context.input_url if context.platform_input else "",
        "strength": request.init_image.sent_strength if request.init_image else "",
    }


def _redact_part(secrets: set[str], part: object) -> object:
    match part:
        case {"key": str(key), "value": str()} if key in secrets:
            return {"key": key, "value": REDACTED}
        case dict():
            return {key: _redact_part(secrets, item) for key, item in part.items()}
        case list():
            return [_redact_part(secrets, item) for item in part]
    return part
