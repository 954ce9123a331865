-- Runs at the commit of a transaction that was armed. Whatever goes wrong here is no reason
-- for the transaction to fail: the stream is told that the change is missing.
CREATE FUNCTION pgkeep.capture() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $pgkeep$
DECLARE
  spreads boolean;
BEGIN
  DELETE FROM pgkeep.armed a WHERE a.xid = new.xid RETURNING a.spreads INTO spreads;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  BEGIN
    PERFORM pgkeep.emit(new.xid, spreads);
  EXCEPTION WHEN OTHERS THEN
    PERFORM pgkeep.say(ARRAY['failed', sqlstate]);
  END;
  DELETE FROM pgkeep.touched t WHERE t.xid = new.xid;
  RETURN NULL;
END
$pgkeep$;
