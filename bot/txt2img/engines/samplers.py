"""Map the usual names of samplers to the schedulers of diffusers.

Names are those that A1111 and ComfyUI show; case, spaces, ``_`` and ``-`` do not matter. SD3 and
Flux are flow-matching models, which have schedulers of their own. No library is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.txt2img.plan import UsageError

FLOW_FAMILIES = frozenset({"sd3", "flux", "schnell"})


@dataclass(frozen=True, slots=True)
class SamplerSpec:
    """A scheduler's class and its options; ``name`` is the usual name."""

    name: str
    scheduler: str
    options: Mapping[str, object] = field(default_factory=dict)


_KARRAS = {"use_karras_sigmas": True}
_SDE = {"algorithm_type": "sde-dpmsolver++"}
_DPM, _SINGLE = "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"

DIFFUSION = (
    SamplerSpec("DDIM", "DDIMScheduler"),
    SamplerSpec("DDPM", "DDPMScheduler"),
    SamplerSpec("PLMS", "PNDMScheduler", {"skip_prk_steps": True}),
    SamplerSpec("Euler", "EulerDiscreteScheduler"),
    SamplerSpec("Euler Karras", "EulerDiscreteScheduler", _KARRAS),
    SamplerSpec("Euler a", "EulerAncestralDiscreteScheduler"),
    SamplerSpec("Heun", "HeunDiscreteScheduler"),
    SamplerSpec("DPM2", "KDPM2DiscreteScheduler"),
    SamplerSpec("DPM2 Karras", "KDPM2DiscreteScheduler", _KARRAS),
    SamplerSpec("DPM2 a", "KDPM2AncestralDiscreteScheduler"),
    SamplerSpec("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", _KARRAS),
    SamplerSpec("DPM++ 2M", _DPM),
    SamplerSpec("DPM++ 2M Karras", _DPM, _KARRAS),
    SamplerSpec("DPM++ 2M SDE", _DPM, _SDE),
    SamplerSpec("DPM++ 2M SDE Karras", _DPM, {**_SDE, **_KARRAS}),
    SamplerSpec("DPM++ SDE", _SINGLE, _SDE),
    SamplerSpec("DPM++ SDE Karras", _SINGLE, {**_SDE, **_KARRAS}),
    SamplerSpec("DPM++ 2S", _SINGLE),
    SamplerSpec("DPM++ 2S Karras", _SINGLE, _KARRAS),
    SamplerSpec("UniPC", "UniPCMultistepScheduler"),
    SamplerSpec("DEIS", "DEISMultistepScheduler"),
    SamplerSpec("LCM", "LCMScheduler"),
    SamplerSpec("TCD", "TCDScheduler"),
)
FLOW = (
    SamplerSpec("Euler", "FlowMatchEulerDiscreteScheduler"),
    SamplerSpec("Heun", "FlowMatchHeunDiscreteScheduler"),
)
# ComfyUI's spelling, and other names of the same method.
_ALIASES = {
    "pndm": "plms",
    "eulerancestral": "eulera",
    "dpm2ancestral": "dpm2a",
    "dpmpp2m": "dpm++2m",
    "dpmpp2msde": "dpm++2msde",
    "dpmppsde": "dpm++sde",
    "dpmpp2s": "dpm++2s",
    "flowmatcheuler": "euler",
    "flowmatchheun": "heun",
}


def find_sampler(name: str, family: str) -> SamplerSpec | None:
    """Return the sampler of that name for the family; None for an empty name.

    Raises UsageError, which lists the names.
    """
    if not name.strip():
        return None
    known = FLOW if family in FLOW_FAMILIES else DIFFUSION
    key = re.sub(r"[\s_-]", "", name.lower())
    suffix = "karras" if key.endswith("karras") else ""
    key = _ALIASES.get(key.removesuffix("karras"), key.removesuffix("karras")) + suffix
    for sampler in known:
        if re.sub(r"\s", "", sampler.name.lower()) == key:
            return sampler
    names = ", ".join(sampler.name for sampler in known)
    what = f"a model of the family {family}" if family else "this model"
    raise UsageError(f"The sampler {name!r} is unknown for {what}. There are: {names}.")
