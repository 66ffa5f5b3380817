"""The questions that the catalog reader asks, as text. search_path is pg_catalog."""

from typing import Final

# Schemas that are not the customer's: the system's and our shims.
_OURS = r"""
NOT (n.nspname LIKE 'pg\_%' OR n.nspname IN ('information_schema', 'dbmend_shim'))
"""


def _no_extension(classes: str, oid: str) -> str:
    return (
        f"NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{classes}'::regclass"
        f" AND e.objid = {oid} AND e.deptype = 'e')"
    )


_RELATION = f"{_OURS} AND {_no_extension('pg_class', 'c.oid')}"
_TABLE = f"c.relkind IN ('r', 'p') AND NOT c.relispartition AND {_RELATION}"

TABLES: Final = f"""
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p'
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_TABLE} ORDER BY n.nspname, c.relname
"""

COLUMNS: Final = f"""
SELECT c.oid, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid::bigint,
       coalesce(l.collisdeterministic
                AND obj_description(l.oid, 'pg_collation') IS DISTINCT FROM
                    'dbmend: stands for a nondeterministic collation', true),
       a.attnotnull, a.attgenerated <> '', a.attidentity,
       coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE {_TABLE} ORDER BY c.oid, a.attnum
"""

# Best first: the primary key, then constraints before indexes, fewer columns, name.
KEYS: Final = f"""
SELECT c.oid, i.indisprimary, ARRAY(
         SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place)
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
         WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
     AND i.indpred IS NULL AND i.indexprs IS NULL
JOIN pg_class x ON x.oid = i.indexrelid
LEFT JOIN pg_constraint o ON o.conindid = i.indexrelid AND o.contype IN ('p', 'u')
WHERE {_TABLE} AND NOT EXISTS (
        SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
        WHERE k.place <= i.indnkeyatts AND NOT a.attnotnull)
ORDER BY c.oid, i.indisprimary DESC, o.oid IS NULL, i.indnkeyatts, x.relname
"""

PARTITIONS: Final = f"""
SELECT c.oid, m.nspname, p.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_partition_tree(c.oid) t
JOIN pg_class p ON p.oid = t.relid JOIN pg_namespace m ON m.oid = p.relnamespace
WHERE c.relkind = 'p' AND t.isleaf AND t.relid <> c.oid AND {_TABLE}
"""

PARENTS: Final = f"""
SELECT c.oid, m.nspname, p.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_inherits i ON i.inhrelid = c.oid
JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace m ON m.oid = p.relnamespace
WHERE {_TABLE} ORDER BY c.oid, i.inhseqno
"""

_NAMES = """ARRAY(SELECT a.attname FROM unnest({keys}) WITH ORDINALITY k(number, place)
         JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = k.number ORDER BY k.place)"""


def _names(keys: str, table: str) -> str:
    return _NAMES.format(keys=keys, table=table)


# The root of a partition stands for it on both ends.
FOREIGN_KEYS: Final = f"""
SELECT o.conname, rn.nspname, r.relname, {_names("o.conkey", "o.conrelid")},
       pn.nspname, p.relname, {_names("o.confkey", "o.confrelid")},
       o.confdeltype, o.confupdtype, o.condeferrable, c.relispartition
FROM pg_constraint o
JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = CASE WHEN c.relispartition
                                THEN pg_partition_root(c.oid) ELSE c.oid END
JOIN pg_namespace rn ON rn.oid = r.relnamespace
JOIN pg_class f ON f.oid = o.confrelid
JOIN pg_class p ON p.oid = CASE WHEN f.relispartition
                                THEN pg_partition_root(f.oid) ELSE f.oid END
JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE o.contype = 'f' AND o.conparentid = 0 AND {_RELATION}
ORDER BY rn.nspname, r.relname, o.conname, c.relname
"""

CONSTRAINTS: Final = f"""
SELECT o.conname, n.nspname, c.relname, o.contype, {_names("o.conkey", "o.conrelid")},
       pg_get_constraintdef(o.oid)
FROM pg_constraint o
JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE o.contype IN ('p', 'u', 'c', 'f', 'x') AND o.conparentid = 0 AND o.conislocal
  AND {_RELATION}
ORDER BY n.nspname, c.relname, o.conname
"""

TRIGGERS: Final = f"""
SELECT t.tgname, n.nspname, c.relname, fn.nspname, f.proname, pg_get_triggerdef(t.oid),
       t.tgtype::int, t.tgenabled
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace fn ON fn.oid = f.pronamespace
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND {_RELATION}
ORDER BY n.nspname, c.relname, t.tgname
"""

# The column a sequence feeds: the one that owns it, else the only one whose default asks it.
SEQUENCES: Final = f"""
SELECT n.nspname, c.relname, s.seqincrement, tn.nspname, t.relname, a.attname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN (SELECT e.refobjid AS sequence, min(f.adrelid) AS relation, min(f.adnum) AS number
           FROM pg_depend e JOIN pg_attrdef f ON f.oid = e.objid
           JOIN pg_class r ON r.oid = f.adrelid AND NOT r.relispartition
           WHERE e.classid = 'pg_attrdef'::regclass AND e.refclassid = 'pg_class'::regclass
           GROUP BY e.refobjid HAVING count(*) = 1) asked ON asked.sequence = c.oid
LEFT JOIN pg_class t ON t.oid = coalesce(d.refobjid, asked.relation)
LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = t.oid
     AND a.attnum = CASE WHEN d.refobjid IS NOT NULL THEN d.refobjsubid ELSE asked.number END
WHERE {_RELATION} ORDER BY n.nspname, c.relname
"""

