"""What a command imports before it is known which one it is."""

import subprocess
import sys

_LATER = ("starlette", "uvicorn", "httpx", "rich.progress", "prometheus_client", "watchfiles")
#: A server imports it when an application has vector indexes.
_WITH_VECTORS = ("numpy",)
_ALSO_LATER = ("camber.server", "camber.engine.committer", "camber.deployment.deployment")


def test_the_server_and_clients_are_imported_by_who_needs_them():
    program = "import sys, camber.cli.main; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "typer" in loaded
    assert not loaded & {*_LATER, *_ALSO_LATER, *_WITH_VECTORS}


def test_a_server_imports_numpy_only_for_vectors():
    modules = "camber.deployment.deployment, camber.deployment.executor, camber.server.application"
    program = f"import sys, {modules}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not set(done.stdout.split()) & {*_WITH_VECTORS}
