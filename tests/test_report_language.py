"""Every sentence of the program exists in every language, with its plural forms and parameters."""

import ast
import io
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from jinja2 import Environment

import recovery
from recovery.messages import counted, message, percent, show

HOME = Path(recovery.__file__).parent
SAYING = {"message": 1, "marked": 1, "say": 1, "t": 1}
COUNTING = {"counted": 2, "say_counted": 2, "tn": 2}
PLACE = re.compile(r"\{(\w+)\}")

Msgid = tuple[str, ...]


def sentences() -> dict[Msgid, str]:
    """Every msgid (singular, plural) that a module or a template says, with its place."""
    found: dict[Msgid, str] = {}
    for module in sorted(HOME.rglob("*.py")):
        for msgid in of_module(ast.parse(module.read_text("utf-8"))):
            found.setdefault(msgid, str(module.relative_to(HOME)))
    for template in sorted((HOME / "reports" / "templates").glob("*.html")):
        parsed = Environment().parse(template.read_text("utf-8"))
        for msgid in of_template(parsed):
            found.setdefault(msgid, template.name)
    return found


def of_module(tree: ast.Module) -> Iterator[Msgid]:
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        function = call.func
        name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        number = {**SAYING, **COUNTING}.get(name, 0)
        texts = [text.value for text in call.args[:number] if isinstance(text, ast.Constant)]
        if number and len(texts) == number and all(isinstance(text, str) for text in texts):
            yield tuple(str(text) for text in texts)


def of_template(parsed: object) -> Iterator[Msgid]:
    from jinja2 import nodes

    assert isinstance(parsed, nodes.Template)
    for call in parsed.find_all(nodes.Call):
        name = call.node.name if isinstance(call.node, nodes.Name) else ""
        number = {**SAYING, **COUNTING}.get(name, 0)
        texts = [text.value for text in call.args[:number] if isinstance(text, nodes.Const)]
        if number and len(texts) == number:
            yield tuple(texts)


def russian() -> Catalog:
    place = HOME / "reports" / "locale" / "ru" / "LC_MESSAGES" / "dbmend.po"
    return read_po(io.BytesIO(place.read_bytes()), locale="ru")


def test_every_sentence_is_translated() -> None:
    catalogue = russian()
    missing = {
        msgid: place for msgid, place in sentences().items() if not translated(catalogue, msgid)
    }
    assert missing == {}


def translated(catalogue: Catalog, msgid: Msgid) -> bool:
    entry = catalogue.get(msgid[0] if len(msgid) == 1 else list(msgid))
    if entry is None or entry.fuzzy:
        return False
    forms = [entry.string] if isinstance(entry.string, str) else list(entry.string or ())
    return len(forms) == (1 if len(msgid) == 1 else 3) and all(forms)


def test_translations_keep_the_parameters() -> None:
    for entry in russian():
        if not entry.id:
            continue
        wanted = set(PLACE.findall(entry.id if isinstance(entry.id, str) else entry.id[1]))
        forms = [entry.string] if isinstance(entry.string, str) else list(entry.string or ())
        assert [set(PLACE.findall(form)) for form in forms] == [wanted] * len(forms), entry.id


@pytest.mark.parametrize(
    ("n", "english", "russian_text"),
    [
        (0, "0 values", "0 значений"),
        (1, "1 value", "1 значение"),
        (2, "2 values", "2 значения"),
        (5, "5 values", "5 значений"),
        (11, "11 values", "11 значений"),
        (21, "21 values", "21 значение"),
        (4112, "4,112 values", "4\xa0112 значений"),
    ],
)
def test_plurals(n: int, english: str, russian_text: str) -> None:
    text = counted("{n} value", "{n} values", n)
    assert (show(text, "en"), show(text, "ru")) == (english, russian_text)


def test_text_that_is_no_message_stays_itself() -> None:
    for text in ["", "plain", '["', '["a"', "[1,2]", '["a",1]', "Простой текст", '["{n}",{"n":[]}']:
        assert show(text, "ru") == text


def test_parameters_are_never_read_as_templates() -> None:
    hostile = message("Question {id}", id="{id.__class__} {{ 7*7 }} <b>")
    assert show(hostile, "ru") == "Вопрос {id.__class__} {{ 7*7 }} <b>"
    assert show(hostile, "en") == "Question {id.__class__} {{ 7*7 }} <b>"


def test_words_of_the_program_inside_a_sentence_are_translated() -> None:
    text = message(
        "Step {step} ({fault_class}) explains {hits} cells",
        step="7",
        fault_class="missing-where",
        hits=5,
    )
    assert show(text, "en") == "Step 7 (a lost condition) explains 5 cells"
    assert show(text, "ru") == "Шаг 7 (потерянное условие) объясняет значения: 5"


def test_parameters_survive_as_what_they_are() -> None:
    noon = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=3)))
    text = message("{a} {b} {c} {d}", a=4112, b=0.25, c=noon, d="4112")
    assert (
        text == '["{a} {b} {c} {d}",{"a":4112,"b":0.25,'
        '"c":{"time":"2026-03-01T12:00:00+03:00"},"d":"4112"}]'
    )
    assert show(text, "en") == "4,112 25% 1 March 2026, 12:00 GMT+03:00 4112"
    assert show(text, "ru") == "4\xa0112 25\xa0% 1 марта 2026, 12:00 GMT+03:00 4112"


def test_shares_never_round_to_all_or_to_nothing() -> None:
    assert [percent(share, "en") for share in (0.0, 0.00001, 0.5, 0.99999, 1.0)] == [
        "0%",
        "< 0.1%",
        "50%",
        "99.9%",
        "100%",
    ]
    assert percent(0.999999, "ru") == "99,9\xa0%"
