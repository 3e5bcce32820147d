"""How commands are used: shown below their `--help`, and tried in a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: By the words of a command.
EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "init": ("camber init my-app", "camber init my-app --template minimal"),
    "dev": ("camber dev", "camber dev my-app --port 4000", "camber dev --static web/dist"),
    "start": (
        "camber start my-app --data /var/lib/camber",
        "camber start --host 0.0.0.0 --cloud-url https://api.example.com --log-format json",
    ),
    "codegen": ("camber codegen", "camber codegen --check"),
    "deploy": (
        "camber deploy --url https://api.example.com",
        "camber deploy --dry-run",
        "camber deploy --cmd 'npm run build' --message 'new front page'",
        "camber deploy --list",
        "camber deploy --rollback",
        "camber deploy --rollback 12",
    ),
    "run": (
        "camber run tasks:list --watch",
        """camber run tasks:add '{"text": "water the plants"}'""",
        """camber run tasks:add '{"text": "hi"}' --identity '{"subject": "ada"}'""",
    ),
    "explain": (
        "camber explain tasks:list",
        """camber explain tasks:add '{"text": "hi"}' --identity '{"subject": "ada"}'""",
        "camber explain tasks:list --json",
    ),
    "data": ("camber data", "camber data tasks --limit 10", "camber data tasks --format jsonl"),
    "logs": (
        "camber logs",
        "camber logs --history 100 --no-follow",
        "camber logs --function tasks:add --level warn",
    ),
    "status": ("camber status", "camber status --json"),
    "export": ("camber export", "camber export --path backups --include-file-storage"),
    "import": (
        "camber import snapshot.zip --replace-all",
        "camber import people.csv --table people --append",
    ),
    "components list": ("camber components list", "camber components list --json"),
    "components delete": ("camber components delete ledger",),
    "env list": ("camber env list", "camber env list > .env.copy"),
    "env get": ("camber env get OPENAI_API_KEY",),
    "env set": ("camber env set OPENAI_API_KEY sk-1", "camber env set --from-file .env.production"),
    "env remove": ("camber env remove OPENAI_API_KEY",),
    "keys create": ("camber keys create --name ci --scope deploy --expires 90d",),
    "keys list": ("camber keys list",),
    "keys revoke": ("camber keys revoke ci",),
    "auth init": ("camber auth init", "camber auth init my-app"),
    "auth keys rotate": (
        "camber auth keys rotate",
        "camber auth keys rotate --trusted-for 0s",
    ),
    "keys root": ("camber keys root", "camber keys root --data /var/lib/camber"),
}


def epilog_of(command: str) -> str | None:
    """Return what stands below a command's help, a line for each example."""
    examples = EXAMPLES.get(command)
    if examples is None:
        return None
    # Brackets are markup to what prints it.
    lines = [example.replace("[", r"\[") for example in examples]
    return "\n\n".join(["[bold]Examples[/bold]", *lines])
