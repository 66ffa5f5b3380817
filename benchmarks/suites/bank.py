"""A small bank: accounts with two balances each, and transfers between them. Half of its work is an
application's: it reads a balance, computes, and writes the result as a constant."""

from benchmarks.suites.model import Batch, Column, Merge, Places, Serial, Suite, Target


def build(rows: int, seed: int) -> str:
    """About `rows` rows in all: two fifths of them accounts with their balances."""
    accounts = max(40, rows // 4)
    return f"""
CREATE TABLE branches (id integer PRIMARY KEY, name text NOT NULL UNIQUE,
    opened_on date NOT NULL);
CREATE TABLE accounts (id serial PRIMARY KEY, number text NOT NULL UNIQUE, holder text NOT NULL,
    branch_id integer NOT NULL REFERENCES branches, phone text, opened_at timestamptz NOT NULL,
    active boolean NOT NULL DEFAULT true);
CREATE TABLE savings (account_id integer PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    balance numeric(12,2) NOT NULL, rate numeric(5,3) NOT NULL,
    fee numeric(12,2) NOT NULL DEFAULT 0, plan_id integer NOT NULL);
CREATE TABLE checking (account_id integer PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    balance numeric(12,2) NOT NULL, overdraft numeric(12,2) NOT NULL DEFAULT 0);
CREATE TABLE transfers (id bigserial PRIMARY KEY,
    from_account integer NOT NULL REFERENCES accounts ON DELETE CASCADE,
    to_account integer NOT NULL REFERENCES accounts ON DELETE CASCADE,
    amount numeric(12,2) NOT NULL CHECK (amount > 0), made_at timestamptz NOT NULL DEFAULT now(),
    remark text);
CREATE TABLE notices (id serial PRIMARY KEY, account_id integer NOT NULL, body text NOT NULL,
    channel text NOT NULL DEFAULT 'mail');
INSERT INTO branches SELECT g, 'Отделение ' || g, date '2010-01-01' + g * 97
    FROM generate_series(1, 12) g;
INSERT INTO accounts (number, holder, branch_id, phone, opened_at)
    SELECT lpad((g * 7919 % 10000000)::text, 10, '0'),
    (ARRAY['Ёлкин Пётр','Müller Jörg','Щукина Анна','O''Hara Ann','Žižek Ivo','Ким Вера'])
        [1 + (g * 31 + {seed}) % 6] || ' ' || g,
    1 + (g * 17 + {seed}) % 12, '00' || (4900000 + g * 13), timestamptz '2019-05-01 08:00:00+00'
        + g * interval '7 hours 13 minutes'
    FROM generate_series(1, {accounts}) g;
INSERT INTO savings SELECT id, ((id * 7907 + {seed}) % 900000 + 1000) / 100.0,
    1 + (id % 5) * 0.125, (id % 9) * 0.5, 1 + (id * 5) % 6 FROM accounts;
INSERT INTO checking SELECT id, ((id * 6311 + {seed}) % 400000 + 500) / 100.0, (id % 4) * 100
    FROM accounts;
INSERT INTO transfers (from_account, to_account, amount, made_at, remark)
    SELECT 1 + (g * 11) % {accounts // 4}, 1 + (g * 11 + 1 + g % 7) % {accounts},
    ((g * 103 + {seed}) % 50000 + 100) / 100.0,
    timestamptz '2026-01-10 06:00:00+00' + g * interval '11 minutes', 'Перевод ' || g
    FROM generate_series(1, {accounts}) g;
INSERT INTO notices (account_id, body) SELECT g * 3, 'Notice ' || g
    FROM generate_series(1, {max(10, accounts // 10)}) g;
"""


_DEPOSIT = (
    "UPDATE checking SET balance = [[SELECT balance + {i}0 FROM checking\n"
    "WHERE account_id = {account}]] WHERE account_id = {account}"
)
_AMALGAMATE = (
    "UPDATE checking SET balance = [[SELECT c.balance + s.balance FROM checking c, savings s\n"
    "WHERE c.account_id = {account} AND s.account_id = {account2}]] WHERE account_id = {account};\n"
    "UPDATE savings SET balance = 0 WHERE account_id = {account2}"
)

BANK = Suite(
    name="bank",
    file="",
    build=build,
    samples=(
        ("account", "SELECT id FROM accounts"),
        ("branch", "SELECT id FROM branches"),
        ("transfer", "SELECT id FROM transfers"),
    ),
    work=(
        _DEPOSIT,
        "UPDATE savings SET balance = balance + {money} WHERE account_id = {account}",
        "INSERT INTO transfers (from_account, to_account, amount, remark)\n"
        "VALUES ({account}, {account2}, {money}, 'Заказ {n}');\n"
        "UPDATE checking SET balance = balance - {money} WHERE account_id = {account};\n"
        "UPDATE checking SET balance = balance + {money} WHERE account_id = {account2}",
        "UPDATE accounts SET phone = '00{n}' WHERE id = {account}",
        "UPDATE accounts SET holder = holder || ' {n}' WHERE id = {account}",
        "UPDATE accounts SET active = NOT active WHERE id = {account}",
        "UPDATE accounts SET branch_id = {branch} WHERE id = {account}",
        "UPDATE transfers SET remark = 'Возврат {n}' WHERE id = {transfer}",
        "UPDATE checking SET overdraft = overdraft + {i}0 WHERE account_id % 40 = {i}",
        "UPDATE savings SET fee = fee + 0.25 WHERE plan_id = 2 AND account_id % 11 = {i}",
        "INSERT INTO accounts (number, holder, branch_id, opened_at)\n"
        "VALUES ('N{n}', 'Новый клиент {n}', {branch}, now())",
    ),
    downstream=(
        _AMALGAMATE,
        "UPDATE checking SET balance = balance + (SELECT round(balance * 0.01, 2) FROM savings\n"
        "WHERE account_id = {account}) WHERE account_id = {account}",
        "INSERT INTO notices (account_id, body) SELECT account_id, 'Balance ' || balance\n"
        "FROM savings WHERE account_id IN ({account}, {account2}) ORDER BY 1",
    ),
    values=Target(
        table="savings",
        name="public.savings",
        column="balance",
        wheres=("plan_id = 3", "rate > 1.3", "fee < 1", "plan_id IN (1, 4)"),
        keys="SELECT account_id FROM savings",
        here=(
            "UPDATE savings SET balance = balance + {money} WHERE account_id = {key}",
            "UPDATE savings SET balance = {n}.50 WHERE account_id = {key}",
        ),
        near=(
            "UPDATE savings SET fee = fee + {i} WHERE account_id = {key}",
            "UPDATE savings SET plan_id = {i} WHERE account_id = {key}",
        ),
        constants=("100.00", "250.50", "75.25"),
    ),
    rows=Target(
        table="transfers",
        name="public.transfers",
        column="",
        wheres=("id < 30", "amount > 300", "from_account = 12"),
        keys="SELECT id FROM transfers",
        here=("UPDATE transfers SET amount = amount + {i} WHERE id = {key}",),
        near=("UPDATE transfers SET remark = 'К {n}' WHERE id = {key}",),
    ),
    places=Places(
        key="account_id",
        predicates=("plan_id", "rate", "account_id", "fee"),
        sibling="fee",
        texts=Column("accounts", "public.accounts", "holder", "id"),
        codes=Column("accounts", "public.accounts", "phone", "id"),
        times=Column("transfers", "public.transfers", "made_at", "id"),
        shift="interval '3 hours'",
        batch=Batch(
            "transfers",
            "public.transfers",
            ("from_account", "to_account", "amount", "remark"),
            "({k} + 1, {k} + 9, {k}.25, 'Реестр {n}')",
            (0, 1),
        ),
        merge=Merge(
            Column("accounts", "public.accounts", "holder", "id"),
            "transfers",
            "public.transfers",
            "from_account",
            delete=False,
        ),
        spare=("notices", "public.notices"),
        droppable=Column("transfers", "public.transfers", "remark", "id"),
        entity=Column("accounts", "public.accounts", "holder", "id"),
        serial=Serial(
            "notices_id_seq", "INSERT INTO notices (account_id, body) VALUES ({i}, 'Late {n}')"
        ),
    ),
)
