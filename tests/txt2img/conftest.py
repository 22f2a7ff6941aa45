"""The fixture that runs the program within the test."""

from tests.unit.txt2img.conftest import paint

__all__ = ["paint"]
