"""Documents of the system tables that applications may read with `ctx.db.system`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from camber.schema.table import DeclaredTable, Table, resolve_tables
from camber.values.value import UNSET


class StoredFile(Table, table="_storage"):
    """A stored file; `Id[StoredFile]` is its id. `size` is in bytes."""

    sha256: str
    size: int
    content_type: str | None = msgspec.field(default=None, name="contentType")


class ScheduledState(msgspec.Struct, frozen=True):
    """What has become of a scheduled function; `error` is there when it failed."""

    kind: Literal["pending", "inProgress", "success", "failed", "canceled"]
    #: Left out, and not null, where there is none: clients of Convex count on that.
    reason: str = msgspec.field(default=UNSET, name="error")

    @property
    def error(self) -> str | None:
        """Return why it failed, if it did."""
        return None if self.reason is UNSET else self.reason


class ScheduledFunction(Table, table="_scheduled_functions"):
    """A function scheduled to run; times are milliseconds since the Unix epoch."""

    name: str
    args: list[Any]
    scheduled_time: float = msgspec.field(name="scheduledTime")
    #: Left out until then.
    ended: float = msgspec.field(default=UNSET, name="completedTime")
    state: ScheduledState

    @property
    def completed_time(self) -> float | None:
        """Return when it came to its end, if it has."""
        return None if self.ended is UNSET else self.ended


#: By table name, compiled.
SYSTEM_DOCUMENTS: dict[str, DeclaredTable] = {
    cls.__camber__.name: cls.__camber__ for cls in (StoredFile, ScheduledFunction)
}
resolve_tables(SYSTEM_DOCUMENTS.values())
