"""wrong-order: where it wins, what it must lose to, and work that only looks like it."""

from tests.located import Damaged, located, step

BACKUP = """
CREATE TABLE product (
    id int PRIMARY KEY, store int NOT NULL, price numeric(12,3) NOT NULL, state text NOT NULL);
INSERT INTO product SELECT n, n % 4, n * 3 + 7.5, 'open' FROM generate_series(1, 16) AS n;
CREATE TABLE line (id int PRIMARY KEY, product int NOT NULL, price numeric(12,3) NOT NULL);
CREATE TABLE total (store int PRIMARY KEY, price numeric(12,3) NOT NULL);
INSERT INTO total SELECT n, 0 FROM generate_series(0, 3) AS n;
"""
RAISE = "UPDATE product SET price = price * 1.10 WHERE store = 3"
ADD = "UPDATE product SET price = price + 5 WHERE id > 3"
SELL = "INSERT INTO line SELECT id, id, price FROM product WHERE store = 3"
SUM = "UPDATE total t SET price = (SELECT sum(price) FROM product p WHERE p.store = t.store)"
WAS = {n: n * 3 + 7.5 for n in (7, 11, 15)}


def test_it_wins_and_what_was_made_of_it_is_collateral(scratch, tmp_path):
    steps = [step("1", RAISE), step("2", ADD), step("3", SUM)]
    happened = f"{ADD}; {RAISE}; {SUM}"
    with located(scratch, tmp_path, BACKUP, happened, steps, complete=True) as case:
        assert case.faults == [("1", "wrong-order")]
        assert case.damage("public.product") == [
            Damaged(
                f'{{"id":"{n}"}}',
                "price",
                "lost-work",
                "proven",
                f"{was:.3f}",
                f"{(was + 5) * 1.1:.3f}",
                f"{was * 1.1 + 5:.3f}",
            )
            for n, was in WAS.items()
        ]
        assert case.targets("public.total", "price") == {"3": ("166.800", "proven")}


def test_a_step_that_read_too_early(scratch, tmp_path):
    steps = [step("1", RAISE), step("2", SELL)]
    with located(scratch, tmp_path, BACKUP, f"{SELL}; {RAISE}", steps, complete=True) as case:
        assert case.faults == [("2", "wrong-order")]
        assert case.damage("public.product") == []
        assert case.targets("public.line", "price") == {
            str(n): (f"{(n * 3 + 7.5) * 1.1:.3f}", "proven") for n in (3, 7, 11, 15)
        }
        assert {one.label for one in case.damage("public.line")} == {"direct"}


def test_the_times_of_the_log_say_otherwise(scratch, tmp_path):
    """Somebody may have added 50 kopecks to these rows."""
    steps = [step("1", RAISE), step("2", ADD)]
    with located(scratch, tmp_path, BACKUP, f"{ADD}; {RAISE}", steps) as case:
        assert (case.located.verdict, case.faults) == ("clean", [])


def test_times_that_leave_it_open_are_a_question(scratch, tmp_path):
    added = "UPDATE product SET price = price + 5"
    steps = [step("1", RAISE, at=None), step("2", added, at=None)]
    happened = f"{added}; {RAISE}; UPDATE product SET price = 1 WHERE id = 11"
    with located(scratch, tmp_path, BACKUP, happened, steps) as case:
        assert case.faults == [("1", "wrong-order")]
        assert case.targets("public.product", "price") == {
            "3": ("23.150", "stale"),
            "7": ("36.350", "stale"),
            "11": (None, "undecided"),
            "15": ("62.750", "stale"),
        }


def test_a_step_that_was_not_done_at_all_is_the_simpler_tale(scratch, tmp_path):
    first = "UPDATE product SET state = 'new' WHERE store = 3"
    second = "UPDATE product SET state = 'sold' WHERE id IN (3, 7)"
    steps = [step("1", first), step("2", second)]
    with located(scratch, tmp_path, BACKUP, first, steps, complete=True) as case:
        assert case.faults == [("2", "skipped")]
        assert case.targets("public.product", "state") == {
            "3": ("sold", "proven"),
            "7": ("sold", "proven"),
        }
