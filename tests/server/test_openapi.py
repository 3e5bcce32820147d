"""The OpenAPI document: it has every route, and a server answers as it says, whatever it is asked."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from camber.server.described import DESCRIBED
from tests.servers import ADMIN_KEY, KITCHEN, Server

_CASES = int(os.environ.get("FUZZ_CASES", "3"))
_KEY = {"Authorization": f"Convex {ADMIN_KEY}"}
#: Those that wait for something to happen, unless they are told not to.
_WAITING = {"/api/stream_function_logs", "/api/stream_udf_execution"}
#: What may be 503: a snapshot that is too old.
_UNAVAILABLE = {"/api/query_at_ts"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A production server, which takes releases."""
    data = tmp_path_factory.mktemp("openapi")
    with Server(KITCHEN, data, "--executors", "1", command="start") as server:
        yield server


@pytest.fixture(scope="module")
def http():
    with requests.Session() as session:
        yield session


@pytest.fixture(scope="module")
def document(server, http):
    answer = http.get(f"{server.url}/api/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_the_document_is_valid_and_has_what_is_described(document):
    schemathesis.openapi.from_dict(document).validate()
    told = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    # What is described and not told would be of a route that is gone.
    described = {name.replace(":path}", "}") for name in DESCRIBED}
    assert told == {*described, "POST /http/hook"}


def test_what_needs_a_key_is_refused_without_one(server, document, http):
    refused = 0
    for path, method, operation in _operations(document):
        if operation["security"] != [{"adminKey": []}]:
            continue
        url = server.url + path.replace("{", "").replace("}", "")
        for headers, status in (({}, 403), ({"Authorization": "Convex kitchen|00"}, 401)):
            answer = http.request(method, url, headers=headers)
            assert answer.status_code == status, f"{method} {path}: {answer.text}"
            assert answer.json().keys() == {"code", "message"}
        refused += 1
    assert refused > 40


def _operations(document: dict[str, Any]):
    return [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_operation_answers_as_the_document_says(server, document, http, mode):
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=server.url)
    asked = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        told = document["paths"][operation.path][operation.method]
        if mode is GenerationMode.NEGATIVE and not _can_be_asked_wrongly(told):
            continue
        _ask(http, operation, operation.as_strategy(generation_mode=mode))
        asked += 1
    assert asked > 25
    assert not [line for line in server.output if "Traceback" in line]


def _can_be_asked_wrongly(operation: dict[str, Any]) -> bool:
    schemas = [
        content["schema"]
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
        if kind == "application/json"
    ]
    return any(schemas) or any(each["in"] == "query" for each in operation.get("parameters", []))


def _ask(http, operation, strategy):
    @given(case=strategy)
    @settings(
        max_examples=_CASES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case):
        if operation.path in _WAITING:
            case.query = {**(case.query or {}), "hold": 0}
        # No route takes line breaks in its path.
        parts = (case.path_parameters or {}).values()
        assume(not any("\n" in unquote(str(part)) for part in parts))
        answer = case.call(session=http, headers=_KEY, timeout=30)
        allowed = {503} if operation.path in _UNAVAILABLE else set()
        assert answer.status_code < 500 or answer.status_code in allowed, (
            f"{operation.label}: {answer.status_code} {answer.text}"
        )
        case.validate_response(
            answer,
            checks=[
                status_code_conformance,
                content_type_conformance,
                response_schema_conformance,
            ],
        )

    ask()
