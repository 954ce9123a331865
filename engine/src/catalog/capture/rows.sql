-- Writes all rows of tables that a command rewrote or filled: logical decoding does not show
-- them. Of a large table it only says so, and remembers it until there is a copy.
CREATE FUNCTION pgkeep.rows(of_xid xid8) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET "DateStyle" = 'ISO' SET "IntervalStyle" = 'postgres' SET "TimeZone" = 'UTC'
SET bytea_output = 'hex' SET extra_float_digits = 3 SET xmloption = 'content'
SET row_security = off SET lock_timeout = '2s' AS $pgkeep$
DECLARE
  one record;
  part record;
BEGIN
  FOR one IN
    SELECT c.oid, n.nspname, c.relname, c.relreplident,
           pg_table_size(c.oid) > %ROWS_BYTES_MAX% OR getdatabaseencoding() <> 'UTF8' AS is_large,
           a.lines, a.names
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_index i ON i.indrelid = c.oid
      AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END
    CROSS JOIN LATERAL (
      SELECT array_agg((a.attnum, a.attname, a.atttypid::oid, a.atttypmod,
                        coalesce(c.relreplident = 'f' OR a.attnum = ANY (i.indkey), false))::text
                       ORDER BY a.attnum) AS lines,
             string_agg(format('t.%I', a.attname), ', ' ORDER BY a.attnum) AS names
      FROM pg_attribute a
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') a
    WHERE c.oid IN (SELECT t.objid FROM pgkeep.touched t
                    WHERE t.xid = of_xid AND t.classid = 'pg_class'::regclass
                      AND t.how IN ('rewritten', 'filled'))
      AND c.relkind = 'r' AND c.relpersistence = 'p'
    ORDER BY c.oid
  LOOP
    IF one.is_large THEN
      PERFORM pgkeep.say(ARRAY['unknown', one.oid::text]);
      INSERT INTO pgkeep.rewritten VALUES (one.oid, of_xid) ON CONFLICT DO NOTHING;
      CONTINUE;
    END IF;
    PERFORM pgkeep.say(ARRAY['table', one.oid::text, one.nspname, one.relname,
                             one.relreplident::text] || one.lines);
    FOR part IN EXECUTE format(
      'SELECT array_agg(r.line) AS lines FROM ('
        'SELECT q.line, sum(octet_length(q.line)) OVER (ROWS UNBOUNDED PRECEDING) / 1000000 AS batch '
        'FROM (SELECT ROW(%s)::text AS line FROM ONLY %I.%I t) q) r GROUP BY r.batch',
      one.names, one.nspname, one.relname)
    LOOP
      PERFORM pgkeep.say(ARRAY['rows', one.oid::text] || part.lines);
    END LOOP;
  END LOOP;
END
$pgkeep$;
