"""What the server itself looks at around each step of a stretch: functions of the keeper's, made
in the database that clones are made of, where no step can replace them.
"""

from psycopg import Connection

BY_ITSELF = "DBM01"  # how a step is refused that has to be run outside of any stretch

# `told`: rows written per table since the server last published its counts, and where sequences
# stand that were looked at since. `state` changes with every definition, with every file of a
# table, which is named in pg_class, and with every look at a sequence that is `guarded`.
_DEFINITIONS = f"""
CREATE FUNCTION dbmend_watch.state(guarded oid[]) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT last_value::text || ' ' || is_called::text FROM dbmend_watch.alterations)
    || ' ' || (pg_stat_get_xact_tuples_inserted(1259) + pg_stat_get_xact_tuples_updated(1259)
               + pg_stat_get_xact_tuples_deleted(1259))::text
    || ' ' || coalesce((SELECT sum(pg_stat_get_xact_blocks_fetched(o)) FROM unnest(guarded) AS o),
                       0)::text;
END $$;
CREATE FUNCTION dbmend_watch.stand(sequence oid) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE last bigint := pg_sequence_last_value(sequence);
BEGIN
  IF last IS NOT NULL THEN
    RETURN sequence::text || ':' || last::text || ':t';
  ELSIF has_sequence_privilege(sequence, 'SELECT') THEN
    EXECUTE format('SELECT last_value FROM %s', sequence::regclass) INTO last;
    RETURN sequence::text || ':' || last::text || ':f';
  END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION dbmend_watch.stands() RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT string_agg(dbmend_watch.stand(c.oid), ',') FROM pg_class c
    WHERE c.oid >= 16384 AND c.relkind = 'S' AND c.relpersistence <> 't'
      AND c.relnamespace <> 'dbmend_watch'::regnamespace);
END $$;
CREATE FUNCTION dbmend_watch.told() RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT string_agg(CASE w.relkind WHEN 'S' THEN dbmend_watch.stand(w.oid)
                            ELSE w.oid::text || ':' || w.n::text END, ',')
    FROM (SELECT c.oid, c.relkind, CASE c.relkind WHEN 'S' THEN
            pg_stat_get_xact_blocks_fetched(c.oid)
          ELSE pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
            + pg_stat_get_xact_tuples_deleted(c.oid) END AS n
          FROM pg_class c
          WHERE c.oid >= 16384 AND c.relkind IN ('r', 'S') AND c.relpersistence <> 't'
            AND c.relnamespace <> 'dbmend_watch'::regnamespace) AS w
    WHERE w.n <> 0);
END $$;
CREATE FUNCTION dbmend_watch.set_position(sequence oid, last bigint) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM CASE WHEN last + s.seqincrement > s.seqmax THEN setval(sequence, s.seqmax)
    ELSE setval(sequence, greatest(last + s.seqincrement, s.seqmin), false) END
  FROM pg_sequence s WHERE s.seqrelid = sequence;
END $$;
CREATE FUNCTION dbmend_watch.position(sequence oid) RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE last bigint := pg_sequence_last_value(sequence);
BEGIN
  IF last IS NULL THEN
    EXECUTE format('SELECT last_value FROM %s', sequence::regclass) INTO last;
    last := last - (SELECT seqincrement FROM pg_sequence WHERE seqrelid = sequence);
  END IF;
  RETURN last;
END $$;
CREATE FUNCTION dbmend_watch.numbered(sequences oid[], numbers bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE starts bigint[] := '{{}}';
BEGIN
  FOR i IN 1 .. cardinality(sequences) LOOP
    starts[i] := dbmend_watch.position(sequences[i]);
    IF starts[i] <> numbers[i] THEN
      PERFORM dbmend_watch.set_position(sequences[i], numbers[i]);
    END IF;
  END LOOP;
  PERFORM set_config('dbmend.sequences', sequences::text, true),
    set_config('dbmend.starts', starts::text, true);
END $$;
CREATE FUNCTION dbmend_watch.settle() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  sequences oid[] := current_setting('dbmend.sequences');
  starts bigint[] := current_setting('dbmend.starts');
BEGIN
  FOR i IN 1 .. cardinality(sequences) LOOP
    IF dbmend_watch.position(sequences[i]) < starts[i] THEN
      PERFORM dbmend_watch.set_position(sequences[i], starts[i]);
    END IF;
  END LOOP;
END $$;
CREATE FUNCTION dbmend_watch.opened(at text, zone text, path text, chance float8, mark text,
  guarded oid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF at IS NOT NULL THEN
    PERFORM pg_catalog.set_config('dbmend.now', at, false),
      pg_catalog.set_config('TimeZone', zone, false),
      pg_catalog.set_config('dbmend.mark', mark, false);
  END IF;
  PERFORM pg_catalog.setseed(chance),
    pg_catalog.pg_logical_emit_message(true, 'step', mark),
    pg_catalog.set_config('dbmend.state', dbmend_watch.state(guarded), true);
  IF at IS NOT NULL THEN
    PERFORM pg_catalog.set_config('search_path', path, false);
  END IF;
END $$;
CREATE FUNCTION dbmend_watch.closed(guarded oid[], settling boolean) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF dbmend_watch.state(guarded) IS DISTINCT FROM current_setting('dbmend.state', true)
     OR current_setting('standard_conforming_strings') <> 'on'
     OR current_setting('backslash_quote') <> 'safe_encoding'
     OR current_setting('client_encoding') <> 'UTF8' THEN
    RAISE EXCEPTION 'to be run by itself' USING ERRCODE = '{BY_ITSELF}';
  END IF;
  IF settling THEN
    PERFORM dbmend_watch.settle();
  END IF;
  RETURN dbmend_watch.told();
END $$;
"""


def install(keeper: Connection[tuple[object, ...]]) -> None:
    """Behind `capture.publish`, whose schema holds the functions."""
    keeper.execute(_DEFINITIONS.encode())
