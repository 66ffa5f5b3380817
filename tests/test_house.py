"""The house keeps its own rules: layers, what is shipped, which licences, which words."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psycopg
import pytest

from recovery.scratch.cluster import Cluster

ROOT = Path(__file__).parent.parent
PACKAGES = ("cli", "recovery", "repair_rules", "diffing")
# compression came with 3.14; before that a backport is imported in its place.
STDLIB = sys.stdlib_module_names | {"compression"}
NOT_OURS = {"dist", "third_party"}


def tracked(pattern: str) -> Iterator[Path]:
    """Files of the checkout, found without git: a bare machine has none."""
    for path in sorted(ROOT.rglob(pattern)):
        parts = path.relative_to(ROOT).parts
        hidden = parts[0].startswith(".") and parts[0] not in {".ci", ".gitignore"}
        hidden = hidden or "__pycache__" in parts
        if path.is_file() and not hidden and parts[0] not in NOT_OURS:
            yield path


def product() -> Iterator[Path]:
    for package in PACKAGES:
        yield from tracked(f"{package}/**/*.py")


def imports(path: Path) -> set[str]:
    """Top-level names a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_imports_only_point_down():
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def product_imports(path: Path) -> set[str]:
    return {name for name in imports(path) if name.split(".")[0] in PACKAGES}


def demo_generator() -> dict[str, Path]:
    """The modules that make the demo's history and its truth; build.py and outcome.py alone meet
    the product: they build in its scratch, and compare what it did with the truth."""
    return {
        f"recovery.demo.{path.stem}": path
        for path in tracked("recovery/demo/*.py")
        if path.name not in {"__init__.py", "build.py", "outcome.py"}
    }


def test_what_makes_the_truth_imports_nothing_of_the_product():
    """Else a mistake of the product could be in the truth it is measured against."""
    generator = demo_generator()
    assert "recovery.demo.history" in generator
    makers = [*generator.values(), *tracked("benchmarks/**/*.py")]
    wrong = {path.name: product_imports(path) - generator.keys() for path in makers}
    assert {name: names for name, names in wrong.items() if names} == {}


def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path: Path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if not name.endswith("/")}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = f"dbmend-{version}.dist-info/"
    sources = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in tracked(f"{package}/**/*")
        if path.name != ".keep"
    }
    documents = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert shipped == sources | {about + name for name in documents}


ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "PSF-2.0",
    "Python-2.0",
    "PostgreSQL",
    "Unlicense",
}
# Weaker than a permissive licence, and why each is fine beside Apache-2.0.
EXCEPTIONS = {
    "psycopg": ("LGPL-3.0-only", "imported, unchanged, replaceable by whoever installs dbmend"),
    "psycopg-binary": ("LGPL-3.0-only", "imported, unchanged, replaceable"),
    "mirakuru": ("LGPL-3.0-or-later", "test tool, never shipped"),
    "pytest-postgresql": ("LGPL-3.0-or-later", "test tool, never shipped"),
    "hypothesis": ("MPL-2.0", "test tool, never shipped"),
    "pathspec": ("MPL-2.0", "build tool, never shipped"),
}
# What older metadata says in words, for distributions without an SPDX expression.
WORDS = {
    "MIT": "MIT",
    "MIT License": "MIT",
    "BSD License": "BSD-3-Clause",
    "BSD-2-Clause": "BSD-2-Clause",
    "BSD-3-Clause": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


def licence(about: metadata.PackageMetadata) -> str:
    """An SPDX expression; the words themselves where they are not known."""
    if "License-Expression" in about:
        return about["License-Expression"]
    prefix = "License :: OSI Approved :: "
    claimed = [str(one) for one in about.get_all("Classifier", []) if str(one).startswith(prefix)]
    words = [one.removeprefix(prefix) for one in claimed]
    if not words:
        words = [about["License"].strip().split("\n")[0] if "License" in about else "none"]
    return " AND ".join(WORDS.get(word, word or "none") for word in words)


def is_allowed(expression: str) -> bool:
    """True when one alternative of the expression needs nothing but allowed licences."""
    alternatives = expression.replace("(", "").replace(")", "").split(" OR ")
    return any(set(one.strip().split(" AND ")) <= ALLOWED for one in alternatives)


INSTALLED = sorted(
    {one.name.lower().replace("_", "-"): one for one in metadata.distributions()}.items()
)


@pytest.mark.parametrize("name", [name for name, _ in INSTALLED if name != "dbmend"])
def test_every_licence_goes_with_apache(name: str):
    found = licence(dict(INSTALLED)[name].metadata)
    if name in EXCEPTIONS:
        assert found == EXCEPTIONS[name][0]
    else:
        assert is_allowed(found), f"{name}: {found}"


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-or-later", False),
        ("GPL-2.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("LGPL-3.0-only", False),
        ("none", False),
    ],
)
def test_the_licence_rule_itself(expression: str, allowed: bool):
    assert is_allowed(expression) is allowed


