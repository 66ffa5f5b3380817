"""The recovery depth report: every number recomputed from damage.parquet by other code, hostile
values, and the pages for no damage and for what could not be told."""

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest

from diffing.model import Ledger, Sides, Status, TableDiff
from recovery.case import documents
from recovery.case.facts import open_facts
from recovery.depth import Legitimate, Taken, table_depths
from recovery.messages import message
from recovery.model import (
    Alternative,
    Assessment,
    Check,
    Evidence,
    Fault,
    FaultClass,
    Grade,
    Group,
    HazardNote,
    OperationHead,
    Plan,
    PlanRefusal,
    Question,
    Rehearsal,
    Sql,
    Step,
)
from recovery.reports import Case, depth_document, html

MOSCOW = timezone(timedelta(hours=3))
BACKUP = datetime(2026, 3, 1, 3, 0, tzinfo=MOSCOW)
CURRENT = datetime(2026, 3, 2, 9, 30, tzinfo=MOSCOW)
EVIDENCE = (
    Evidence(
        "backup", Path("backup.dump"), 1_234_567, "b" * 64, "PostgreSQL custom archive", "", BACKUP
    ),
    Evidence(
        "current", Path("current.sql.gz"), 2_345_678, "c" * 64, "PostgreSQL plain dump", "", CURRENT
    ),
    Evidence("steps", Path("steps.yaml"), 4_096, "d" * 64),
)
STEP = Step(
    "7",
    12,
    "Подняла цены магазина 3 на 10 %",
    Sql("UPDATE product SET price = price * 1.10 WHERE store_id = 3"),
    at=datetime(2026, 3, 1, 14, 2, tzinfo=MOSCOW),
    actor="Иванова",
    suspect=True,
)
FAULT = Fault(
    "f1",
    "7",
    FaultClass.MISSING_WHERE,
    (("table", "public.product"),),
    0.97,
    (),
    "UPDATE product SET price = price * 1.10",
    cause="user",
)
OTHER = replace(
    FAULT, id="f2", fault_class=FaultClass.WRONG_VALUE, probability=0.02, accepted=False
)
QUESTION = Question(
    "Q1",
    message("Question {id}", id="1"),
    (Alternative(message("backup"), message("None."), 3), Alternative("165.00", "", 4)),
    7,
)
PLAN = Plan(
    (
        Group(
            "g1",
            "f1",
            "mass-update",
            Grade.CONSISTENT,
            OperationHead("set-cells", "public.product", ("price",), 1200, 1200, "e" * 64),
            (HazardNote("SUPPRESSES_TRIGGER", "product_touch"),),
            "",
        ),
    ),
    (),
    "a" * 64,
)
REHEARSAL = Rehearsal(
    "f" * 64,
    True,
    (
        Check("applied", True, "dbmend: applied: 1200 rows"),
        Check("residual", True, "", (("planned", 1200), ("reached", 1200), ("residual", 0))),
    ),
)
DAMAGED = Assessment("damaged", (FAULT, OTHER), (), (QUESTION,), 0.01, (), (), ())
LEGITIMATE = {"public.product": Legitimate(12, 345), "public.customer": Legitimate(1, 21)}
LEDGER = Ledger(
    (
        TableDiff(
            "public.product", ("id",), Status.DIFFERENT, "", Sides(2000, 2010), 790, 1210, extra=10
        ),
        TableDiff("public.store", ("id",), Status.IDENTICAL, "", Sides(5, 5), 5),
    )
)

Damage = tuple[str, str, str, str, str, str | None, str | None, str | None]


@pytest.fixture
def facts(tmp_path):
    with open_facts(tmp_path / "case.duckdb") as connection:
        yield connection


