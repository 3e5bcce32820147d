"""Fuzz decoders with atheris, which looks for inputs that reach new code: `make fuzz SECONDS=60`.

Each target has a process of its own, since one that fails ends it; what it has found stays in
`.fuzz/`, and is where the next run begins.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_FOLDER = Path(".fuzz")
_INPUT_BYTES_MAX = 4096


def main(arguments: list[str]) -> int:
    if len(arguments) == 1:
        return _all(int(arguments[0]))
    _one(*arguments)
    return 0


def _all(seconds: int) -> int:
    from tests.fuzzing.targets import TARGETS

    failed = []
    for name in TARGETS:
        print(f"== {name}, {seconds} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzzing", name, str(seconds)]
        if subprocess.run(command).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "nothing found", flush=True)
    return 1 if failed else 0


def _one(name: str, seconds: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["camber"]):
        from tests.fuzzing.targets import TARGETS

    target = TARGETS[name]
    corpus = _FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_INPUT_BYTES_MAX}",
        f"-artifact_prefix={_FOLDER}/{name}-",
        "-verbosity=0",
        "-print_final_stats=1",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