def test_what_is_imported_is_declared_and_the_other_way_round():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = {re.split(r"[\[<>=; ]", one)[0].lower().replace(".", "-") for one in declared}
    roots: set[str] = set()
    for path in product():
        roots |= {".".join(name.split(".")[:2]) for name in imports(path)}
    providers = metadata.packages_distributions()
    used: set[str] = set()
    for name in roots:
        top = name.split(".")[0]
        if top in STDLIB or top in PACKAGES:
            continue
        # Namespace packages are shared: the second name says whose it is.
        owners = {one.lower().replace(".", "-").replace("_", "-") for one in providers[top]}
        used |= owners if len(owners) == 1 else {name.replace(".", "-").replace("_", "-")}
    assert {"undeclared": used - wanted, "unused": wanted - used} == {
        "undeclared": set(),
        "unused": set(),
    }


HOST = re.compile(
    r"py"
    r"pi\.org|python"
    r"hosted|npm"
    r"js\.|crates"
    r"\.io|registry\.[a-z]+\.|(?<![\w.])/wor"
    r"k/"
    r"|/ho"
    r"me/[a-z]|/ro"
    r"ot/[a-z.]|/tm"
    r"p/v/"
)


def test_no_registry_and_no_path_of_one_machine_is_named():
    named = []
    for path in tracked("*"):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if HOST.search(line):
                named.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert named == []


SAMPLES = re.compile(
    r"\b(pagila|sakila|northwind|chinook|webshop"
    r"|film\w*|rental\w*|staff_list|payment_p\d+|mpaa_rating|special_features"
    r"|order_details|employee_territories|us_states|shippers|customer_demographics"
    r"|invoice_line\w*|playlist\w*|media_type\w*|album|artist)\b",
    re.IGNORECASE,
)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """String constants of a file; docstrings are prose and may give examples."""
    tree = ast.parse(path.read_text())
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def test_the_product_knows_no_sample_by_name():
    schema = (ROOT / "recovery" / "demo" / "schema.sql").read_text()
    tables = set(re.findall(r"(?i)create table (?:public\.)?(\w+)", schema))
    demo = tables | {f"public.{table}" for table in tables}
    assert demo, "the demo has tables"
    named = [
        f"{path.relative_to(ROOT)}:{line}: {text[:60]}"
        for path in product()
        if "demo" not in path.parts
        for line, text in strings(path)
        if SAMPLES.search(text) or text in demo
    ]
    assert named == []


def test_every_module_says_what_it_is_for():
    silent = [
        str(path.relative_to(ROOT))
        for path in product()
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_the_fixtures_give_an_empty_database_twice(
    scratch: Cluster, database: str, postgresql: psycopg.Connection[tuple[object, ...]]
):
    question = "select count(*) from pg_class where relnamespace = 'public'::regnamespace"
    with scratch.connect(database) as connection:
        assert connection.execute(question).fetchall() == [(0,)]
    assert postgresql.execute(question).fetchall() == [(0,)]
