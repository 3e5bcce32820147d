"""The demo: builds the chat's front end where it has changed, and serves it.

Its data lies in `.demo` and stays; `make demo-reset` removes it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from camber.cli.console import Console, LogFormat, configure_logging
from camber.cli.serve import Serve, Urls
from camber.cli.starting import run_dev
from camber.deployment.deployment import Deployment
from camber.deployment.project import load_project
from camber.deployment.settings import DeploymentSettings
from camber.errors import CamberError
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.values.packed import pack

ROOT = Path(__file__).resolve().parent.parent
CHAT = ROOT / "examples" / "chat"
DATA = ROOT / ".demo"
BUILT = DATA / "web"


def main() -> int:
    """Build, serve, and end with the process's status."""
    DATA.mkdir(exist_ok=True)
    if not build():
        return 1
    project = load_project(CHAT)
    serve = Serve(
        project=project,
        settings=DeploymentSettings(
            root=project.root,
            functions=project.functions,
            name=project.name,
            data=DATA / "data",
        ),
        host="127.0.0.1",
        port=3210,
        site_port=3211,
        any_port=True,
        cloud_url=None,
        site_url=None,
        static=BUILT,
        env_local=False,
    )
    configure_logging(LogFormat.TEXT)
    try:
        run_dev(serve, project, Console(), announce)
    except CamberError as error:
        print(error.sentence, file=sys.stderr)
        return 1
    return 0


def announce(deployment: Deployment, urls: Urls) -> None:
    """Fill an empty chat, then say where it is."""

    async def fill() -> None:
        await deployment.runtime.mutation(
            FunctionCall(
                path="demo:fill",
                arguments=pack({}),
                identity=Anonymous(),
                caller=Caller.APPLICATION,
                request_id=deployment.runtime.new_request_id(),
            )
        )
        print(f"\nThe chat is at {urls.cloud}\n", flush=True)
        print("Open it in two windows. Then edit examples/chat/backend/messages.py and save:")
        print("every window follows without a reload. Ctrl-C ends the demo; its data stays.")

    deployment.host.spawn("fill the chat", fill())


def build() -> bool:
    """Build the page unless what is built is of the sources as they are."""
    sources = [
        *(CHAT / "web" / "src").glob("*"),
        *(CHAT / "web").glob("*.*"),
        *(CHAT / "backend" / "_generated").glob("*"),
        ROOT / "package-lock.json",
    ]
    newest = max(file.stat().st_mtime for file in sources)
    page = BUILT / "index.html"
    if page.is_file() and page.stat().st_mtime > newest:
        return True
    print("Building the chat's page...", flush=True)
    npx = shutil.which("npx")
    assert npx is not None, "scripts/check-tools.sh has looked for it"
    built = subprocess.run(
        [npx, "--no-install", "vite", "build", "web", "--outDir", str(BUILT), "--emptyOutDir"],
        cwd=CHAT,
        # An environment variable wins over `.env.local`, and an empty one names no deployment.
        env={**os.environ, "VITE_CONVEX_URL": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        print(built.stdout, built.stderr, sep="\n", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
