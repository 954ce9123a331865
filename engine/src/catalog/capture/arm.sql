-- Runs when a command has changed definitions: remembers that, and what the command names.
CREATE FUNCTION pgkeep.arm() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $pgkeep$
DECLARE
  objects bigint;
  permanent bigint;
  tables oid[];
BEGIN
  SELECT count(*),
         count(*) FILTER (WHERE c.schema_name IS DISTINCT FROM 'pg_temp'
                            AND c.schema_name IS DISTINCT FROM 'pgkeep')
    INTO objects, permanent
    FROM pg_event_trigger_ddl_commands() c;
  -- Commands that name nothing: those that found nothing to do, those that only drop, and
  -- those of which the catalogs alone tell what they did.
  IF permanent = 0
     AND (objects > 0 OR tg_tag LIKE 'CREATE %' OR tg_tag LIKE 'DROP %' AND tg_tag <> 'DROP OWNED')
  THEN
    RETURN;
  END IF;
  INSERT INTO pgkeep.touched (xid, classid, objid, how)
    SELECT pg_current_xact_id(), c.classid, c.objid,
           CASE WHEN tg_tag IN ('CREATE TABLE AS', 'SELECT INTO', 'REFRESH MATERIALIZED VIEW')
                THEN 'filled' ELSE 'named' END
    FROM pg_event_trigger_ddl_commands() c
    WHERE c.classid IS NOT NULL AND c.schema_name IS DISTINCT FROM 'pg_temp'
      AND c.schema_name IS DISTINCT FROM 'pgkeep'
      -- With it, all its tables were told of whenever one joins; what changes of it is written.
      AND c.classid <> 'pg_publication'::regclass;
  -- Commands that give stored rows other values and rewrite nothing: another name for a value of
  -- an enum, other attributes of a composite type, and below a generated column that becomes a
  -- plain one. Only their text tells; where it says more than they do, rows are written once too
  -- often.
  IF tg_tag = 'ALTER TYPE' AND current_query() ~* 'rename\s+value|attribute' THEN
    INSERT INTO pgkeep.touched (xid, classid, objid, how)
      WITH RECURSIVE concerned (classid, objid) AS (
        SELECT 'pg_type'::regclass::oid, coalesce(t.reltype, c.objid)
        FROM pg_event_trigger_ddl_commands() c
        LEFT JOIN pg_class t ON c.classid = 'pg_class'::regclass AND t.oid = c.objid
        UNION
        SELECT d.classid, d.objid FROM concerned c
        JOIN pg_depend d ON d.refclassid = c.classid AND d.refobjid = c.objid
        WHERE c.classid = 'pg_type'::regclass
      )
      SELECT pg_current_xact_id(), c.classid, c.objid, 'rewritten'
      FROM concerned c WHERE c.classid = 'pg_class'::regclass;
  END IF;
  -- A command on a table may reach those that inherit from it.
  IF tg_tag ~ '^(CREATE TABLE|SELECT INTO|ALTER TABLE|CREATE SCHEMA|IMPORT|ALTER TYPE)' THEN
    WITH RECURSIVE concerned (oid) AS (
      SELECT c.objid FROM pg_event_trigger_ddl_commands() c
      WHERE c.classid = 'pg_class'::regclass AND c.schema_name IS DISTINCT FROM 'pg_temp'
        AND c.schema_name IS DISTINCT FROM 'pgkeep'
      UNION
      SELECT i.inhrelid FROM concerned c JOIN pg_inherits i ON i.inhparent = c.oid
    )
    SELECT array_agg(c.oid) INTO tables FROM concerned c;
    IF tables IS NOT NULL THEN
      PERFORM pgkeep.layout(tables);
      PERFORM pgkeep.publish(tables);
      IF current_query() ~* 'drop\s+expression' THEN
        INSERT INTO pgkeep.touched (xid, classid, objid, how)
          SELECT pg_current_xact_id(), 'pg_class'::regclass, t.oid, 'rewritten'
          FROM unnest(tables) AS t (oid);
      END IF;
    END IF;
  END IF;
  -- What only says something of an object changes no text of what stands on it.
  INSERT INTO pgkeep.armed AS a (xid, spreads)
    VALUES (pg_current_xact_id(), tg_tag NOT IN ('COMMENT', 'GRANT', 'REVOKE', 'SECURITY LABEL',
                                                 'ALTER DEFAULT PRIVILEGES'))
    ON CONFLICT (xid) DO UPDATE SET spreads = true WHERE excluded.spreads AND NOT a.spreads;
END
$pgkeep$;
