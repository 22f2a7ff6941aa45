"""Run ``python -m bot.txt2img``, a program with the command line of ``scripts/txt2img.py``.

It prints what the original prints. Environment variables: see :mod:`bot.txt2img.engines`. Exit
status: 0 success, 1 an error with one line on standard error, 2 an invalid command line.
"""

from __future__ import annotations

import io
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

from bot.txt2img.arguments import parse
from bot.txt2img.engines import select_engine
from bot.txt2img.plan import UsageError, plan
from bot.txt2img.report import write_report
from bot.txt2img.run import Streams, run


def main(argv: Sequence[str], environment: Mapping[str, str], streams: Streams) -> int:
    """Run the program and return its exit status. Raises SystemExit as argparse does."""
    options = parse(argv)
    try:
        run_plan, warnings = plan(options, draw_seed=lambda: secrets.randbelow(2**32))
        for warning in warnings:
            print(warning, file=streams.err)
        print(f"Global seed set to {run_plan.seed}", file=streams.err, flush=True)
        if options.from_file:
            print(f"reading prompts from {options.from_file}", file=streams.out)
        engine = select_engine(
            environment, options.device, partial(print, file=streams.out, flush=True)
        )
        print(f"Loading model from {options.ckpt}", file=streams.out)
        if engine.notice:
            print(engine.notice, file=streams.out)
        run(run_plan, environment.get("NEGATIVE_PROMPT", ""), engine, streams)
        write_report(engine.report, environment.get("PAINTER_REPORT", ""))
    except UsageError as error:
        print(f"txt2img: {error}", file=streams.err)
        return 1
    except OSError as error:
        print(f"txt2img: {options.outdir!r} cannot be written: {error}", file=streams.err)
        return 1
    return 0


def _start() -> int:
    for stream in (sys.stdout, sys.stderr):
        # A path may hold bytes that the encoding cannot show; printing it must not fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    streams = Streams(sys.stdout, sys.stderr, time.monotonic)
    return main(sys.argv[1:], os.environ, streams)


if __name__ == "__main__":
    raise SystemExit(_start())
