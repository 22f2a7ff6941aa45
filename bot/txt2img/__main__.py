"""``python -m bot.txt2img``: a local program with the command line of ``scripts/txt2img.py``.

Puts arguments, plan and engine together and says on the streams what the original says. Its
environment variables are listed in :mod:`bot.txt2img.engines`. Exit status: 0 done, 1 refused with
one line on standard error, 2 a bad command line.
"""

from __future__ import annotations

import io
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence

from bot.txt2img.arguments import parse
from bot.txt2img.engines import select_engine
from bot.txt2img.plan import UsageError, plan
from bot.txt2img.report import write_report
from bot.txt2img.run import Streams, run


def main(argv: Sequence[str], environment: Mapping[str, str], streams: Streams) -> int:
    """Run the program and return its exit status; raises SystemExit for argparse's own exits."""
    options = parse(argv)
    try:
        painting, warnings = plan(options, draw_seed=lambda: secrets.randbelow(2**32))
        for warning in warnings:
            print(warning, file=streams.err)
        print(f"Global seed set to {painting.seed}", file=streams.err, flush=True)
        if options.from_file:
            print(f"reading prompts from {options.from_file}", file=streams.out)
        engine = select_engine(environment, options.device)
        print(f"Loading model from {options.ckpt}", file=streams.out)
        if engine.notice:
            print(engine.notice, file=streams.out)
        run(painting, environment.get("NEGATIVE_PROMPT", ""), engine, streams)
        write_report(engine.report, environment.get("PAINTER_REPORT", ""))
    except UsageError as refusal:
        print(f"painter: {refusal}", file=streams.err)
        return 1
    except OSError as error:
        print(f"painter: {options.outdir!r} cannot be written: {error}", file=streams.err)
        return 1
    return 0


def _start() -> int:
    for stream in (sys.stdout, sys.stderr):
        # A path may hold bytes that no encoding can show; that must not end the run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    streams = Streams(sys.stdout, sys.stderr, time.monotonic)
    return main(sys.argv[1:], os.environ, streams)


if __name__ == "__main__":
    raise SystemExit(_start())