def fill(facts: duckdb.DuckDBPyConnection, cells: list[Damage]) -> None:
    facts.execute(
        'INSERT INTO damage ("table", key, "column", label, grade, backup, current, target,'
        ' fault, step, cause, "group")'
        " SELECT unnest(?), unnest(?), unnest(?), unnest(?), unnest(?), unnest(?), unnest(?),"
        " unnest(?), 'f1', '7', 'user', 'g1'",
        [list(column) for column in zip(*cells, strict=True)],
    )


def webshop() -> list[Damage]:
    """1,221 damaged cells of every grade; two tables, whole rows, a JSON value, a NULL."""
    product = "public.product"
    cells: list[Damage] = [
        (
            product,
            f'{{"id":"{n}"}}',
            "price",
            "direct",
            "consistent",
            f"{n}.00",
            f"{n}.99",
            f"{n}.00",
        )
        for n in range(1, 1201)
    ]
    cells += [
        (product, '{"id":"5"}', "vat", "cascade", "derived", "1", "2", "1"),
        (product, '{"id":"6"}', "vat", "cascade", "stale", None, "2", None),
        (product, '{"id":"7"}', "vat", "cascade", "undecided", "1", "2", None),
        (
            product,
            '{"id":"8"}',
            "attributes",
            "direct",
            "proven",
            '{"size": 1, "tags": ["a"]}',
            '{"size": 2, "tags": []}',
            '{"size": 1, "tags": ["a"]}',
        ),
    ]
    row = '{"id":"%d","product_id":"5","total":"10.00","note":null}'
    cells += [
        ("public.orders", f'{{"id":"{n}"}}', "", "lost-work", "lost", None, None, None)
        for n in range(1, 12)
    ]
    cells += [
        ("public.orders", f'{{"id":"{n}"}}', "", "direct", "proven", row % n, None, row % n)
        for n in range(12, 18)
    ]
    return cells


def document(facts, assessment=DAMAGED, *, case=None, rehearsal=REHEARSAL, plan=PLAN):
    depths = table_depths(facts, legitimate=LEGITIMATE, taken=Taken(BACKUP, CURRENT))
    case = case or Case("2026-17", CURRENT, (STEP,), LEDGER)
    found = depth_document(assessment, plan, rehearsal, EVIDENCE, depths, facts, case=case)
    return json.loads(json.dumps(found, ensure_ascii=False))


# --- reading a page ------------------------------------------------------------------------------


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = [part if isinstance(part, str) else part.text for part in self.children]
        return " ".join("".join(parts).split())

    def all(self, tag: str, **wanted: str | None) -> list["Element"]:
        names = {name.replace("_", "-").rstrip("-"): value for name, value in wanted.items()}
        found = []
        for child in self.children:
            if isinstance(child, Element):
                fits = all(
                    name in child.attributes and value in (None, child.attributes[name])
                    for name, value in names.items()
                )
                found += [child] if child.tag == tag and fits else []
                found += child.all(tag, **wanted)
        return found


VOID = {"meta", "br", "link", "img"}


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attrs) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop().tag == tag, f"</{tag}> does not close what is open"

    def handle_data(self, data) -> None:
        self.open[-1].children.append(data)


def read(page: str) -> Element:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == [reader.root]
    return reader.root


def numbers(row: Element) -> list[int]:
    """The counts of a table row: cells of class n that are no percentages."""
    texts = [cell.text for cell in row.all("td", class_="n")]
    return [int(re.sub(r"\D", "", text)) for text in texts if "%" not in text]


# --- every number, recomputed --------------------------------------------------------------------


