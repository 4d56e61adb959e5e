"""``python -m interop ping | kad | bench | kad-bench | microbench``."""

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
    kad = suites.add_parser("kad", help="a bootstrap, a provider and a querier of any three stacks")
    which = kad.add_mutually_exclusive_group()
    which.add_argument("--only-one-foreign", action="store_true", help="us and one other in each combination; the default")
    which.add_argument("--all", action="store_true", help="all 125 combinations")
    which.add_argument("--stacks", nargs="+", choices=["peerstack", "go", "rust", "js", "py"], help="what can be made of these")
    kad.add_argument("--output", type=Path, help="write the cells, reasons and logs as JSON")
    bench = suites.add_parser("bench", help="measure, side by side, in one run")
    bench.add_argument("stacks", nargs="*", help="beside ours on asyncio and uvloop: js py go rust; default all")
    bench.add_argument("--runs", type=int, default=5)
    bench.add_argument("--only", help="metrics to run, separated by commas")
    bench.add_argument("--output", type=Path, help="write all figures as JSON")
    kad_bench = suites.add_parser("kad-bench", help="measure put and get in DHTs of twenty nodes in one process, side by side, in one run")
    kad_bench.add_argument("stacks", nargs="*", help="beside ours on asyncio and uvloop: js py kademlia; default all")
    kad_bench.add_argument("--runs", type=int, default=3)
    kad_bench.add_argument("--output", type=Path, help="write all figures as JSON")
    suites.add_parser("microbench", help="CPU per operation in memory, both ends")
    arguments = parser.parse_args()
    if arguments.suite == "ping":
        from interop import ping as suite

        return suite.run(arguments.stacks, arguments.output)
    if arguments.suite == "kad":
        from interop import kad as matrix

        chosen = matrix.stacks_only(arguments.stacks) if arguments.stacks else matrix.every if arguments.all else matrix.exactly_one_foreign
        return matrix.run(chosen, arguments.output)
    if arguments.suite == "bench":
        from interop import bench as measurements

        only = arguments.only.split(",") if arguments.only else []
        return measurements.run(arguments.stacks, arguments.runs, only, arguments.output)
    if arguments.suite == "kad-bench":
        from interop import kad_bench as dht_measurements

        return dht_measurements.run(arguments.stacks, arguments.runs, arguments.output)
    from interop import microbench

    return microbench.run()


if __name__ == "__main__":
    sys.exit(main())
