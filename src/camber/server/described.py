"""What each route of the HTTP API takes and answers, as JSON Schema: the source of the OpenAPI document.

Data only. A route is named by its method and its path as it is declared. What clients send is told as
strictly as it is read; what they are answered, as exactly as it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from camber import limits
from camber.identity.operations import Operation
from camber.transfer.importing import ImportMode
from camber.transfer.sources import ImportFormat

Schema: TypeAlias = dict[str, Any]


class Access(Enum):
    """Who may ask."""

    #: Everybody; a key changes nothing.
    OPEN = "open"
    #: Everybody; a key opens more, and one that is not valid is refused.
    CALLER = "caller"
    #: Holders of an admin key.
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Whole:
    """A body or an answer that is no JSON object: its media type, and what it is."""

    media_type: str
    schema: Schema


class Untold(Enum):
    """An answer that nobody here knows."""

    ANYTHING = "anything"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One route. An `answer` is JSON of a schema, text or bytes of a media type, or empty.

    None stands for a route that never succeeds.
    """

    summary: str
    access: Access
    answer: Schema | Whole | Untold | str | None = ""
    body: Schema | Whole | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    status: int = 200
    #: Statuses of failures beyond those of everybody with this access, and their body if it is another.
    failures: tuple[str, ...] = ()
    failure: Schema | None = None
    allowed_by: Operation | None = None


# Words of the schemas.