# Everything below: kind, parts of the name (joined with dots), definition.

VIEWS: Final = f"""
SELECT 'view', ARRAY[n.nspname, c.relname], '',
       CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' ELSE '' END || 'VIEW AS'
       || pg_get_viewdef(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND {_RELATION}
"""

INDEXES: Final = f"""
SELECT 'index', ARRAY[n.nspname, c.relname], '', pg_get_indexdef(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('i', 'I') AND NOT c.relispartition AND {_RELATION}
  AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = c.oid
                  AND o.contype IN ('p', 'u', 'x'))
  AND NOT EXISTS (SELECT FROM pg_index i JOIN pg_depend e ON e.objid = i.indrelid
                  AND e.classid = 'pg_class'::regclass AND e.deptype = 'e'
                  WHERE i.indexrelid = c.oid)
"""

FUNCTIONS: Final = f"""
SELECT 'function', ARRAY[n.nspname, f.proname],
       '(' || pg_get_function_identity_arguments(f.oid) || ')',
       CASE f.prokind WHEN 'a' THEN (
            SELECT concat_ws(' ', 'AGGREGATE', g.aggtransfn::regprocedure,
                             format_type(g.aggtranstype, NULL), g.aggfinalfn::regproc,
                             g.agginitval)
            FROM pg_aggregate g WHERE g.aggfnoid = f.oid)
       ELSE pg_get_functiondef(f.oid) END
FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
WHERE {_OURS} AND {_no_extension("pg_proc", "f.oid")}
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                  AND d.objid = f.oid AND d.deptype = 'i')
  AND obj_description(f.oid, 'pg_proc') IS DISTINCT FROM 'dbmend: shim'
"""

TYPES: Final = f"""
SELECT 'type', ARRAY[n.nspname, t.typname], '', CASE t.typtype
  WHEN 'e' THEN 'ENUM (' || (SELECT string_agg(quote_literal(e.enumlabel), ', '
                             ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)
                || ')'
  WHEN 'd' THEN concat_ws(' ', 'DOMAIN', format_type(t.typbasetype, t.typtypmod),
                CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault,
                (SELECT string_agg(pg_get_constraintdef(o.oid), ' ' ORDER BY o.conname)
                 FROM pg_constraint o WHERE o.contypid = t.oid AND o.contype = 'c'))
  WHEN 'r' THEN (SELECT 'RANGE OF ' || format_type(r.rngsubtype, NULL)
                 FROM pg_range r WHERE r.rngtypid = t.oid)
  WHEN 'c' THEN 'COMPOSITE (' || (SELECT string_agg(quote_ident(a.attname) || ' '
                || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
                FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
                AND NOT a.attisdropped) || ')'
  ELSE 'BASE' END
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE {_OURS} AND {_no_extension("pg_type", "t.oid")}
  AND t.typtype IN ('e', 'd', 'r', 'c', 'b') AND t.typcategory <> 'A'
  AND (t.typrelid = 0 OR c.relkind = 'c')
"""

EXTENSIONS: Final = """
SELECT 'extension', ARRAY[e.extname], '', 'VERSION ' || e.extversion
FROM pg_extension e WHERE e.extname <> 'plpgsql'
"""

GRANTS: Final = f"""
SELECT 'grant', ARRAY[n.nspname, c.relname], '', array_to_string(c.relacl, E'\\n')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relacl IS NOT NULL AND {_RELATION}
UNION ALL
SELECT 'grant', ARRAY[n.nspname, c.relname, a.attname], '', array_to_string(a.attacl, E'\\n')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attacl IS NOT NULL AND {_RELATION}
UNION ALL
SELECT 'grant', ARRAY[n.nspname, f.proname],
       '(' || pg_get_function_identity_arguments(f.oid) || ')', array_to_string(f.proacl, E'\\n')
FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
WHERE f.proacl IS NOT NULL AND {_OURS} AND {_no_extension("pg_proc", "f.oid")}
UNION ALL
SELECT 'grant', ARRAY[n.nspname], '', array_to_string(n.nspacl, E'\\n')
FROM pg_namespace n WHERE n.nspacl IS NOT NULL AND {_OURS}
"""

PARTITION_BOUNDS: Final = f"""
SELECT 'partition', ARRAY[n.nspname, c.relname], '',
       'PARTITION OF ' || i.inhparent::regclass || ' ' || pg_get_expr(c.relpartbound, c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE c.relispartition AND c.relkind IN ('r', 'p') AND {_RELATION}
UNION ALL
SELECT 'partition', ARRAY[n.nspname, c.relname], '',
       'PARTITION BY ' || pg_get_partkeydef(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'p' AND NOT c.relispartition AND {_RELATION}
"""

RULES: Final = f"""
SELECT 'rule', ARRAY[n.nspname, c.relname, r.rulename], '', pg_get_ruledef(r.oid)
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.rulename <> '_RETURN' AND {_RELATION}
UNION ALL
SELECT 'rule', ARRAY[n.nspname, c.relname, p.polname], '',
       concat_ws(' ', 'POLICY', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
                 'FOR', p.polcmd, 'USING ' || pg_get_expr(p.polqual, p.polrelid),
                 'WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {_RELATION}
"""

OBJECTS: Final = (
    VIEWS,
    INDEXES,
    FUNCTIONS,
    TYPES,
    EXTENSIONS,
    GRANTS,
    PARTITION_BOUNDS,
    RULES,
)
