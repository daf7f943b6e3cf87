"""How the package is built: imports point down, Numba stays in its rooms, what is public is explained, and examples are true."""

import ast
import doctest
import importlib
import inspect
from pathlib import Path

import pytest

import fastconv as fc

PACKAGE = Path(fc.__file__).parent

# a part may import from the lines below its own, and from its own line without going round in circles
FLOORS = (
    "cli __main__",
    "teaching viz",
    "benchmark gradient_check tuning",
    "training",
    "models",
    "layers",
    "data",
    "functional",
    "plans algorithms costs workspaces chains",
    "kernels",
    "display",
    "geometry machine edges files",
    "errors",
)
FLOOR = {part: len(FLOORS) - i for i, parts in enumerate(FLOORS) for part in parts.split()}
NUMBA_LIVES_IN = ("machine", "kernels")
TAKES_USERS_INPUT = ("functional", "layers", "models", "training", "data", "viz", "cli")
INTERNAL = (
    "kernels",
    "costs",
    "workspaces",
    "chains",
    "display",
    "files",
    "benchmark",
    "cli",
    "__main__",
)  # `__all__` there is for our own use
SELF_EVIDENT = ("shape", "dtype", "name")  # members that need no docstring
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def name_of(file):
    """ "kernels.direct" for kernels/direct.py, "kernels" for its __init__.py, "" for the root."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}
MODULES = [name for name in TREES if name and name != "__main__"]
WITH_EXAMPLES = [name for name in ("", *MODULES) if ">>> " in FILES[name].read_text(encoding="utf-8")]


def part_of(name):
    return name.split(".")[0]


def imports(tree):
    """(full name of what is imported, line, is it done at once?) for every import statement; names of modules, or in modules."""
    later = {id(node) for function in ast.walk(tree) if isinstance(function, FUNCTIONS) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            source = "" if isinstance(node, ast.Import) else f"{'.' * node.level}{node.module or ''}."
            yield from ((source + alias.name, node.lineno, id(node) not in later) for alias in node.names)


def known(target):
    """The module of ours behind "fastconv.kernels.direct.conv2d": "kernels.direct"; None for what is not ours."""
    words = target.split(".")
    if words[0] != "fastconv":
        return None
    while len(words) > 1 and ".".join(words[1:]) not in TREES:
        words.pop()
    return ".".join(words[1:])


def ours(name):
    """(module of ours, line, at once?) that the module `name` imports."""
    return [(known(target), line, at_once) for target, line, at_once in imports(TREES[name]) if known(target) is not None]


def test_every_part_has_its_floor():
    assert {part_of(name) for name in TREES if name} == set(FLOOR)


def test_imports_are_absolute():
    assert [(name, line) for name in TREES for target, line, _ in imports(TREES[name]) if target.startswith(".")] == []


def test_imports_point_down():
    wrong = [(name, line, target) for name in MODULES for target, line, _ in ours(name) if target and not is_below(name, target)]
    assert wrong == []


def is_below(name, target):
    here, there = part_of(name), part_of(target)
    return here == there or FLOOR[there] <= FLOOR[here]


def test_only_the_version_is_taken_from_the_root():
    """`import fastconv` from inside would hide which way an import points."""
    roots = [(name, target) for name in TREES for target, _, _ in imports(TREES[name]) if known(target) == "" and name]
    assert [found for found in roots if found[1] != "fastconv.__version__"] == []


def test_modules_do_not_import_in_circles():
    """Of the imports that run at once; those inside functions wait until all modules are there."""
    below = {name: {target for target, _, at_once in ours(name) if at_once and target and target != name} for name in TREES}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            path.append(name)
            for target in sorted(below[name]):
                visit(target)
            done.add(path.pop())

    for name in sorted(below):
        visit(name)


def test_parts_do_not_import_in_circles():
    """Also where the modules in them would not: a part is understood before the parts that use it."""
    below = {}
    for name in MODULES:
        below.setdefault(part_of(name), set()).update(part_of(target) for target, _, _ in ours(name) if target)
    for part, others in below.items():
        for other in others - {part}:
            assert part not in below[other], f"{part} and {other} import each other"


def test_numba_is_known_to_kernels_and_machine_only():
    wrong = [
        (name, line, target)
        for name in TREES
        for target, line, _ in imports(TREES[name])
        if target.split(".")[0] in ("numba", "llvmlite") and part_of(name) not in NUMBA_LIVES_IN
    ]
    assert wrong == []


def test_llvm_instructions_are_written_in_four_files():
    writers = [name for name in TREES if any(target.startswith("llvmlite.ir") for target, _, _ in imports(TREES[name]))]
    assert writers == [f"kernels.{name}" for name in ("atomics", "denormals", "intrinsics", "vector_ir")]


def test_what_is_compiled_depends_on_kernels_and_machine_only():
    """The kernel cache knows a change by the files of these two, so no kernel may take anything else from us."""
    kernels = [name for name in MODULES if part_of(name) == "kernels"]
    assert [(name, target) for name in kernels for target, _, _ in ours(name) if part_of(target) not in NUMBA_LIVES_IN] == []


def test_no_flag_of_fastmath_is_taken_unnamed():
    """fastmath=True would let LLVM forget NaN and reorder sums; so would some flags by name."""
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "fastmath" and isinstance(node.value, ast.Constant):
                assert node.value.value is False, f"{name}, line {node.value.lineno}"
            if isinstance(node, ast.Constant) and part_of(name) in NUMBA_LIVES_IN:
                assert node.value not in ("fast", "nnan", "ninf"), f"{name}, line {node.lineno}"


def test_assert_checks_no_users_input():
    """An assertion is for our own mistakes, and vanishes with python -O."""
    careless = [name for name in TREES if part_of(name) in TAKES_USERS_INPUT]
    assert [(name, node.lineno) for name in careless for node in ast.walk(TREES[name]) if isinstance(node, ast.Assert)] == []


def test_every_module_says_what_it_is():
    assert [name for name, tree in TREES.items() if not ast.get_docstring(tree)] == []


def test_every_module_can_be_imported():
    for name in MODULES:
        importlib.import_module(f"fastconv.{name}")


@pytest.mark.parametrize("name", fc.__all__)
def test_every_public_name_is_there_and_explained(name):
    value = getattr(fc, name)
    assert name == "__version__" or (inspect.getdoc(value) and (callable(value) or inspect.ismodule(value)))


def test_the_public_names_of_public_modules_are_there_and_explained():
    silent = []
    for name in MODULES:
        module = importlib.import_module(f"fastconv.{name}")
        values = {public: getattr(module, public) for public in getattr(module, "__all__", ())}
        if part_of(name) not in INTERNAL:
            silent += [(name, public) for public, value in values.items() if callable(value) and not inspect.getdoc(value)]
    assert silent == []


def test_public_classes_are_explained_member_by_member():
    silent = []
    for name in fc.__all__:
        value = getattr(fc, name)
        members = vars(value).items() if inspect.isclass(value) else ()
        silent += [f"{name}.{key}" for key, member in members if not key.startswith("_") and is_silent(value, key, member)]
    assert silent == []


def is_silent(owner, key, member):
    """Is this a method or property that neither its class nor those above say a word about?"""
    if key in SELF_EVIDENT or not (inspect.isfunction(member) or isinstance(member, property)):
        return False
    return not any(inspect.getdoc(vars(base)[key]) for base in owner.__mro__ if key in vars(base))


@pytest.mark.parametrize("name", WITH_EXAMPLES, ids=lambda name: name or "fastconv")
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(f"fastconv.{name}".rstrip("."))
    given = {"np": importlib.import_module("numpy"), "fc": fc}
    result = doctest.testmod(module, extraglobs=given, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