class Parquet:
    """Counts over damage.parquet, by code that shares nothing with the product."""

    def __init__(self, facts, folder: Path) -> None:
        self.path = str(folder / "damage.parquet")
        facts.execute(f"COPY damage TO '{self.path}' (FORMAT parquet)")
        self.cells = duckdb.connect().execute("SELECT * FROM read_parquet(?)", [self.path])
        names = [column[0] for column in self.cells.description]
        self.rows = [dict(zip(names, cell, strict=True)) for cell in self.cells.fetchall()]

    def count(self, **wanted: object) -> int:
        return len(self.of(**wanted))

    def of(self, **wanted: object) -> list[dict[str, object]]:
        return [row for row in self.rows if all(row[k] == v for k, v in wanted.items())]

    def tables(self) -> list[str]:
        return sorted({str(row["table"]) for row in self.rows})

    def worst(self, **wanted: object) -> dict[tuple[object, object], int]:
        """Place of the worst grade per damaged row."""
        found: dict[tuple[object, object], int] = {}
        for row in self.of(**wanted):
            at = (row["table"], row["key"])
            found[at] = max(found.get(at, 0), GRADES.index(str(row["grade"])))
        return found


GRADES = ["proven", "consistent", "derived", "stale", "undecided", "lost"]
WORDS = {
    "exactly": GRADES[:2],
    "probably": GRADES[2:4],
    "your_decision": GRADES[4:5],
    "lost": GRADES[5:],
}
LABELS = ["lost-work", "direct", "cascade", "collateral", "omission", "storage", "unexplained"]


def figures(parquet: Parquet, **wanted: object) -> dict[str, Any]:
    worst = list(parquet.worst(**wanted).values())
    cells = {grade: parquet.count(grade=grade, **wanted) for grade in GRADES}
    rows = {grade: worst.count(place) for place, grade in enumerate(GRADES)}
    return {
        "cells": sum(cells.values()),
        "rows": len(worst),
        "grades": {"cells": cells, "rows": rows},
        "words": {
            side: {word: sum(counts[grade] for grade in of) for word, of in WORDS.items()}
            for side, counts in (("cells", cells), ("rows", rows))
        },
        "labels": {label: parquet.count(label=label, **wanted) for label in LABELS},
    }


def test_every_number_of_the_document_comes_from_the_damage(facts, tmp_path) -> None:
    fill(facts, webshop())
    depth, parquet = document(facts), Parquet(facts, tmp_path)

    whole = figures(parquet)
    assert {name: depth["totals"][name] for name in whole} == whole
    assert depth["totals"]["tables"] == len(parquet.tables())
    assert depth["totals"]["legitimate"] == {"documented": 13, "undocumented": 366}
    for entry in depth["tables"]:
        wanted = figures(parquet, table=entry["table"])
        assert {name: entry[name] for name in wanted} == wanted
        columns = {one["column"]: one["cells"] for one in entry["columns"]}
        assert columns == {
            column: parquet.count(table=entry["table"], column=column)
            for column in {row["column"] for row in parquet.of(table=entry["table"])}
        }
        assert entry["samples"]["of"] == wanted["rows"]
        assert entry["samples"]["shown"] == min(10, len(parquet.worst(table=entry["table"])))
    assert [entry["table"] for entry in depth["tables"]] == sorted({*parquet.tables(), *LEGITIMATE})
    fault, other = depth["faults"]
    assert (fault["cells"], fault["rows"]) == (whole["cells"], whole["rows"])
    assert fault["labels"] == whole["labels"]
    assert fault["tables"] == parquet.tables()
    assert (other["cells"], other["rows"], other["tables"]) == (0, 0, [])


def test_the_exact_share_of_the_document_comes_from_the_damage(facts, tmp_path) -> None:
    fill(facts, webshop())
    depth, parquet = document(facts), Parquet(facts, tmp_path)
    every = len(parquet.rows)
    exact = parquet.count(grade="proven") + parquet.count(grade="consistent")
    likely = parquet.count(grade="derived") + parquet.count(grade="stale")
    assert depth["exact_share"] == pytest.approx(
        {
            "lower": exact / every,
            "expected": (exact + likely * 0.97) / every,
            "upper": 1 - parquet.count(grade="lost") / every,
        }
    )


