"""A general ledger: entries, balances per account and month that a trigger keeps, month-end closing
that sums everything up, and interest over all rows."""

from benchmarks.suites.model import Batch, Column, Merge, Places, Serial, Suite, Target


def build(rows: int, seed: int) -> str:
    accounts = max(30, min(2000, rows // 20))
    entries = max(100, rows * 3 // 5)
    return f"""
CREATE TABLE ledger_accounts (id serial PRIMARY KEY, code text NOT NULL UNIQUE,
    title text NOT NULL, kind text NOT NULL CHECK (kind IN ('asset', 'cost', 'income')));
CREATE TABLE periods (id integer PRIMARY KEY, label text NOT NULL UNIQUE,
    closed_at timestamptz);
CREATE TABLE partners (id serial PRIMARY KEY, name text NOT NULL, tax_code text);
CREATE TABLE entries (id serial PRIMARY KEY,
    account_id integer NOT NULL REFERENCES ledger_accounts,
    period_id integer NOT NULL REFERENCES periods, partner_id integer REFERENCES partners,
    amount numeric(14,2) NOT NULL, tax numeric(14,2) NOT NULL DEFAULT 0, rate integer NOT NULL,
    booked_at timestamptz NOT NULL DEFAULT now(), memo text);
CREATE TABLE balances (account_id integer NOT NULL REFERENCES ledger_accounts,
    period_id integer NOT NULL REFERENCES periods, total numeric(16,2) NOT NULL,
    PRIMARY KEY (account_id, period_id));
CREATE TABLE closings (period_id integer NOT NULL REFERENCES periods, kind text NOT NULL,
    total numeric(16,2) NOT NULL, PRIMARY KEY (period_id, kind));
CREATE TABLE drafts (id serial PRIMARY KEY, memo text NOT NULL, amount numeric(14,2) NOT NULL);
CREATE FUNCTION keep_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE balances SET total = total - OLD.amount
        WHERE account_id = OLD.account_id AND period_id = OLD.period_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO balances VALUES (NEW.account_id, NEW.period_id, NEW.amount)
        ON CONFLICT (account_id, period_id) DO UPDATE SET total = balances.total + EXCLUDED.total;
    END IF;
    RETURN NULL;
END $$;
INSERT INTO ledger_accounts (code, title, kind) SELECT lpad((g * 10)::text, 5, '0'),
    'Счёт ' || g, (ARRAY['asset','cost','income'])[1 + g % 3] FROM generate_series(1, {accounts}) g;
INSERT INTO periods (id, label) SELECT g, '2026-' || lpad(g::text, 2, '0')
    FROM generate_series(1, 12) g;
INSERT INTO partners (name, tax_code) SELECT (ARRAY['ООО «Луч»','Bäcker GmbH','Señor & Co'])
    [1 + g % 3] || ' ' || g, lpad((g * 8191 % 1000000)::text, 10, '0')
    FROM generate_series(1, {accounts}) g;
INSERT INTO entries (account_id, period_id, partner_id, amount, tax, rate, booked_at, memo)
    SELECT 1 + (g * 17 + {seed}) % {accounts}, 1 + g % 3, 1 + (g * 5) % {accounts},
    ((g * 7753 + {seed}) % 200000 + 100) / 100.0, (g % 50) * 0.1, (g * 3) % 4 * 5,
    timestamptz '2026-01-02 10:00:00+00' + g * interval '13 minutes', 'Проводка ' || g
    FROM generate_series(1, {entries}) g;
INSERT INTO balances SELECT account_id, period_id, sum(amount) FROM entries GROUP BY 1, 2;
INSERT INTO closings SELECT 1, kind, sum(total) FROM balances
    JOIN ledger_accounts a ON a.id = account_id WHERE period_id = 1 GROUP BY kind;
INSERT INTO drafts (memo, amount) SELECT 'Draft ' || g, g * 3.5
    FROM generate_series(1, {max(15, entries // 30)}) g;
CREATE TRIGGER entries_balance AFTER INSERT OR UPDATE OR DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION keep_balance();
"""


_CLOSE = (
    "INSERT INTO closings SELECT 2, kind, sum(total) FROM balances\n"
    "JOIN ledger_accounts a ON a.id = account_id WHERE period_id = 2 GROUP BY kind\n"
    "ON CONFLICT (period_id, kind) DO UPDATE SET total = EXCLUDED.total;\n"
    "UPDATE periods SET closed_at = now() WHERE id = 2"
)

LEDGER = Suite(
    name="ledger",
    file="",
    build=build,
    samples=(
        ("account", "SELECT id FROM ledger_accounts"),
        ("entry", "SELECT id FROM entries"),
        ("partner", "SELECT id FROM partners"),
    ),
    work=(
        "INSERT INTO entries (account_id, period_id, partner_id, amount, rate, memo)\n"
        "VALUES ({account}, 3, {partner}, {money}, {i}, 'Счёт-фактура {n}')",
        "UPDATE entries SET memo = 'Правка {n}' WHERE id = {entry}",
        "UPDATE entries SET amount = amount + {i} WHERE id = {entry}",
        "UPDATE entries SET partner_id = {partner} WHERE id = {entry}",
        "UPDATE entries SET tax = round(amount * 0.05, 2) WHERE id = {entry}",
        "UPDATE entries SET rate = {i} WHERE id = {entry}",
        "UPDATE partners SET tax_code = '00{n}' WHERE id = {partner}",
        "UPDATE partners SET name = name || ' {n}' WHERE id = {partner}",
        "UPDATE ledger_accounts SET title = title || ' {n}' WHERE id = {account}",
        "INSERT INTO drafts (memo, amount) VALUES ('Черновик {n}', {money})",
        "UPDATE entries SET tax = [[SELECT tax + {i} FROM entries WHERE id = {entry}]]\n"
        "WHERE id = {entry}",
    ),
    downstream=(
        _CLOSE,
        "UPDATE entries SET tax = round(amount * 0.2, 2) WHERE account_id = {account}",
        "INSERT INTO entries (account_id, period_id, amount, rate, memo)\n"
        "SELECT account_id, 4, round(total * 0.01, 2), 0, 'Проценты {n}' FROM balances\n"
        "WHERE period_id = 3 AND account_id IN ({account}, {account2}) ORDER BY account_id",
    ),
    values=Target(
        table="entries",
        name="public.entries",
        column="amount",
        wheres=("rate = 5", "rate > 9 AND period_id = 3", "period_id = 2", "id % 6 = 1"),
        keys="SELECT id FROM entries",
        here=(
            "UPDATE entries SET amount = {n}.10 WHERE id = {key}",
            "UPDATE entries SET amount = amount + 0.5 WHERE id = {key}",
        ),
        near=(
            "UPDATE entries SET rate = {i} WHERE id = {key}",
            "UPDATE entries SET memo = 'M {n}' WHERE id = {key}",
        ),
        constants=("120.00", "640.50", "75.20"),
    ),
    rows=Target(
        table="entries",
        name="public.entries",
        column="",
        wheres=("rate = 10 AND period_id = 1", "id < 30", "account_id = 7"),
        keys="SELECT id FROM entries",
        here=("UPDATE entries SET rate = {i} WHERE id = {key}",),
        near=("UPDATE entries SET memo = 'N {n}' WHERE id = {key}",),
    ),
    places=Places(
        key="id",
        predicates=("rate", "period_id", "account_id", "id"),
        sibling="tax",
        texts=Column("partners", "public.partners", "name", "id"),
        codes=Column("partners", "public.partners", "tax_code", "id"),
        times=Column("entries", "public.entries", "booked_at", "id"),
        shift="interval '3 hours'",
        batch=Batch(
            "entries",
            "public.entries",
            ("account_id", "period_id", "amount", "tax", "rate", "memo"),
            "({k} + 2, 3, {k}.75, {i}.10, 5, 'Банк {n}')",
            (2, 3),
        ),
        merge=Merge(
            Column("partners", "public.partners", "name", "id"),
            "entries",
            "public.entries",
            "partner_id",
        ),
        spare=("drafts", "public.drafts"),
        droppable=Column("entries", "public.entries", "memo", "id"),
        entity=Column("partners", "public.partners", "name", "id"),
        serial=Serial(
            "drafts_id_seq", "INSERT INTO drafts (memo, amount) VALUES ('Late {n}', {money})"
        ),
    ),
)
