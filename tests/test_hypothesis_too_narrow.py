"""too-narrow: where it wins, and where it must not be claimed."""

from tests.located import located, step

BACKUP = """
CREATE TABLE product (id int PRIMARY KEY, store int NOT NULL, kind text NOT NULL,
                      price numeric(10,2) NOT NULL, note text);
INSERT INTO product SELECT n, n % 3, (ARRAY['book', 'toy', 'tool'])[n % 7 % 3 + 1], n * 3 + 7.5,
       'n' || n
FROM generate_series(1, 60) AS n;
"""
LOGGED = "UPDATE product SET price = price * 1.10 WHERE store = 1"
KIND = {n: ("book", "toy", "tool")[n % 7 % 3] for n in range(1, 61)}


def _raised(n):
    return f"{round((n * 3 + 7.5) * 1.1 + 1e-9, 2):.2f}"


def test_one_condition_more(scratch, tmp_path):
    """Only the books were raised, and the client program reported so many rows. One of those that
    were left out got another price by hand."""
    books = [n for n in range(1, 61, 3) if KIND[n] == "book"]
    happened = f"{LOGGED} AND kind = 'book'; UPDATE product SET price = 11 WHERE id = 4"
    steps = [step("1", LOGGED, rows=len(books))]
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("1", "too-narrow")]
        found = case.targets("public.product", "price")
    left = [n for n in range(1, 61, 3) if n not in books]
    assert found == {
        "4": (None, "undecided"),
        **{str(n): (_raised(n), "consistent") for n in left if n != 4},
    }


def test_taken_back_on_purpose(scratch, tmp_path):
    """The same data: somebody took it back for all but books. Nothing tells that from a fault, so
    a person has to, and nothing goes back before."""
    happened = f"""
    {LOGGED};
    UPDATE product SET price = price / 1.10 WHERE store = 1 AND kind <> 'book';
    """
    with located(scratch, tmp_path, BACKUP, happened, [step("1", LOGGED)]) as case:
        assert (case.located.verdict, case.faults) == ("inconclusive", [("1", "too-narrow")])
        assert [one.id for one in case.located.questions] == ["F1-afterwards"]
        assert {one.grade for one in case.damage("public.product")} == {"undecided"}


def test_rows_that_nobody_touched(scratch, tmp_path):
    """A trigger notes when a row was changed last: toys and tools were not, since the backup."""
    backup = f"""{BACKUP}
    ALTER TABLE product ADD touched timestamptz NOT NULL DEFAULT '2026-01-01';
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.touched := now(); RETURN NEW; END';
    CREATE TRIGGER touch BEFORE UPDATE ON product FOR EACH ROW EXECUTE FUNCTION touch();
    """
    happened = f"{LOGGED} AND kind = 'book'"
    with located(scratch, tmp_path, backup, happened, [step("1", LOGGED)]) as case:
        assert case.faults == [("1", "too-narrow")]
        found = case.targets("public.product", "price")
    left = [n for n in range(1, 61, 3) if KIND[n] != "book"]
    assert found == {str(n): (_raised(n), "consistent") for n in left}


def test_many_values_put_back_by_somebody(scratch, tmp_path):
    """No formula puts them back; somebody may have had a list. It is told, and never safe."""
    logged = "UPDATE product SET price = 5 WHERE store = 1"
    back = "UPDATE product SET price = id * 3 + 7.5 WHERE store = 1 AND kind <> 'book'"
    steps = [step("1", logged)]
    with located(scratch, tmp_path, BACKUP, f"{logged}; {back}", steps) as case:
        assert case.faults == [("1", "too-narrow")]
        assert {one.grade for one in case.damage("public.product")} == {"stale"}
        assert [one.id for one in case.located.questions] == ["F1-or-work"]
