"""Runs the benchmarks, or those that are named: `make bench ONLY=invalidation`.

They report, and judge nothing: machines differ, so what counts are ratios within one run.
"""

from __future__ import annotations

import importlib
import sys

_BENCHMARKS = ("determinism", "invalidation", "throughput", "function_log", "executors")


def main(names: list[str]) -> int:
    """Run and print; return the process's status."""
    unknown = [name for name in names if name not in _BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(_BENCHMARKS)}", file=sys.stderr)
        return 1
    for name in names or _BENCHMARKS:
        print(f"{name}:")
        importlib.import_module(name).main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
