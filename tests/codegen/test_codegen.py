"""The generated files, judged by `tsc --strict`."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from camber.codegen.files import generated_files, write_generated
from camber.functions.loading import load_application
from tests.functions.projects import write_project
from tests.servers import CHAT, KITCHEN, REPOSITORY

_OPTIONS = {
    "strict": True,
    "noEmit": True,
    "target": "ES2022",
    "module": "ESNext",
    "moduleResolution": "bundler",
    "skipLibCheck": False,
    "types": [],
    "lib": ["ES2022", "DOM"],
}


def compile_with(folder, **sources):
    """Compile TypeScript files beside generated ones; return the compiler's complaints."""
    (folder / "node_modules").symlink_to(REPOSITORY / "node_modules")
    for name, source in sources.items():
        (folder / f"{name}.ts").write_text(source)
    config = {"compilerOptions": _OPTIONS, "files": [f"{name}.ts" for name in sources]}
    (folder / "tsconfig.json").write_text(json.dumps(config))
    done = subprocess.run(
        ["node", str(REPOSITORY / "node_modules/typescript/bin/tsc"), "-p", str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    return done.stdout


@pytest.fixture(scope="module")
def told_of_types(tmp_path_factory):
    """What the compiler says of the right program and of each wrong call, by file."""
    folder = tmp_path_factory.mktemp("types")
    write_generated(generated_files(load_application(KITCHEN, "backend")), [folder / "_generated"])
    head = "\n".join(RIGHT.splitlines()[:6])
    wrong = {f"wrong{n}": f"{head}\nvoid {call};\n" for n, call in enumerate(WRONG)}
    told = dict.fromkeys(("right", *wrong), "")
    name = ""
    # A complaint begins with its file; what explains it is indented.
    for line in compile_with(folder, right=RIGHT, **wrong).splitlines(keepends=True):
        name = name if line.startswith(" ") else line.partition(".ts(")[0]
        told[name] += line
    return told


RIGHT = """
import { ConvexClient } from "convex/browser";
import { api, internal } from "./_generated/api.js";
import type { Doc, Id } from "./_generated/dataModel.js";

declare const client: ConvexClient;
async function use() {
  const id: Id<"notes"> = await client.mutation(api.notes.add, { board: "b", rank: 1 });
  const notes: Doc<"notes">[] = await client.query(api.notes.list, { board: "b" });
  const text: string = notes[0]!.text;
  const note: Doc<"notes"> | null = await client.query(api.notes.get, { id });
  const page = await client.query(api.notes.page, {
    board: "b", paginationOpts: { numItems: 1, cursor: null },
  });
  const rank: number | undefined = page.page[0]?.rank;
  const big: bigint = await client.query(api.values.big, { value: 3n });
  const stored: Doc<"everything"> | null = await client.query(api.values.load, { id: "x" as Id<"everything"> });
  const mood: "calm" | "wild" = stored!.mood;
  const raw: ArrayBuffer = stored!.raw;
  const named: string = stored!.id;
  const color: "red" | "blue" = stored!.color;
  const label: string | undefined = stored!.options?.label;
  await client.query(api.users.profile.default, {});
  void [text, note, rank, big, mood, raw, named, color, label, internal.notes.secret];
}
void use;
"""

WRONG = {
    'client.mutation(api.notes.add, { board: 3, rank: 1 })': "Type 'number' is not assignable to type 'string'",
    'client.mutation(api.notes.add, { board: "b" })': "rank",
    'client.mutation(api.notes.add, { board: "b", rank: 1, extra: 1 })': "extra",
    'client.query(api.notes.add, { board: "b", rank: 1 })': '"mutation"',
    'client.query(api.notes.get, { id: "x" as Id<"counters"> })': "counters",
    'client.query(api.notes.secret, {})': "secret",
    'client.query(api.values.big, { value: 3 })': "bigint",
}  # fmt: skip


def test_the_generated_types_compile(told_of_types):
    assert told_of_types["right"] == ""


@pytest.mark.parametrize(("number", "reason"), [*enumerate(WRONG.values())], ids=[*WRONG])
def test_a_wrong_argument_does_not_compile(told_of_types, number, reason):
    told = told_of_types[f"wrong{number}"]
    assert "error TS" in told
    assert reason in told


def test_internal_functions_are_not_in_the_api(tmp_path):
    text = generated_files(load_application(KITCHEN, "backend"))["api.d.ts"]
    public, internal = text.split("export declare const internal")
    assert "secret" not in public
    assert "secret" in internal


def test_docstrings_and_shapes(tmp_path):
    write_project(
        tmp_path,
        code='''
            from __future__ import annotations
            import msgspec
            from camber import *

            class Node(msgspec.Struct):
                value: int
                children: list[Node] = []

            @query
            def tree(ctx: QueryCtx, node: Node, limit: int = 5, **rest: str) -> Node | None:
                """One line.

                And */ more.
                """

            @query
            def any(ctx: QueryCtx): ...
        ''',
    )
    folder = (tmp_path / "pyproject.toml").read_text().split('"')[1]
    files = generated_files(load_application(tmp_path, folder))
    text = files["api.d.ts"]
    assert "     * One line.\n     *\n     * And * / more.\n" in text
    assert "node: NodeArgument; limit?: number; [name: string]: any }" in text
    assert "export interface NodeArgument { value: number; children?: Array<NodeArgument> }" in text
    assert "export interface NodeResult { value: number; children: Array<NodeResult> }" in text
    assert "NodeResult | null" in text
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    use = 'export { api } from "./api.js";\nexport type * from "./dataModel.js";'
    assert compile_with(tmp_path, use=use) == ""


def test_the_chats_generated_files_are_those_of_its_functions():
    files = generated_files(load_application(CHAT, "backend"))
    for name, text in files.items():
        assert (CHAT / "backend" / "_generated" / name).read_text() == text, "run `camber codegen`"


def test_files_that_are_right_are_left_alone(tmp_path):
    application = load_application(KITCHEN, "backend")
    assert len(write_generated(generated_files(application), [tmp_path])) == 3
    assert write_generated(generated_files(application), [tmp_path]) == []
