-- Brings tables into the stream, in a way that no UPDATE or DELETE of them fails for want of
-- what identifies their rows; takes out what would. Nothing here is a reason for the command to
-- fail: a table that could not be brought in is told of by the stream.
CREATE FUNCTION pgkeep.publish(tables oid[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms' AS $pgkeep$
DECLARE
  one record;
BEGIN
  FOR one IN
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name,
           p.prrelid IS NOT NULL AS published, f.relid IS NOT NULL AS remembered,
           c.relreplident = 'f' AND k.has_key AS unneeded,
           c.relreplident = 'n' OR c.relreplident = 'd' AND NOT k.has_key
             OR c.relreplident = 'i' AND NOT k.has_index AS keyless
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_publication_rel p ON p.prrelid = c.oid
      AND p.prpubid = (SELECT o.oid FROM pg_publication o WHERE o.pubname = %PUBLICATION%)
    LEFT JOIN pgkeep.full_identity f ON f.relid = c.oid
    CROSS JOIN LATERAL (
      SELECT coalesce(bool_or(i.indisprimary AND i.indimmediate AND i.indisvalid), false) AS has_key,
             coalesce(bool_or(i.indisreplident AND i.indisvalid), false) AS has_index
      FROM pg_index i WHERE i.indrelid = c.oid) k
    WHERE (tables IS NULL AND p.prrelid IS NOT NULL OR c.oid = ANY (tables))
      AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.oid >= 16384
      AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgkeep')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                      AND d.objid = c.oid AND d.deptype = 'e')
  LOOP
    BEGIN
      IF one.keyless AND %FULL% THEN
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', one.name);
        INSERT INTO pgkeep.full_identity VALUES (one.oid) ON CONFLICT (relid) DO NOTHING;
        one.keyless := false;
      ELSIF one.unneeded AND one.remembered THEN
        EXECUTE format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', one.name);
        DELETE FROM pgkeep.full_identity f WHERE f.relid = one.oid;
      END IF;
      -- The commands above have come here too.
      IF NOT one.keyless AND NOT EXISTS (
        SELECT FROM pg_publication_rel p JOIN pg_publication o ON o.oid = p.prpubid
        WHERE p.prrelid = one.oid AND o.pubname = %PUBLICATION%)
      THEN
        EXECUTE format('ALTER PUBLICATION %I ADD TABLE ONLY %s', %PUBLICATION%, one.name);
      END IF;
    EXCEPTION WHEN OTHERS THEN
      RAISE DEBUG 'pgkeep: %', sqlerrm;
    END;
    IF one.keyless AND one.published THEN
      EXECUTE format('ALTER PUBLICATION %I DROP TABLE ONLY %s', %PUBLICATION%, one.name);
    END IF;
  END LOOP;
END
$pgkeep$;
