-- Each table of ours bears a mark in its comment, and each of its columns, so that whoever looks at
-- a project can tell what is ours and what is its own. So does each column that we have added to a
-- table which is the application's.
-- Locks: `comment on` takes `share update exclusive` for an instant.
set local lock_timeout = '1s';

-- Marks a table of ours that has no comment yet, and its columns, or only the columns named.
create or replace function private.mark_as_ours(p_table text, p_columns text[] default null)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_table constant regclass := to_regclass(p_table);
    v_column record;
begin
    if p_columns is null and obj_description(v_table, 'pg_class') is null then
        execute format(
            'comment on table %s is %L', v_table,
            'scheduled messages: ' || replace(split_part(p_table, '.', 2), '_', ' ') || '.'
        );
    end if;
    for v_column in
        select a.attname as name
        from pg_catalog.pg_attribute as a
        where a.attrelid = v_table
            and a.attnum > 0
            and not a.attisdropped
            and (p_columns is null or a.attname = any(p_columns))
            and col_description(v_table, a.attnum) is null
        order by a.attnum
    loop
        execute format(
            'comment on column %s.%I is %L', v_table, v_column.name,
            'scheduled messages: ' || replace(v_column.name, '_', ' ') || '.'
        );
    end loop;
end
$$;
revoke all on function private.mark_as_ours from public;

select private.mark_as_ours('public.scheduled_messages', array[
    'owner_id', 'asset_id', 'timezone', 'recurrence_end_at', 'series_id', 'series_anchor',
    'occurrence_at', 'missed', 'next_id', 'broadcast_job_id', 'due_at', 'waiting_reason',
    'waiting_until', 'delivery_status', 'revision', 'updated_at', 'category', 'priority',
    'template', 'held', 'not_after', 'source_id', 'source_position', 'source_try'
]);
select private.mark_as_ours(ours.name)
from unnest(array[
    'public.connection_settings', 'private.connection_owners', 'private.connection_state',
    'private.erasures', 'private.gateways', 'private.limits', 'private.owner_load',
    'private.recipient_state', 'private.refused_rows', 'private.timezones'
]) as ours (name);
-- The upstream application's too, where it is there.
select private.mark_as_ours(ours.name)
from unnest(array['public.broadcast_jobs', 'public.broadcast_messages']) as ours (name);
