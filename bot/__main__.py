"""Start ``python -m bot`` and the ``gridbrush`` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from bot.cli import program

    program()


if __name__ == "__main__":
    main()
