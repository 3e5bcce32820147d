"""What code asks of the documents of a query, as its source says it: nothing is run to find out.

Of a predicate that is its condition; of a query whose documents code goes through, what that code
asks of each before it does anything with it. Only source that compiles to the very code that ran is
looked at: a file may have been saved since.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Final, NamedTuple, TypeAlias

from camber import limits

_COMPARISONS: Final = {
    ast.Eq: "eq",
    ast.Is: "eq",
    ast.Lt: "lt",
    ast.LtE: "lte",
    ast.Gt: "gt",
    ast.GtE: "gte",
}
#: `a < b` is `b > a`.
_MIRRORED: Final = {"eq": "eq", "lt": "gt", "lte": "gte", "gt": "lt", "gte": "lte"}
#: `not a < b` is `a >= b`.
_OPPOSITES: Final = {
    ast.NotEq: "eq",
    ast.IsNot: "eq",
    ast.Lt: "gte",
    ast.LtE: "gt",
    ast.Gt: "lte",
    ast.GtE: "lt",
}
#: Builtins that give the items that they are given.
_PASSING_ON: Final = frozenset({"list", "tuple", "sorted", "reversed", "iter"})


#: The first line of something, its last, and the columns where it begins and ends.
Spot: TypeAlias = tuple[int | None, int | None, int | None, int | None]


class Place(NamedTuple):
    """Where code stood: which instruction of which code."""

    code: CodeType
    instruction: int

    @property
    def line(self) -> int:
        """Return the line in its file."""
        start = self.spot[0]
        return self.code.co_firstlineno if start is None else start

    @property
    def spot(self) -> Spot:
        """Return where the expression or the loop is that was evaluated, as far as that is known."""
        for at, position in enumerate(self.code.co_positions()):
            if at == self.instruction // 2:
                return position
        return None, None, None, None


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of a field with something else: `path` are attributes, `value` is source.

    A field that is only asked whether it is true is compared with `True` or `False`.
    """

    path: tuple[str, ...]
    comparison: str
    value: str
    is_truth: bool = False

    @property
    def text(self) -> str:
        """Return it in words."""
        if self.is_truth:
            return f"{'' if self.value == 'True' else 'not '}{'.'.join(self.path)}"
        sign = {"eq": "==", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}[self.comparison]
        return f"{'.'.join(self.path)} {sign} {self.value}"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold all at once: comparisons, and the source of all else that is asked."""

    comparisons: tuple[Condition, ...] = ()
    others: tuple[str, ...] = ()

    def __add__(self, other: Conditions) -> Conditions:
        """Return what is asked by either."""
        return Conditions(self.comparisons + other.comparisons, self.others + other.others)


NOTHING: Final = Conditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The expression of a query: what it begins with, and the calls that follow, as source."""

    begin: str
    calls: tuple[tuple[str, str], ...]
    #: What `with_index` is given beside the index.
    given: dict[str, str] = field(default_factory=dict)


def conditions_of(predicate: object) -> Conditions:
    """Return what a predicate asks of a document; nothing if its source does not say."""
    code = getattr(predicate, "__code__", None)
    if not isinstance(code, CodeType) or code.co_argcount != 1:
        return NOTHING
    source = _source_of(code)
    if source is None:
        return NOTHING
    node = source.function(code)
    if isinstance(node, ast.Lambda):
        return _asked(node.body, node.args.args[0].arg)
    if isinstance(node, ast.FunctionDef):
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        if len(body) == 1 and isinstance(body[0], ast.Return) and body[0].value is not None:
            return _asked(body[0].value, node.args.args[0].arg)
    return NOTHING


def asked_later(place: Place) -> Conditions:
    """Return what the code around a query asks of each of its documents first."""
    source = _source_of(place.code)
    node = None if source is None else source.read_at(place.spot)
    return NOTHING if source is None or node is None else source.asked_of_items(node)


def chain_at(place: Place) -> Chain | None:
    """Return the expression of the query that was read there, if it is one."""
    source = _source_of(place.code)
    node = None if source is None else source.read_at(place.spot)
    calls: list[tuple[str, str]] = []
    given: dict[str, str] = {}
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = node.func.attr
        if name == "query":
            return Chain(begin=_code(node), calls=tuple(reversed(calls)), given=given)
        arguments = [_code(each) for each in (*node.args, *node.keywords)]
        calls.append((name, ", ".join(arguments)))
        if name == "with_index":
            given = {each.arg: _code(each.value) for each in node.keywords if each.arg}
        node = node.func.value
    return None


