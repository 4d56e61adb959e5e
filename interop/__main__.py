"""``python -m interop ping | bench | microbench``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Run one suite."""
    parser = argparse.ArgumentParser(prog="python -m interop", description="Other people's stacks against ours.")
    suites = parser.add_subparsers(dest="suite", required=True)
    ping = suites.add_parser("ping", help="each stack dials us and is dialled by us")
    ping.add_argument("stacks", nargs="*", help="js py go rust; default all")
    ping.add_argument("--output", type=Path, help="write the rows as JSON")
    bench = suites.add_parser("bench", help="measure, side by side, in one run")
    bench.add_argument("stacks", nargs="*", help="beside ours on asyncio and uvloop: js py go rust; default all")
    bench.add_argument("--runs", type=int, default=5)
    bench.add_argument("--only", help="metrics to run, separated by commas")
    bench.add_argument("--output", type=Path, help="write all figures as JSON")
    suites.add_parser("microbench", help="CPU per operation in memory, both ends")
    arguments = parser.parse_args()
    if arguments.suite == "ping":
        from interop import ping as suite

        return suite.run(arguments.stacks, arguments.output)
    if arguments.suite == "bench":
        from interop import bench as measurements

        only = arguments.only.split(",") if arguments.only else []
        return measurements.run(arguments.stacks, arguments.runs, only, arguments.output)
    from interop import microbench

    return microbench.run()


if __name__ == "__main__":
    sys.exit(main())
