-- Writes one message; rows and texts are an array, as the server writes arrays. Any role may
-- write messages into the WAL: the token tells ours from others.
CREATE FUNCTION pgkeep.say(fields text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $pgkeep$
  SELECT pg_logical_emit_message(true, 'pgkeep.ddl.' || t.token, convert_to(fields::text, 'UTF8'))
  FROM pgkeep.token t;
$pgkeep$;