# Source files.


class _Source:
    """A file: what is where in it, who is whose parent there, and the code that it compiles to.

    Looked through once, however many of its queries are asked about.
    """

    def __init__(self, tree: ast.Module, codes: frozenset[CodeType]) -> None:
        self.codes = codes
        self._parents: dict[ast.AST, ast.AST] = {}
        #: Functions by their names and first lines, and lambdas by their lines.
        self._functions: dict[tuple[str, int], ast.FunctionDef] = {}
        self._lambdas: dict[int, list[ast.Lambda]] = {}
        #: What loops and comprehensions go through, and names, by where they are; calls by their ends.
        self._items: dict[Spot, ast.expr] = {}
        self._calls: dict[tuple[int | None, int | None], ast.Call] = {}
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self._parents[child] = node
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef():
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                self._functions[node.name, first] = node
            case ast.Lambda():
                self._lambdas.setdefault(node.lineno, []).append(node)
            case ast.For():
                self._items[_spot(node)] = node.iter
            case (
                ast.ListComp(generators=[each])
                | ast.SetComp(generators=[each])
                | ast.DictComp(generators=[each])
                | ast.GeneratorExp(generators=[each])
            ):
                self._items[_spot(node)] = each.iter
            case ast.Name():
                self._items.setdefault(_spot(node), node)
            case ast.Call():
                # Of those that end together the outer, which is walked first.
                self._calls.setdefault((node.end_lineno, node.end_col_offset), node)
            case _:
                pass

    def function(self, code: CodeType) -> ast.Lambda | ast.FunctionDef | None:
        """Return the function or lambda of a code."""
        found = self._functions.get((code.co_name, code.co_firstlineno))
        if found is not None:
            return found
        spots = [each for each in code.co_positions() if each[3] and None not in each]
        within = [
            node
            for node in self._lambdas.get(code.co_firstlineno, ())
            if all(_contains(node.body, spot) for spot in spots)
        ]
        # Of one within another the inner: it is walked later.
        return within[-1] if within else None

    def read_at(self, spot: Spot) -> ast.expr | None:
        """Return the expression of the query that is read there.

        It is what a loop goes through, of which only the whole is known. Or it is a call that ends
        there, whose lines tracebacks tell from its last part on.
        """
        return self._items.get(spot) or self._calls.get((spot[1], spot[3]))

    def asked_of_items(self, node: ast.expr) -> Conditions:
        """Return what is asked of each item of an expression by whoever goes through them."""
        parent = self._parents.get(node)
        match parent:
            case ast.comprehension(target=ast.Name(id=name)) if parent.iter is node:
                return _all_asked(parent.ifs, name)
            case ast.For(target=ast.Name(id=name)) if parent.iter is node:
                return _steady(_asked_in_loop(parent.body, name), parent)
            case ast.Call(func=ast.Name(id=called)) if node in parent.args:
                if called in _PASSING_ON:
                    return self.asked_of_items(parent)
                first = parent.args[0]
                if called == "filter" and isinstance(first, ast.Lambda) and first.args.args:
                    return _asked(first.body, first.args.args[0].arg)
            case ast.Assign(targets=[ast.Name(id=name)]) if parent.value is node:
                return self._asked_of_variable(parent, name)
        return NOTHING

    def _asked_of_variable(self, assignment: ast.Assign, name: str) -> Conditions:
        scope: ast.AST = assignment
        while not isinstance(scope, ast.FunctionDef | ast.Module):
            scope = self._parents[scope]
        uses = [
            node
            for node in ast.walk(scope)
            if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
        ]
        # Whoever uses it twice may want all of it the other time.
        return self.asked_of_items(uses[0]) if len(uses) == 1 else NOTHING


def _source_of(code: CodeType) -> _Source | None:
    """Return the file of a code, if that is what it was compiled from."""
    text = "".join(linecache.getlines(code.co_filename))
    if not text or len(text) > limits.source_characters_max:
        return None
    source = _parsed(text, code.co_filename)
    if source is None or code not in source.codes:
        # It may have been saved since it was read first.
        linecache.checkcache(code.co_filename)
        text = "".join(linecache.getlines(code.co_filename))
        source = _parsed(text, code.co_filename)
    return source if source is not None and code in source.codes else None


