-- Runs when a table is about to be rewritten: logical decoding does not show its new rows.
CREATE FUNCTION pgkeep.arm_rewrite() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $pgkeep$
BEGIN
  INSERT INTO pgkeep.touched (xid, classid, objid, how)
    SELECT pg_current_xact_id(), 'pg_class'::regclass, c.oid, 'rewritten'
    FROM pg_class c
    WHERE c.oid = pg_event_trigger_table_rewrite_oid() AND c.relpersistence <> 't';
END
$pgkeep$;
