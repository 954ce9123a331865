-- Runs when a command has dropped something: the catalogs no longer tell.
CREATE FUNCTION pgkeep.arm_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $pgkeep$
BEGIN
  -- A default never goes alone, and old servers do not tell that it was of a temporary table.
  IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects() d
             WHERE NOT d.is_temporary AND d.schema_name IS DISTINCT FROM 'pgkeep'
               AND d.object_type <> 'default value')
  THEN
    INSERT INTO pgkeep.touched (xid, classid, objid, how)
      SELECT DISTINCT pg_current_xact_id(), d.classid, d.objid, 'dropped'
      FROM pg_event_trigger_dropped_objects() d
      WHERE NOT d.is_temporary AND d.schema_name IS DISTINCT FROM 'pgkeep';
    INSERT INTO pgkeep.armed (xid, spreads) VALUES (pg_current_xact_id(), false)
      ON CONFLICT (xid) DO NOTHING;
    DELETE FROM pgkeep.full_identity f USING pg_event_trigger_dropped_objects() d
      WHERE d.classid = 'pg_class'::regclass AND f.relid = d.objid AND d.objsubid = 0;
  END IF;
  -- An index may be gone that identified the rows of a table.
  IF tg_tag <> 'DROP TABLE' AND EXISTS (
    SELECT FROM pg_event_trigger_dropped_objects() d
    WHERE d.object_type = 'index' AND NOT d.is_temporary)
  THEN
    PERFORM pgkeep.publish(NULL);
  END IF;
END
$pgkeep$;
