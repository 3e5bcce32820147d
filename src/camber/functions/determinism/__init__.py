"""What makes queries and mutations repeatable.

While one runs, the clock stands still, chance comes from a seed, and what reaches out of the
process is refused. Python's own functions for these are replaced once, by doors that look up
whether a query or mutation runs on their thread: everywhere else they do what they always did.

    conditions   under which one query or mutation runs: its moment, its seed, what it observed
    clocks       the doors of `time`
    chance       the doors of `random`, `secrets`, `uuid` and `os.urandom`
    dates        what user modules have in place of `datetime`
    refusals     network, files, processes, threads, timers, event loops, `os.environ`
    doors        putting all of them in, and knowing whose modules are user code

It guards against mistakes and is no sandbox; docs/determinism.md says what stays open.
"""