@pytest.mark.parametrize("language", ["ru", "en"])
def test_every_number_of_the_page_comes_from_the_damage(facts, tmp_path, language) -> None:
    fill(facts, webshop())
    page, parquet = read(html(document(facts), language)), Parquet(facts, tmp_path)
    whole = figures(parquet)

    for word in WORDS:
        (row,) = page.all("tr", data_word=word)
        assert numbers(row) == [whole["words"]["cells"][word], whole["words"]["rows"][word]]
    damaged = {
        row.attributes["data-table"]: numbers(row) for row in page.all("tr", data_table=None)
    }
    assert damaged == {
        table: [len(parquet.worst(table=table)), parquet.count(table=table)]
        for table in parquet.tables()
    }
    for table in parquet.tables():
        grades = figures(parquet, table=table)["grades"]
        (block,) = page.all("table", data_grades=table)
        shown = {
            row.attributes["data-grade"]: numbers(row) for row in block.all("tr", data_grade=None)
        }
        assert shown == {
            grade: [grades["cells"][grade], grades["rows"][grade]]
            for grade in GRADES
            if grades["cells"][grade]
        }
    (group,) = page.all("tr", data_group=None)
    assert numbers(group) == [1200]
    kept = {row.attributes["data-kept"]: numbers(row) for row in page.all("tr", data_kept=None)}
    assert kept == {"public.product": [12, 345], "public.customer": [1, 21]}
    assert [numbers(row) for row in page.all("tr", class_="sum")] == [
        [whole["rows"], whole["cells"]],
        [13, 366],
    ]
    for digest in ("a", "b", "c", "d", "f"):
        assert digest * 64 in page.text


def test_samples_show_every_grade_first_and_are_the_same_every_time(facts) -> None:
    fill(facts, webshop())
    first, again = document(facts), document(facts)
    assert first == again
    _, orders, product = first["tables"]
    assert {cell["grade"] for row in product["samples"]["rows"] for cell in row["cells"]} == {
        "proven",
        "consistent",
        "derived",
        "stale",
        "undecided",
    }
    stale = next(
        cell
        for row in product["samples"]["rows"]
        for cell in row["cells"]
        if cell["grade"] == "stale"
    )
    assert (stale["backup"], stale["target"]) == ({"kind": "null"}, {"kind": "null"})
    attributes = next(
        cell
        for row in product["samples"]["rows"]
        for cell in row["cells"]
        if cell["column"] == "attributes"
    )
    assert [
        (change["path"], change["kind"], change["text"]) for change in attributes["changes"]
    ] == [
        ("$.size", "changed", "2 → 1"),
        ("$.tags[0]", "added", "'a'"),
    ]
    assert orders["samples"]["rows"][0]["cells"][0]["target"] == {"kind": "unknown"}
    assert orders["samples"]["rows"][-1]["cells"][0]["current"] == {"kind": "no-row"}


def test_the_document_is_what_its_schema_says(facts) -> None:
    schema = documents.schema("depth")
    vague = Assessment("inconclusive", (), (), (), 1.0, (), (), ())
    jsonschema.validate(document(facts, vague, rehearsal=None), schema)
    fill(facts, webshop())
    jsonschema.validate(document(facts), schema)


# --- questions in their order, languages ---------------------------------------------------------


def headings(page: Element) -> list[str]:
    return [heading.text for heading in page.all("h2")]


def test_the_page_answers_in_the_order_people_ask(facts) -> None:
    fill(facts, webshop())
    depth = document(facts)
    assert headings(read(html(depth, "en")))[:7] == [
        "What happened?",
        "What is damaged?",
        "What can be restored, back to which moment, and how surely?",
        "What is lost?",
        "What is not known?",
        "What must you decide?",
        "What happens next, and what do we promise not to touch?",
    ]
    assert headings(read(html(depth, "ru")))[:7] == [
        "Что произошло?",
        "Что повреждено?",
        "Что можно восстановить, на какой момент и насколько надёжно?",
        "Что потеряно?",
        "Что неизвестно?",
        "Что нужно решить вам?",
        "Что будет дальше и чего мы обещаем не трогать?",
    ]


