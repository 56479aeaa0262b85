-- What is kept of a connection under its id (settings, counters, pauses, the name of its session)
-- stays its owner's when it is deleted: whoever makes a connection of that id again and is somebody
-- else sends nothing, until the operator releases it. An id that a user has made up may be the name
-- of anybody's session, so it is trusted as one only if it looks generated.
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
    v_has_settings boolean;
    v_chosen boolean;
begin
    if tg_op = 'DELETE' or (tg_op = 'UPDATE' and new.id is distinct from old.id) then
        insert into private.connection_owners as known (connection_id, owner_id)
        values (old.id::text, private.owner_of(old))
        on conflict (connection_id) do update
        set owner_id = excluded.owner_id
        where not known.is_held;
    end if;
    if tg_op = 'INSERT' or (tg_op = 'UPDATE' and new.id is distinct from old.id) then
        v_owner := private.owner_of(new);
        v_chosen := v_by_user
            and new.id::text !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
        update private.connection_owners as known
        set is_held = known.owner_id is distinct from v_owner
                and (v_owner is not null or v_by_user),
            is_chosen = v_chosen
        where known.connection_id = new.id::text;
        if not found then
            v_has_settings := v_by_user and exists (
                select 1 from public.connection_settings as settings
                where settings.connection_id = new.id::text
            );
            if v_chosen or v_has_settings then
                insert into private.connection_owners (
                    connection_id, owner_id, is_held, is_chosen
                ) values (
                    new.id::text,
                    case when not v_has_settings then v_owner end,
                    v_has_settings,
                    v_chosen
                );
            end if;
        end if;
        -- A pause is looked at again.
        update private.connection_state as state
        set ready_at = now(),
            probe_at = case when state.paused_reason is not null then now() end
        where state.connection_id = new.id::text;
    elsif tg_op = 'UPDATE' then
        update private.connection_owners as known
        set owner_id = case when known.is_held then known.owner_id else private.owner_of(new) end,
            is_held = known.is_held and known.owner_id is distinct from private.owner_of(new)
        where known.connection_id = new.id::text;
    end if;
    return null;
end
$$;
revoke all on function private.remember_owner from public;

-- Of a view the project tells us nothing. Of a table, updates that change neither id nor owner cost
-- nothing.
do $outer$
declare
    v_is_user constant text := $rule$
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    $rule$;
    v_owner_changed constant text := (
        select string_agg(format('or old.%1$I is distinct from new.%1$I', a.attname), ' ')
        from pg_attribute as a
        where a.attrelid = 'public.connections'::regclass
            and a.attname in ('user_id', 'owner_id')
            and not a.attisdropped
    );
begin
    if (
        select c.relkind not in ('r', 'p')
        from pg_class as c
        where c.oid = 'public.connections'::regclass
    ) then
        return;
    end if;
    execute format(
        $format$
create or replace trigger remember_owner_deleted after delete on public.connections
for each row execute function private.remember_owner();

create or replace trigger remember_owner_inserted after insert on public.connections
for each row when (not (%1$s))
execute function private.remember_owner();

create or replace trigger remember_owner_inserted_by_user after insert on public.connections
for each row when (%1$s)
execute function private.remember_owner('user');

create or replace trigger remember_owner_updated after update on public.connections
for each row when ((old.id is distinct from new.id %2$s) and not (%1$s))
execute function private.remember_owner();

create or replace trigger remember_owner_updated_by_user after update on public.connections
for each row when ((old.id is distinct from new.id %2$s) and %1$s)
execute function private.remember_owner('user');
        $format$,
        v_is_user, v_owner_changed
    );
end
$outer$;

-- Ends what is kept of a connection's id: its settings, counters, pauses and former owner. One that
-- is there now is its owner's from here on. Returns whether there was anything.
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
    delete from public.connection_settings as settings
    where settings.connection_id = p_connection_id;
    get diagnostics v_all = row_count;

    update private.connection_state as state
    set day = null,
        sent_today = 0,
        paused_reason = null,
        probe_at = null,
        throttle_seconds = 0,
        throttled_until = null,
        arrival_at = '-infinity',
        ready_at = now()
    where state.connection_id = p_connection_id;
    get diagnostics v_number = row_count;
    v_all := v_all + v_number;

    update private.connection_owners as known
    set is_held = false,
        owner_id = private.owner_by_id(p_connection_id)
    where known.connection_id = p_connection_id;
    get diagnostics v_number = row_count;

    delete from private.connection_owners as known
    where known.connection_id = p_connection_id
        and not exists (
            select 1 from public.connections as c where c.id::text = p_connection_id
        );
    return v_all + v_number > 0;
end
$$;
revoke all on function public.forget_connection(text) from public, anon, authenticated;
grant execute on function public.forget_connection(text) to service_role;
