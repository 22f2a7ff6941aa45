"""Generate pictures on ComfyUI servers.

An engine makes a graph for each batch, the servers run it, and history tells what became of it.
"""

from bot.txt2img.engines.comfyui.description import describe
from bot.txt2img.engines.comfyui.engine import ComfyUIEngine

__all__ = ["ComfyUIEngine", "describe"]
