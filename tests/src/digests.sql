-- Rows of a database in a few words, as JSON lines: for each table and materialized view the
-- count of its rows and a digest that does not depend on their order, for each sequence its
-- value, for the large objects both. Partitioned tables and parents are told by what they
-- hold themselves. The function is temporary: the database stays as it was.

SET client_encoding = 'UTF8';
SET search_path = '';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
SET bytea_output = 'hex';
SET extra_float_digits = 3;
SET row_security = off;
CREATE FUNCTION pg_temp.digests() RETURNS SETOF pg_catalog.json LANGUAGE plpgsql AS $function$
DECLARE
    relation record;
    row_count pg_catalog.int8;
    digest pg_catalog.text;
BEGIN
    FOR relation IN
        SELECT c.oid, c.relkind, c.relispopulated,
               pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm', 'S') AND c.relpersistence <> 't'
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    LOOP
        IF relation.relkind = 'S' THEN
            EXECUTE pg_catalog.format('SELECT last_value, is_called::pg_catalog.text FROM %s',
                relation.name) INTO row_count, digest;
        ELSIF NOT relation.relispopulated THEN
            row_count := 0;
            digest := 'not populated';
        ELSE
            EXECUTE pg_catalog.format('SELECT pg_catalog.count(*), coalesce(pg_catalog.sum('
                'pg_catalog.hashtextextended(t.*::pg_catalog.text, 0)::pg_catalog.numeric), 0)'
                '::pg_catalog.text FROM ONLY %s AS t', relation.name) INTO row_count, digest;
        END IF;
        RETURN NEXT pg_catalog.json_build_object(
            'name', relation.name, 'rows', row_count, 'digest', digest);
    END LOOP;
    SELECT pg_catalog.count(*), coalesce(pg_catalog.sum(pg_catalog.hashtextextended(
        m.oid::pg_catalog.text || ' ' || pg_catalog.encode(pg_catalog.lo_get(m.oid), 'hex'), 0)
        ::pg_catalog.numeric), 0)::pg_catalog.text
    INTO row_count, digest FROM pg_catalog.pg_largeobject_metadata m;
    RETURN NEXT pg_catalog.json_build_object(
        'name', 'large objects', 'rows', row_count, 'digest', digest);
END $function$;
SELECT pg_temp.digests();
