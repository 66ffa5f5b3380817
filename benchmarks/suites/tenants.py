"""Software for many tenants in one database: projects, tasks and comments hang on their tenant by
cascading keys, settings are jsonb, tasks know when they were last touched and keep a soft-delete
mark."""

from benchmarks.suites.model import Batch, Column, Merge, Places, Serial, Suite, Target


def build(rows: int, seed: int) -> str:
    tenants = max(6, rows // 100)
    tasks = max(60, rows // 2)
    return f"""
CREATE TABLE tenants (id serial PRIMARY KEY, name text NOT NULL UNIQUE, code text NOT NULL,
    plan text NOT NULL DEFAULT 'basic' CHECK (plan IN ('basic', 'team', 'large')),
    settings jsonb NOT NULL DEFAULT '{{}}');
CREATE TABLE users (id serial PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    name text NOT NULL, email text, seen_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE projects (id serial PRIMARY KEY,
    tenant_id integer NOT NULL REFERENCES tenants ON DELETE CASCADE ON UPDATE CASCADE,
    owner_id integer REFERENCES users ON DELETE SET NULL, title text NOT NULL,
    budget numeric(12,2) NOT NULL DEFAULT 0, settings jsonb NOT NULL DEFAULT '{{}}');
CREATE TABLE tasks (id serial PRIMARY KEY,
    project_id integer NOT NULL REFERENCES projects ON DELETE CASCADE, title text NOT NULL,
    estimate numeric(10,2) NOT NULL, spent numeric(10,2) NOT NULL DEFAULT 0,
    priority integer NOT NULL, tags jsonb NOT NULL DEFAULT '[]', deleted_at timestamptz,
    touched_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE comments (id serial PRIMARY KEY,
    task_id integer NOT NULL REFERENCES tasks ON DELETE CASCADE, body text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE invites (id serial PRIMARY KEY, email text NOT NULL, tenant_id integer NOT NULL);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.touched_at := now(); RETURN NEW; END $$;
INSERT INTO tenants (name, code, plan, settings) SELECT 'Фирма ' || g, lpad(g::text, 6, '0'),
    (ARRAY['basic','team','large'])[1 + g % 3], jsonb_build_object('seats', g * 3, 'locale', 'ru')
    FROM generate_series(1, {tenants}) g;
INSERT INTO users (tenant_id, name, email, seen_at) SELECT 1 + g % {tenants},
    (ARRAY['Jürgen','Зоя','Chloé','Ann'])[1 + g % 4] || ' ' || g, 'u' || g || '@example.org',
    timestamptz '2026-02-01 00:00:00+00' + g * interval '31 minutes'
    FROM generate_series(1, {tenants * 5}) g;
INSERT INTO projects (tenant_id, owner_id, title, budget, settings)
    SELECT tenant_id, id, 'Projekt ' || id, (id * 977 + {seed}) % 50000,
    jsonb_build_object('color', id % 7, 'public', id % 2 = 0) FROM users WHERE id % 2 = 0;
INSERT INTO tasks (project_id, title, estimate, priority, tags, touched_at)
    SELECT 1 + (g * 13 + {seed}) % {tenants * 5 // 2}, 'Задача ' || g,
    ((g * 3571 + {seed}) % 8000 + 25) / 100.0, 1 + (g * 7) % 9, jsonb_build_array('t' || g % 5),
    timestamptz '2026-01-05 00:00:00+00' + g * interval '7 minutes'
    FROM generate_series(1, {tasks}) g;
INSERT INTO comments (task_id, body, written_at) SELECT 1 + (g * 29) % {tasks},
    'Комментарий ' || g, timestamptz '2026-02-02 00:00:00+00' + g * interval '5 minutes'
    FROM generate_series(1, {tasks // 2}) g;
INSERT INTO invites (email, tenant_id) SELECT 'i' || g || '@example.org', 1 + g % {tenants}
    FROM generate_series(1, {tenants * 3}) g;
CREATE TRIGGER tasks_touch BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION touch();
"""


TENANTS = Suite(
    name="tenants",
    file="",
    build=build,
    samples=(
        ("tenant", "SELECT id FROM tenants"),
        ("user", "SELECT id FROM users"),
        ("project", "SELECT id FROM projects"),
        ("task", "SELECT id FROM tasks"),
    ),
    work=(
        "UPDATE tenants SET settings = settings || jsonb_build_object('k{n}', {i})\n"
        "WHERE id = {tenant}",
        "UPDATE tenants SET plan = 'team' WHERE id = {tenant}",
        "UPDATE users SET email = 'new{n}@example.org' WHERE id = {user}",
        "UPDATE users SET name = name || ' {n}' WHERE id = {user}",
        "UPDATE projects SET settings = jsonb_set(settings, '{{color}}', '{i}')\n"
        "WHERE id = {project}",
        "UPDATE projects SET title = title || ' №{n}' WHERE id = {project}",
        "UPDATE tasks SET spent = spent + {money} WHERE id = {task}",
        "UPDATE tasks SET priority = {i} WHERE id = {task}",
        "UPDATE tasks SET deleted_at = now() WHERE id = {task} AND deleted_at IS NULL",
        "UPDATE tasks SET tags = tags || '\"n{n}\"' WHERE project_id = {project}",
        "UPDATE tasks SET spent = [[SELECT spent + {i} FROM tasks WHERE id = {task}]]\n"
        "WHERE id = {task}",
        "INSERT INTO comments (task_id, body) VALUES ({task}, 'Ответ {n}')",
        "INSERT INTO tasks (project_id, title, estimate, priority)\n"
        "VALUES ({project}, 'Новая {n}', {money}, {i})",
    ),
    downstream=(
        "UPDATE projects SET budget = (SELECT COALESCE(sum(estimate), 0) FROM tasks\n"
        "WHERE project_id = {project} AND deleted_at IS NULL) WHERE id = {project}",
        "INSERT INTO tasks (project_id, title, estimate, priority)\n"
        "SELECT project_id, 'Copy {n}', estimate, priority FROM tasks WHERE id = {task}",
    ),
    values=Target(
        table="tasks",
        name="public.tasks",
        column="estimate",
        wheres=("priority = 3", "priority > 6", "id % 5 = 2", "priority IN (2, 8)"),
        keys="SELECT id FROM tasks",
        here=(
            "UPDATE tasks SET estimate = {money} WHERE id = {key}",
            "UPDATE tasks SET estimate = estimate + 0.5 WHERE id = {key}",
        ),
        near=(
            "UPDATE tasks SET spent = spent + {i} WHERE id = {key}",
            "UPDATE tasks SET title = title || ' {n}' WHERE id = {key}",
        ),
        constants=("8.00", "16.50", "40.00"),
    ),
    rows=Target(
        table="tasks",
        name="public.tasks",
        column="",
        wheres=("priority = 5", "project_id = 4", "id < 25"),
        keys="SELECT id FROM tasks",
        here=("UPDATE tasks SET priority = {i} WHERE id = {key}",),
        near=("INSERT INTO comments (task_id, body) VALUES ({key}, 'Noch {n}')",),
    ),
    places=Places(
        key="id",
        predicates=("priority", "project_id", "id"),
        sibling="spent",
        texts=Column("users", "public.users", "name", "id"),
        codes=Column("tenants", "public.tenants", "code", "id"),
        times=Column("comments", "public.comments", "written_at", "id"),
        shift="interval '1 hour'",
        batch=Batch(
            "users",
            "public.users",
            ("tenant_id", "name", "email"),
            "({i} % 6 + 1, 'Gast {n}/{k}', 'gast{n}-{k}@example.org')",
            (1, 2),
        ),
        merge=Merge(
            Column("users", "public.users", "name", "id"),
            "projects",
            "public.projects",
            "owner_id",
        ),
        spare=("invites", "public.invites"),
        droppable=Column("users", "public.users", "email", "id"),
        entity=Column("users", "public.users", "name", "id"),
        serial=Serial(
            "invites_id_seq",
            "INSERT INTO invites (email, tenant_id) VALUES ('late{n}@example.org', {i})",
        ),
    ),
    touched=frozenset({("public.tasks", "touched_at")}),
)
