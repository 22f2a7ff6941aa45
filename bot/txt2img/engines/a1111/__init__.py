"""Generate on servers with the API of the A1111 web UI.

Forge, A1111, SD.Next, koboldcpp and stable-diffusion.cpp.
"""

from bot.txt2img.engines.a1111.description import describe
from bot.txt2img.engines.a1111.engine import A1111Engine

__all__ = ["A1111Engine", "describe"]
