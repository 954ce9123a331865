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
  END IF;
END
$pgkeep$;
