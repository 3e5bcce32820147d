"""`make audit`: known vulnerabilities of what Camber stands on. A report: it never fails a build.

It says what was looked at, and above all what was not: a database that does not answer finds nothing,
which is no good news. To know, it asks for a version whose vulnerability is known as well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("dev", "airbyte", "bench")
#: A vulnerability that is known: CVE-2024-3651. A database that does not have it does not answer.
CANARY = "idna==3.6"
_TIMEOUT_S = 300
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def main() -> None:
    """Audit what is locked; print what was found, and what could not be."""
    print("Dependencies of Python:")
    report = audited([CANARY])
    if isinstance(report, str):
        print(f"  NOT AUDITED: {report}")
    elif not any(each.get("vulns") for each in report):
        print(
            f"  NOT AUDITED: the database of the package index does not answer: it does not know of the "
            f"vulnerability of {CANARY}. Run this where the index is PyPI itself"
        )
    else:
        for lock in LOCKS:
            print(f"  requirements/{lock}.lock: {said_of(audited(pinned(lock)))}")
    print("Dependencies of Node:")
    print(f"  package-lock.json: {npm()}")


def pinned(lock: str) -> list[str]:
    """Return what a lock file pins."""
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    return [f"{name}=={version}" for name, version in _PINNED.findall(text)]


def audited(requirements: list[str]) -> list[dict[str, Any]] | str:
    """Return what pip-audit says of some requirements, or why it says nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements) + "\n")
        file.flush()
        done = run(
            sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off",
            "--no-deps", "--disable-pip", "--requirement", file.name,
        )  # fmt: skip
    if isinstance(done, str):
        return done
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return f"pip-audit failed: {last_line(done.stderr)}"
    return found


def said_of(report: list[dict[str, Any]] | str) -> str:
    """Return a report in words."""
    if isinstance(report, str):
        return f"NOT AUDITED: {report}"
    skipped = [each["name"] for each in report if "skip_reason" in each]
    found = [
        f"    {each['name']} {each['version']}: {', '.join(names(one))}"
        f" (mended in {', '.join(one['fix_versions']) or 'no version yet'})"
        for each in report
        for one in each.get("vulns", ())
    ]
    told = f"{len(report) - len(skipped)} looked at, {len(found)} vulnerabilities"
    if skipped:
        told += f"; NOT AUDITED, since the database does not have them: {', '.join(skipped)}"
    return "\n".join([told, *found])


def names(vulnerability: dict[str, Any]) -> list[str]:
    """Return what a vulnerability is called."""
    return [vulnerability["id"], *vulnerability.get("aliases", ())]


def npm() -> str:
    """Return what npm says of what package-lock.json pins."""
    done = run("npm", "audit", "--json", "--package-lock-only")
    if isinstance(done, str):
        return f"NOT AUDITED: {done}"
    try:
        found = json.loads(done.stdout)
        counts: dict[str, int] = found["metadata"]["vulnerabilities"]
    except (ValueError, KeyError, TypeError):
        # What it prints of why names the registry, which is nobody's business.
        return "NOT AUDITED: the registry does not answer questions for vulnerabilities"
    listed = [f"    {name}: {each['severity']}" for name, each in found["vulnerabilities"].items()]
    return "\n".join([f"{counts['total']} vulnerabilities", *listed])


def run(*command: str) -> subprocess.CompletedProcess[str] | str:
    """Return a command that has ended, whatever its status, or why it could not."""
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer after {_TIMEOUT_S} s"
    except OSError as error:
        return str(error)


def last_line(text: str) -> str:
    """Return the last line that says something, without addresses of the network."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"https?://\S+", "the index", lines[-1]) if lines else "it says nothing"


if __name__ == "__main__":
    main()
