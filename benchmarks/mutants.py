"""Mutants of a Python module: single small changes of its syntax tree, each of which a good test suite detects.

The mutation operators: replace a comparison by its neighbour or its opposite (`<` and `<=`, `==` and `!=`, `in` and
`not in`), swap `and` and `or`, remove a `not`, negate a condition that is a plain value, swap an arithmetic operator,
add one to a number, swap True and False, return None instead of a value, remove a statement (a call, a `raise`, an
`assert`, a `del`, an augmented assignment, an assignment to an attribute or an item), and swap `break` and `continue`.

Not mutated, since they affect no result: annotations, decorators, docstrings, f-strings, the expression of a `raise`
(only the whole statement is removed), and calls that log or print.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
UNTOUCHED_FIELDS = {"annotation", "returns", "decorator_list", "type_params"}
SPEAKERS = {"log", "logger", "logging", "print", "echo", "warn", "warnings", "say"}
TEXTS = (ast.JoinedStr, ast.Constant)


@dataclass(frozen=True)
class Site:
    """A node of a syntax tree and its replacement in a mutant.

    `lines` are the lines of the statement's own code; `at_import` is true if it runs when the module is imported.
    """

    parent: ast.AST
    field: str
    index: int | None
    replacement: ast.AST
    lines: range
    at_import: bool

    @property
    def original(self) -> ast.AST:
        value = getattr(self.parent, self.field)
        return value if self.index is None else value[self.index]  # type: ignore[no-any-return]

    def describe(self) -> str:
        """Returns the change on one line, as the code before and after."""
        before, after = (" ".join(ast.unparse(node).split()) for node in (self.original, self.replacement))
        return f"{_shortened(before)} -> {_shortened(after)}"

    def source(self, tree: ast.Module) -> str:
        """Returns the source of the whole module with the change; the tree is left unchanged."""
        original = self.original
        self._put(self.replacement)
        try:
            return ast.unparse(ast.fix_missing_locations(tree))
        finally:
            self._put(original)

    def _put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def _shortened(code: str, most: int = 90) -> str:
    return code if len(code) <= most else f"{code[: most - 3]}..."


def sites(tree: ast.Module) -> list[Site]:
    """Returns all mutants of a module, in source order."""
    return [site for index, statement in enumerate(tree.body) for site in _of_statement(statement, tree, index)]


def _own_lines(statement: ast.stmt) -> range:
    body = getattr(statement, "body", None)
    end = body[0].lineno - 1 if body else statement.end_lineno or statement.lineno
    return range(statement.lineno, max(end, statement.lineno) + 1)


def _of_statement(
    statement: ast.stmt, parent: ast.AST, index: int, field: str = "body", at_import: bool = True
) -> Iterator[Site]:
    lines = _own_lines(statement)
    if _is_untouched(statement):
        return
    if (other := _without(statement)) is not None:
        yield Site(parent, field, index, other, lines, at_import)
    if isinstance(statement, ast.Raise):
        return
    inside = at_import and not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef))
    yield from _of_children(statement, lines, at_import, inside)


def _of_children(node: ast.AST, lines: range, at_import: bool, inside: bool) -> Iterator[Site]:
    """Yields the mutants below a node; `inside` is the value of `at_import` for the statements below."""
    for name, value in ast.iter_fields(node):
        if name in UNTOUCHED_FIELDS:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.stmt) and index is not None:
                yield from _of_statement(child, node, index, name, inside)
            elif isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                if isinstance(child, ast.expr):
                    yield from (
                        Site(node, name, index, other, lines, at_import) for other in _others(child, node, name)
                    )
                yield from _of_children(child, lines, at_import, inside)


def _is_untouched(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant) or _speaks(statement.value)
    if isinstance(statement, ast.If):
        return "TYPE_CHECKING" in ast.unparse(statement.test)
    if isinstance(statement, ast.Assign):
        return "__all__" in ast.unparse(statement.targets[0])
    return isinstance(statement, (ast.Import, ast.ImportFrom))


def _speaks(node: ast.expr) -> bool:
    while isinstance(node, (ast.Call, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return isinstance(node, ast.Name) and node.id.strip("_").lower() in SPEAKERS


def _without(statement: ast.stmt) -> ast.stmt | None:
    """Returns the replacement of a statement, or None if the statement is not mutated."""
    if isinstance(statement, ast.Break):
        return ast.Continue()
    if isinstance(statement, ast.Continue):
        return ast.Break()
    if isinstance(statement, ast.Return):
        empty = statement.value is None or (isinstance(statement.value, ast.Constant) and statement.value.value is None)
        return None if empty else ast.Return(ast.Constant(None))
    if isinstance(statement, ast.Assign):
        plain = isinstance(statement.targets[0], (ast.Name, ast.Tuple))
        return None if plain else ast.Pass()
    gone = (ast.Raise, ast.Assert, ast.AugAssign, ast.Delete)
    if isinstance(statement, gone) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)):
        return ast.Pass()
    return None


def _others(node: ast.expr, parent: ast.AST, field: str) -> Iterator[ast.expr]:
    """Yields the replacements of an expression in its mutants."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            operators = [*node.ops[:index], COMPARISONS[type(operator)](), *node.ops[index + 1 :]]
            yield ast.Compare(node.left, operators, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        if not any(isinstance(side, TEXTS) and not _is_number(side) for side in (node.left, node.right)):
            yield ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif _is_number(node):
        yield ast.Constant(node.value + 1)  # type: ignore[attr-defined]
    if _is_condition(parent, field) and isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
        yield ast.UnaryOp(ast.Not(), node)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_condition(parent: ast.AST, field: str) -> bool:
    tests = isinstance(parent, (ast.If, ast.While, ast.IfExp)) and field == "test"
    return tests or (isinstance(parent, ast.comprehension) and field == "ifs") or isinstance(parent, ast.BoolOp)
