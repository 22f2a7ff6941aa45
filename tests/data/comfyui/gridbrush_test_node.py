"""A custom node for tests on a real ComfyUI: no weights, but true progress, errors and interrupts.

Copy it into ``custom_nodes``, or let COMFYUI_DIR start a server that has it.
"""

import time

import comfy.model_management
import comfy.utils
import torch


class GridbrushTestSampler:
    """Pictures of one colour each, drawn from the seed."""

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        size = {"default": 64, "min": 16, "max": 16384, "step": 8}
        return {
            "required": {
                "text": ("STRING", {"multiline": True}),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**64 - 1}),
                "steps": ("INT", {"default": 4, "min": 1, "max": 1000}),
                "width": ("INT", size),
                "height": ("INT", size),
                "samples": ("INT", {"default": 1, "min": 1, "max": 64}),
                "fail": ("INT", {"default": -1, "min": -1, "max": 1000}),
                "milliseconds": ("INT", {"default": 0, "min": 0, "max": 60000}),
            }
        }

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "sample"
    CATEGORY = "gridbrush"

    def sample(self, text, seed, steps, width, height, samples, fail, milliseconds):
        bar = comfy.utils.ProgressBar(steps)
        for step in range(steps):
            comfy.model_management.throw_exception_if_processing_interrupted()
            if step == fail:
                raise RuntimeError("CUDA out of memory is what this test error says")
            time.sleep(milliseconds / 1000)
            bar.update(1)
        generator = torch.Generator().manual_seed(seed % 2**63)
        colours = torch.rand(samples, 1, 1, 3, generator=generator)
        return (colours.expand(samples, height, width, 3).contiguous(),)


NODE_CLASS_MAPPINGS = {"GridbrushTestSampler": GridbrushTestSampler}