NAMES = {"public", "product", "orders", "customer", "store", "price", "vat", "attributes", "id"}
NAMES |= {
    "postgresql",
    "custom",
    "note",
    "total",
    "product_id",
    "backup",
    "dump",
    "current",
    "sql",
    "gz",
    "steps",
    "yaml",
}
NAMES |= {"sha", "dbmend", "damage", "parquet", "update", "set", "size", "tags", "utc", "gmt"}


def test_a_page_has_one_language(facts) -> None:
    fill(facts, webshop())
    depth = document(facts)
    russian = read(html(depth, "ru"))
    quoted = {quote.text for quote in russian.all("q", lang="en")}
    foreign = {
        word.lower()
        for part in texts(russian, without={"style", "q"})
        for word in re.findall(r"[A-Za-z]{2,}", part)
    }
    hexadecimal = {word for word in foreign if set(word) <= set("abcdef")}
    assert foreign - NAMES - hexadecimal == set()
    assert quoted == set()
    english = " ".join(texts(read(html(depth, "en")), without={"style"}))
    quotation = english.replace(STEP.what, "").replace(STEP.actor, "")
    assert re.findall("[а-яё]+", quotation, re.IGNORECASE) == []


def texts(element: Element, *, without: set[str]) -> list[str]:
    found = [value for name, value in element.attributes.items() if name == "aria-label" and value]
    for child in element.children:
        if isinstance(child, str):
            found.append(child)
        elif child.tag not in without:
            found += texts(child, without=without)
    return found


def test_an_english_sentence_of_a_stage_is_quoted_on_a_russian_page(facts) -> None:
    fill(facts, webshop())
    sentence = "The clock of the server was right all the time."
    depth = document(facts, replace(DAMAGED, assumptions=(sentence,)))
    assert [quote.text for quote in read(html(depth, "ru")).all("q", lang="en")] == [sentence]
    assert sentence in read(html(depth, "en")).text


def test_a_language_without_catalogue_is_an_error(facts) -> None:
    with pytest.raises(KeyError):
        html(document(facts), "de")


# --- no damage, unknown, warnings, no rehearsal --------------------------------------------------


def test_a_clean_case_says_what_was_compared_and_what_it_does_not_prove(facts) -> None:
    clean = Assessment("clean", (), (), (), 0.0, (), (), (message("None."),))
    depth = document(facts, clean, plan=Plan((), (), ""), rehearsal=None)
    assert (depth["totals"]["cells"], depth["exact_share"]) == (0, None)
    page = read(html(depth, "en"))
    assert page.all("h1")[0].text == "No damage was found in what was compared"
    assert (
        "Compared in full: 2 of 2 tables; 2,005 rows of the backup with 2,015 rows of the current"
        " data. Identical: 1." in page.text
    )
    assert "Data that was wrong before the backup was made is not found" in page.text
    assert "No repair is proposed. Nothing will be changed." in page.text
    assert "No repair is proposed, so there is nothing to rehearse." in page.text
    assert page.all("tr", data_word=None) == []
    assert "В том, что удалось сравнить, повреждений не найдено" in html(depth, "ru")


def test_what_was_not_compared_is_unknown_and_never_zero(facts) -> None:
    ledger = Ledger(
        (
            *LEDGER.tables,
            TableDiff("public.orders", (), Status.NOT_COMPARED, message("not compared")),
        )
    )
    vague = Assessment("inconclusive", (), (), (), 1.0, (), (), ())
    case = Case("2026-18", None, (), ledger)
    depth = document(facts, vague, case=case, plan=Plan((), (), ""), rehearsal=None)
    assert depth["unknown_tables"] == [
        {
            "table": "public.orders",
            "status": "not-compared",
            "why": {"en": "not compared", "ru": "не сравнена"},
            "damaged_cells": None,
        }
    ]
    page = read(html(depth, "en"))
    assert page.all("h1")[0].text == "Not everything could be told"
    assert "Whether anything is damaged, and how much, is unknown." in page.text
    assert "Nothing has to be restored" not in page.text
    assert "public.orders: not compared." in page.text
    assert " 0 " not in page.all("section", id="damaged")[0].text


