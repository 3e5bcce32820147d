"""What a command imports before it is known which one it is."""

import subprocess
import sys

_LATER = ("starlette", "uvicorn", "httpx", "rich.progress", "prometheus_client", "watchfiles")
_ALSO_LATER = ("camber.server", "camber.engine.committer", "camber.deployment.deployment")


def test_the_server_and_clients_are_imported_by_who_needs_them():
    program = "import sys, camber.cli.main; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "typer" in loaded
    assert not loaded & {*_LATER, *_ALSO_LATER}