@lru_cache(maxsize=limits.sources_parsed_kept)
def _parsed(text: str, filename: str) -> _Source | None:
    try:
        tree = ast.parse(text, filename)
        codes = frozenset(_within(compile(text, filename, "exec", dont_inherit=True)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return _Source(tree, codes)


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _within(constant)


def _code(node: ast.AST) -> str:
    """Return the source of an expression, in the double quotes of most formatters."""
    text = ast.unparse(node)
    # Single ones are all around strings, unless some string is in double ones, as one with such a quote is.
    return text if '"' in text else text.replace("'", '"')


def _spot(node: ast.expr | ast.stmt) -> Spot:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _contains(node: ast.expr, spot: Spot) -> bool:
    line, end_line, column, end_column = (each or 0 for each in spot)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return (node.lineno, node.col_offset) <= (line, column) and (end_line, end_column) <= (
        node.end_lineno,
        node.end_col_offset,
    )


# Conditions.


def _all_asked(tests: Sequence[ast.expr], name: str) -> Conditions:
    found = NOTHING
    for test in tests:
        found += _asked(test, name)
    return found


def _asked_in_loop(body: Sequence[ast.stmt], name: str) -> Conditions:
    """Return what a loop asks of each item before it does anything else."""
    found = NOTHING
    for at, statement in enumerate(body):
        if not isinstance(statement, ast.If) or statement.orelse:
            break
        if len(statement.body) == 1 and isinstance(statement.body[0], ast.Continue):
            found += _asked(statement.test, name, is_refused=True)
            continue
        if at == len(body) - 1:
            found += _asked(statement.test, name)
        break
    return found


def _steady(asked: Conditions, loop: ast.For) -> Conditions:
    """Return conditions without those that the loop itself changes: `if m.likes > most: most = …`."""
    changed = {
        node.id
        for node in ast.walk(loop)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    kept: list[Condition] = []
    others = list(asked.others)
    for each in asked.comparisons:
        names = {
            node.id
            for node in ast.walk(ast.parse(each.value, mode="eval"))
            if isinstance(node, ast.Name)
        }
        if names & changed:
            others.append(each.text)
        else:
            kept.append(each)
    return Conditions(tuple(kept), tuple(others))


def _asked(test: ast.expr, name: str, *, is_refused: bool = False) -> Conditions:
    """Return what a test asks of the item called `name`; with `is_refused`, that it is not so."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _asked(operand, name, is_refused=not is_refused)
        case ast.BoolOp(op=op, values=values) if isinstance(op, ast.Or) is is_refused:
            found = NOTHING
            for value in values:
                found += _asked(value, name, is_refused=is_refused)
            return found
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [left, *comparators]
            if is_refused and len(ops) > 1:
                return _other(test, name, is_refused=True)
            found = NOTHING
            for one, sign, other in zip(sides, ops, sides[1:], strict=False):
                pair = ast.Compare(left=one, ops=[sign], comparators=[other])
                signs = _OPPOSITES if is_refused else _COMPARISONS
                compared = _compared(one, signs.get(type(sign)), other, name)
                found += compared or _other(pair, name, is_refused=is_refused)
            return found
        case _:
            path = _path(test, name)
            if path is None:
                return _other(test, name, is_refused=is_refused)
            truth = Condition(path, "eq", str(not is_refused), is_truth=True)
            return Conditions((truth,))


def _compared(one: ast.expr, sign: str | None, other: ast.expr, name: str) -> Conditions | None:
    if sign is None:
        return None
    for field_, compared, with_ in ((one, sign, other), (other, _MIRRORED[sign], one)):
        path = _path(field_, name)
        if path is not None and not _mentions(with_, name):
            return Conditions((Condition(path, compared, _code(with_)),))
    return None


def _other(test: ast.expr, name: str, *, is_refused: bool) -> Conditions:
    """Return a test that no index answers."""
    if not _mentions(test, name):
        return NOTHING
    shown = _code(ast.UnaryOp(op=ast.Not(), operand=test) if is_refused else test)
    return Conditions((), (shown,))


def _path(node: ast.expr, name: str) -> tuple[str, ...] | None:
    """Return which field of the item an expression is: `m.a.b`, `m["a"]`, `m.get("a")`."""
    match node:
        case ast.Attribute(value=value, attr=part):
            pass
        case ast.Subscript(value=value, slice=ast.Constant(value=str(part))):
            pass
        case ast.Call(
            func=ast.Attribute(value=value, attr="get"), args=[ast.Constant(value=str(part))]
        ):
            pass
        case _:
            return None
    if isinstance(value, ast.Name) and value.id == name:
        return (part,)
    before = _path(value, name)
    return None if before is None else (*before, part)


def _mentions(node: ast.expr, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))
