"""Render the workflow of a job from its template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bot.backends.base import Backend
from bot.domain.errors import ArtifactMissing, BotError, ConfigError
from bot.domain.grid import grid_geometry
from bot.domain.job import Job
from bot.domain.request import Request
from bot.domain.resources import DEFAULT_RESOURCES, ResourceRequest
from bot.domain.workflow.document import Workflow
from bot.domain.workflow.template import RenderContext, Template, WorkflowModel, render
from bot.store.jobs import JobRepository


@dataclass(frozen=True, slots=True)
class WorkflowTemplates:
    """The templates: one that makes grids and, optionally, one that upscales an image.

    ``styles`` maps the name of a style to the words it adds to a prompt. ``models`` has the models
    of the table by id, ``model_resources`` the resources of those that request their own.
    ``platform_input`` is whether the backend downloads a job's ``input``.
    """

    grid: Template
    upscale: Template | None
    styles: Mapping[str, str]
    resources: ResourceRequest = DEFAULT_RESOURCES
    models: Mapping[str, WorkflowModel] = field(default_factory=dict)
    model_resources: Mapping[str, ResourceRequest] = field(default_factory=dict)
    platform_input: bool = False

    def render_grid(self, request: Request, context: RenderContext) -> Workflow:
        """Render the workflow of a grid with the model and resources of the request.

        Raises InvalidRequest and WorkflowError as ``render`` does.
        """
        context = replace(
            context,
            model=self.models.get(request.model, WorkflowModel()),
            resources=self.model_resources.get(request.model, self.resources),
            platform_input=self.platform_input,
        )
        return render(self.grid, request, context, self.styles)


class WorkflowRenderer:
    """Render stored jobs. The same job gives the same workflow, also after a restart."""

    def __init__(self, jobs: JobRepository, backend: Backend, templates: WorkflowTemplates) -> None:
        self._jobs = jobs
        self._backend = backend
        self._templates = templates

    async def mac_key(self, job_id: str) -> bytes:
        """Return the key that signs the job's markers. Raises BotError if there is no such job."""
        key = await self._jobs.mac_key(job_id)
        if key is None:
            raise BotError(f"there is no job {job_id}")
        return key

    async def render(self, job: Job) -> Workflow:
        """Return the workflow of the job's request.

        Raises InvalidRequest, WorkflowError, ConfigError without a template to upscale, and
        ArtifactMissing if the image to upscale is unknown.
        """
        upload_url = self._backend.upload_url(job.id)
        key = await self.mac_key(job.id)
        if job.request.origin is None:
            context = RenderContext(job.id, key, upload_url)
            return self._templates.render_grid(job.request, context)
        if self._templates.upscale is None:
            raise ConfigError(
                "[imagine] upscale_template", "no template upscales", "Name one, or the stock one."
            )
        origin = job.request.origin
        parent = await self._jobs.get(origin.job_id)
        if parent is None or not 1 <= origin.row <= len(parent.rows):
            raise ArtifactMissing(f"there is no row {origin.row} of job {origin.job_id}")
        strip = parent.rows[origin.row - 1].artifact
        if strip is None:
            raise ArtifactMissing(f"row {origin.row} of job {origin.job_id} was never published")
        # The strip is one row, so the box is that of the cell in a grid of one row.
        box = grid_geometry(parent.request).cell_box(1, origin.column)
        context = RenderContext(
            job.id,
            key,
            upload_url,
            input_url=strip.url,
            input_sha256=strip.sha256,
            input_box=",".join(str(edge) for edge in box),
            resources=self._templates.resources,
        )
        return render(self._templates.upscale, job.request, context, self._templates.styles)
