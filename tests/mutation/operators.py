"""Changes of one place of a Python source that may alter what it computes.

A mutant is the source with one expression or statement replaced as text, so that all else, comments
and line numbers included, stays. What tells a reader something and computes nothing is left alone:
docstrings, annotations, texts of errors and of the log, names of layers and of units.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A change of one place: `original` at [start, end) of the source becomes `replacement`.

    `number` counts equal changes of one function from 1 on.
    """

    path: str
    function: str
    line: int
    original: str
    replacement: str
    start: int
    end: int
    number: int = 1

    @property
    def key(self) -> str:
        """What names the mutant in the list of equivalents, whatever stands before it."""
        again = f" #{self.number}" if self.number > 1 else ""
        change = f"{one_line(self.original)} → {one_line(self.replacement)}{again}"
        return f"{self.path} | {self.function} | {change}"

    def apply(self, source: str) -> str:
        return source[: self.start] + self.replacement + source[self.end :]


def one_line(text: str) -> str:
    return " ".join(text.split())


COMPARE = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr, ast.MatMult: ast.Mult,
}  # fmt: skip
NAMES = {
    "sorted": "list", "min": "max", "max": "min", "any": "all", "all": "any", "sum": "max",
    "mean": "median", "median": "mean", "argmax": "argmin", "argmin": "argmax", "round": "int",
    "floor": "ceil", "rint": "floor", "minimum": "maximum", "maximum": "minimum", "sin": "cos",
    "cos": "sin", "zeros": "ones", "ones": "zeros", "amax": "amin", "amin": "amax",
    "cumsum": "asarray", "isna": "notna", "notna": "isna", "argsort": "argmax",
    "removeprefix": "removesuffix", "removesuffix": "removeprefix", "startswith": "endswith",
    "permutation": "arange", "MaxPooling2D": "AveragePooling2D",
    "GlobalAveragePooling2D": "GlobalMaxPooling2D", "prod": "sum", "deg2rad": "asarray",
    "radians": "asarray", "degrees": "asarray", "reversed": "iter", "ReLU": "LeakyReLU",
}  # fmt: skip
WORDS = {
    "train": "val", "val": "test", "test": "train", "max": "min", "min": "max",
    "latitude": "longitude", "longitude": "latitude", "original": "weighted_base",
    "weighted_base": "original", "weighted_custom": "weighted_base", "center": "none",
    "maximum": "as_published", "as_published": "maximum", "right": "left", "linear": "nearest",
}  # fmt: skip
SYMMETRIC = {"min", "max", "minimum", "maximum", "isinstance", "hypot", "zip", "set", "multiply"}
# Keywords that only tell a reader something, or whose default is the same on every machine of
# today; `strict` asserts what the code before it has made so.
NO_EFFECT = {"description", "unit", "encoding", "newline", "strict", "verbose", "name", "message"}
# In rules: values of the configuration, and names of collections and datasets.
RULE_VALUES = re.compile(
    r"""config(?:\["\w+"\])+|"(?:street|default|original|weighted_base|weighted_custom|place)\""""
)
PROGRESS = "Progress"  # logs how far the work on its first argument is
LOGS = {"log", "logger", "logging", "warnings", "start_log"}


def mutants(source: str, path: str) -> list[Mutant]:
    """All changes of a source, by their place in it."""
    tree = ast.parse(source)
    offsets = _line_offsets(source)
    found: list[Mutant] = []
    count: Counter[str] = Counter()
    for function, node, replacement in _visit(tree, "module"):
        start = offsets(node.lineno, node.col_offset)
        end = offsets(node.end_lineno, node.end_col_offset)
        original = source[start:end]
        mutant = Mutant(path, function, node.lineno, original, replacement, start, end)
        if _program(original, node) != _program(replacement, node):
            count[mutant.key] += 1
            found.append(dataclasses.replace(mutant, number=count[mutant.key]))
    return sorted(set(found), key=lambda m: (m.start, m.end, m.replacement))


