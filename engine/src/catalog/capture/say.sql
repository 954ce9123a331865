-- Writes one message of the change; rows and texts are an array, as the server writes arrays.
CREATE FUNCTION pgkeep.say(fields text[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $pgkeep$
  SELECT pg_logical_emit_message(true, 'pgkeep.ddl', convert_to(fields::text, 'UTF8'));
$pgkeep$;
