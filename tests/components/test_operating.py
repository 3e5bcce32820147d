"""Components as operators and clients meet them: a server of the example ledger, and the commands."""

from __future__ import annotations

import json
import shutil
import zipfile

import httpx
import pytest

from tests.cli.commands import camber, said, told
from tests.servers import ADMIN_KEY, LEDGER, Server


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    root = tmp_path_factory.mktemp("ledger") / "project"
    shutil.copytree(LEDGER, root, ignore=shutil.ignore_patterns("__pycache__", ".camber"))
    with Server(root, root.parent / "data") as server:
        server.value("mutation", "orders:deposit", {"customer": "ada", "amount": 500})
        server.value("mutation", "orders:place", {"customer": "ada", "price": 800})
        yield server


@pytest.fixture
def run(ledger):
    def run(command, *arguments, **more):
        target = ("--url", ledger.url, "--admin-key", ADMIN_KEY)
        return camber(command, *arguments, *target, **more)

    return run


def test_a_function_of_a_component_is_run_by_admins(run):
    total = said(run("run", "entries:total", '{"account": "ada"}', "--component", "cash"))
    assert json.loads(total) == {"amount": 500, "currency": "EUR"}
    for component, told_so in (
        ("nowhere", "No component is mounted at 'nowhere'. There are: 'cash', 'credit'"),
        ("../cash", "No component is mounted at '../cash'. There are: 'cash', 'credit'"),
    ):
        failed = told(run("run", "entries:total", '{"account": "a"}', "--component", component))
        assert told_so in failed
    misspelt = told(run("run", "entries:totl", "--component", "cash"))
    assert "Could not find function for 'cash/entries:totl'" in misspelt
    assert "There are: entries:total" in misspelt


def test_a_deployment_says_what_is_mounted(run):
    said_so = said(run("status"))
    assert "components  cash, credit\n" in said_so


def test_clients_reach_no_function_of_a_component(ledger):
    body = {"path": "entries:total", "args": {"account": "ada"}, "componentPath": "cash"}
    answer = ledger.post("/api/query", body).json()
    assert "Could not find public function" in answer["errorMessage"]
    body["path"] = "cash/entries:total"
    assert "Could not find public" in ledger.post("/api/query", body).json()["errorMessage"]


def test_the_tables_and_documents_of_a_component_are_shown(run):
    listed = json.loads(said(run("data", "--component", "cash", "--format", "json")))
    assert listed == {"entries": 1, "balances": 1, "listeners": 0}
    assert sorted(json.loads(said(run("data", "--format", "json")))) == ["notices", "orders"]
    (entry,) = json.loads(said(run("data", "entries", "--component", "cash", "--format", "json")))
    assert (entry["account"], entry["amount"]) == ("ada", 500)
    assert "there is no table 'entries'" in told(run("data", "entries"))


def test_a_snapshot_has_the_components_and_restores_them(run, ledger, tmp_path):
    snapshot = tmp_path / "all.zip"
    said(run("export", "--path", snapshot))
    with zipfile.ZipFile(snapshot) as archive:
        names = archive.namelist()
        entries = archive.read("_components/cash/entries/documents.jsonl")
    assert "_components/credit/_tables/documents.jsonl" in names
    assert json.loads(entries)["amount"] in {500}
    before = ledger.value("query", "orders:balances", {"customer": "ada"})
    assert before == {"cash": 500, "credit": -800}

    ledger.value("mutation", "orders:deposit", {"customer": "ada", "amount": 7})
    said(run("import", snapshot, "--replace-all", "--yes"))
    assert ledger.value("query", "orders:balances", {"customer": "ada"}) == before

    of_cash = tmp_path / "cash.zip"
    said(run("export", "--path", of_cash, "--component", "cash"))
    with zipfile.ZipFile(of_cash) as archive:
        tables = [name for name in archive.namelist() if name.endswith("/documents.jsonl")]
    assert {name.split("/")[1] for name in tables if name.startswith("_components")} == {"cash"}
    assert not any(name.startswith("orders") for name in tables)


def test_a_table_of_a_component_is_exported_and_imported(run, tmp_path):
    file = tmp_path / "listeners.jsonl"
    file.write_text('{"handle": "function://;orders:noted"}\n')
    options = ("--component", "credit", "--table", "listeners", "--replace", "--yes")
    said(run("import", file, *options))
    written = tmp_path / "out.jsonl"
    said(run("export", "--path", written, "--component", "credit", "--table", "listeners"))
    assert json.loads(written.read_text())["handle"] == "function://;orders:noted"
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"nothing": 1}\n')
    failed = run("import", wrong, *options)
    assert (failed.returncode, "missing the required field" in failed.stderr) == (1, True), (
        failed.stderr
    )


def test_a_component_that_there_is_not_is_told_by_every_command(run, ledger, tmp_path):
    file = tmp_path / "listeners.jsonl"
    file.write_text("{}\n")
    there = "No component is mounted at 'nope'. There are: 'cash', 'credit'"
    for command in (
        ("data",),
        ("data", "--format", "json"),
        ("data", "entries"),
        ("data", "_storage"),
        ("run", "entries:total", "{}"),
        ("export", "--path", tmp_path / "out.zip"),
        ("export", "--path", tmp_path / "out.jsonl", "--table", "entries"),
        ("import", file, "--table", "entries", "--yes"),
    ):
        assert there in told(run(*command, "--component", "nope")), command
    admin = {"Authorization": f"Convex {ADMIN_KEY}"}
    for method, path, body in (
        ("GET", "/api/shapes2?component=nope", None),
        ("GET", "/api/get_indexes?componentId=nope", None),
        ("GET", "/api/list_snapshot?component=nope", None),
        ("POST", "/api/list_snapshot", {"selection": {"nope": {}}}),
        ("POST", "/api/delete_tables", {"tableNames": ["a"], "componentId": "nope"}),
        ("POST", "/api/cancel_all_jobs", {"componentPath": "nope"}),
        ("POST", "/api/cancel_all_jobs", {"componentPath": 3}),
        ("POST", "/api/export/request/zip?component=nope", {}),
    ):
        url = f"{ledger.url}{path}"
        answer = httpx.request(method, url, json=body, headers=admin)
        assert answer.status_code == 400, path
        told_so = answer.json()["message"]
        assert there in told_so or "a component is named by its path" in told_so, path


def test_streams_say_whose_a_document_is(ledger):
    admin = {"Authorization": f"Convex {ADMIN_KEY}"}
    page = ledger.post("/api/list_snapshot", {"component": "cash", "tableName": "entries"}, **admin)
    (row,) = page.json()["values"]
    assert (row["_component"], row["_table"], row["amount"]) == ("cash", "entries", 500)
    selection = {"credit": {"entries": {"_other": "excluded", "account": "included"}}}
    page = ledger.post("/api/list_snapshot", {"selection": selection}, **admin)
    (row,) = page.json()["values"]
    assert row["_component"] == "credit"
    assert "amount" not in row
