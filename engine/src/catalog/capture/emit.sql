-- Writes what a transaction changed into the WAL, as messages of the transaction: which
-- objects are concerned, and what each catalog query now returns of them.
CREATE FUNCTION pgkeep.emit(of_xid xid8, spreads boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET "DateStyle" = 'ISO' SET "IntervalStyle" = 'postgres' SET "TimeZone" = 'UTC'
SET bytea_output = 'hex' SET extra_float_digits = 3 SET xmloption = 'content'
SET quote_all_identifiers = off SET standard_conforming_strings = on
SET jit = off SET row_security = off SET lock_timeout = '2s' AS $pgkeep$
DECLARE
  -- All that this transaction wrote, savepoints included, is no older than it. Others that
  -- committed meanwhile may be among it: then there is more to write, and nothing wrong.
  horizon CONSTANT integer := age(of_xid::xid);
  classes oid[];
  objects oid[];
  whole_classes oid[];
  whole_objects oid[];
  messages integer := 0;
  query record;
  class record;
  part record;
BEGIN
  SELECT array_agg(w.classid), array_agg(w.objid) INTO classes, objects FROM (
    SELECT t.classid, t.objid FROM pgkeep.touched t WHERE t.xid = of_xid
    %WRITTEN%
  ) w;
  IF classes IS NULL THEN
    RETURN;
  END IF;

  -- The text of what stands on a changed object may name it.
  IF spreads THEN
    WITH RECURSIVE concerned (classid, objid) AS (
      SELECT * FROM unnest(classes, objects)
      UNION
      SELECT d.classid, d.objid
      FROM concerned c
      JOIN pg_depend d ON d.refclassid = c.classid AND d.refobjid = c.objid
    )
    SELECT array_agg(c.classid), array_agg(c.objid) INTO classes, objects FROM concerned c;
  END IF;

  -- What is told as a part of another object is told with that one; of that one's other parts
  -- nothing is told.
  whole_classes := classes;
  whole_objects := objects;
  WITH concerned (classid, objid) AS (SELECT * FROM unnest(classes, objects))
  SELECT array_agg(w.classid), array_agg(w.objid) INTO classes, objects FROM (
    SELECT c.classid, c.objid FROM concerned c
    UNION
    SELECT 'pg_class'::regclass, a.adrelid FROM concerned c JOIN pg_attrdef a ON a.oid = c.objid
      WHERE c.classid = 'pg_attrdef'::regclass
    UNION
    SELECT 'pg_class'::regclass, r.ev_class FROM concerned c JOIN pg_rewrite r ON r.oid = c.objid
      WHERE c.classid = 'pg_rewrite'::regclass
    UNION
    SELECT 'pg_type'::regclass, r.rngtypid FROM concerned c JOIN pg_range r ON r.rngmultitypid = c.objid
      WHERE c.classid = 'pg_type'::regclass
    UNION
    SELECT 'pg_operator'::regclass, o.oid FROM concerned c
      JOIN pg_operator o ON o.oprcom = c.objid OR o.oprnegate = c.objid
      WHERE c.classid = 'pg_operator'::regclass
  ) w;

  PERFORM pgkeep.say(ARRAY['begin', '1', of_xid::text, pg_current_snapshot()::text, '%QUERIES%',
                           spreads::text]);
  PERFORM pgkeep.rows(of_xid);
  FOR class IN
    SELECT w.how, c.relname::text AS name, array_agg(w.objid) AS objects
    FROM (
      SELECT 'touched' AS how, t.* FROM unnest(whole_classes, whole_objects) AS t (classid, objid)
      UNION ALL
      SELECT 'beside', b.* FROM (
        SELECT * FROM unnest(classes, objects)
        EXCEPT
        SELECT * FROM unnest(whole_classes, whole_objects)
      ) AS b (classid, objid)
    ) w
    JOIN pg_class c ON c.oid = w.classid
    GROUP BY w.how, c.relname
  LOOP
    PERFORM pgkeep.say(ARRAY[class.how, class.name] || class.objects::text[]);
  END LOOP;
  FOR part IN
    SELECT t.how, array_agg(DISTINCT t.objid::text) AS objects
    FROM pgkeep.touched t
    WHERE t.xid = of_xid AND t.how IN ('rewritten', 'filled')
      AND t.classid = 'pg_class'::regclass
    GROUP BY t.how
  LOOP
    PERFORM pgkeep.say(ARRAY[part.how] || part.objects);
  END LOOP;
  FOR part IN
    SELECT array_agg(q::text ORDER BY q.attrelid, q.attnum) AS lines
    FROM (
      SELECT a.attrelid, a.attnum, a.attname, a.attmissingval::text
      FROM unnest(classes, objects) AS w (classid, objid)
      JOIN pg_class c ON c.oid = w.objid
      JOIN pg_attribute a ON a.attrelid = c.oid
      WHERE w.classid = 'pg_class'::regclass AND c.relkind IN ('r', 'p')
        AND c.relpersistence = 'p' AND a.attnum > 0 AND NOT a.attisdropped
        AND c.oid >= 16384
    ) q
    GROUP BY q.attrelid
  LOOP
    PERFORM pgkeep.say(ARRAY['columns'] || part.lines);
  END LOOP;

  FOR query IN
    SELECT q.number, q.sql, q.catalog, q.catalog_column, q.oid_column, c.oid AS classid, c.relname
    FROM pgkeep.catalog_query q
    LEFT JOIN pg_class c ON c.oid = ANY (classes)
      AND (c.relname = q.catalog OR q.catalog_column IS NOT NULL)
      AND c.relnamespace = 'pg_catalog'::regnamespace
    WHERE c.oid IS NOT NULL OR q.oid_column IS NULL
    ORDER BY q.number, c.relname
  LOOP
    IF query.oid_column IS NULL THEN
      PERFORM pgkeep.say(ARRAY['whole', query.number::text]);
    END IF;
    FOR part IN EXECUTE format(
      'SELECT array_agg(r.line ORDER BY r.number) AS lines FROM ('
        'SELECT q::text AS line, row_number() OVER () AS number FROM (%s) q %s) r '
        'GROUP BY r.number / 500 ORDER BY r.number / 500',
      query.sql,
      CASE WHEN query.oid_column IS NULL THEN ''
           ELSE format('WHERE q.%I = ANY ($1)', query.oid_column) END
      || CASE WHEN query.catalog_column IS NULL THEN ''
              ELSE format(' AND q.%I = $2', query.catalog_column) END)
      USING (SELECT array_agg(w.objid) FROM unnest(classes, objects) AS w (classid, objid)
             WHERE w.classid = query.classid),
            query.relname::text
    LOOP
      messages := messages + 1;
      PERFORM pgkeep.say(ARRAY['answer', query.number::text] || part.lines);
    END LOOP;
  END LOOP;
  PERFORM pgkeep.say(ARRAY['end', messages::text]);
END
$pgkeep$;
