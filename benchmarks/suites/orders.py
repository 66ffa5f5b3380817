"""Order processing in nine tables, after the idea of TPC-C: warehouses, districts, stock, orders
and their lines, payments and deliveries. An order takes the price of the day and the district's
next number."""

from benchmarks.suites.model import Batch, Column, Merge, Places, Serial, Suite, Target


def build(rows: int, seed: int) -> str:
    items = max(40, rows // 10)
    customers = max(40, rows // 8)
    orders = max(30, rows // 8)
    return f"""
CREATE TABLE warehouse (w_id integer PRIMARY KEY, w_name text NOT NULL,
    w_tax numeric(4,4) NOT NULL, w_ytd numeric(14,2) NOT NULL DEFAULT 0);
CREATE TABLE district (w_id integer NOT NULL REFERENCES warehouse, d_id integer NOT NULL,
    d_name text NOT NULL, d_ytd numeric(14,2) NOT NULL DEFAULT 0, d_next_o_id integer NOT NULL,
    PRIMARY KEY (w_id, d_id));
CREATE TABLE item (i_id integer PRIMARY KEY, i_name text NOT NULL, i_price numeric(8,2) NOT NULL
    CHECK (i_price >= 0), i_class integer NOT NULL, i_weight integer NOT NULL,
    i_cost numeric(8,2) NOT NULL, i_data text);
CREATE TABLE customer (c_id serial PRIMARY KEY, w_id integer NOT NULL, d_id integer NOT NULL,
    c_last text NOT NULL, c_phone text, c_credit text NOT NULL DEFAULT 'GC'
    CHECK (c_credit IN ('GC', 'BC')), c_balance numeric(12,2) NOT NULL DEFAULT 0,
    c_payments integer NOT NULL DEFAULT 0, c_since timestamptz NOT NULL,
    FOREIGN KEY (w_id, d_id) REFERENCES district);
CREATE TABLE history (h_id serial PRIMARY KEY, c_id integer NOT NULL REFERENCES customer,
    h_amount numeric(8,2) NOT NULL, h_date timestamptz NOT NULL DEFAULT now());
CREATE TABLE stock (w_id integer NOT NULL REFERENCES warehouse,
    i_id integer NOT NULL REFERENCES item, s_quantity integer NOT NULL,
    s_ytd integer NOT NULL DEFAULT 0, PRIMARY KEY (w_id, i_id));
CREATE TABLE orders (o_id integer PRIMARY KEY, c_id integer NOT NULL REFERENCES customer,
    o_entry timestamptz NOT NULL DEFAULT now(), o_carrier integer, o_total numeric(12,2));
CREATE TABLE new_order (o_id integer PRIMARY KEY REFERENCES orders ON DELETE CASCADE);
CREATE TABLE order_line (o_id integer NOT NULL REFERENCES orders ON DELETE CASCADE,
    ol_number integer NOT NULL, i_id integer NOT NULL REFERENCES item,
    ol_quantity integer NOT NULL, ol_amount numeric(10,2) NOT NULL, PRIMARY KEY (o_id, ol_number));
INSERT INTO warehouse SELECT g, 'Lager ' || chr(64 + g), 0.05 + g * 0.01
    FROM generate_series(1, 3) g;
INSERT INTO district SELECT w, d, 'D' || w || d, 0, 3000 + w * 100 + d
    FROM generate_series(1, 3) w, generate_series(1, 4) d;
INSERT INTO item SELECT g, 'Artikel ' || (g * 13 % 997) || '-' || g,
    ((g * 7919 + {seed}) % 9000 + 100) / 100.0, 1 + (g * 7 + {seed}) % 8, 10 + (g * 29) % 300,
    ((g * 5003 + {seed}) % 4000 + 50) / 100.0, 'ORIGINAL ' || g FROM generate_series(1, {items}) g;
INSERT INTO customer (w_id, d_id, c_last, c_phone, c_credit, c_since)
    SELECT 1 + g % 3, 1 + g % 4,
    (ARRAY['Grün','Özil','Лебедев','Ångström','Peña','Smith'])[1 + g % 6] || ' ' || g,
    '0' || (700000 + g * 17), CASE g % 7 WHEN 0 THEN 'BC' ELSE 'GC' END,
    timestamptz '2024-02-01 07:30:00+00' + g * interval '9 hours 1 minute'
    FROM generate_series(1, {customers}) g;
INSERT INTO history (c_id, h_amount, h_date) SELECT g, (g * 37 % 5000) / 100.0 + 1,
    timestamptz '2026-01-03 09:00:00+00' + g * interval '17 minutes'
    FROM generate_series(1, {customers // 2}) g;
INSERT INTO stock SELECT w, i_id, 20 + (i_id * w * 13) % 80 FROM generate_series(1, 2) w, item;
INSERT INTO orders (o_id, c_id, o_entry, o_carrier) SELECT g, 1 + (g * 19) % {customers // 3},
    timestamptz '2026-02-01 05:00:00+00' + g * interval '23 minutes',
    CASE g % 3 WHEN 0 THEN NULL ELSE g % 5 END FROM generate_series(1, {orders}) g;
INSERT INTO new_order SELECT o_id FROM orders WHERE o_carrier IS NULL;
INSERT INTO order_line SELECT o_id, n, 1 + (o_id * 7 + n * 11) % {items}, 1 + n, 0
    FROM orders, generate_series(1, 3) n;
UPDATE order_line l SET ol_amount = ol_quantity * i_price FROM item i WHERE i.i_id = l.i_id;
UPDATE orders o SET o_total = (SELECT sum(ol_amount) FROM order_line l WHERE l.o_id = o.o_id);
"""


_NEW_ORDER = (
    "UPDATE district SET d_next_o_id = d_next_o_id + 1 WHERE w_id = 1 AND d_id = {i} % 4 + 1;\n"
    "INSERT INTO orders (o_id, c_id) VALUES ({n} + 2000000, {customer});\n"
    "INSERT INTO new_order VALUES ({n} + 2000000);\n"
    "INSERT INTO order_line SELECT {n} + 2000000, row_number() OVER (ORDER BY i_id), i_id, {i},\n"
    "{i} * i_price FROM item WHERE i_id IN ({item}, {item2}) ORDER BY i_id;\n"
    "UPDATE stock SET s_quantity = s_quantity - {i}, s_ytd = s_ytd + {i}\n"
    "WHERE w_id = 1 AND i_id IN ({item}, {item2});\n"
    "UPDATE orders SET o_total = (SELECT sum(ol_amount) FROM order_line l\n"
    "WHERE l.o_id = orders.o_id) WHERE o_id = {n} + 2000000"
)
_PAYMENT = (
    "UPDATE warehouse SET w_ytd = w_ytd + {money} WHERE w_id = {i} % 3 + 1;\n"
    "UPDATE customer SET c_balance = c_balance - {money}, c_payments = c_payments + 1\n"
    "WHERE c_id = {customer};\n"
    "INSERT INTO history (c_id, h_amount) VALUES ({customer}, {money})"
)
_DELIVERY = (
    "DELETE FROM new_order WHERE o_id = {order};\n"
    "UPDATE orders SET o_carrier = {i} WHERE o_id = {order};\n"
    "UPDATE customer SET c_balance = c_balance + (SELECT sum(ol_amount) FROM order_line\n"
    "WHERE o_id = {order}) WHERE c_id = (SELECT c_id FROM orders WHERE o_id = {order})"
)

ORDERS = Suite(
    name="orders",
    file="",
    build=build,
    samples=(
        ("item", "SELECT i_id FROM item"),
        ("customer", "SELECT c_id FROM customer"),
        ("order", "SELECT o_id FROM orders"),
    ),
    work=(
        _PAYMENT,
        _DELIVERY,
        "UPDATE customer SET c_phone = '0{n}' WHERE c_id = {customer}",
        "UPDATE customer SET c_credit = 'BC' WHERE c_id = {customer}",
        "UPDATE item SET i_data = 'Charge {n}' WHERE i_id = {item}",
        "UPDATE item SET i_cost = i_cost + 0.1 WHERE i_class = 2 AND i_id % 9 = {i}",
        "UPDATE stock SET s_quantity = s_quantity + 1{i} WHERE w_id = 2 AND i_id % 15 = {i}",
        "UPDATE stock SET s_quantity = [[SELECT s_quantity + 5{i} FROM stock\n"
        "WHERE w_id = 1 AND i_id = {item}]] WHERE w_id = 1 AND i_id = {item}",
        "UPDATE item SET i_weight = i_weight + {i} WHERE i_id = {item}",
        "UPDATE item SET i_name = i_name || ' {n}' WHERE i_id = {item}",
        "INSERT INTO item VALUES ({n} + 2000000, 'Neu {n}', {money}, {i} % 8 + 1, 50, 1.00, NULL)",
        "UPDATE customer SET c_last = c_last || '-{n}' WHERE c_id = {customer}",
    ),
    downstream=(_NEW_ORDER,),
    values=Target(
        table="item",
        name="public.item",
        column="i_price",
        wheres=("i_class = 3", "i_weight < 120", "i_id % 4 = 1", "i_class IN (2, 5)"),
        keys="SELECT i_id FROM item",
        here=(
            "UPDATE item SET i_price = {money} WHERE i_id = {key}",
            "UPDATE item SET i_price = i_price + 0.5 WHERE i_id = {key}",
        ),
        near=(
            "UPDATE item SET i_weight = i_weight + {i} WHERE i_id = {key}",
            "UPDATE item SET i_data = 'B {n}' WHERE i_id = {key}",
        ),
        constants=("9.90", "24.50", "49.00"),
    ),
    rows=Target(
        table="order_line",
        name="public.order_line",
        column="",
        wheres=("o_id = 12", "i_id < 12", "ol_quantity = 4"),
        keys="SELECT DISTINCT o_id FROM order_line",
        here=("UPDATE order_line SET ol_quantity = ol_quantity + {i} WHERE o_id = {key}",),
        near=("UPDATE orders SET o_carrier = {i} WHERE o_id = {key}",),
    ),
    places=Places(
        key="i_id",
        predicates=("i_class", "i_weight", "i_id"),
        sibling="i_cost",
        texts=Column("customer", "public.customer", "c_last", "c_id"),
        codes=Column("customer", "public.customer", "c_phone", "c_id"),
        times=Column("history", "public.history", "h_date", "h_id"),
        shift="interval '-2 hours'",
        batch=Batch(
            "customer",
            "public.customer",
            ("w_id", "d_id", "c_last", "c_phone", "c_since"),
            "({i} % 3 + 1, {k} % 4 + 1, 'Liste {n}/{k}', '0{n}{k}', now())",
            (2, 3),
        ),
        merge=Merge(
            Column("customer", "public.customer", "c_last", "c_id"),
            "orders",
            "public.orders",
            "c_id",
            delete=False,
        ),
        spare=("history", "public.history"),
        droppable=Column("item", "public.item", "i_data", "i_id"),
        entity=Column("customer", "public.customer", "c_last", "c_id"),
        serial=Serial(
            "history_h_id_seq", "INSERT INTO history (c_id, h_amount) VALUES ({i}, {money})"
        ),
    ),
)
