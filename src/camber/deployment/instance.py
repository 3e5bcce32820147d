"""The instance secret: what keys, cursors and tokens of one deployment are derived from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from camber.errors import CamberError
from camber.files.durable import sync
from camber.host import Host

_SECRET_BYTES = 32
_FILE = "instance_secret"


class InstanceUnusable(CamberError):
    """A secret that cannot be read; nothing was changed."""

    code = "InstanceUnusable"


@dataclass(frozen=True, slots=True)
class Instance:
    """A deployment's name, fit for admin keys, and its secret."""

    name: str
    secret: bytes


def open_instance(data: Path, name: str, host: Host) -> Instance:
    """Return the instance whose secret lies under `data`; it is made the first time.

    Raises:
        InstanceUnusable: the file is there but holds no secret.
    """
    file = data / _FILE
    try:
        text = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        text = host.random_bytes(_SECRET_BYTES).hex()
        _write_once(file, text)
    except UnicodeDecodeError:
        text = ""
    return Instance(instance_name(name), _secret(file, text))


def existing_instance(data: Path, name: str) -> Instance:
    """Return the instance whose secret lies under `data`; nothing is made.

    Raises:
        InstanceUnusable: there is none, or it holds no secret.
    """
    file = data / _FILE
    try:
        text = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        msg = f"{data} holds no deployment: {file} is not there. Give the --data of its server"
        raise InstanceUnusable(msg) from None
    except UnicodeDecodeError:
        text = ""
    return Instance(instance_name(name), _secret(file, text))


def _secret(file: Path, text: str) -> bytes:
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        msg = (
            f"{file} should hold {_SECRET_BYTES} bytes in hex, and does not. Restore it from a "
            "backup; or remove it for a new secret, which ends the root key and loses the values "
            "of deployment variables"
        )
        raise InstanceUnusable(msg)
    return secret


def temporary_instance(name: str, host: Host) -> Instance:
    """Return an instance with a secret that is written nowhere."""
    return Instance(instance_name(name), host.random_bytes(_SECRET_BYTES))


def instance_name(name: str) -> str:
    """Return a name without what separates the parts of an admin key."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "camber"


def _write_once(file: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = file.with_suffix(".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)
    # Whoever was given a key, or keeps a variable, counts on the secret from now on.
    sync(file.parent)
