"""All system queries, by path.

A module of queries has its line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from camber.runtime.system_functions import application, data, environment, jobs, transfers
from camber.runtime.system_functions.declaring import SystemQuery

SYSTEM_QUERIES: Final[Mapping[str, SystemQuery]] = {
    query.path: query
    for queries in (
        application.QUERIES,
        data.QUERIES,
        environment.QUERIES,
        jobs.QUERIES,
        transfers.QUERIES,
    )
    for query in queries
}


def find_system_query(path: str) -> SystemQuery | None:
    """Return the system query of a path with its export, or None if there is none."""
    return SYSTEM_QUERIES.get(path)
