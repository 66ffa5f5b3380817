"""Ids are those of the current state, although the log does not have all the inserts that took
numbers; rows that only other steps made are borrowed."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from recovery.replay.identity import Row
from recovery.replay.run import Laboratory
from recovery.scratch.cluster import Cluster
from tests.replayed import Stage, act, stage, strike

BACKUP = """
CREATE TABLE customer (id int PRIMARY KEY, name text,
  best int REFERENCES customer DEFERRABLE INITIALLY DEFERRED);
INSERT INTO customer VALUES (1, 'Ada');
CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customer, total numeric(8,2),
  state text DEFAULT 'new');
INSERT INTO orders (customer, total) SELECT 1, 5 FROM generate_series(1, 10);
CREATE TABLE line (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, orders int REFERENCES orders,
  product text);
CREATE TABLE audit (id bigserial PRIMARY KEY, orders int, op text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO audit (orders, op) VALUES (NEW.id, TG_OP); RETURN NULL; END';
CREATE TRIGGER note AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE tens (id int PRIMARY KEY, v text);
CREATE SEQUENCE tens_id_seq AS smallint START 100 MINVALUE 100 INCREMENT 10 OWNED BY tens.id;
ALTER TABLE tens ALTER id SET DEFAULT nextval('tens_id_seq');
CREATE TABLE ring_a (id int PRIMARY KEY, b int);
CREATE TABLE ring_b (id int PRIMARY KEY, a int REFERENCES ring_a);
ALTER TABLE ring_a ADD FOREIGN KEY (b) REFERENCES ring_b;
CREATE TABLE log (what text, "id ""n""\" serial PRIMARY KEY, ж text, at timestamptz);
CREATE SEQUENCE ticket;
CREATE TABLE bill (id serial PRIMARY KEY, customer int REFERENCES customer,
  number int DEFAULT nextval('ticket'));
CREATE TABLE uses_ring (id int PRIMARY KEY, a int REFERENCES ring_a);
"""


@pytest.fixture(scope="module")
def made(scratch: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    found = stage(scratch, "replay_ids", tmp_path_factory.mktemp("replay"), BACKUP)
    yield found
    strike(found)


def row(**cells: str | None) -> Row:
    return cells


def order(number: int, customer: int, total: str, state: str = "new") -> Row:
    return row(id=str(number), customer=str(customer), total=total, state=state)


def keys(effects: list[tuple[str, str, str, str, str, str | None, str | None]]) -> list[str]:
    return [f"{one[0]} {one[1]} {one[2]}" for one in effects if one[3:5] == ("insert", "")]


def test_numbers_that_unlogged_inserts_took(made: Stage) -> None:
    # The customer: two orders not in the log, then the log's first, another, then its other two.
    made.know(
        {
            "public.orders": [
                order(11, 1, "1.00"),
                order(12, 1, "2.00"),
                order(13, 1, "70.00", "paid"),
                order(14, 1, "3.00"),
                order(15, 1, "80.00"),
                order(16, 1, "80.00"),
            ],
            "public.audit": [
                row(id=str(number), orders=str(10 + number), op="INSERT") for number in range(1, 7)
            ],
            "public.tens": [row(id="110", v="other"), row(id="130", v="ours")],
            "public.line": [
                row(id="1", orders="11", product="pen"),
                row(id="2", orders="12", product="pen"),
                row(id="3", orders="13", product="pen"),
                row(id="4", orders="13", product="cup"),
                row(id="5", orders="15", product="cup"),
            ],
        }
    )
    acts = (
        act("one", "INSERT INTO orders (customer, total) VALUES (1, 70)"),
        act("lines", "INSERT INTO line (orders, product) SELECT max(id), p FROM orders,"
            " unnest('{pen,cup}'::text[]) AS p GROUP BY p ORDER BY p DESC"),
        act("two", "INSERT INTO orders (customer, total) VALUES (1, 80), (1, 80)"),
        act("tens", "INSERT INTO tens (v) VALUES ('ours')"),
        act("bad", "INSERT INTO orders (customer, total) VALUES (1, 80), (1, 'x')"),
        act("unknown", "INSERT INTO orders (customer, total, state) VALUES (1, 99, 'odd')"),
    )  # fmt: skip
    played = made.play(*acts)
    assert keys(played.effects) == [
        'one public.orders {"id":"13"}',
        'one public.audit {"id":"3"}',
        'lines public.line {"id":"3"}',
        'lines public.line {"id":"4"}',
        'two public.orders {"id":"15"}',
        'two public.orders {"id":"16"}',
        'two public.audit {"id":"5"}',
        'two public.audit {"id":"6"}',
        'tens public.tens {"id":"130"}',
        'unknown public.orders {"id":"17"}',
        'unknown public.audit {"id":"7"}',
    ]
    assert set(played.failures) == {"bad"}
    assert all(played.complete.values())
    # Known once, known in every run; other histories of the case keep the ids too.
    assert made.play(*acts, run="again").effects == played.effects
    without = made.play(*acts[1:], run="without")
    kept = [key for key in keys(played.effects) if not key.startswith("one ")]
    assert keys(without.effects) == kept
    # A later stage of the case begins with what the replay has found.
    made.know({})
    later = Laboratory(made.ground).run(acts[1:], "later")
    assert later is not None
    assert made.effects("later") == without.effects


def test_rows_of_unlogged_steps_are_borrowed(made: Stage) -> None:
    made.know(
        {
            "public.customer": [
                row(id="2", name='Bob, "x"', best="3"),
                row(id="3", name=None, best=None),
                row(id="5", name="in a ring of one", best="5"),
            ],
            "public.orders": [order(12, 2, "9.00", "paid")],
            "public.ring_a": [row(id="1", b="1")],
            "public.ring_b": [row(id="1", a="1")],
        }
    )
    played = made.play(
        act("order", "UPDATE customer SET name = name || '!' WHERE id = 1",
            "INSERT INTO orders (customer, total) VALUES (2, 8)"),
        act("line", "INSERT INTO line (orders, product) VALUES (12, 'pen')"),
        act("nobody", "INSERT INTO orders (customer, total) VALUES (4, 8)"),
        act("ring", "INSERT INTO uses_ring VALUES (1, 1)"),
        act("self", "INSERT INTO customer VALUES (6, 'six', 5)"),
        act("each", "UPDATE customer SET name = name || '?' WHERE id = 1",
            "INSERT INTO orders (customer, total) VALUES (3, 7)", transaction="each"),
    )  # fmt: skip
    assert set(played.failures) == {"nobody", "ring"}
    assert [one for one in keys(played.effects) if one.startswith("~")] == [
        '~undocumented public.customer {"id":"3"}',
        '~undocumented public.customer {"id":"2"}',
        '~undocumented public.orders {"id":"12"}',
        '~undocumented public.customer {"id":"5"}',
    ]
    assert played.effects[0][0] == "~undocumented"
    # Tried again after the loan, and done once.
    assert [one for one in played.effects if one[4] == "name" and one[3] == "update"] == [
        ("order", "public.customer", '{"id":"1"}', "update", "name", "Ada", "Ada!"),
        ("each", "public.customer", '{"id":"1"}', "update", "name", "Ada!", "Ada!?"),
    ]
    assert {name: done for name, done in played.complete.items() if not done} == {}


def test_a_borrowed_number_is_not_issued_again(made: Stage) -> None:
    made.know({"public.orders": [order(11, 1, "9.00", "x"), order(12, 1, "9.50", "y")]})
    played = made.play(
        act("line", "INSERT INTO line (orders, product) VALUES (11, 'pen')"),
        act("order", "INSERT INTO orders (customer, total) VALUES (NULL, 1)"),
        act("again", "INSERT INTO orders (id, customer, total) VALUES (11, NULL, 1)"),
    )
    assert set(played.failures) == {"again"}
    assert keys(played.effects) == [
        '~undocumented public.orders {"id":"11"}',
        'line public.line {"id":"1"}',
        'order public.orders {"id":"12"}',
        'order public.audit {"id":"1"}',
    ]


def test_rows_that_a_trigger_numbers_in_another_order(made: Stage) -> None:
    """The server met the rows in another order then: the numbers follow what the rows say."""
    made.know({})
    facts = made.ground.facts
    facts.executemany(
        "INSERT INTO divergence VALUES ('public.log', ?, 'extra', '', NULL, ?)",
        [
            ['{"id \\"n\\"":"1"}', '{"what":"b","id \\"n\\"":"1","ж":null,"at":"x"}'],
            ['{"id \\"n\\"":"2"}', '{"what":"a","id \\"n\\"":"2","ж":null,"at":"y"}'],
        ],
    )
    try:
        played = made.play(
            act("s", """INSERT INTO log (what) VALUES ('a'), ('b'), ('"id')"""),
            act("u", "UPDATE log SET ж = 'ü' WHERE what = 'b'"),
            act("d", "DELETE FROM log WHERE what = 'b'"),
        )
    finally:
        facts.execute("DELETE FROM divergence")
    assert played.failures == {}
    told = [
        (step, key, op, column, old, new) for step, _, key, op, column, old, new in played.effects
    ]
    one, two, three = (f'{{"id \\"n\\"":"{number}"}}' for number in (1, 2, 3))

    def row(what: str, number: int, cell: str = "null") -> str:
        return f'{{"what":"{what}","id \\"n\\"":"{number}","ж":{cell},"at":null}}'

    assert told == [
        ("s", two, "insert", "", None, row("a", 2)),
        ("s", two, "insert", "what", None, "a"),
        ("s", two, "insert", 'id "n"', None, "2"),
        ("s", two, "insert", "ж", None, None),
        ("s", two, "insert", "at", None, None),
        ("s", one, "insert", "", None, row("b", 1)),
        ("s", one, "insert", "what", None, "b"),
        ("s", one, "insert", 'id "n"', None, "1"),
        ("s", one, "insert", "ж", None, None),
        ("s", one, "insert", "at", None, None),
        ("s", three, "insert", "", None, row('\\"id', 3)),
        ("s", three, "insert", "what", None, '"id'),
        ("s", three, "insert", 'id "n"', None, "3"),
        ("s", three, "insert", "ж", None, None),
        ("s", three, "insert", "at", None, None),
        ("u", one, "update", "ж", None, "ü"),
        ("d", one, "delete", "", row("b", 1, '"ü"'), None),
        ("d", one, "delete", "what", "b", None),
        ("d", one, "delete", 'id "n"', "1", None),
        ("d", one, "delete", "ж", "ü", None),
        ("d", one, "delete", "at", None, None),
    ]


def test_ids_survive_the_loss_of_a_sequence(made: Stage) -> None:
    played = made.play(
        act("drop", "DROP TABLE tens"),
        act("still", "INSERT INTO customer VALUES (7)"),
        act("serial", "INSERT INTO line (orders) VALUES (1)"),
    )
    assert played.failures == {}
    assert keys(played.effects) == [
        'still public.customer {"id":"7"}',
        'serial public.line {"id":"1"}',
    ]


def test_matching_prefers_what_is_rare(made: Stage) -> None:
    feed = next(one for one in made.ground.identities.feeds if one.table == "public.orders")
    made.know({"public.orders": [order(20 + k, 1, f"{k // 2}.00") for k in range(9)]})
    identities = made.ground.identities
    assert identities.match(feed, order(11, 1, "4.00", "paid")) == 28
    assert identities.match(feed, order(11, 1, "77.00", "paid")) is None
    # What all of them have in common tells nothing.
    assert identities.match(feed, order(11, 1, "77.00")) is None
    assert identities.match(feed, order(11, 1, "2.00")) == 24
    assert identities.match(feed, order(11, 1, "2.00"), after=24) == 25
    identities.take(feed, "other", [28])
    assert identities.match(feed, order(11, 1, "4.00", "paid")) is None
    assert identities.match(feed, order(11, 1, "4.00", "paid"), act="other") == 28
    assert identities.match(replace(feed, table="public.none"), order(1, 1, "1")) is None


def test_a_number_is_given_up_to_the_row_that_has_it(made: Stage) -> None:
    """The first insert was never done: nothing is like its row, and the later ones, each like a row
    that is there, have its number and the next."""
    made.know({"public.orders": [order(11, 1, "9.25", "paid"), order(12, 1, "9.75", "sent")]})
    steps = (
        act("never", "INSERT INTO orders (customer, total, state) VALUES (1, 7, 'lost')"),
        act("one", "INSERT INTO orders (customer, total, state) VALUES (1, 9.25, 'paid')"),
        act("two", "INSERT INTO orders (customer, total, state) VALUES (1, 9.75, 'sent')"),
    )
    played = made.play(*steps)
    mine = [one for one in keys(played.effects) if "public.orders" in one]
    assert mine == [
        'never public.orders {"id":"13"}',
        'one public.orders {"id":"11"}',
        'two public.orders {"id":"12"}',
    ]
    # What was settled once holds in every run.
    again = made.play(*steps[1:], run="without")
    assert [one for one in keys(again.effects) if "public.orders" in one] == mine[1:]


def test_a_row_that_somebody_edited_keeps_its_number(made: Stage) -> None:
    """Nothing is like it, and nobody else's row has its number either."""
    made.know({"public.orders": [order(11, 1, "1.00", "x"), order(12, 1, "9.75", "sent")]})
    played = made.play(
        act("one", "INSERT INTO orders (customer, total, state) VALUES (1, 7, 'lost')"),
        act("two", "INSERT INTO orders (customer, total, state) VALUES (1, 9.75, 'sent')"),
    )
    assert [one for one in keys(played.effects) if "public.orders" in one] == [
        'one public.orders {"id":"11"}',
        'two public.orders {"id":"12"}',
    ]


def test_rows_are_known_by_values_that_stand_in_other_columns(made: Stage) -> None:
    """Customer and state were exchanged by an import; short values say nothing by themselves."""
    feed = next(one for one in made.ground.identities.feeds if one.table == "public.orders")
    people = [f"customer-{k}" for k in range(4)]
    exchanged = [order(50 + k, "open", "1.00", name) for k, name in enumerate(people)]
    made.know({"public.orders": exchanged})
    rows = [order(11 + k, name, "2.00", "open") for k, name in enumerate(people)]
    assert made.ground.identities.began(feed, rows, act="load", after=10) == 49
    strangers = [order(11 + k, f"stranger-{k}", "2.00", "x") for k in range(4)]
    assert made.ground.identities.began(feed, strangers, act="load", after=10) is None


def test_numbers_of_a_supposition_are_those_of_no_other(made: Stage) -> None:
    """Nothing in the current state says what the last insert issued: what was supposed first
    decides nothing. A history that is run for more than a forecast is the ground of others."""
    base = (
        act("some", "INSERT INTO orders (customer, total) VALUES (1, 1)"),
        act("who", "UPDATE customer SET name = 'Eve' WHERE id = 1"),
        act("hers", "INSERT INTO orders (customer, total) SELECT id, 9 FROM customer WHERE id = 7"),
    )
    new = replace(base[1], statements=("INSERT INTO customer VALUES (7, 'Eve')",))
    three = ("INSERT INTO orders (customer, total) VALUES (1, 1), (1, 2), (1, 3)",)
    more = (replace(base[0], statements=three), new, base[2])
    one = (base[0], new, base[2])

    def hers(name: str) -> list[str]:
        told = made.ground.facts.execute(
            "SELECT key FROM forecast WHERE name = ? AND \"column\" = '' AND act = 'hers'"
            " AND \"table\" = 'public.orders'",
            [name],
        )
        return [str(key) for (key,) in told.fetchall()]

    for suppositions in (("more", "one"), ("one", "more")):
        made.know({})
        laboratory = Laboratory(made.ground)
        replayed = laboratory.run(base, "base")
        assert replayed is not None
        for name in suppositions:
            supposed = more if name == "more" else one
            laboratory.forecast_slowly(replayed, base, supposed, name)
        assert (hers("one"), hers("more")) == (['{"id":"12"}'], ['{"id":"14"}'])
    laboratory.run(more, "claimed")
    laboratory.forecast_slowly(replayed, base, (new, base[2]), "after")
    assert hers("after") == ['{"id":"14"}']
    laboratory.close()


def test_looking_for_ids_takes_no_other_numbers(made: Stage) -> None:
    """A step that is tried again takes from sequences without a key what it took for the customer,
    who ran it once; also where it has to be tried again for a row that nobody documented."""
    made.know(
        {
            "public.customer": [row(id="9", name="Zoe", best=None)],
            "public.bill": [
                row(id="4", customer="1", number="1"),
                row(id="7", customer="9", number="2"),
            ],
        }
    )
    played = made.play(
        act("one", "INSERT INTO bill (customer) VALUES (1)"),
        act("two", "INSERT INTO bill (customer) VALUES (9)"),
    )
    mine = [one for one in keys(played.effects) if "public.bill" in one]
    assert mine == ['one public.bill {"id":"4"}', 'two public.bill {"id":"7"}']
    numbers = [played.cell(step, "public.bill", "number") for step in ("one", "two")]
    assert numbers == ["1", "2"]
