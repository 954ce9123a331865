-- Tells which columns tables have from here on: what logical decoding says of a row names them
-- and no more, and another may have had the name before.
CREATE FUNCTION pgkeep.layout(tables oid[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $pgkeep$
  SELECT pgkeep.say(ARRAY['layout', a.attrelid::text]
                    || array_agg((a.attnum, a.attname)::text ORDER BY a.attnum))
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE a.attrelid = ANY (tables) AND c.relkind = 'r' AND c.relpersistence = 'p'
    AND a.attnum > 0 AND NOT a.attisdropped
  GROUP BY a.attrelid;
$pgkeep$;
