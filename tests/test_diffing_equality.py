"""The equality table, family by family, and what changed inside a JSON value."""

import pytest

from diffing.equality import Form, canonical, form_of, key_text, same_value
from diffing.json_paths import changed_paths
from diffing.literals import NotThatText, Range, array, composite, span, spans
from diffing.model import Column

NUMERIC = Form("numeric")

SAME_VALUE = [
    (NUMERIC, "1.10", "1.1"),
    (NUMERIC, "100", "100.000"),
    (NUMERIC, "0.00", "0"),
    (Form("float"), "0", "-0"),
    (Form("float"), "1e+20", "100000000000000000000"),
    (Form("timestamptz"), "2026-01-01 00:00:00+00", "2026-01-01 05:30:00+05:30"),
    (Form("timestamptz"), "2026-03-01 00:00:00.5+00", "2026-02-28 23:00:00.500000-01"),
    (Form("timestamptz"), "0001-01-01 00:00:00+00", "0001-12-31 23:00:00-01 BC"),
    (Form("timestamptz"), "12026-01-01 00:00:00+00", "12026-01-01 02:30:17+02:30:17"),
    (Form("interval"), "1 year", "12 mons"),
    (Form("interval"), "1 day 02:00:00", "+1 day 02:00:00.000000"),
    (Form("json"), '{"a": 1, "b": [1e2, null]}', '{"b":[100.0,null],"a":1}'),
    (Form("json"), '"\\u0041"', '"A"'),
    (Form("json"), "-0", "0.0"),
    (Form("json"), "12345678901234567890123", "12345678901234567890123.0"),
    (Form("char"), "a", "a   "),
    (Form("citext"), "Straße", "STRAßE"),
    (Form("array", NUMERIC), "{1.0,NULL}", '{"1",NULL}'),
    (Form("array", Form("range", NUMERIC)), '{"[1.0,2)"}', '{"[1,2.0)"}'),
    (Form("range", NUMERIC), "[1.0,)", "[1,)"),
    (Form("range", NUMERIC), "{[1.0,2),[3,4)}", "{[1,2),[3.00,4)}"),
    (Form("composite", fields=(NUMERIC, Form("text"))), "(1.0,a)", '(1.00,"a")'),
    (Form("array", Form("composite", fields=(NUMERIC,))), '{"(1.0)"}', "{(1)}"),
]

OTHER_VALUE = [
    (Form("text"), "a", "A"),
    (Form("text"), "1.0", "1"),
    (NUMERIC, "10", "1"),
    (NUMERIC, "NaN", "Infinity"),
    (NUMERIC, "9007199254740992", "9007199254740993"),
    (Form("float"), "0.1", "0.10000000000000002"),
    (Form("float"), "NaN", "Infinity"),
    (Form("timestamptz"), "2026-01-01 00:00:00+00", "2026-01-01 00:00:00.000001+00"),
    (Form("timestamptz"), "0001-01-01 00:00:00+00", "0001-01-01 00:00:00+00 BC"),
    (Form("interval"), "1 mon", "30 days"),
    (Form("interval"), "1 day", "24:00:00"),
    (Form("interval"), "-00:00:01", "00:00:01"),
    (Form("json"), '{"a":1}', '{"a":"1"}'),
    (Form("json"), '{"a":1}', '{"a":true}'),
    (Form("json"), "[1,2]", "[2,1]"),
    (Form("json"), '{"a":null}', "{}"),
    (Form("json"), "0.1", "0.10000000000000000000001"),
    (Form("char"), " a", "a"),
    (Form("array", NUMERIC), "{1,2}", "[0:1]={1,2}"),
    (Form("array", Form("citext")), '{"NULL"}', "{NULL}"),
    (Form("array", NUMERIC), "{{1,2}}", "{1,2}"),
    (Form("range", NUMERIC), "[1,2)", "[1,2]"),
    (Form("range", NUMERIC), "empty", "(,)"),
    (Form("composite", fields=(Form("char"), NUMERIC)), '("",1)', "(,1)"),
]


@pytest.mark.parametrize(("form", "left", "right"), SAME_VALUE)
def test_another_text_of_the_same_value(form: Form, left: str, right: str):
    assert canonical(form, left) == canonical(form, right)
    assert same_value(form, left, right)


@pytest.mark.parametrize(("form", "left", "right"), OTHER_VALUE)
def test_another_value(form: Form, left: str, right: str):
    assert canonical(form, left) != canonical(form, right)
    assert not same_value(form, left, right)


def test_null_is_like_nothing_but_null():
    assert same_value(NUMERIC, None, None)
    assert not same_value(Form("text"), None, "")
    assert not same_value(Form("text"), "", None)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (Form("timestamptz"), "now"),
        (Form("interval"), "P1D"),
        (Form("json"), "{"),
        (Form("json"), "NaN"),
        (Form("json"), "[" * 100_000),
        (Form("array", NUMERIC), "{1"),
        (Form("array", NUMERIC), "{1} "),
        (Form("range", NUMERIC), "[1"),
        (Form("composite", fields=(NUMERIC,)), "(1,2)"),
        (Form("float"), "one"),
    ],
)
def test_a_text_of_another_type_stands_for_itself(form: Form, text: str):
    assert canonical(form, text) == text


def test_the_form_of_a_column():
    plain = Column("a", "integer[]", "array", element="text")
    deep = Column("a", "pair[]", "array", element="composite", fields=("numeric", "text"))
    assert form_of(plain).by_text
    assert form_of(deep) == Form("array", Form("composite", fields=(Form("numeric"), Form("text"))))
    assert not form_of(deep).by_text
    assert form_of(Column("a", "mood", "composite")).by_text


def test_how_a_key_is_shown():
    assert key_text(NUMERIC, "7.00") == "7"
    assert key_text(Form("char"), "a ") == "a "


def test_printed_values_are_taken_apart():
    assert array('[0:1]={"a\\"\\\\b",NULL}') == ("[0:1]=", ('a"\\b', None))
    assert array("{{1,2},{3,4}}") == ("", (("1", "2"), ("3", "4")))
    assert array("{}") == ("", ())
    assert composite('(1,"a ""b"" \\\\",,"")') == ("1", 'a "b" \\', None, "")
    assert span('["a,b",)') == Range(False, "a,b", None, "[)")
    assert spans("{}") == ()
    for parse, text in ((array, "1,2"), (composite, "1"), (span, "1"), (spans, "{1}")):
        with pytest.raises(NotThatText):
            parse(text)


def test_what_changed_inside_json():
    backup = '{"address":{"city":"A","zip code":1.0},"tags":["a","b"],"gone":null,"n":1}'
    current = '{"address":{"city":"B","zip code":2},"tags":["a","b",{"x":1.5}],"n":"1","it\'s":0}'
    assert changed_paths(backup, current) == (
        "$.address.city: 'A' → 'B'",
        '$.address["zip code"]: 1.0 → 2',
        "$.gone: removed null",
        "$.n: 1 → '1'",
        '$.tags[2]: added {"x":1.5}',
        '$["it\'s"]: added 0',
    )
    assert changed_paths('{"a":1,"b":2}', '{"b":2.0, "a":1}') == ()
    assert changed_paths("{", "[]") == ("$: '{' → '[]'",)
