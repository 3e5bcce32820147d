"""The generated files: `api.js`, `api.d.ts` and `dataModel.d.ts`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camber.codegen.types import Direction, Types
from camber.functions.application import Application
from camber.functions.definition import Function, Visibility
from camber.values.paths import FunctionPath

_HEADER = "// Written by Camber from the functions' annotations; changes are overwritten.\n"

_API_JS = f"""{_HEADER}
import {{ anyApi }} from "convex/server";

/** References to the application's functions, for `useQuery` and its like. */
export const api = anyApi;
export const internal = anyApi;
"""


def generated_files(application: Application) -> dict[str, str]:
    """Return the text of each generated file, by name."""
    return {
        "api.js": _API_JS,
        "api.d.ts": _api_types(application),
        "dataModel.d.ts": _data_model(application),
    }


def write_generated(files: Mapping[str, str], folders: Iterable[Path]) -> list[Path]:
    """Write generated files, by name, into each folder; return those that changed.

    Files that are right already are left alone, so that bundlers that watch them stay calm.
    """
    changed = stale_generated(files, folders)
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.new")
        partial.write_text(files[path.name], encoding="utf-8")
        partial.replace(path)
    return changed


def stale_generated(files: Mapping[str, str], folders: Iterable[Path]) -> list[Path]:
    """Return the generated files that are missing, or are not what they should be."""
    return [
        folder / name
        for folder in folders
        for name, text in files.items()
        if not _holds(folder / name, text)
    ]


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text


@dataclass(slots=True)
class _Module:
    """One level of `api`: the functions of a module, and the modules in a folder of its name."""

    functions: dict[str, Function[..., Any]] = field(default_factory=dict)
    modules: dict[str, _Module] = field(default_factory=dict)


def _api_types(application: Application) -> str:
    types = Types(application)
    public = _tree(application.functions, Visibility.PUBLIC)
    internal = _tree(application.functions, Visibility.INTERNAL)
    body = [
        "/** The application's public functions. */",
        f"export declare const api: {_module(public, types, 0)};",
        "",
        "/** Functions that only the application itself and admins may call. */",
        f"export declare const internal: {_module(internal, types, 0)};",
        "",
    ]
    interfaces = [
        f"export interface {name} {text}\n" for name, text in sorted(types.interfaces.items())
    ]
    text = "\n".join([*interfaces, *body])
    server = ", ".join(sorted({"FunctionReference", *types.imports}))
    imports = [f'import type {{ {server} }} from "convex/server";']
    if types.uses_generic_id:
        imports.append('import type { GenericId } from "convex/values";')
    used = [name for name in ("Doc", "Id") if f"{name}<" in text.replace("GenericId<", "")]
    if used:
        imports.append(f'import type {{ {", ".join(used)} }} from "./dataModel.js";')
    return "\n".join([_HEADER, *imports, "", text])


def _tree(functions: Mapping[str, Function[..., Any]], visibility: Visibility) -> _Module:
    root = _Module()
    for key, function in sorted(functions.items()):
        if function.visibility is not visibility:
            continue
        path = FunctionPath.parse(key)
        module = root
        for part in path.module.split("/"):
            module = module.modules.setdefault(part, _Module())
        module.functions[path.export] = function
    return root


def _module(module: _Module, types: Types, depth: int) -> str:
    if not module.functions and not module.modules:
        return "{}"
    indent = "  " * (depth + 1)
    lines = ["{"]
    for name, function in module.functions.items():
        lines.extend(f"{indent}{line}" for line in _comment(function.doc))
        lines.append(
            f"{indent}{json.dumps(name) if name == 'default' else name}: "
            f"{_reference(function, types, indent)};"
        )
    for name, inner in module.modules.items():
        if name not in module.functions:
            lines.append(f"{indent}{name}: {_module(inner, types, depth + 1)};")
    lines.append(f"{'  ' * depth}}}")
    return "\n".join(lines)


def _reference(function: Function[..., Any], types: Types, indent: str) -> str:
    plan = function.arguments
    if not plan.fields and plan.rest is None:
        arguments = "Record<string, never>"
    else:
        arguments = types.fields(plan.fields, Direction.ARGUMENT, plan.rest)
    returns = types.type_of(function.returns, Direction.RESULT)
    parts = (
        f'"{function.kind.value}"',
        f'"{function.visibility.value}"',
        arguments,
        returns,
    )
    inner = f",\n{indent}  ".join(parts)
    return f"FunctionReference<\n{indent}  {inner}\n{indent}>"


def _comment(doc: str) -> list[str]:
    if not doc:
        return []
    lines = doc.replace("*/", "* /").splitlines()
    if len(lines) == 1:
        return [f"/** {lines[0]} */"]
    return ["/**", *(f" * {line}".rstrip() for line in lines), " */"]


def _data_model(application: Application) -> str:
    types = Types(application)
    tables: list[str] = []
    for name, table in sorted(application.tables.items()):
        plan = table.document_plan()
        rest = None if table.strict else plan
        fields = types.fields(plan.fields, Direction.RESULT, rest)
        tables.extend(f"  {line}" for line in _comment(_own_doc(table.cls)))
        tables.append(f"  {name}: {fields};")
    interfaces = [
        f"export interface {name} {text}\n" for name, text in sorted(types.interfaces.items())
    ]
    return "\n".join(
        [
            _HEADER,
            'import type { GenericId } from "convex/values";',
            "",
            *interfaces,
            "/** The documents of each table, as functions return them. */",
            "export interface Documents {",
            *tables,
            "}",
            "",
            "/** The names of the declared tables. */",
            "export type TableNames = keyof Documents;",
            "",
            "/** The id of a document: a string that knows its table. */",
            "export type Id<TableName extends TableNames> = GenericId<TableName>;",
            "",
            "/** A document of a table. */",
            "export type Doc<TableName extends TableNames> = Documents[TableName];",
            "",
        ]
    )


def _own_doc(cls: type) -> str:
    """Return the docstring that a class has itself, not one that it inherits."""
    return inspect.cleandoc(cls.__dict__["__doc__"] or "") if cls.__dict__.get("__doc__") else ""