def test_a_verdict_of_damage_without_damaged_cells_is_unknown_too(facts) -> None:
    bare = Assessment("damaged", (), (), (), 1.0, (), (), ())
    page = read(html(document(facts, bare, plan=Plan((), (), ""), rehearsal=None), "en"))
    assert page.all("h1")[0].text == "Not everything could be told"
    assert "Nothing has to be restored" not in page.text


def test_unknown_work_is_not_counted_as_none(facts) -> None:
    vague = Assessment("inconclusive", (), (), (), 1.0, (), (), ())
    depth = depth_document(vague, Plan((), (), ""), None, EVIDENCE, (), facts)
    page = read(html(depth, "en"))
    (kept,) = page.all("section", id="kept")
    assert kept.all("tr", class_="sum")[0].text == "In all, at leastunknownunknown"
    assert "This report has no record of how many tables and rows were compared." in page.text
    assert "0 values" not in page.text


def test_damage_beside_the_unknown_is_at_least(facts) -> None:
    fill(facts, webshop())
    page = read(html(document(facts, replace(DAMAGED, verdict="inconclusive")), "en"))
    assert (
        "Damaged, as far as it could be told: at least 1,221 values in 1,217 rows of 2 tables."
        in page.text
    )


def test_a_table_compared_in_part_has_no_recovery_point(facts) -> None:
    fill(facts, webshop())
    part = replace(LEDGER.tables[0], status=Status.PARTIAL)
    case = Case("", None, (), Ledger((part,)))
    _, orders, product = document(facts, case=case)["tables"]
    assert product["recovery_point"] == {"state": "unknown", "at": None}
    assert orders["recovery_point"] == {"state": "backup", "at": BACKUP.isoformat()}


def test_warnings_stand_before_everything_else(facts) -> None:
    depth = document(facts, replace(DAMAGED, warnings=(message("not established"),)))
    page = read(html(depth, "ru"))
    (warning,) = page.all("div", class_="warning")
    assert warning.text == "Вниманиене установлено"
    main = html(depth, "ru")
    assert main.index('class="warning"') < main.index("<h2>")


def test_without_rehearsal_nothing_is_claimed(facts) -> None:
    depth = document(facts, rehearsal=None)
    assert "The repair has not been rehearsed." in read(html(depth, "en")).text
    failed = replace(REHEARSAL, checks=(Check("undo", False, "public.product differs"),))
    assert "public.product differs" in html(document(facts, rehearsal=failed), "en")
    assert "did not pass. It must not be applied." in html(document(facts, rehearsal=failed), "en")
    empty = replace(REHEARSAL, checks=())
    assert "did not pass. It must not be applied." in html(document(facts, rehearsal=empty), "en")


def test_what_the_rehearsal_proved_is_said_with_its_figures(facts) -> None:
    page = read(html(document(facts), "ru"))
    assert [row.text for row in page.all("tr", data_check=None)] == [
        "пройденоИсправление выполняется до конца.",
        "пройденоЗаписано всё, что было запланировано. "
        "запланировано: 1 200; записано по плану: 1 200; не записано: 0",
    ]


def test_what_the_plan_leaves_out_is_said_with_its_reason(facts) -> None:
    reason = "the table has no key: a single cell cannot be addressed"
    plan = replace(PLAN, refusals=(PlanRefusal("f1", "public.log", reason, 21),))
    page = read(html(document(facts, plan=plan), "ru"))
    assert [item.text for item in page.all("section", id="unknown")[0].all("li")][1] == (
        "public.log: 21 значение не входит в предлагаемое исправление: у таблицы нет ключа: "
        "нельзя обратиться к отдельному значению."
    )


