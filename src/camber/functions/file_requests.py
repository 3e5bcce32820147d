"""What an action asks of the files, which are the server's, and what it is answered.

A file's bytes go piece by piece, each of them asked for or acknowledged before the next: neither
side holds more than one.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """One thing that is asked."""


class NewUploadUrl(_Request, frozen=True):
    """Return a URL for an upload; answered by `Text`."""

    component: str


class UrlOf(_Request, frozen=True):
    """Return a file's URL, one that expires if that is given; answered by `Text`."""

    component: str
    file: str
    expires_s: float | None


class MetadataOf(_Request, frozen=True):
    """Return a file's document; answered by `Data`."""

    component: str
    file: str


class DeleteFile(_Request, frozen=True):
    """Delete a file; answered by `Text` without one."""

    component: str
    file: str


class BeginStore(_Request, frozen=True):
    """Begin to store a file; answered by `Opened`."""

    component: str
    content_type: str | None
    sha256: bytes | None


class StorePiece(_Request, frozen=True):
    """Add bytes to what is stored; answered by `Text` without one."""

    transfer: int
    data: bytes


class FinishStore(_Request, frozen=True):
    """Make a file of what was stored; answered by `Text`, its id."""

    transfer: int


class BeginRead(_Request, frozen=True):
    """Begin to read a file; answered by `Opened`, or by `Text` without one if there is none."""

    component: str
    file: str


class ReadPiece(_Request, frozen=True):
    """Return the next bytes; answered by `Data`, empty at the end."""

    transfer: int


class EndTransfer(_Request, frozen=True):
    """Let go of what was begun; a file that was not finished is not stored."""

    transfer: int


FileRequest: TypeAlias = (
    NewUploadUrl
    | UrlOf
    | MetadataOf
    | DeleteFile
    | BeginStore
    | StorePiece
    | FinishStore
    | BeginRead
    | ReadPiece
    | EndTransfer
)


class _Answer(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What comes of a request."""


class Text(_Answer, frozen=True):
    """A text, or none."""

    value: str | None


class Data(_Answer, frozen=True):
    """Bytes, or none."""

    value: bytes | None


class Opened(_Answer, frozen=True):
    """The number of what was begun; of a file that is read also its bytes and its type."""

    transfer: int
    size: int
    content_type: str | None


FileAnswer: TypeAlias = Text | Data | Opened
