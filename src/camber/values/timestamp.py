"""Commit timestamps: nanoseconds since the Unix epoch, one per commit, never going back."""

from __future__ import annotations

from typing import TypeAlias

#: Nanoseconds since the Unix epoch, below 2**63 (protocol 3.5).
Timestamp: TypeAlias = int
