"""The process that `test_killed_pushes` kills in the middle of a push.

Opens the deployment of a project, says `begun` when the push has come as far as it was asked to
come, and stands still there.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from camber import limits
from camber.deployment.deployment import Deployment
from camber.deployment.project import load_project
from camber.deployment.settings import DeploymentSettings


async def main(root: Path, steps: int) -> None:
    project = load_project(root)
    deployment = await Deployment.open(
        DeploymentSettings(root=root, functions=project.functions, data=root / "data")
    )
    limits.push_batch_documents = 2  # type: ignore[misc]
    left = steps

    def progress(told: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            print("begun", flush=True)
            sys.stdin.read()

    await deployment.push_release(await deployment.load(), progress=progress)
    print("pushed", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