def rule_mutants(source: str, path: str) -> list[Mutant]:
    """Changes of a Snakemake file: values of the configuration become None, names others."""
    found: list[Mutant] = []
    rule, place = "file", 0
    count: Counter[str] = Counter()
    for number, line in enumerate(source.splitlines(keepends=True), start=1):
        if named := re.match(r"(?:rule|checkpoint) (\w+):|def (\w+)\(", line.strip()):
            rule = named[1] or named[2]
        for match in [] if line.lstrip().startswith("#") else RULE_VALUES.finditer(line):
            old, start = match[0], place + match.start()
            new = (
                "None" if old.startswith("config") else repr(WORDS.get(old[1:-1], old[1:-1] + "_"))
            )
            mutant = Mutant(path, rule, number, old, new, start, start + len(old))
            count[mutant.key] += 1
            found.append(dataclasses.replace(mutant, number=count[mutant.key]))
        place += len(line)
    return found


def _program(text: str, node: ast.AST) -> str | None:
    """The syntax tree of a text that stands for a node; None if it is no program.

    Only the place of the change is parsed: a whole file for each of its mutants takes seconds.
    """
    if isinstance(node, ast.Slice):
        text = f"x[{text}]"
    elif isinstance(node, ast.expr):
        text = f"({text}\n)"
    try:
        return ast.dump(ast.parse(text))
    except SyntaxError:
        return None


def _line_offsets(source: str):
    """Index of a character from line (from 1) and column in bytes."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def offset(line: int, column: int) -> int:
        text = lines[line - 1].encode()[:column].decode()
        return starts[line - 1] + len(text)

    return offset


def _visit(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST, str]]:
    """Function, node and the text that replaces it, of everything below a node."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        function = node.name if function == "module" else f"{function}.{node.name}"
    if _tells_only(node):
        return
    for replacement in _replacements(node):
        yield function, node, replacement
    for condition, value in _conditions(node):
        yield function, condition, value
    if isinstance(node, ast.Raise):
        return
    for child in _computing_children(node):
        yield from _visit(child, function)


def _tells_only(node: ast.AST) -> bool:
    """Whether a node computes nothing: a docstring, a line of the log, an import, the
    public names."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Global):
        return True
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return True
    if isinstance(node, ast.keyword) and node.arg in NO_EFFECT:
        return True
    if isinstance(node, ast.Assign) and "__all__" in map(_root, node.targets):
        return True
    if isinstance(node, ast.Expr):
        value = node.value
        return isinstance(value, ast.Constant) or (
            isinstance(value, ast.Call) and _root(value.func) in LOGS
        )
    return False


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _computing_children(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Call) and _name(node.func) == PROGRESS:
        yield node.args[0]
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_key(node, child):
                yield child


def _is_key(node: ast.AST, child: ast.AST) -> bool:
    """Whether a child is the key of a lookup, of which another one only fails."""
    return (
        isinstance(node, ast.Subscript)
        and isinstance(child, ast.Constant)
        and isinstance(child.value, str)
        and child.value not in WORDS
    )


def _replacements(node: ast.AST) -> Iterator[str]:
    kind = type(node).__name__
    handler = globals().get(f"_of_{kind.lower()}")
    if handler:
        yield from handler(node)


def _conditions(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Conditions of a statement or a comprehension, and what to take for them."""
    if isinstance(node, ast.If):
        yield from ((node.test, "True"), (node.test, "False"))
    if isinstance(node, ast.While):
        yield node.test, "False"
    if isinstance(node, ast.comprehension):
        yield from ((condition, "True") for condition in node.ifs)


def _text(node: ast.AST) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"


def _with(node: ast.AST, **changes) -> str:
    """The text of a copy of the node with other fields."""
    changed = copy.deepcopy(node)
    for name, value in changes.items():
        setattr(changed, name, value)
    return _text(changed)


