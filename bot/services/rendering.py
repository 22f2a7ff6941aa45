"""Render the workflow of a job from its template."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bot.backends.base import Backend
from bot.domain.errors import ArtifactMissing, BotError, ConfigError
from bot.domain.grid import grid_geometry
from bot.domain.job import Job
from bot.domain.request import Request
from bot.domain.resources import DEFAULT_RESOURCES, ResourceRequest
from bot.domain.workflow.document import Workflow
from bot.domain.workflow.template import RenderContext, Template, WorkflowModel, render
from bot.services.init_images import InitImageStore
from bot.store.jobs import JobRepository


@dataclass(frozen=True, slots=True)
class WorkflowTemplates:
    """The templates: one that makes grids and, optionally, of an image and one that upscales it.

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
    image: Template | None = None

    def grid_template(self, request: Request) -> Template:
        """Return the template of a grid. Raises ConfigError if none starts from a picture."""
        if request.init_image is None:
            return self.grid
        if self.image is None:
            raise ConfigError(
                "[imagine] image_template", "no template starts from a picture", "Name one."
            )
        return self.image

    def render_grid(self, request: Request, context: RenderContext) -> Workflow:
        """Render the workflow of a grid with the model and resources of the request.

        Raises InvalidRequest and WorkflowError as ``render`` does, ConfigError as
        ``grid_template``.
        """
        context = replace(
            context,
            model=self.models.get(request.model, WorkflowModel()),
            resources=self.model_resources.get(request.model, self.resources),
            platform_input=self.platform_input,
        )
        return render(self.grid_template(request), request, context, self.styles)


class WorkflowRenderer:
    """Render stored jobs. The same job gives the same workflow, also after a restart.

    ``row_path`` returns where this machine stores a row: upscaling starts from a copy of it.
    Without it, from the file that the first job has published.
    """

    def __init__(
        self,
        jobs: JobRepository,
        backend: Backend,
        templates: WorkflowTemplates,
        pictures: InitImageStore,
        *,
        row_path: Callable[[str, int], Path] | None = None,
    ) -> None:
        self._row_path = row_path
        self._jobs = jobs
        self._backend = backend
        self._templates = templates
        self._pictures = pictures

    async def mac_key(self, job_id: str) -> bytes:
        """Return the key that signs the job's markers. Raises BotError if there is no such job."""
        key = await self._jobs.mac_key(job_id)
        if key is None:
            raise BotError(f"there is no job {job_id}")
        return key

    async def render(self, job: Job) -> Workflow:
        """Return the workflow of the job's request.

        If it starts from a picture, the backend gets that first. Raises InvalidRequest,
        WorkflowError, ConfigError without a template for it, ArtifactMissing if the image to start
        from is unknown, and Unavailable.
        """
        upload_url = self._backend.upload_url(job.id)
        key = await self.mac_key(job.id)
        if job.request.origin is None:
            context = RenderContext(job.id, key, upload_url)
            if (start := job.request.init_image) is not None:
                size = job.request.width, job.request.height
                async with self._pictures.fitted(start, *size) as picture:
                    url = await self._backend.put_input(job.id, picture.path)
                    context = replace(context, input_url=url, input_sha256=picture.sha256)
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
        url = strip.url
        if self._row_path is not None:
            path = self._row_path(parent.id, origin.row).absolute()
            if not await asyncio.to_thread(path.is_file):
                raise ArtifactMissing(f"row {origin.row} of job {parent.id} is no longer stored")
            url = await self._backend.put_input(job.id, path)
        # The strip is one row, so the box is that of the cell in a grid of one row.
        box = grid_geometry(parent.request).cell_box(1, origin.column)
        context = RenderContext(
            job.id,
            key,
            upload_url,
            input_url=url,
            input_sha256=strip.sha256,
            input_box=",".join(str(edge) for edge in box),
            resources=self._templates.resources,
        )
        return render(self._templates.upscale, job.request, context, self._templates.styles)