_TEXT: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}
_NUMBER: Final[Schema] = {"type": "number"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_NULL: Final[Schema] = {"type": "null"}
_ANY: Final[Schema] = {}
_BYTES: Final = Whole("application/octet-stream", {"type": "string", "format": "binary"})
_OFF_ON: Final[Schema] = {"type": "string", "enum": ["true", "false"]}


def _object(properties: Mapping[str, Schema], *optional: str) -> Schema:
    """Return the schema of an object that has these fields and no others."""
    return {**_open(properties, *optional), "additionalProperties": False}


def _open(properties: Mapping[str, Schema], *optional: str) -> Schema:
    """Return the schema of an object that has these fields, and perhaps others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
    }


def _list(items: Schema, **more: int) -> Schema:
    return {"type": "array", "items": items, **more}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, _NULL]}


# Calls of functions.

_FORMAT: Final[Schema] = {
    "type": "string",
    "enum": ["json", "convex_clean_json", "convex_encoded_json", "convex_json", "export_json"],
    "description": "How values are written: protocol 1.3.",
}
_PATH: Final[Schema] = {
    "type": "string",
    "description": "A function: module:name.",
    "examples": ["messages:list"],
}
_ARGUMENTS: Final[Schema] = {
    "description": "The arguments, an object; in a list of one as well.",
    "anyOf": [{"type": "object"}, _list({"type": "object"}, minItems=1, maxItems=1)],
}
_TIMESTAMP: Final[Schema] = {
    "type": "string",
    "description": "A timestamp: 8 bytes, little-endian, base64.",
    "pattern": "^[A-Za-z0-9+/]{11}=$",
}
_CALL: Final = {
    "path": _PATH,
    "args": _ARGUMENTS,
    "format": _or_null(_FORMAT),
    "componentPath": _or_null(_TEXT),
}
_CALL_BODY: Final = _open(_CALL, "args", "format", "componentPath")
_RESULT: Final[Schema] = {
    "oneOf": [
        _object(
            {"status": {"const": "success"}, "value": _ANY, "logLines": _list(_TEXT)}, "logLines"
        ),
        _object(
            {
                "status": {"const": "error"},
                "errorMessage": _TEXT,
                "errorData": _ANY,
                "logLines": _list(_TEXT),
            },
            "errorData",
            "logLines",
        ),
    ]
}


# Explanations.

_BOUND: Final[Schema] = _or_null(
    {
        **_object({"values": _list(_ANY), "inclusive": _FLAG}),
        "description": "Keys that begin with these values, by the order of `fields`.",
    }
)
_ADVICE: Final[Schema] = _object(
    {
        "table": _TEXT,
        "index": _TEXT,
        "fields": _list(_TEXT),
        "declaration": {
            **_or_null(_TEXT),
            "description": "Code for the table; null if the index is there.",
        },
        "query": {"type": "string", "description": "Code that reads by it."},
        "notes": _list(_TEXT),
    }
)
_FUNCTION_KIND: Final[Schema] = {"enum": ["query", "mutation"]}
_EXPLANATION: Final[Schema] = _object(
    {
        "path": _TEXT,
        "componentPath": _TEXT,
        "type": _FUNCTION_KIND,
        "ts": _TEXT,
        "failure": _or_null(_TEXT),
        "resultBytes": _COUNT,
        "documentsRead": _COUNT,
        "bytesRead": _COUNT,
        "userMs": _NUMBER,
        "functions": _list(
            _object(
                {
                    "path": _TEXT,
                    "componentPath": _TEXT,
                    "type": _FUNCTION_KIND,
                    "caller": _or_null(_COUNT),
                    "times": _COUNT,
                    "items": _or_null(_COUNT),
                }
            )
        ),
        "scans": _list(
            _object(
                {
                    "function": _or_null(_COUNT),
                    "forRules": _FLAG,
                    "componentPath": _TEXT,
                    "table": _TEXT,
                    "index": _TEXT,
                    "fields": _list(_TEXT),
                    "conditions": _list(_TEXT),
                    "search": _or_null(_TEXT),
                    "order": {"enum": ["asc", "desc"]},
                    "ending": _TEXT,
                    "where": _or_null(_TEXT),
                    "times": _COUNT,
                    "documents": _COUNT,
                    "bytes": _COUNT,
                    "withheldByRules": _COUNT,
                    "hidden": _FLAG,
                    "passed": _COUNT,
                    "hits": _or_null(_COUNT),
                    "filtered": _FLAG,
                    "advice": _or_null(_ADVICE),
                }
            )
        ),
        "scansNotCounted": _COUNT,
        "documentsById": _list(
            _object({"componentPath": _TEXT, "table": _TEXT, "documents": _COUNT})
        ),
        "reads": _list(
            _object(
                {
                    "kind": {"enum": ["index", "document", "search", "system"]},
                    "componentPath": _TEXT,
                    "table": _TEXT,
                    "index": _TEXT,
                    "fields": _list(_TEXT),
                    "from": _BOUND,
                    "to": _BOUND,
                    "search": _or_null(
                        _object(
                            {
                                "terms": _list(_TEXT),
                                "prefix": _or_null(_TEXT),
                                "conditions": _list(_TEXT),
                            }
                        )
                    ),
                    "nearest": _or_null(
                        _object(
                            {
                                "score": _or_null(_NUMBER),
                                "id": _or_null(_TEXT),
                                "conditions": _list(_TEXT),
                            }
                        )
                    ),
                    "words": _TEXT,
                    "invalidatedBy": _TEXT,
                }
            ),
            maxItems=limits.explained_reads_max,
        ),
        "readsInAll": _COUNT,
        "readsIdentity": _FLAG,
        "readsClock": _FLAG,
        "written": _list(
            _object(
                {
                    "componentPath": _TEXT,
                    "table": _TEXT,
                    "inserted": _COUNT,
                    "changed": _COUNT,
                    "deleted": _COUNT,
                }
            )
        ),
        "scheduled": _COUNT,
        "cache": _or_null(
            _object(
                {
                    "kept": _FLAG,
                    "holdsSince": _or_null(_TEXT),
                    "watchers": _COUNT,
                    "bytes": _COUNT,
                    "personal": _FLAG,
                    "failure": _FLAG,
                }
            )
        ),
        "logLines": _list(_TEXT),
    }
)
_EXPLAINED: Final[Schema] = {
    "oneOf": [
        _object({"status": {"const": "success"}, "value": _EXPLANATION}),
        _object({"status": {"const": "error"}, "errorMessage": _TEXT}),
    ]
}


def _call(summary: str, body: Schema = _CALL_BODY) -> Described:
    return Described(summary=summary, access=Access.CALLER, body=body, answer=_RESULT)


def _open_text(summary: str) -> Described:
    return Described(summary=summary, access=Access.OPEN, answer="text/plain")


def _key(
    summary: str,
    allowed_by: Operation | None,
    *,
    answer: Schema | Whole | str | None = "",
    body: Schema | Whole | None = None,
    query: Mapping[str, Schema] | None = None,
    required: tuple[str, ...] = (),
    failures: tuple[str, ...] = (),
) -> Described:
    return Described(
        summary=summary,
        access=Access.KEY,
        allowed_by=allowed_by,
        answer=answer,
        body=body,
        query=query or {},
        required=required,
        failures=failures,
    )


#: Any route of the application's: the document has those that it declares, too.
HTTP_ACTION: Final = Described(
    summary="An HTTP action, or an application that is mounted on the site.",
    access=Access.OPEN,
    answer=Untold.ANYTHING,
)

_ANY_METHOD: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")

_CALLS: Final = {
    "GET /api/query": Described(
        summary="Run a query; clients that cannot send a body use this.",
        access=Access.CALLER,
        query={
            "path": _PATH,
            "args": {"type": "string", "description": "Arguments as JSON.", "examples": ["{}"]},
            "format": _FORMAT,
        },
        required=("path",),
        answer=_RESULT,
    ),
    "POST /api/query": _call("Run a query."),
    "POST /api/mutation": _call("Run a mutation; it is durable when it is answered."),
    "POST /api/action": _call("Run an action."),
    "POST /api/function": Described(
        summary="Run a function of any kind, internal ones too.",
        access=Access.KEY,
        body=_CALL_BODY,
        answer=_RESULT,
    ),
    "POST /api/run/{path:path}": _call(
        "Run a public function of any kind: /api/run/<module>/<function>.",
        _open({"args": _ARGUMENTS, "format": _or_null(_FORMAT)}, "args", "format"),
    ),
    "POST /api/query_ts": Described(
        summary="The newest timestamp, for queries that shall see one moment.",
        access=Access.OPEN,
        answer=_object({"ts": _TIMESTAMP}),
    ),
    "POST /api/query_at_ts": _call(
        "Run a query at a timestamp.",
        _open({**_CALL, "ts": _TIMESTAMP}, "args", "format", "componentPath"),
    ),
    "POST /api/query_batch": Described(
        summary="Run queries at one timestamp.",
        access=Access.CALLER,
        body=_open({"queries": _list(_CALL_BODY, maxItems=limits.query_batch_max)}),
        answer=_object({"results": _list(_RESULT)}),
    ),
}

_STATE: Final = {
    "GET /": _open_text("Says that a deployment is here."),
    "GET /version": _open_text("The server's version."),
    "GET /instance_version": _open_text("The server's version."),
    "GET /instance_name": _open_text("The deployment's name."),
    "GET /metrics": Described(
        summary="Metrics for Prometheus; a key may be asked for: --metrics.",
        access=Access.CALLER,
        answer="text/plain",
        failures=("403",),
    ),
    "GET /api/health": Described(
        summary="Whether requests may be sent here.",
        access=Access.OPEN,
        answer=_object({"status": {"enum": ["ok", "waiting"]}}),
        failures=("503",),
        failure=_object({"status": {"const": "stopping"}}),
    ),
    "GET /api/openapi.json": Described(
        summary="This document.", access=Access.OPEN, answer={"type": "object"}
    ),
    "POST /echo": Described(
        summary="Sends the body back.",
        access=Access.OPEN,
        body=_BYTES,
        answer=Whole("*/*", {}),
        failures=("413",),
    ),
    "POST /api/debug_event": Described(
        summary="Takes what clients tell of themselves, and forgets it.",
        access=Access.OPEN,
        body=Whole("application/json", _ANY),
        status=204,
        failures=("400",),
    ),
    **{f"{each} /http/{{path:path}}": HTTP_ACTION for each in _ANY_METHOD},
}

# Releases.

_RELEASE: Final = _object(
    {
        "release": _COUNT,
        "time": _NUMBER,
        "digest": _TEXT,
        "origin": _TEXT,
        "message": _TEXT,
        "serves": _FLAG,
        "isKept": _FLAG,
        "functions": _COUNT,
        "functionsAdded": _list(_TEXT),
        "functionsRemoved": _list(_TEXT),
        "tablesAdded": _list(_TEXT),
        "tablesRemoved": _list(_TEXT),
        "indexesAdded": _list(_TEXT),
        "indexesRemoved": _list(_TEXT),
        "providersAdded": _list(_TEXT),
        "providersRemoved": _list(_TEXT),
    }
)
_STAGES: Final = Whole(
    "application/x-ndjson",
    {"type": "string", "description": "A line for each stage; the last has `result` or `error`."},
)
_DEPLOYS: Final = {
    "POST /api/deploy": _key(
        "Upload a release and let it serve.",
        Operation.DEPLOY,
        query={
            "digest": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "message": {"type": "string", "maxLength": limits.release_message_bytes_max},
            "dry_run": _OFF_ON,
            "drop_large_indexes": _OFF_ON,
        },
        required=("digest",),
        body=_BYTES,
        answer=_STAGES,
        failures=("408", "409"),
    ),
    "POST /api/deploy/rollback": _key(
        "Let an earlier release serve again.",
        Operation.DEPLOY,
        body=_open(
            {
                "release": _or_null({"type": "integer"}),
                "message": {"type": "string", "maxLength": limits.release_message_bytes_max},
                "dryRun": _FLAG,
                "dropLargeIndexes": _FLAG,
            },
            "release",
            "message",
            "dryRun",
            "dropLargeIndexes",
        ),
        answer=_STAGES,
        failures=("409",),
    ),
    "GET /api/deploy/releases": _key(
        "The last releases.",
        Operation.DEPLOY,
        answer=_object({"releases": _list(_RELEASE)}),
        failures=("409",),
    ),
}

# Operators.

_VARIABLES: Final = _object({"environmentVariables": _map(_TEXT)})
_CHANGES: Final = _open(
    {"changes": _list(_open({"name": _TEXT, "value": _or_null(_TEXT)}, "value"))}
)
_URLS: Final = _object({"convexCloudUrl": _or_null(_TEXT), "convexSiteUrl": _or_null(_TEXT)})
_ISSUED_KEY: Final = {
    "id": _TEXT,
    "name": _TEXT,
    "allows": _list({"enum": [each.value for each in Operation]}),
    "created": _NUMBER,
    "expires": _or_null(_NUMBER),
    "hasExpired": _FLAG,
}
_INDEX_FIELDS: Final = {
    "anyOf": [
        _list(_TEXT),
        _object({"searchField": _TEXT, "filterFields": _list(_TEXT)}),
        _object({"vectorField": _TEXT, "dimensions": _NUMBER, "filterFields": _list(_TEXT)}),
    ]
}
_INDEX: Final = _object({"name": _TEXT, "fields": _INDEX_FIELDS, "state": _TEXT})
_ADMIN: Final = {
    "GET /api/check_admin_key": _key(
        "What the key allows.",
        None,
        answer=_object({"success": _FLAG, "allowedOps": _list(_TEXT), "isReadOnly": _FLAG}),
    ),
    "GET /api/shapes2": _key(
        "What documents of each table look like.",
        Operation.VIEW_DATA,
        query={"component": _TEXT},
        answer=_map(_open({"type": _TEXT})),
    ),
    "GET /api/get_indexes": _key(
        "The indexes of all tables.",
        Operation.VIEW_DATA,
        query={"componentId": _TEXT},
        answer=_object(
            {
                "indexes": _list(
                    _object(
                        {
                            "table": _TEXT,
                            "name": _TEXT,
                            "fields": _INDEX_FIELDS,
                            "backfill": _object({"state": {"enum": ["in_progress", "done"]}}),
                            "staged": _FLAG,
                        }
                    )
                )
            }
        ),
    ),
    "POST /api/delete_tables": _key(
        "Remove all documents of tables that are not declared.",
        Operation.WRITE_DATA,
        body=_open({"tableNames": _list(_TEXT), "componentId": _or_null(_TEXT)}, "componentId"),
    ),
    "POST /api/delete_component": _key(
        "Remove all data of a component that is mounted no more, and of what was mounted in it.",
        Operation.WRITE_DATA,
        body=_open({"componentId": _TEXT}),
        answer=_object({"documents": _COUNT, "files": _COUNT, "scheduledFunctions": _COUNT}),
    ),
    "GET /api/camber/components": _key(
        "The components that are mounted, or have data, and how much.",
        Operation.VIEW_DATA,
        answer=_object(
            {
                "components": _list(
                    _object(
                        {
                            "path": _TEXT,
                            "state": {
                                "type": "string",
                                "enum": ["mounted", "unmounted", "being deleted"],
                            },
                            "documents": _map(_COUNT),
                            "files": _COUNT,
                            "fileBytes": _COUNT,
                            "scheduledFunctions": _COUNT,
                        }
                    )
                )
            }
        ),
    ),
    "POST /api/cancel_job": _key(
        "Cancel a scheduled function.",
        Operation.RUN_FUNCTIONS,
        body=_open({"id": _TEXT, "componentId": _or_null(_TEXT)}, "componentId"),
    ),
    "POST /api/cancel_all_jobs": _key(
        "Cancel all scheduled functions of a path, or all there are, that wait to run.",
        Operation.RUN_FUNCTIONS,
        body=_open(
            {"udfPath": _or_null(_TEXT), "componentPath": _or_null(_TEXT)},
            "udfPath",
            "componentPath",
        ),
        answer=_object({"canceled": _NUMBER}),
    ),
    "POST /api/run_test_function": _key(
        "Refuses inline queries: their source is JavaScript.",
        Operation.RUN_FUNCTIONS,
        answer=_object({"status": {"const": "error"}, "errorMessage": _TEXT}),
    ),
    "POST /api/camber/explain": _key(
        "Run a query or mutation, write nothing, and say what it reads. Needs data:view as well.",
        Operation.RUN_FUNCTIONS,
        body=_open(
            {"path": _PATH, "args": _ARGUMENTS, "componentPath": _or_null(_TEXT)},
            "args",
            "componentPath",
        ),
        answer=_EXPLAINED,
    ),
    "GET /api/camber/keys": _key(
        "The keys that were issued.",
        Operation.MANAGE_KEYS,
        answer=_object({"keys": _list(_object(_ISSUED_KEY))}),
    ),
    "POST /api/camber/keys": _key(
        "Issue a key.",
        Operation.MANAGE_KEYS,
        body=_open(
            {
                "name": {"type": "string", "maxLength": limits.admin_key_name_length_max},
                "allows": _list({"enum": [each.value for each in Operation]}),
                "lifetimeS": _or_null(_NUMBER),
            },
            "lifetimeS",
        ),
        answer=_object({**_ISSUED_KEY, "key": _TEXT}),
    ),
    "POST /api/camber/keys/revoke": _key(
        "Revoke a key.",
        Operation.MANAGE_KEYS,
        body=_open({"key": {"type": "string", "description": "Its name or its id."}}),
        answer=_object(_ISSUED_KEY),
        failures=("404",),
    ),
    "POST /api/camber/signing_keys/rotate": _key(
        "Sign the tokens of users with a new key.",
        Operation.WRITE_ENVIRONMENT,
        body=_open(
            {
                "trustedS": {
                    "type": "number",
                    "minimum": 0,
                    "maximum": limits.signing_key_trusted_s_max,
                    "description": "For how long the keys before it are trusted.",
                }
            }
        ),
        answer=_object(
            {
                "kid": _TEXT,
                "trusted": _list(_object({"kid": _or_null(_TEXT), "until": _NUMBER})),
            }
        ),
    ),
    "POST /api/storage/upload": Described(
        summary="Upload a file by a URL that storage.generate_upload_url gave, once.",
        access=Access.OPEN,
        query={"token": _TEXT},
        required=("token",),
        body=_BYTES,
        answer=_object({"storageId": _TEXT}),
        failures=("400", "401", "408", "409", "413", "500", "503"),
    ),
    "GET /api/storage/{name}": Described(
        summary="Download a file, or one range of it, by a URL that storage.get_url gave.",
        access=Access.OPEN,
        query={"expires": _TEXT, "signature": _TEXT},
        answer=_BYTES,
        failures=("400", "403", "404", "412", "416", "500"),
    ),
    "GET /api/camber/status": _key(
        "What runs here.",
        Operation.VIEW_DATA,
        answer=_object(
            {
                "version": _TEXT,
                "name": _TEXT,
                "cloudUrl": _or_null(_TEXT),
                "siteUrl": _or_null(_TEXT),
                "release": _or_null(
                    _object({"number": _COUNT, "time": _NUMBER, "origin": _TEXT, "message": _TEXT})
                ),
                "newestTimestamp": _TEXT,
                "functions": _COUNT,
                "httpRoutes": _COUNT,
                "components": _list(_TEXT),
                "tables": _list(
                    _object(
                        {
                            "name": _TEXT,
                            "declared": _FLAG,
                            "documents": _COUNT,
                            "indexes": _list(_INDEX),
                        }
                    )
                ),
                "clients": _COUNT,
            }
        ),
    ),
    **{
        f"{method} {prefix}{path}": described
        for prefix in ("/api", "/api/v1")
        for method, path, described in (
            (
                "POST",
                "/update_environment_variables",
                _key("Set and remove variables.", Operation.WRITE_ENVIRONMENT, body=_CHANGES),
            ),
            (
                "GET",
                "/list_environment_variables",
                _key("The variables.", Operation.VIEW_ENVIRONMENT, answer=_VARIABLES),
            ),
            ("GET", "/get_canonical_urls", _key("Where clients find this.", None, answer=_URLS)),
            (
                "POST",
                "/update_canonical_url",
                _key(
                    "Say where clients find this.",
                    Operation.WRITE_ENVIRONMENT,
                    body=_open(
                        {
                            "requestDestination": {"enum": ["convexCloud", "convexSite"]},
                            "url": _or_null(_TEXT),
                        },
                        "url",
                    ),
                ),
            ),
            (
                "GET",
                "/deployment_info",
                _key("What this is.", None, answer=_object({"kind": {"const": "selfHosted"}})),
            ),
        )
    },
    **{
        f"POST {path}": Described(
            summary="Refused: it would push JavaScript.",
            access=Access.OPEN,
            answer=None,
            failures=("400",),
        )
        for path in (
            "/api/deploy2/{path:path}",
            "/api/push_config",
            "/api/get_config",
            "/api/get_config_hashes",
        )
    },
}

# Exports and imports.

_IMPORT: Final = {
    "format": {"enum": [each.value for each in ImportFormat]},
    "mode": {"enum": [each.value for each in ImportMode]},
    "tableName": _TEXT,
}
_IMPORT_ID: Final = _open({"importId": _TEXT})
_TRANSFERS: Final = {
    "POST /api/export/request/zip": _key(
        "Begin an export.",
        Operation.VIEW_DATA,
        query={"includeStorage": _OFF_ON, "component": _TEXT},
    ),
    "GET /api/export/zip/{name}": _key(
        "Download an export.",
        Operation.VIEW_DATA,
        answer=Whole("application/zip", {"type": "string", "format": "binary"}),
        failures=("404",),
    ),
    "POST /api/export/set_expiration/{id}": _key(
        "Say until when an export is kept.",
        Operation.VIEW_DATA,
        body=_open(
            {"expirationTsNs": {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**63}}
        ),
        failures=("404",),
    ),
    "POST /api/export/cancel/{id}": _key(
        "Cancel an export.", Operation.VIEW_DATA, failures=("404",)
    ),
    "POST /api/import": _key(
        "Import the body.",
        Operation.WRITE_DATA,
        query={**_IMPORT, "componentPath": _TEXT},
        required=("format",),
        body=_BYTES,
        answer=_object({"numWritten": _COUNT}),
    ),
    "POST /api/import/start_upload": _key(
        "Begin an upload in parts.", Operation.WRITE_DATA, answer=_object({"uploadToken": _TEXT})
    ),
    "POST /api/import/upload_part": _key(
        "Upload a part.",
        Operation.WRITE_DATA,
        query={
            "uploadToken": _TEXT,
            "partNumber": {"type": "integer", "minimum": 1, "maximum": limits.import_parts_max},
        },
        required=("uploadToken", "partNumber"),
        body=_BYTES,
        answer=_ANY,
    ),
    "POST /api/import/finish_upload": _key(
        "Say what the uploaded parts are; the import waits to be confirmed.",
        Operation.WRITE_DATA,
        body=_open(
            {
                "import": _open(_IMPORT, "mode", "tableName"),
                "uploadToken": _TEXT,
                "partTokens": _list(_ANY),
            }
        ),
        answer=_object({"importId": _TEXT}),
    ),
    "POST /api/perform_import": _key(
        "Confirm an import.",
        Operation.WRITE_DATA,
        body=_IMPORT_ID,
        answer=_NULL,
        failures=("404",),
    ),
    "POST /api/cancel_import": _key(
        "Cancel an import.", Operation.WRITE_DATA, body=_IMPORT_ID, answer=_NULL, failures=("404",)
    ),
}

# Systems that follow the data, and that write it.

_SELECTION: Final = {
    "format": _FORMAT,
    "tableName": _TEXT,
    "component": _TEXT,
}
_MOMENT: Final[Schema] = {
    "type": "integer",
    "minimum": 0,
    "exclusiveMaximum": 2**63,
    "description": "A timestamp in nanoseconds.",
}
_ROWS: Final = _list({"type": "object"})
_LISTED: Final = _object(
    {"values": _ROWS, "snapshot": _COUNT, "cursor": _or_null(_TEXT), "hasMore": _FLAG}
)
_DELTAS: Final = _object({"values": _ROWS, "cursor": _COUNT, "hasMore": _FLAG})


def _following(
    summary: str, query: Mapping[str, Schema], required: tuple[str, ...], answer: Schema
) -> dict[str, Described]:
    """Return a route that takes what it asks for in its URL or in a body."""
    optional = [name for name in (*_SELECTION, *query, "selection") if name not in required]
    body = {**_SELECTION, **query, "selection": _or_null({"type": "object"})}
    return {
        "GET": _key(
            summary,
            Operation.VIEW_DATA,
            query={**_SELECTION, **query},
            required=required,
            answer=answer,
        ),
        "POST": _key(summary, Operation.VIEW_DATA, body=_open(body, *optional), answer=answer),
    }


_STREAMS: Final = {
    **{
        f"{method} /api/list_snapshot": described
        for method, described in _following(
            "List all documents as of one moment.",
            {"snapshot": _MOMENT, "cursor": _TEXT},
            (),
            _LISTED,
        ).items()
    },
    **{
        f"{method} /api/document_deltas": described
        for method, described in _following(
            "What has changed since a moment.", {"cursor": _MOMENT}, ("cursor",), _DELTAS
        ).items()
    },
    "GET /api/json_schemas": _key(
        "JSON Schemas of the tables.",
        Operation.VIEW_DATA,
        query={"format": _FORMAT, "deltaSchema": _OFF_ON, "byComponent": _OFF_ON},
        answer={"type": "object"},
    ),
    "GET /api/get_table_column_names": _key(
        "The fields of the tables.",
        Operation.VIEW_DATA,
        answer=_object(
            {"byComponent": _map(_list(_object({"name": _TEXT, "columns": _list(_TEXT)})))}
        ),
    ),
    "GET /api/test_streaming_export_connection": _key(
        "Whether the key is good for that.", Operation.VIEW_DATA, answer=_NULL
    ),
}
_NAMED_FIELD: Final = _list(_list(_TEXT))


def _writing(summary: str, body: Schema | None, answer: Schema | str = "") -> Described:
    return _key(summary, Operation.WRITE_DATA, body=body, answer=answer)


_WRITES: Final = {
    "POST /api/streaming_import/import_airbyte_records": _writing(
        "Write records of Airbyte.",
        _open(
            {
                "tables": _map(_ANY),
                "messages": _list(_open({"tableName": _TEXT, "data": {"type": "object"}})),
            }
        ),
    ),
    "PUT /api/streaming_import/clear_tables": _writing(
        "Remove all documents of tables.", _open({"tableNames": _list(_TEXT)})
    ),
    "POST /api/streaming_import/replace_tables": _key(
        "Refused: syncs that overwrite are not supported.", Operation.WRITE_DATA, answer=None
    ),
    "PUT /api/streaming_import/add_primary_key_indexes": _writing(
        "Take note of primary keys.", _open({"indexes": _map(_NAMED_FIELD)})
    ),
    "GET /api/streaming_import/primary_key_indexes_ready": _key(
        "Whether primary keys can be used; the body has `tables`.",
        Operation.WRITE_DATA,
        answer=_object({"indexesReady": _FLAG}),
    ),
    "GET /api/streaming_import/get_schema": _key(
        "The declared tables.",
        Operation.WRITE_DATA,
        answer=_or_null(_object({"tables": _list({"type": "object"}), "schemaValidation": _FLAG})),
    ),
    "POST /api/streaming_import/apply_fivetran_operations": _writing(
        "Write operations of Fivetran.", _list({"type": "object"})
    ),
    "POST /api/streaming_import/fivetran_truncate_table": _writing(
        "Remove documents that were synced before a moment.",
        _open(
            {
                "tableName": _TEXT,
                "deleteType": {"enum": ["SoftDelete", "HardDelete"]},
                "deleteBefore": _or_null({"type": "string", "format": "date-time"}),
            },
            "deleteBefore",
        ),
    ),
    "POST /api/streaming_import/fivetran_create_table": _writing(
        "Make a table.", _open({"tableDefinition": _open({"name": _TEXT})})
    ),
}

# The log of functions.

_LOG_QUERY: Final[Mapping[str, Schema]] = {
    "cursor": {
        "type": "number",
        "description": "0 at first, then the newCursor of the last answer.",
    },
    "hold": {"type": "integer", "minimum": 0, "maximum": int(limits.function_log_hold_s)},
}
_ENTRIES: Final = _object({"entries": _list({"type": "object"}), "newCursor": _NUMBER})
_LOGS: Final = {
    "GET /api/stream_function_logs": _key(
        "What functions logged after a cursor; waits for it.",
        Operation.VIEW_LOGS,
        query={**_LOG_QUERY, "sessionId": _TEXT, "clientRequestCounter": _COUNT},
        required=("cursor",),
        answer=_ENTRIES,
    ),
    "GET /api/stream_udf_execution": _key(
        "What functions ended after a cursor; waits for it.",
        Operation.VIEW_LOGS,
        query=_LOG_QUERY,
        required=("cursor",),
        answer=_ENTRIES,
    ),
}

DESCRIBED: Final[Mapping[str, Described]] = {
    **_STATE,
    **_CALLS,
    **_DEPLOYS,
    **_ADMIN,
    **_TRANSFERS,
    **_STREAMS,
    **_WRITES,
    **_LOGS,
}
