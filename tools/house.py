"""Print the static figures of the house: what issue 11 asks the source tree to reach, counted here, beside the goal.

    .venv/bin/python tools/house.py [SRC] [--names] [--json]

SRC is the folder of the package (by default `src/regard`). It informs and never fails: the exit code is always 0.
"""

import argparse
import ast
import json
import re
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

Function = ast.FunctionDef | ast.AsyncFunctionDef
Arrow = tuple[str, str]  # importer, imported

COMMANDS = re.compile(
    r"\w+\.app\.(commands\.\w+|train|evaluate|predict|compare|explain|caption|registers|positions|scenes|demo)"
)
"""Modules that are commands, in the new tree and in the old."""

LITERARY = re.compile(
    "said|says?|saying|told|tells?|telling|seen|saw|kept|found|own|owned|looked|looks|looking|given|gave|heard|hears?|"
    "hearing|listening|ears?|asked|asks?|asking|wanted|wants?|there|known|shown|made|came|come|got|gotten|taken|took|"
    "met|felt|thought|spoken|spoke|speaks?|speakers?|speaking|speech|uttered|granted|requested|opened|opening|lessons?|"
    "meant|drawn|written|begun|laid|held|brought|paid|lent|mended|settled"
)
"""Participles and verbs of a story, where this field has a noun: the words of issue 11 and those one would dodge to."""

ALLOWED = frozenset({"seen", "keep_seen", "held_out", "part_of_speech", "parts_of_speech"})
"""Names that the command line and the files of runs bear already, or that are the field's terms."""

NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


@dataclass(frozen=True)
class Figure:
    """One row of the table: `goal` is the most it should be, `names` are its offenders as "file:line name"."""

    name: str
    value: float
    goal: float | None = None
    detail: str = ""
    names: Sequence[str] = ()


class Source:
    """One parsed file: its path in the package, its dotted module name, and what the figures count in it."""

    def __init__(self, path: Path, src: Path) -> None:
        self.place = path.relative_to(src.parent).as_posix()
        self.module = self.place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.text = path.read_text(encoding="utf-8")
        self.lines = len(self.text.splitlines())
        self.nodes = list(ast.walk(ast.parse(self.text)))
        self.functions = list(_functions(self.nodes[0]))
        alone = [node.value for node in self.nodes if isinstance(node, ast.Expr)]
        constants = [value for value in alone if isinstance(value, ast.Constant)]
        self.docstrings = [value for value in constants if isinstance(value.value, str)]  # those of attributes too
        with path.open("rb") as file:
            self.tokens = list(tokenize.tokenize(file.readline))[1:]  # the first is the encoding

    def at(self, node: ast.AST, text: str) -> str:
        return f"{self.place}:{getattr(node, 'lineno', 1)} {text}"

    def code_lines(self) -> int:
        """Lines that hold code: a string over several lines is code on each of them, a docstring on none."""
        code: set[int] = set()
        for token in self.tokens:
            if token.type not in NO_CODE:
                code.update(range(token.start[0], token.end[0] + 1))
        for string in self.docstrings:
            code.difference_update(range(string.lineno, (string.end_lineno or 0) + 1))
        return len(code)


def _functions(node: ast.AST, owner: str = "", nested: bool = False) -> Iterator[tuple[Function, str, bool]]:
    """Every function with the name of its class, if any, and whether it stands inside another function."""
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.ClassDef) else owner
        if isinstance(child, Function):
            yield child, owner, nested
        yield from _functions(child, inside, nested or isinstance(child, Function))


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the last, functions inside included."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


