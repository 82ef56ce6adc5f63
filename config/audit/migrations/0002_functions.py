from django.db import migrations

FUNCTIONS = r"""
CREATE FUNCTION audit_context() RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
-- Who writes: as the portal said with the statement, or else the database's user.
BEGIN
    IF coalesce(current_setting('okno.audit', true), '') <> '' THEN
        BEGIN
            RETURN current_setting('okno.audit')::jsonb;
        EXCEPTION WHEN OTHERS THEN
            NULL;  -- set by hand
        END;
    END IF;
    RETURN jsonb_build_object(
        'source', 'database', 'actor', session_user, 'address', coalesce(host(inet_client_addr()), ''),
        'user_agent', current_setting('application_name'));
END $$;

CREATE FUNCTION audit_fill() RETURNS trigger LANGUAGE plpgsql AS $$
-- Whatever an INSERT says about time, actor and origin, the context decides.
DECLARE
    who jsonb := audit_context();
BEGIN
    NEW.at := clock_timestamp();
    NEW.source := left(coalesce(who ->> 'source', ''), 20);
    NEW.actor_id := who ->> 'actor_id';
    NEW.actor := left(coalesce(who ->> 'actor', ''), 200);
    NEW.token_id := who ->> 'token_id';
    NEW.route := left(coalesce(who ->> 'route', ''), 200);
    NEW.address := left(coalesce(who ->> 'address', ''), 64);
    NEW.user_agent := left(coalesce(who ->> 'user_agent', ''), 200);
    NEW.request_id := left(coalesce(who ->> 'request_id', ''), 64);
    RETURN NEW;
END $$;

CREATE FUNCTION audit_value(value jsonb, is_hidden boolean) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
-- A value as it is recorded: hidden, or without secrets in URLs and in JSON, and of limited length.
DECLARE
    result text;
BEGIN
    IF value IS NULL OR value = 'null' THEN
        RETURN NULL;
    ELSIF is_hidden THEN
        RETURN CASE WHEN value IN ('""', '[]', '{}') THEN value ELSE '"•••"' END;
    ELSIF jsonb_typeof(value) IN ('boolean', 'number') THEN
        RETURN value;
    END IF;
    result := regexp_replace(value::text, '(://)[^/@\s"]+@', '\1•••@', 'g');
    result := regexp_replace(result, '([?&#][^=&\s"\\]+=)[^&\s"\\]+', '\1•••', 'g');
    result := regexp_replace(
        result, '("[^"\\]*(?:token|secret|password|api[-_ ]?key|authorization)[^"\\]*": )"(?:[^"\\]|\\.)+"',
        '\1"•••"', 'gi');
    IF length(result) > 2000 THEN
        RETURN to_jsonb(left(result::jsonb #>> '{}', 2000) || '…');
    END IF;
    RETURN result::jsonb;
END $$;

CREATE FUNCTION audit_host(value jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT AS $$
-- A URL whose path may be a secret: scheme and host only.
SELECT CASE
    WHEN value IN ('null', '""') THEN value
    WHEN value #>> '{}' ~ '^\w+://[^/?#@]+/?$' THEN value
    WHEN value #>> '{}' ~ '^\w+://' THEN to_jsonb(regexp_replace(
        value #>> '{}', '^(\w+://)(?:[^/?#]*@)?([^/?#]*).*$', '\1\2/•••'))
    ELSE '"•••"' END
$$;

CREATE FUNCTION audit_changes(rule jsonb, before jsonb, after jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
-- The columns that differ, as {column: [before, after]}.
DECLARE
    result jsonb := '{}';
    name text;
    is_hidden boolean;
    old_value jsonb;
    new_value jsonb;
BEGIN
    FOR name IN SELECT jsonb_object_keys(coalesce(after, before)) LOOP
        CONTINUE WHEN before -> name IS NOT DISTINCT FROM after -> name
            OR coalesce(rule -> 'ignored' ? name, false)
            OR NOT coalesce(rule -> 'columns' ? name, true)
            OR coalesce(before -> name, 'null') IN ('null', '""', '[]', '{}')
            AND coalesce(after -> name, 'null') IN ('null', '""', '[]', '{}');
        is_hidden := coalesce(rule -> 'hidden' ? name, false);
        old_value := before -> name;
        new_value := after -> name;
        IF rule -> 'urls' ? name THEN
            old_value := audit_host(old_value);
            new_value := audit_host(new_value);
        END IF;
        result := result || jsonb_build_object(
            name, jsonb_build_array(audit_value(old_value, is_hidden), audit_value(new_value, is_hidden)));
    END LOOP;
    RETURN result;
END $$;

CREATE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql AS $$
-- Records one written row of the table whose rule is the trigger's argument (config/audit/tables.py).
DECLARE
    rule jsonb := TG_ARGV[0]::jsonb;
    who jsonb;
    before jsonb;
    after jsonb;
    action text := 'changed';
    differences jsonb;
BEGIN
    IF rule ? 'people_only' THEN
        IF coalesce(current_setting('okno.audit', true), '') = '' THEN
            IF current_setting('application_name') LIKE 'okno%' THEN
                RETURN NULL;  -- the message flow
            END IF;
        ELSE
            who := audit_context();
            IF coalesce(who ->> 'actor', '') = '' THEN
                RETURN NULL;
            END IF;
        END IF;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO audit_record (action, object_type, details)
        VALUES ('deleted', rule ->> 'type', jsonb_build_object('all', true, 'link', rule -> 'link'));
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        before := to_jsonb(OLD);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        after := to_jsonb(NEW);
    END IF;
    IF rule ? 'link' THEN  -- a row of a many-to-many table is a change of the object that it belongs to
        SELECT jsonb_build_object(rule ->> 'link', jsonb_build_array(
            before -> linked.name, after -> linked.name)) INTO differences
        FROM jsonb_array_elements_text(rule -> 'linked') AS linked (name);
    ELSE
        differences := audit_changes(rule, before, after);
        IF TG_OP = 'UPDATE' AND differences = '{}' THEN
            RETURN NULL;
        END IF;
        action := CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'DELETE' THEN 'deleted' ELSE 'changed' END;
    END IF;
    INSERT INTO audit_record (action, object_type, object_id, object_label, changes)
    VALUES (
        action, rule ->> 'type', left(coalesce(after, before) ->> (rule ->> 'id'), 64),
        left(coalesce(coalesce(after, before) ->> (rule ->> 'label'), ''), 200), differences);
    RETURN NULL;
END $$;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
-- The record is append-only. Only audit_prune() deletes, and only rows that are at least 365 days old.
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('okno.audit_prune', true) = 'yes' THEN
        IF OLD.at < clock_timestamp() - interval '365 days' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit_record is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION audit_prune(keep_days integer) RETURNS bigint LANGUAGE plpgsql AS $$
-- Deletes records that are older than keep_days, and returns how many.
DECLARE
    deleted bigint;
BEGIN
    IF keep_days IS NULL OR keep_days < 365 THEN
        RAISE EXCEPTION 'audit records are kept for at least 365 days' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM set_config('okno.audit_prune', 'yes', true);
    DELETE FROM audit_record WHERE at < clock_timestamp() - make_interval(days => keep_days);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    PERFORM set_config('okno.audit_prune', '', true);
    INSERT INTO audit_record (action, object_type, details)
    VALUES ('deleted', 'audit.auditrecord', jsonb_build_object('rows', deleted, 'older_than_days', keep_days));
    RETURN deleted;
END $$;

CREATE TRIGGER audit_fill BEFORE INSERT ON audit_record FOR EACH ROW EXECUTE FUNCTION audit_fill();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit_record FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_record FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
-- Also for replication roles: session_replication_role = replica switches off only ordinary triggers.
ALTER TABLE audit_record ENABLE ALWAYS TRIGGER audit_append_only;
ALTER TABLE audit_record ENABLE ALWAYS TRIGGER audit_no_truncate;
"""


class Migration(migrations.Migration):
    """The triggers of the audited tables are installed after each `migrate` (config/audit/triggers.py)."""

    dependencies = [("audit", "0001_initial")]

    operations = [migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop)]
