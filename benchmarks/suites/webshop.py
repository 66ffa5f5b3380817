"""The demo's own schema: price log, touched-at columns, jsonb, and a soft-delete mark."""

from benchmarks.suites.model import Batch, Column, Merge, Places, Serial, Suite, Target

WEBSHOP = Suite(
    name="webshop",
    file="",
    samples=(
        ("article", "SELECT quote_literal(article) FROM products"),
        ("customer", "SELECT id FROM customers"),
        ("number", "SELECT quote_literal(number) FROM orders"),
    ),
    work=(
        "UPDATE orders SET deleted_at = now() WHERE number = {number} AND deleted_at IS NULL",
        "UPDATE customers SET phone = '+7 9{n}' WHERE id = {customer}",
        "UPDATE customers SET note = 'Заметка «{n}»' WHERE id = {customer}",
        "UPDATE customers SET blocked = true WHERE id % 40 = {i} AND NOT blocked",
        "UPDATE customers SET profile = profile || jsonb_build_object('card', {n})\n"
        "WHERE id = {customer}",
        "UPDATE products SET stock = stock + {i} WHERE article = {article}",
        "UPDATE products SET stock = stock + 1{i} WHERE store_id = {i} % 5 + 1",
        "UPDATE products SET name = name || ' №{n}' WHERE article = {article}",
        "UPDATE products SET active = NOT active WHERE article = {article}",
        "UPDATE orders SET status = 'closed' WHERE number = {number}",
        "UPDATE orders SET status = 'sent' WHERE status = 'paid' AND id % 30 = {i}",
        "UPDATE orders SET status = 'cancelled' WHERE number = {number} AND status = 'new'",
        "INSERT INTO customers (full_name, email) VALUES ('Клиент {n}', 'new{n}@example.ru')",
        "INSERT INTO products (article, name, store_id, price, stock)\n"
        "VALUES ('N-{n}', 'Новинка {n}', {i} % 5 + 1, {money}, 10)",
        "UPDATE customers SET full_name = full_name || ' {n}' WHERE id IN\n"
        "(SELECT customer_id FROM orders WHERE number = {number})",
    ),
    downstream=(
        "INSERT INTO orders (number, customer_id) VALUES ('B-{n}', {customer});\n"
        "INSERT INTO order_lines (order_id, product_id, quantity, price)\n"
        "SELECT o.id, p.id, {i}, p.price FROM orders o, products p WHERE o.number = 'B-{n}'\n"
        "AND p.article IN ({article}, {article2}) ORDER BY p.id;\n"
        "UPDATE orders SET total = (SELECT sum(l.quantity * l.price) FROM order_lines l\n"
        "WHERE l.order_id = orders.id) WHERE number = 'B-{n}'",
    ),
    values=Target(
        table="products",
        name="public.products",
        column="price",
        wheres=("store_id = 3", "stock < 90", "article LIKE 'A-2%'", "NOT active"),
        keys="SELECT id FROM products",
        here=(
            "UPDATE products SET price = {money} WHERE id = {key}",
            "UPDATE products SET price = price + 0.5 WHERE id = {key}",
        ),
        near=(
            "UPDATE products SET stock = stock + {i} WHERE id = {key}",
            "UPDATE products SET name = name || ' {n}' WHERE id = {key}",
        ),
        constants=("499.00", "990.90", "1250.00"),
        audited=True,
    ),
    rows=Target(
        table="payments",
        name="public.payments",
        column="",
        wheres=("method = 'cash'", "id < 30", "amount > 20000"),
        keys="SELECT id FROM payments",
        here=("UPDATE payments SET amount = amount + {i} WHERE id = {key}",),
        near=("UPDATE orders SET status = 'closed' WHERE id = {key}",),
    ),
    records=frozenset({"public.price_log"}),
    places=Places(
        key="id",
        predicates=("store_id", "stock", "id"),
        sibling="stock",
        texts=Column("customers", "public.customers", "full_name", "id"),
        codes=Column("customers", "public.customers", "phone", "id"),
        times=Column("payments", "public.payments", "paid_at", "id"),
        shift="interval '3 hours'",
        batch=Batch(
            "customers",
            "public.customers",
            ("full_name", "phone", "note"),
            "('Список {n}/{k}', '+7 90{n}{k}', 'из файла')",
            (0, 1),
        ),
        merge=Merge(
            Column("customers", "public.customers", "full_name", "id"),
            "orders",
            "public.orders",
            "customer_id",
        ),
        spare=("payments", "public.payments"),
        droppable=Column("customers", "public.customers", "note", "id"),
        entity=Column("customers", "public.customers", "full_name", "id"),
        serial=Serial(
            "payments_id_seq",
            "INSERT INTO payments (order_id, amount) VALUES ({i}, {money})",
        ),
    ),
    touched=frozenset({("public.customers", "touched_at"), ("public.orders", "touched_at")}),
)
