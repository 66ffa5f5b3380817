"""A wholesaler with floating prices, short texts and keys made of letters."""

from benchmarks.suites.model import Batch, Column, Merge, Places, Suite, Target

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
    places=Places(
        key="product_id",
        predicates=("supplier_id", "category_id", "units_in_stock", "product_id"),
        sibling="units_on_order",
        texts=Column("orders", "public.orders", "ship_name", "order_id"),
        codes=Column("orders", "public.orders", "ship_postal_code", "order_id"),
        times=Column("orders", "public.orders", "required_date", "order_id"),
        shift="1",
        batch=Batch(
            "customers",
            "public.customers",
            ("customer_id", "company_name", "contact_name", "city", "country"),
            "('{k}X{run}', 'Firma {n}/{k}', 'Frau {k}', 'Köln', 'Germany')",
            (3, 4),
        ),
        merge=Merge(
            Column("customers", "public.customers", "company_name", "customer_id"),
            "orders",
            "public.orders",
            "customer_id",
        ),
        spare=("us_states", "public.us_states"),
        droppable=Column("suppliers", "public.suppliers", "homepage", "supplier_id"),
        entity=Column("suppliers", "public.suppliers", "company_name", "supplier_id"),
    ),
)
