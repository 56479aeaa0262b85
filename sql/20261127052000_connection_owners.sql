-- What is kept of a connection under its id (settings, counters, pauses, the name of its session) stays its owner's when it is
-- deleted: whoever makes a connection of that id again and is somebody else sends nothing, until the operator releases it.
-- An id that a user has made up may be the name of anybody's session, so it is trusted as one only if it looks generated.
-- Locks: `create trigger` on connections takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create or replace function private.remember_owner()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_by_user constant boolean := tg_nargs > 0;
    v_owner text;
    v_known private.connection_owners;
    v_has_settings boolean;
    v_chosen boolean;
begin
    if tg_op = 'DELETE' or (tg_op = 'UPDATE' and new.id is distinct from old.id) then
        insert into private.connection_owners as o (connection_id, owner_id)
        values (old.id::text, private.owner_of(old))
        on conflict (connection_id) do update set owner_id = excluded.owner_id where not o.is_held;
    end if;
    if tg_op = 'INSERT' or (tg_op = 'UPDATE' and new.id is distinct from old.id) then
        v_owner := private.owner_of(new);
        v_chosen := v_by_user and new.id::text !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
        select * into v_known from private.connection_owners as o where o.connection_id = new.id::text;
        if found then
            update private.connection_owners as o
            set is_held = o.owner_id is distinct from v_owner and (v_owner is not null or v_by_user), is_chosen = v_chosen
            where o.connection_id = new.id::text;
        else
            v_has_settings := v_by_user and exists (
                select 1 from public.connection_settings as se where se.connection_id = new.id::text
            );
            if v_chosen or v_has_settings then
                insert into private.connection_owners (connection_id, owner_id, is_held, is_chosen)
                values (new.id::text, case when not v_has_settings then v_owner end, v_has_settings, v_chosen);
            end if;
        end if;
        -- A pause is looked at again.
        update private.connection_state as c
        set ready_at = now(), probe_at = case when c.paused_reason is not null then now() end
        where c.connection_id = new.id::text;
    elsif tg_op = 'UPDATE' then
        update private.connection_owners as o
        set owner_id = case when o.is_held then o.owner_id else private.owner_of(new) end,
            is_held = o.is_held and o.owner_id is distinct from private.owner_of(new)
        where o.connection_id = new.id::text;
    end if;
    return null;
end
$$;
revoke all on function private.remember_owner from public;

do $outer$
declare
    v_owners text;
begin
    if (select c.relkind not in ('r', 'p') from pg_class as c where c.oid = 'public.connections'::regclass) then
        return;
    end if;
    select string_agg(format('or old.%1$I is distinct from new.%1$I', a.attname), ' ') into v_owners
    from pg_attribute as a
    where a.attrelid = 'public.connections'::regclass and a.attname in ('user_id', 'owner_id') and not a.attisdropped;

    create or replace trigger remember_owner_deleted after delete on public.connections
    for each row execute function private.remember_owner();
    create or replace trigger remember_owner_inserted after insert on public.connections
    for each row when (not (row_security_active('private.connection_owners'::regclass) and not pg_has_role('service_role', 'usage')))
    execute function private.remember_owner();
    create or replace trigger remember_owner_inserted_by_user after insert on public.connections
    for each row when (row_security_active('private.connection_owners'::regclass) and not pg_has_role('service_role', 'usage'))
    execute function private.remember_owner('user');
    execute format(
        $format$
create or replace trigger remember_owner_updated after update on public.connections
for each row when ((old.id is distinct from new.id %1$s) and not (%2$s))
execute function private.remember_owner();
create or replace trigger remember_owner_updated_by_user after update on public.connections
for each row when ((old.id is distinct from new.id %1$s) and %2$s)
execute function private.remember_owner('user')
        $format$,
        v_owners,
        $rule$row_security_active('private.connection_owners'::regclass) and not pg_has_role('service_role', 'usage')$rule$
    );
end
$outer$;

-- Ends what is kept of a connection's id: its settings, counters, pauses and former owner. One that is there now is its
-- owner's from here on. Returns whether there was anything.
create or replace function public.forget_connection(p_connection_id text)
returns boolean
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_number integer;
    v_all integer := 0;
begin
    delete from public.connection_settings as se where se.connection_id = p_connection_id;
    get diagnostics v_all = row_count;
    update private.connection_state as c
    set day = null, sent_today = 0, paused_reason = null, probe_at = null, throttle_seconds = 0, throttled_until = null,
        arrival_at = '-infinity', ready_at = now()
    where c.connection_id = p_connection_id;
    get diagnostics v_number = row_count;
    v_all := v_all + v_number;
    update private.connection_owners as o
    set is_held = false, owner_id = (select private.owner_of(c.*) from public.connections as c where c.id::text = p_connection_id)
    where o.connection_id = p_connection_id;
    get diagnostics v_number = row_count;
    delete from private.connection_owners as o
    where o.connection_id = p_connection_id
        and not exists (select 1 from public.connections as c where c.id::text = p_connection_id);
    return v_all + v_number > 0;
end
$$;
revoke all on function public.forget_connection(text) from public, anon, authenticated;
grant execute on function public.forget_connection(text) to service_role;
