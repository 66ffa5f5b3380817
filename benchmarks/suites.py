"""What can happen in the four databases of the benchmark: legitimate work as SQL templates, the
places where a fault can strike, and how to lay hands on the very rows it strikes.

Templates are filled with str.format from the names in `samples` (SELECTs against the backup that
list what exists), `{n}` (unique in a history), `{i}` (a small whole number) and `{money}`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """A column (or, with column '', a table's rows) that a fault strikes. `wheres` are the
    predicates that the log tells; `keys` lists key values of the table as text, for edits on the
    very rows; `here` edits the column and `near` other columns of one row. `audited`: something
    in the database keeps every former value of the column."""

    table: str  # as SQL writes it
    name: str  # schema.relation
    column: str
    wheres: tuple[str, ...]
    keys: str
    here: tuple[str, ...]
    near: tuple[str, ...]
    constants: tuple[str, ...] = ()
    audited: bool = False


@dataclass(frozen=True, slots=True)
class Suite:
    name: str
    file: str  # in the folder of sample dumps; '' for the demo's own schema
    samples: tuple[tuple[str, str], ...]
    work: tuple[str, ...]
    downstream: tuple[str, ...]  # copies a struck value, recomputes from it
    values: Target
    rows: Target
    touched: frozenset[tuple[str, str]] = frozenset()
    records: frozenset[str] = frozenset()  # tables to which triggers append what happened
    rounds: bool = True  # the struck column has two decimals


PAGILA = Suite(
    name="pagila",
    file="pagila.sql",
    samples=(
        ("film", "SELECT film_id FROM film"),
        ("customer", "SELECT customer_id FROM customer"),
        ("rental", "SELECT rental_id FROM rental"),
        ("inventory", "SELECT inventory_id FROM inventory"),
        ("address", "SELECT address_id FROM address"),
        ("city", "SELECT city_id FROM city"),
        ("actor", "SELECT actor_id FROM actor"),
    ),
    work=(
        "UPDATE customer SET email = 'mail{n}@example.org' WHERE customer_id = {customer}",
        "UPDATE customer SET active = 0, activebool = false WHERE customer_id = {customer}",
        "UPDATE customer SET store_id = 2 WHERE store_id = 1 AND customer_id % 50 = {i}",
        "UPDATE address SET phone = '7{n}00', district = 'Area {n}' WHERE address_id = {address}",
        "UPDATE address SET postal_code = '{i}0{n}' WHERE city_id = {city}",
        "UPDATE actor SET last_name = upper(last_name) || '-{n}' WHERE actor_id = {actor}",
        "UPDATE film SET length = length + {i} WHERE film_id = {film}",
        "UPDATE film SET rental_duration = 5 WHERE rental_duration = 4 AND film_id % 40 = {i}",
        "UPDATE film SET replacement_cost = replacement_cost + 0.5 WHERE film_id = {film}",
        "UPDATE film SET replacement_cost = replacement_cost * 1.05\n"
        "WHERE rating = 'G' AND length > 17{i}",
        "UPDATE film SET description = description || ' Edition {n}.' WHERE film_id = {film}",
        "UPDATE rental SET return_date = rental_date + interval '{i} days'\n"
        "WHERE rental_id = {rental}",
        "UPDATE inventory SET store_id = 3 - store_id WHERE inventory_id = {inventory}",
        "INSERT INTO actor (first_name, last_name) VALUES ('NEW', 'FACE {n}')",
        "INSERT INTO city (city, country_id) VALUES ('Town {n}', {i})",
        "INSERT INTO inventory (film_id, store_id)\n"
        "SELECT film_id, 1 FROM film WHERE film_id = {film}",
        "UPDATE customer SET last_name = last_name || ' {n}' WHERE customer_id IN\n"
        "(SELECT customer_id FROM rental WHERE rental_id = {rental})",
    ),
    downstream=(
        "INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date)\n"
        "SELECT r.customer_id, r.staff_id, r.rental_id, f.rental_rate,\n"
        "timestamptz '2022-06-15 00:00+00' + interval '{n} minutes'\n"
        "FROM rental r JOIN inventory i USING (inventory_id) JOIN film f USING (film_id)\n"
        "WHERE r.rental_id IN ({rental}, {rental2}) ORDER BY r.rental_id",
    ),
    values=Target(
        table="film",
        name="public.film",
        column="rental_rate",
        wheres=(
            "rating = 'PG'",
            "rental_duration = 3",
            "length < 80",
            "film_id BETWEEN 100 AND 300",
        ),
        keys="SELECT film_id FROM film",
        here=(
            "UPDATE film SET rental_rate = {money} WHERE film_id = {key}",
            "UPDATE film SET rental_rate = rental_rate + 0.5 WHERE film_id = {key}",
        ),
        near=(
            "UPDATE film SET replacement_cost = replacement_cost + 1 WHERE film_id = {key}",
            "UPDATE film SET title = title || ' {n}' WHERE film_id = {key}",
        ),
        constants=("3.49", "1.19", "5.49"),
    ),
    rows=Target(
        table="film_category",
        name="public.film_category",
        column="",
        wheres=("category_id = 5", "film_id < 60", "category_id IN (2, 9)"),
        keys="SELECT film_id FROM film_category",
        here=("UPDATE film_category SET category_id = category_id % 16 + 1 WHERE film_id = {key}",),
        near=("UPDATE film SET length = length + 1 WHERE film_id = {key}",),
    ),
    touched=frozenset({("public.film", "last_update")}),
)

NORTHWIND = Suite(
    name="northwind",
    file="northwind.sql",
    rounds=False,
    samples=(
        ("product", "SELECT product_id FROM products"),
        ("customer", "SELECT quote_literal(customer_id) FROM customers"),
        ("order", "SELECT order_id FROM orders"),
        ("supplier", "SELECT supplier_id FROM suppliers"),
        ("employee", "SELECT employee_id FROM employees"),
    ),
    work=(
        "UPDATE customers SET phone = '({n}) 555-01' WHERE customer_id = {customer}",
        "UPDATE customers SET contact_name = contact_name || ' {n}' WHERE customer_id = {customer}",
        "UPDATE customers SET region = 'R{n}' WHERE country = 'Germany' AND region IS NULL\n"
        "AND customer_id > {customer}",
        "UPDATE orders SET freight = freight + {i} WHERE order_id = {order}",
        "UPDATE orders SET freight = freight * 1.05 WHERE ship_via = 2 AND order_id % 20 = {i}",
        "UPDATE orders SET shipped_date = order_date + {i} WHERE order_id = {order}",
        "UPDATE orders SET ship_address = ship_address || ', {n}' WHERE customer_id = {customer}",
        "UPDATE products SET units_in_stock = units_in_stock + {i} WHERE product_id = {product}",
        "UPDATE products SET units_on_order = {i}0 WHERE product_id = {product}",
        "UPDATE products SET reorder_level = reorder_level + 1 WHERE category_id = {i}",
        "UPDATE suppliers SET contact_title = 'Manager {n}' WHERE supplier_id = {supplier}",
        "UPDATE employees SET extension = '{n}' WHERE employee_id = {employee}",
        "UPDATE suppliers SET fax = NULL WHERE supplier_id IN\n"
        "(SELECT supplier_id FROM products WHERE product_id = {product})",
        "INSERT INTO orders (order_id, customer_id, employee_id, order_date, freight)\n"
        "VALUES ({n} + 12000, {customer}, {employee}, date '1998-06-01', {money})",
        "INSERT INTO region (region_id, region_description) VALUES ({n} + 100, 'Region {n}')",
        "INSERT INTO customers (customer_id, company_name, city)\n"
        "VALUES ('Q{n}', 'Firm «{n}» & Sons', 'Tula')",
        "UPDATE order_details SET quantity = quantity + {i} WHERE order_id = {order}",
    ),
    downstream=(
        "INSERT INTO orders (order_id, customer_id, order_date)\n"
        "VALUES ({n} + 22000, {customer}, date '1998-06-02');\n"
        "INSERT INTO order_details (order_id, product_id, unit_price, quantity, discount)\n"
        "SELECT {n} + 22000, product_id, unit_price, {i}, 0 FROM products\n"
        "WHERE product_id IN ({product}, {product2}) ORDER BY product_id",
        "UPDATE orders SET freight = (SELECT round(sum(unit_price)::numeric, 2) FROM products\n"
        "WHERE product_id IN ({product}, {product2})) WHERE order_id = {order}",
    ),
    values=Target(
        table="products",
        name="public.products",
        column="unit_price",
        wheres=("category_id = 2", "supplier_id < 8", "discontinued = 1", "units_in_stock > 60"),
        keys="SELECT product_id FROM products",
        here=(
            "UPDATE products SET unit_price = {money} WHERE product_id = {key}",
            "UPDATE products SET unit_price = unit_price + 0.5 WHERE product_id = {key}",
        ),
        near=(
            "UPDATE products SET units_on_order = units_on_order + {i} WHERE product_id = {key}",
            "UPDATE products SET quantity_per_unit = '{n} bags' WHERE product_id = {key}",
        ),
        constants=("12.5", "9.75", "33.2"),
    ),
    rows=Target(
        table="order_details",
        name="public.order_details",
        column="",
        wheres=("order_id = 10252", "product_id = 11", "discount > 0.2"),
        keys="SELECT DISTINCT order_id FROM order_details",
        here=("UPDATE order_details SET quantity = quantity + {i} WHERE order_id = {key}",),
        near=("UPDATE orders SET freight = freight + 1 WHERE order_id = {key}",),
    ),
)

CHINOOK = Suite(
    name="chinook",
    file="chinook.sql",
    samples=(
        ("track", 'SELECT "TrackId" FROM "Track"'),
        ("customer", 'SELECT "CustomerId" FROM "Customer"'),
        ("invoice", 'SELECT "InvoiceId" FROM "Invoice"'),
        ("album", 'SELECT "AlbumId" FROM "Album"'),
        ("artist", 'SELECT "ArtistId" FROM "Artist"'),
    ),
    work=(
        """UPDATE "Customer" SET "Phone" = '+{n} 55' WHERE "CustomerId" = {customer}""",
        """UPDATE "Customer" SET "Company" = 'Firm {n}' WHERE "CustomerId" = {customer}""",
        """UPDATE "Customer" SET "SupportRepId" = 3 WHERE "Country" = 'Brazil'
AND "CustomerId" > {i}""",
        """UPDATE "Track" SET "Composer" = 'Composer {n}' WHERE "TrackId" = {track}""",
        """UPDATE "Track" SET "Name" = "Name" || ' (live {n})' WHERE "AlbumId" = {album}""",
        """UPDATE "Track" SET "Milliseconds" = "Milliseconds" + {i} WHERE "TrackId" = {track}""",
        """UPDATE "Track" SET "Bytes" = "Bytes" * 1.05 WHERE "GenreId" = 2
AND "TrackId" % 10 = {i}""",
        """UPDATE "Album" SET "Title" = "Title" || ' {n}' WHERE "AlbumId" = {album}""",
        """UPDATE "Artist" SET "Name" = 'Artist {n}' WHERE "ArtistId" = {artist}""",
        """UPDATE "Invoice" SET "BillingCity" = 'City {n}' WHERE "InvoiceId" = {invoice}""",
        """UPDATE "Invoice" SET "BillingState" = 'S{n}' WHERE "CustomerId" = {customer}""",
        """INSERT INTO "Artist" ("ArtistId", "Name") VALUES ({n} + 1000, 'Новый артист {n}')""",
        """INSERT INTO "Playlist" ("PlaylistId", "Name") VALUES ({n} + 1000, 'List {n}');
INSERT INTO "PlaylistTrack" ("PlaylistId", "TrackId") VALUES ({n} + 1000, {track})""",
        """UPDATE "Album" SET "ArtistId" = {artist} WHERE "AlbumId" IN
(SELECT "AlbumId" FROM "Track" WHERE "TrackId" = {track})""",
        """UPDATE "Customer" SET "Email" = lower("Email") || '.{n}'
WHERE "CustomerId" = {customer}""",
    ),
    downstream=(
        """INSERT INTO "Invoice" ("InvoiceId", "CustomerId", "InvoiceDate", "Total")
VALUES ({n} + 5000, {customer}, timestamp '2026-01-10 00:00', 0);
INSERT INTO "InvoiceLine" ("InvoiceLineId", "InvoiceId", "TrackId", "UnitPrice", "Quantity")
SELECT {n} * 10 + 50000 + row_number() OVER (ORDER BY "TrackId"), {n} + 5000, "TrackId",
"UnitPrice", {i} FROM "Track" WHERE "TrackId" IN ({track}, {track2}) ORDER BY "TrackId";
UPDATE "Invoice" SET "Total" = (SELECT sum("UnitPrice" * "Quantity") FROM "InvoiceLine" l
WHERE l."InvoiceId" = "Invoice"."InvoiceId") WHERE "InvoiceId" = {n} + 5000""",
    ),
    values=Target(
        table='"Track"',
        name="public.Track",
        column='"UnitPrice"',
        wheres=('"GenreId" = 3', '"MediaTypeId" = 2', '"AlbumId" < 60', '"Milliseconds" > 900000'),
        keys='SELECT "TrackId" FROM "Track"',
        here=(
            'UPDATE "Track" SET "UnitPrice" = {money} WHERE "TrackId" = {key}',
            'UPDATE "Track" SET "UnitPrice" = "UnitPrice" + 0.5 WHERE "TrackId" = {key}',
        ),
        near=(
            'UPDATE "Track" SET "Bytes" = "Bytes" + {n} WHERE "TrackId" = {key}',
            """UPDATE "Track" SET "Composer" = 'By {n}' WHERE "TrackId" = {key}""",
        ),
        constants=("1.29", "0.79", "2.49"),
    ),
    rows=Target(
        table='"InvoiceLine"',
        name="public.InvoiceLine",
        column="",
        wheres=('"InvoiceId" = 40', '"InvoiceLineId" > 2100', '"TrackId" < 200'),
        keys='SELECT "InvoiceLineId" FROM "InvoiceLine"',
        here=('UPDATE "InvoiceLine" SET "Quantity" = {i} WHERE "InvoiceLineId" = {key}',),
        near=(
            """UPDATE "Invoice" SET "BillingCity" = 'N{n}' WHERE "InvoiceId" = {key} % 400 + 1""",
        ),
    ),
)

WEBSHOP = Suite(
    name="webshop",
    file="",
    samples=(
        ("article", "SELECT quote_literal(article) FROM products"),
        ("customer", "SELECT id FROM customers"),
        ("number", "SELECT quote_literal(number) FROM orders"),
    ),
    work=(
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
)

SUITES = (PAGILA, NORTHWIND, CHINOOK, WEBSHOP)