# --- hostile texts -------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "\u202eabc\u2066",
    "a\x00b\x1b[31m",
    "</bdi></table><h1>",
    '["{n}",{"n":{"time":"x"}}]',
    "x" * 1_000_000,
)


@pytest.mark.parametrize("language", ["ru", "en"])
def test_hostile_texts_stay_text(facts, language) -> None:
    stored = [text.replace("\x00", "") for text in HOSTILE]
    fill(
        facts,
        [
            (text[:63], json.dumps({"id": text}), text[:63], "direct", "stale", text, text, text)
            for text in stored
        ],
    )
    every = " ".join(HOSTILE[:-1])
    assessment = replace(
        DAMAGED,
        faults=(replace(FAULT, statement=every, evidence=(every,), step=every),),
        warnings=HOSTILE[:-1],
        questions=(Question(every, every, (Alternative(every, every, 1),), 1),),
        assumptions=HOSTILE[:-1],
    )
    step = replace(STEP, id=every, what=every, actor=every)
    page = html(document(facts, assessment, case=Case(every, None, (step,), LEDGER)), language)
    root = read(page)
    tags = {element.tag for element in everything(root)}
    assert tags.isdisjoint({"script", "img", "iframe", "link", "object", "form", "input"})
    assert len(root.all("h1")) == 1
    attributes = {name for element in everything(root) for name in element.attributes}
    assert not {name for name in attributes if name.startswith("on")} and "style" not in attributes
    assert {"href", "src"}.isdisjoint(attributes)
    assert "{{ 7*7 }}{% raw %}" in root.text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", page)
    assert "⟨U+202E⟩abc⟨U+2066⟩" in page
    assert len(page) < 400_000


def everything(element: Element) -> list[Element]:
    children = [child for child in element.children if isinstance(child, Element)]
    return children + [deeper for child in children for deeper in everything(child)]


def test_the_page_loads_nothing_and_says_so_to_the_browser(facts) -> None:
    fill(facts, webshop())
    page = html(document(facts), "en")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; "
        r"base-uri 'none'; form-action 'none'",
        policy,
    )
    assert "http" not in page.replace("http-equiv", "")
    assert "@import" not in page


def test_bars_speak_their_numbers(facts) -> None:
    fill(facts, webshop())
    bars = read(html(document(facts), "en")).all("svg", class_="bar")
    assert [bar.attributes["aria-label"] for bar in bars] == [
        "exactly: 1,207; probably: 2; your decision: 1; lost: 11",
        "proven: 6; lost: 11",
        "proven: 1; consistent: 1,200; derived: 1; stale: 1; undecided: 1",
    ]
    for bar in bars:
        widths = [float(str(part.attributes["width"])) for part in bar.all("rect", y="0")]
        assert sum(widths) == pytest.approx(720, abs=0.5)
        assert min(widths) >= 7


def test_a_document_remade_from_its_file_gives_the_same_page(facts) -> None:
    fill(facts, webshop())
    depth = document(facts, replace(DAMAGED, none_of_these=0.0))
    assert html(json.loads(json.dumps(depth)), "ru") == html(depth, "ru")


def test_times_are_shown_with_their_offset(facts) -> None:
    fill(facts, webshop())
    depth = document(facts, case=Case("", datetime(2026, 3, 5, 12, 0, tzinfo=UTC), (STEP,), LEDGER))
    assert "Отчёт составлен: 5 марта 2026, 12:00 GMT+00:00." in html(depth, "ru")
    assert "1 марта 2026, 14:02 GMT+03:00" in html(depth, "ru")
    assert "1 March 2026, 14:02 GMT+03:00" in html(depth, "en")
