"""Map the usual names of samplers to the sampler and the scheduler of a KSampler node.

``DPM++ 2M Karras``, ``dpmpp_2m karras`` and ``dpmpp_2m/karras`` mean the same; case, spaces and
signs do not matter. A name that is not known here goes to the server as it is: its own samplers
work, and its refusal lists them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplerNames:
    """ComfyUI's names of a sampler and a scheduler."""

    sampler: str
    scheduler: str

    def __str__(self) -> str:
        return f"{self.sampler}/{self.scheduler}"


_SCHEDULERS = ("karras", "exponential", "sgm_uniform", "simple", "ddim_uniform", "beta", "normal")

_SAMPLERS: Mapping[str, str] = {
    "eulera": "euler_ancestral",
    "dpm2a": "dpm_2_ancestral",
    "dpm2ancestral": "dpm_2_ancestral",
    "dpm2": "dpm_2",
    "dpm++2sa": "dpmpp_2s_ancestral",
    "dpm++2s": "dpmpp_2s_ancestral",
    "dpm++2m": "dpmpp_2m",
    "dpm++sde": "dpmpp_sde",
    "dpm++2msde": "dpmpp_2m_sde",
    "dpm++3msde": "dpmpp_3m_sde",
    "unipc": "uni_pc",
    "plms": "ipndm",
    "eulerdiscretescheduler": "euler",
    "eulerancestraldiscretescheduler": "euler_ancestral",
    "dpmsolvermultistepscheduler": "dpmpp_2m",
    "unipcmultistepscheduler": "uni_pc",
    "heundiscretescheduler": "heun",
    "ddimscheduler": "ddim",
    "lcmscheduler": "lcm",
}
"""Names of A1111 and diffusers, without spaces and signs, that ComfyUI spells otherwise."""

_DEFAULTS: Mapping[str, SamplerNames] = {
    "sd3": SamplerNames("euler", "sgm_uniform"),
    "flux": SamplerNames("euler", "simple"),
    "schnell": SamplerNames("euler", "simple"),
    "lcm": SamplerNames("lcm", "sgm_uniform"),
    "turbo": SamplerNames("euler_ancestral", "sgm_uniform"),
}
_DEFAULT = SamplerNames("euler", "normal")
_OWN_SCHEDULERS = {"ddim": "ddim_uniform", "lcm": "sgm_uniform"}


def find_sampler(name: str, family: str) -> SamplerNames:
    """Return ComfyUI's names for ``name``; those that suit the family if it is empty."""
    default = _DEFAULTS.get(family, _DEFAULT)
    text = re.sub(r"[\s/-]+", "_", name.strip().lower())
    if not text:
        return default
    scheduler = next((known for known in _SCHEDULERS if text.endswith(f"_{known}")), "")
    text = text.removesuffix(f"_{scheduler}") if scheduler else text
    sampler = _SAMPLERS.get(text.replace("_", "").replace("dpmpp", "dpm++"), text)
    return SamplerNames(sampler, scheduler or _OWN_SCHEDULERS.get(sampler, default.scheduler))
