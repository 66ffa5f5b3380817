"""The webshop's rows on the evening of the backup: SQL text, the same for the same seed."""

from datetime import datetime, timedelta, timezone
from importlib.resources import files
from random import Random

from recovery.demo.twin import Connection, prepare

MOSCOW = timezone(timedelta(hours=3))
OPENED = datetime(2026, 1, 12, 9, 0, tzinfo=MOSCOW)
STORES = ("Центральный", "Южный", "Северный", "Интернет", "Склад «Восток»")
PRODUCTS_PER_STORE = 60
CUSTOMERS = 120
ORDERS = 150

_SURNAMES = ("Иванов", "Смирнов", "Кузнецов", "Попов", "Соколов", "Лебедев", "Щукин", "Ёлкин")
_NAMES = ("Анна", "Борис", "Вера", "Глеб", "Дарья", "Егор", "Жанна", "Илья", "Ольга", "Пётр")
_WOMEN = frozenset({"Анна", "Вера", "Дарья", "Жанна", "Ольга"})
_GOODS = ("Чайник", "Лампа", "Кружка", "Плед", "Ваза", "Свеча", "Корзина", "Часы", "Рамка", "Полка")
_AWKWARD = (
    "звонить после 18:00; код 007",
    "O'Hara \\ «Дом»\tвторой подъезд",
    "строка 1\nстрока 2",
    "  пробелы по краям  ",
    "\\N",
    "=1+1",
    "",
)


def literal(text: str) -> str:
    """A text as an SQL literal, also where standard_conforming_strings is off."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in quoted else f"'{quoted}'"


def article(store: int, ordinal: int) -> str:
    return f"A-{store}{ordinal:02d}"


def order_number(ordinal: int) -> str:
    return f"W-{1000 + ordinal}"


def make_schema(connection: Connection, seed: int) -> None:
    """The webshop on the evening of the backup."""
    prepare(connection)
    connection.execute("SET search_path = public, pg_catalog")
    schema = files("recovery.demo").joinpath("schema.sql").read_text(encoding="utf-8")
    connection.execute(schema.encode())
    connection.execute(rows_sql(seed).encode())


def rows_sql(seed: int) -> str:
    """INSERT statements for every table; sequences are left just behind the largest key."""
    random = Random(seed)
    return "\n".join((_stores(), _customers(random), _products(random), _orders(random), _ENDING))


_ENDING = """
INSERT INTO payments (order_id, amount, method, paid_at)
    SELECT id, total, CASE id % 3 WHEN 0 THEN 'cash' ELSE 'card' END, placed_at + interval '1 hour'
    FROM orders WHERE status IN ('paid', 'sent', 'closed') ORDER BY id;
INSERT INTO price_log (product_id, changed_at, old_price, new_price)
    SELECT id, timestamptz '2026-02-02 08:30:00+03', round(price * 0.95, 2), price
    FROM products WHERE id % 9 = 0 ORDER BY id;
SELECT setval(pg_get_serial_sequence('customers', 'id'), (SELECT max(id) FROM customers));
SELECT setval(pg_get_serial_sequence('orders', 'id'), (SELECT max(id) FROM orders));
SELECT setval(pg_get_serial_sequence('products', 'id'), (SELECT max(id) FROM products));
"""


def _stores() -> str:
    values = ", ".join(f"({n}, {literal(name)})" for n, name in enumerate(STORES, start=1))
    return f"INSERT INTO stores (id, name) VALUES {values};"


def _customers(random: Random) -> str:
    rows = []
    for number in range(1, CUSTOMERS + 1):
        name = random.choice(_NAMES)
        surname = random.choice(_SURNAMES) + ("а" if name in _WOMEN else "")
        note = literal(random.choice(_AWKWARD)) if number % 5 == 0 else "NULL"
        made = OPENED + timedelta(minutes=37 * number)
        profile = f'{{"bonus": {random.randrange(0, 900)}, "news": {str(number % 2 == 0).lower()}}}'
        rows.append(
            f"({number}, {literal(f'{surname} {name}')}, {literal(f'client{number}@example.ru')}, "
            f"{literal(f'+7 9{random.randrange(10**8, 10**9)}')}, {note}, {literal(profile)}, "
            f"'{made.isoformat()}', '{made.isoformat()}')"
        )
    columns = "id, full_name, email, phone, note, profile, created_at, touched_at"
    return f"INSERT INTO customers ({columns}) VALUES\n" + ",\n".join(rows) + ";"


def _products(random: Random) -> str:
    rows = []
    number = 0
    for store in range(1, len(STORES) + 1):
        for ordinal in range(1, PRODUCTS_PER_STORE + 1):
            number += 1
            name = f"{random.choice(_GOODS)} № {number}"
            price = random.randrange(9900, 990000, 100) + random.choice((0, 0, 50, 90, 99))
            rows.append(
                f"({number}, '{article(store, ordinal)}', {literal(name)}, {store}, "
                f"{price // 100}.{price % 100:02d}, {random.randrange(40, 400)}, "
                f"{str(random.random() < 0.93).lower()})"
            )
    columns = "id, article, name, store_id, price, stock, active"
    return f"INSERT INTO products ({columns}) VALUES\n" + ",\n".join(rows) + ";"


def _orders(random: Random) -> str:
    orders, lines = [], []
    moment = OPENED + timedelta(days=4)
    for number in range(1, ORDERS + 1):
        moment += timedelta(minutes=random.randrange(20, 300))
        status = random.choice(("closed", "closed", "sent", "paid", "new"))
        orders.append(
            f"({number}, '{order_number(number)}', {random.randrange(1, CUSTOMERS + 1)}, "
            f"'{status}', '{moment.isoformat()}', '{moment.isoformat()}')"
        )
        products = random.sample(range(1, len(STORES) * PRODUCTS_PER_STORE), random.randrange(1, 5))
        lines += [f"({number}, {one}, {random.randrange(1, 6)})" for one in sorted(products)]
    columns = "id, number, customer_id, status, placed_at, touched_at"
    return (
        f"INSERT INTO orders ({columns}) VALUES\n" + ",\n".join(orders) + ";\n"
        "INSERT INTO order_lines (order_id, product_id, quantity, price)\n"
        "    SELECT v.order_id, v.product_id, v.quantity, p.price FROM (VALUES\n"
        + ",\n".join(lines)
        + ") AS v (order_id, product_id, quantity) JOIN products p ON p.id = v.product_id\n"
        "    ORDER BY v.order_id, v.product_id;\n"
        "ALTER TABLE orders DISABLE TRIGGER orders_touch;\n"
        "UPDATE orders SET total = (SELECT sum(l.quantity * l.price) FROM order_lines l\n"
        "    WHERE l.order_id = orders.id);\n"
        "ALTER TABLE orders ENABLE TRIGGER orders_touch;"
    )