class Bindings(ast.NodeVisitor):
    """Names that a file binds, once a scope: functions, classes, parameters, variables, loops, fields, aliases.

    A comprehension binds in the function around it, and `self.name = ...` in the class.
    """

    def __init__(self, source: Source) -> None:
        self.names: list[tuple[ast.AST, str]] = [(source.nodes[0], source.module.rpartition(".")[2])]
        self._scope: set[str] = {"self", "cls", "_"}
        self._fields: set[str] = set()
        self.visit(source.nodes[0])

    def generic_visit(self, node: ast.AST) -> None:
        """Record what the node binds, then go on inside: in a scope of its own where Python opens one."""
        outer = (self._scope, self._fields)
        stored = isinstance(getattr(node, "ctx", None), ast.Store)
        if isinstance(node, ast.Name) and stored:
            self._bind(node, node.id, self._scope)
        elif isinstance(node, ast.Attribute) and stored and ast.unparse(node.value) == "self":
            self._bind(node, node.attr, self._fields)
        elif isinstance(node, Function | ast.ClassDef | ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            self._bind(node, node.name, self._scope)
        elif isinstance(node, ast.arg | ast.alias):
            self._bind(node, node.arg if isinstance(node, ast.arg) else node.asname, self._scope)
        if isinstance(node, Function | ast.ClassDef | ast.Lambda):
            self._scope = {"self", "cls", "_"}
        if isinstance(node, ast.ClassDef):
            self._fields = self._scope
        super().generic_visit(node)
        self._scope, self._fields = outer

    def _bind(self, node: ast.AST, name: str | None, scope: set[str]) -> None:
        if name and name not in scope:
            scope.add(name)
            self.names.append((node, name))


def _imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Late imports too, but not those for the type checker alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _imports(ast.Module(child.orelse, []))
        else:
            yield from _imports(child)


def arrows_of(sources: Sequence[Source]) -> dict[Arrow, str]:
    """Which module imports which, and "file:line importer → imported" of the first such import.

    Importing a submodule is no import of the packages around it: only a name taken from a package itself is one.
    """
    modules = {source.module for source in sources}
    arrows: dict[Arrow, str] = {}
    for source in sources:
        package = source.module.split(".")
        parents = package if source.place.endswith("/__init__.py") else package[:-1]
        for node in _imports(source.nodes[0]):
            targets = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                above = parents[: len(parents) - node.level + 1] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                targets = [f"{base}.{name}" if f"{base}.{name}" in modules else base for name in targets]
            for target in modules.intersection(targets) - {source.module}:
                arrows.setdefault((source.module, target), source.at(node, f"{source.module} → {target}"))
    return arrows


def cycles(arrows: dict[Arrow, str]) -> Figure:
    """Groups of modules each of which reaches all others of its group."""
    following: dict[str, set[str]] = {module: set() for arrow in arrows for module in arrow}
    for importer, imported in arrows:
        following[importer].add(imported)
    reach: dict[str, set[str]] = {module: set() for module in following}
    for module, reached in reach.items():
        ahead = [module]
        while ahead:
            new = following[ahead.pop()] - reached
            reached |= new
            ahead.extend(new)
    groups = {frozenset(other for other in reach[module] if module in reach[other]) for module in reach} - {frozenset()}
    names = [arrows[arrow] for group in groups for arrow in arrows if group.issuperset(arrow)]
    return Figure("import cycles", len(groups), 0, names=names)


def upward(arrows: dict[Arrow, str], src: Path) -> Figure:
    """Imports against the layers contracts of pyproject.toml, and of `rendering` by anything but `app`, late ones too;
    those that a contract names in `ignore_imports` left out."""
    settings = [parent / "pyproject.toml" for parent in src.parents if (parent / "pyproject.toml").is_file()]
    tools = tomllib.loads(settings[0].read_text(encoding="utf-8")).get("tool", {}) if settings else {}
    rows = tools.get("importlinter", {}).get("contracts", ())
    contracts = [row for row in rows if row["type"] == "layers"]
    exceptions = {exception for row in rows for exception in row.get("ignore_imports", ())}
    wrong = []
    for arrow, text in arrows.items():
        places = [module.split(".")[1:2] for module in arrow]
        draws = places[1] == ["rendering"] and places[0] not in (["rendering"], ["app"])
        draws = draws and " -> ".join(arrow) not in exceptions
        if draws or any(_against(arrow, contract["layers"]) for contract in contracts):
            wrong.append(text)
    return Figure("arrows upward", len(wrong), 0, "" if contracts else "no layers contract in pyproject.toml", wrong)


def _against(arrow: Arrow, layers: Sequence[str]) -> bool:
    """Whether the imported module lies in a higher layer, or beside the importer where `|` keeps the two apart."""
    ranks: list[tuple[int, str]] = []  # depth below the top, and the group inside which all may import
    for module in arrow:
        for depth, layer in enumerate(layers):
            for package in re.findall(r"[\w.]+", layer):
                if f"{module}.".startswith(f"{package}."):
                    ranks.append((depth, package if "|" in layer else layer))
    return len(ranks) == 2 and ranks[0] != ranks[1] and ranks[0][0] >= ranks[1][0]


def files(sources: Sequence[Source]) -> Iterator[Figure]:
    counts = Counter(source.place.rpartition("/")[0] for source in sources)
    folders = [(folder, count) for folder, count in counts.most_common() if not folder.endswith("/app/commands")]
    crowded = [f"{folder}/ {count} files" for folder, count in folders if count > 15]
    yield Figure("files in one folder, at most", folders[0][1], 15, folders[0][0], crowded)
    longest = sorted(sources, key=lambda source: -source.lines)
    long = [f"{source.place}:1 {source.lines} lines" for source in longest if source.lines > 400]
    yield Figure("largest file, lines", longest[0].lines, 400, longest[0].place, long)
    server = [source for source in sources if re.search(r"/app/(server/|commands/serve\.py)", source.place)]
    app = [source for source in sources if "/app/" in source.place and source not in server]
    # 3,200 before bulk work, whose options three commands have; what they call lies in jobs
    yield Figure("lines of app, without the server", sum(source.lines for source in app), 3600)
    yield Figure("lines of the server and its command", sum(source.lines for source in server), 1200)
    yield Figure("code lines of src", sum(source.code_lines() for source in sources), 21147, f"{len(sources)} files")


def functions(sources: Sequence[Source]) -> Iterator[Figure]:
    """Parameters twice: aside from what `regard` offers and its commands, as in the issue, and of private ones."""
    offered = {node.value for node in sources[0].nodes if isinstance(node, ast.Constant)}  # strings of regard/__init__
    for node in (node for source in sources for node in source.nodes):
        if isinstance(node, ast.ClassDef) and node.name in offered:
            offered |= {base.id for base in node.bases if isinstance(base, ast.Name)}  # their arguments are its own
    lengths: list[tuple[int, str]] = []
    short: dict[str, list[str]] = {"functions": [], "methods": []}
    parameters: dict[str, list[tuple[int, str]]] = {"not public API": [], "private": []}
    for source in sources:
        loads = Counter(node.id for node in source.nodes if isinstance(node, ast.Name))
        loads.update(node.attr for node in source.nodes if isinstance(node, ast.Attribute))
        for node, owner, nested in source.functions:
            name = source.at(node, node.name)
            underscored = node.name.startswith("_") and not node.name.endswith("__")
            decorators = " ".join(map(ast.unparse, node.decorator_list))
            if not nested:
                lengths.append((body_lines(node), name))
            if underscored and not nested and not decorators and loads[node.name] == 1 and body_lines(node) <= 3:
                short["methods" if owner else "functions"].append(name)
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            row = (sum(argument.arg not in ("self", "cls") for argument in arguments), name)
            private = nested or underscored or owner.startswith("_")
            if private:
                parameters["private"].append(row)
            declares = COMMANDS.fullmatch(source.module) and source.module.endswith(f".{node.name}")
            if private or not ((owner or node.name) in offered or declares):
                parameters["not public API"].append(row)
    lines = [count for count, _ in lengths]
    yield Figure("function lines, median", median(lines))
    yield _most("function lines, p90", lengths, 25, quantiles(lines, n=10)[-1])
    for kind, rows in parameters.items():
        yield _most(f"parameters at most, {kind}", rows, 8)
    yield Figure("private functions used once, <= 3 lines", len(short["functions"]), 30, names=short["functions"])
    yield Figure("private methods used once, <= 3 lines", len(short["methods"]), names=short["methods"])


def _most(title: str, rows: list[tuple[int, str]], goal: int, value: float | None = None) -> Figure:
    """The largest of the rows, or `value` of them, with those over the goal as offenders."""
    over = [f"{name} {count}" for count, name in sorted(rows, reverse=True) if count > goal]
    count, name = max(rows, default=(0, ""))
    return Figure(title, count, goal, name, over) if value is None else Figure(title, value, goal, names=over)


def literary(sources: Sequence[Source]) -> Figure:
    bound = [(source.at(node, name), name) for source in sources for node, name in Bindings(source).names]
    words: Counter[str] = Counter()
    names = []
    for place, name in bound:
        parts = {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
        hits = {part for part in parts if LITERARY.fullmatch(part)}
        if hits and name.strip("_").lower() not in ALLOWED:
            words.update(hits)
            names.append(place)
    frequent = ", ".join(f"{word} {count}" for word, count in words.most_common(8))
    detail = f"{len(names)} of {len(bound)}: {frequent}"
    return Figure("literary words among bound names, %", 100 * len(names) / len(bound), 0.3, detail, names)


def per_thousand(sources: Sequence[Source]) -> Iterator[Figure]:
    """Rates in 1,000 lines of any kind, as STYLE.md counts them; and the examples of docstrings."""
    lines = sum(source.lines for source in sources) / 1000
    packed = []
    examples = []
    comments: Counter[bool] = Counter()
    for source in sources:
        for node in source.nodes:
            pair = isinstance(node, ast.Assign) and [node.value, *node.targets]
            if pair and sum(isinstance(side, ast.Tuple) for side in pair) > 1 and isinstance(pair[0], ast.Tuple):
                packed.append(source.at(node, ast.unparse(node)))
        marks = [token for token in source.tokens if token.type == tokenize.COMMENT]
        comments.update(token.line.lstrip().startswith("#") for token in marks)
        for string in source.docstrings:
            blocks = re.split(r"\n\s*\n", str(string.value))
            matches = [re.search(r"^\s*(>>> .*)", block, re.M) for block in blocks]
            examples += [source.at(string, match[1]) for match in matches if match]
    yield Figure("packed assignments in 1,000 lines", len(packed) / lines, 3, str(len(packed)), packed)
    yield Figure("own-line comments in 1,000 lines", comments[True] / lines, detail=str(comments[True]))
    yield Figure("end-of-line comments in 1,000 lines", comments[False] / lines, detail=str(comments[False]))
    yield Figure("examples in docstrings", len(examples), names=examples)


def measure(src: Path) -> list[Figure]:
    sources = [Source(path, src) for path in sorted(src.rglob("*.py"))]
    arrows = arrows_of(sources)
    crossing = [text for arrow, text in arrows.items() if all(map(COMMANDS.fullmatch, arrow))]
    commands = Figure("commands that import a command", len(crossing), 0, names=crossing)
    graph = [cycles(arrows), upward(arrows, src), commands]
    return [*graph, *files(sources), *functions(sources), literary(sources), *per_thousand(sources)]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    default = Path(__file__).resolve().parents[1] / "src" / "regard"
    parser.add_argument("src", nargs="?", type=Path, default=default, help="folder of the package")
    parser.add_argument("--names", action="store_true", help="list the offenders below each row")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    figures = measure(options.src.resolve())
    if options.json:
        rows = [asdict(figure) for figure in figures]
        print(json.dumps([row if options.names else row | {"names": []} for row in rows], indent=2, ensure_ascii=False))
        return
    print(f"{'figure':<42}{'here':>9}  {'goal':<9}")
    for figure in figures:
        goal = "-" if figure.goal is None else f"<= {figure.goal:g}" if figure.goal else "0"
        over = "" if figure.goal is None or figure.value <= figure.goal else "over"
        print(f"{figure.name:<42}{round(figure.value, 2):>9.7g}  {goal:<9} {over:<6}{figure.detail}".rstrip())
        for name in figure.names if options.names else ():
            print(f"    {name}")


if __name__ == "__main__":
    main()
