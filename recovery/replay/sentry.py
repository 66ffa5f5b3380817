"""What the server itself looks at around each step of a stretch: functions of the keeper's, made
in the database that clones are made of, where no step can replace them.
"""

from psycopg import Connection

BY_ITSELF = "DBM01"  # how a step is refused that has to be run outside of any stretch

# It changes with every definition, with every file of a table, which is named in pg_class, and with
# every look at a sequence that is guarded. Written so that no query has to be run for it, and that
# no search path has a say in it: both cost more than most steps.
_STATE = """pg_catalog.concat(
    pg_catalog.pg_sequence_last_value('dbmend_watch.alterations'::pg_catalog.regclass), ' ',
    pg_catalog.pg_stat_get_xact_tuples_inserted(1259), ' ',
    pg_catalog.pg_stat_get_xact_tuples_updated(1259), ' ',
    pg_catalog.pg_stat_get_xact_tuples_deleted(1259), ' ', dbmend_watch.looked(guarded))"""

# `told`: rows written per table since the server last published its counts, and where sequences
# stand that were looked at since.
_DEFINITIONS = f"""
CREATE FUNCTION dbmend_watch.looked(guarded oid[]) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
  IF pg_catalog.cardinality(guarded) OPERATOR(pg_catalog.>) 0 THEN
    RETURN (SELECT pg_catalog.sum(pg_catalog.pg_stat_get_xact_blocks_fetched(o))
            FROM pg_catalog.unnest(guarded) AS o);
  END IF;
  RETURN 0;
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
CREATE FUNCTION dbmend_watch.told() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT pg_catalog.string_agg(CASE WHEN w.relkind OPERATOR(pg_catalog.=) 'S'
                                       THEN dbmend_watch.stand(w.oid)
                                       ELSE pg_catalog.concat(w.oid, ':', w.n) END, ',')
    FROM (SELECT c.oid, c.relkind, CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'S'
            THEN pg_catalog.pg_stat_get_xact_blocks_fetched(c.oid)
            ELSE pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid)
              OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_updated(c.oid)
              OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) END AS n
          FROM pg_catalog.pg_class c
          WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
            AND c.relkind OPERATOR(pg_catalog.=) ANY ('{{r,S}}'::pg_catalog."char"[])
            AND c.relpersistence OPERATOR(pg_catalog.<>) 't'
            AND c.relnamespace OPERATOR(pg_catalog.<>)
              'dbmend_watch'::pg_catalog.regnamespace::pg_catalog.oid) AS w
    WHERE w.n OPERATOR(pg_catalog.<>) 0);
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
CREATE FUNCTION dbmend_watch.opened(at text, zone text, path text, mark text, guarded oid[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE done text;
BEGIN
  IF at IS NOT NULL THEN
    done := pg_catalog.set_config('dbmend.now', at, false);
    done := pg_catalog.set_config('TimeZone', zone, false);
    done := pg_catalog.set_config('dbmend.mark', mark, false);
  END IF;
  done := pg_catalog.set_config('dbmend.state', {_STATE}, true);
  IF at IS NOT NULL THEN
    done := pg_catalog.set_config('search_path', path, false);
  END IF;
END $$;
CREATE FUNCTION dbmend_watch.closed(guarded oid[], settling boolean) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
  IF {_STATE} OPERATOR(pg_catalog.<>)
       pg_catalog.concat(pg_catalog.current_setting('dbmend.state', true))
     OR pg_catalog.current_setting('standard_conforming_strings') OPERATOR(pg_catalog.<>) 'on'
     OR pg_catalog.current_setting('backslash_quote') OPERATOR(pg_catalog.<>) 'safe_encoding'
     OR pg_catalog.current_setting('client_encoding') OPERATOR(pg_catalog.<>) 'UTF8' THEN
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