def _of_constant(node: ast.Constant) -> Iterator[str]:
    value = node.value
    if isinstance(value, bool):
        yield str(not value)
    elif isinstance(value, int):
        yield str(value + 1)
        if value >= 2:
            yield str(value - 1)
    elif isinstance(value, float):
        for changed in (value * 1.1, value * 0.9) if value else (0.5, -0.5):
            yield f"{changed:.12g}"
    elif isinstance(value, str) and value:
        yield repr(WORDS.get(value, value + "_"))


def _of_compare(node: ast.Compare) -> Iterator[str]:
    for place, operator in enumerate(node.ops):
        for other in COMPARE[type(operator)]:
            yield _with(node, ops=[*node.ops[:place], other(), *node.ops[place + 1 :]])


def _of_binop(node: ast.BinOp) -> Iterator[str]:
    if other := ARITHMETIC.get(type(node.op)):
        yield _with(node, op=other())


def _of_augassign(node: ast.AugAssign) -> Iterator[str]:
    yield "pass"
    if other := ARITHMETIC.get(type(node.op)):
        yield _with(node, op=other())[1:-1]


def _of_unaryop(node: ast.UnaryOp) -> Iterator[str]:
    if not (isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant)):
        yield _text(node.operand)


def _of_boolop(node: ast.BoolOp) -> Iterator[str]:
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for place in range(len(node.values)):
        rest = node.values[:place] + node.values[place + 1 :]
        yield _text(rest[0]) if len(rest) == 1 else _with(node, values=rest)


def _of_ifexp(node: ast.IfExp) -> Iterator[str]:
    yield _text(node.body)
    yield _text(node.orelse)


def _of_subscript(node: ast.Subscript) -> Iterator[str]:
    if isinstance(node.ctx, ast.Load) and isinstance(node.slice, ast.Slice):
        yield _text(node.value)


def _of_slice(node: ast.Slice) -> Iterator[str]:
    one = ast.Constant(1)
    for name in ("lower", "upper"):
        bound = getattr(node, name)
        if bound is not None and not isinstance(bound, ast.Constant):
            yield _with(node, **{name: ast.BinOp(bound, ast.Add(), one)})[1:-1]
    if node.step is not None:
        yield _with(node, step=None)[1:-1]


def _of_call(node: ast.Call) -> Iterator[str]:
    if _name(node.func) == PROGRESS:
        return
    for place, keyword in enumerate(node.keywords):
        if keyword.arg not in NO_EFFECT:
            rest = node.keywords[:place] + node.keywords[place + 1 :]
            yield _with(node, keywords=rest)[1:-1]
    if len(node.args) > 1:
        yield _with(node, args=node.args[:-1])[1:-1]
    if len(node.args) > 1 and _name(node.func) not in SYMMETRIC:
        first, second, *rest = node.args
        if not any(isinstance(argument, ast.Starred) for argument in (first, second)):
            yield _with(node, args=[second, first, *rest])[1:-1]
    if other := NAMES.get(_name(node.func)):
        func = copy.deepcopy(node.func)
        if isinstance(func, ast.Name):
            func.id = other
        else:
            func.attr = other
        yield _with(node, func=func)[1:-1]


def _name(func: ast.AST) -> str:
    return getattr(func, "attr", None) or getattr(func, "id", "")


def _of_return(node: ast.Return) -> Iterator[str]:
    if node.value is not None and not (
        isinstance(node.value, ast.Constant) and node.value.value is None
    ):
        yield "return None"


def _of_raise(node: ast.Raise) -> Iterator[str]:
    yield "pass"


def _of_continue(node: ast.Continue) -> Iterator[str]:
    yield "break"


def _of_break(node: ast.Break) -> Iterator[str]:
    yield "continue"


def _of_expr(node: ast.Expr) -> Iterator[str]:
    if isinstance(node.value, ast.Call):
        yield "pass"


def _of_assign(node: ast.Assign) -> Iterator[str]:
    if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
        yield "pass"
