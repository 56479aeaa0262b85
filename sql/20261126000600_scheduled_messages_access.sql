-- Who may do what with scheduled_messages. Column privileges say which columns are the author's, policies whose rows,
-- and the guard which changes of state: sql/README.md draws them. It refuses users alone, but counts everybody's edits.
-- Locks: `enable row level security` and `create policy` take `access exclusive`, `create trigger` `share row exclusive`, for
-- an instant.
set local lock_timeout = '1s';

alter table public.scheduled_messages enable row level security;

revoke all on public.scheduled_messages from public, anon, authenticated;
grant select, delete on public.scheduled_messages to authenticated;
grant insert (
    id, connection_id, contact_id, message, type, media_url, caption, media, asset_id, scheduled_at, status, created_by, owner_id,
    is_recurring, recurrence_pattern, recurrence_end_at, next_scheduled_at, timezone
) on public.scheduled_messages to authenticated;
grant update (
    connection_id, contact_id, message, type, media_url, caption, media, asset_id, scheduled_at, status,
    is_recurring, recurrence_pattern, recurrence_end_at, next_scheduled_at, timezone
) on public.scheduled_messages to authenticated;
grant select, insert, update, delete on public.scheduled_messages to service_role;

-- Columns that an application has of its own mean nothing to the daemon and stay its users'.
do $$
declare
    v_columns text;
begin
    select string_agg(quote_ident(a.attname), ', ') into v_columns
    from pg_attribute as a
    where a.attrelid = 'public.scheduled_messages'::regclass and a.attnum > 0 and not a.attisdropped and a.attname not in (
        'id', 'connection_id', 'contact_id', 'message', 'type', 'media_url', 'caption', 'media', 'asset_id', 'scheduled_at', 'status',
        'created_at', 'created_by', 'owner_id', 'sent_at', 'message_id', 'error', 'is_recurring', 'recurrence_pattern',
        'recurrence_end_at', 'next_scheduled_at', 'timezone', 'series_id', 'series_anchor', 'occurrence_at', 'missed', 'next_id',
        'broadcast_job_id', 'due_at', 'waiting_reason', 'waiting_until', 'delivery_status', 'revision', 'updated_at'
    );
    if v_columns is not null then
        execute format('grant insert (%1$s), update (%1$s) on public.scheduled_messages to authenticated', v_columns);
    end if;
end
$$;

-- Permissive policies add up, so one that was there before would undo ours.
do $$
declare
    v_name text;
begin
    for v_name in select polname from pg_policy where polrelid = 'public.scheduled_messages'::regclass loop
        execute format('drop policy %I on public.scheduled_messages', v_name);
    end loop;
end
$$;

create policy scheduled_messages_select_policy on public.scheduled_messages for select to authenticated
using (owner_id = (select auth.uid()) or created_by = (select auth.uid()));

-- The connection must be one that the caller can see: its own policies decide, whatever its columns are. One that is
-- another's and one that does not exist are refused alike.
create policy scheduled_messages_insert_policy on public.scheduled_messages for insert to authenticated
with check (
    owner_id = (select auth.uid()) and created_by = (select auth.uid())
    and exists (
        select 1 from public.connections as c
        where c.id = scheduled_messages.connection_id
    )
);

create policy scheduled_messages_update_policy on public.scheduled_messages for update to authenticated
using (owner_id = (select auth.uid()) or created_by = (select auth.uid()))
with check (
    (owner_id = (select auth.uid()) or created_by = (select auth.uid()))
    and exists (
        select 1 from public.connections as c
        where c.id = scheduled_messages.connection_id
    )
);

create policy scheduled_messages_delete_policy on public.scheduled_messages for delete to authenticated
using (owner_id = (select auth.uid()) or created_by = (select auth.uid()));

-- Takes a waiting job back. False when somebody is sending it, has handed it over, or is deciding so at this moment:
-- `skip locked`, because waiting for the settling transaction, which wants our row, would be a deadlock.
create or replace function private.withdraw_job(p_job_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
    update public.broadcast_jobs as j
    set status = 'cancelled', completed_at = now(), updated_at = now()
    from (
        select w.id from public.broadcast_jobs as w
        where w.id = p_job_id and w.status = 'queued' and w.scheduled_message_id is not null
        for update skip locked
    ) as waiting
    where j.id = waiting.id;
    if found then
        update public.broadcast_messages as m set status = 'cancelled', updated_at = now() where m.job_id = p_job_id;
        return true;
    end if;
    return not exists (
        select 1 from public.broadcast_jobs as j
        where j.id = p_job_id and j.status not in ('cancelled', 'completed', 'failed', 'unconfirmed')
    );
end
$$;
revoke all on function private.withdraw_job(uuid) from public;

-- A bulk insert through the API writes null where an object of it lacks a column that another has.
create or replace function private.guard_insert()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    new.id := coalesce(new.id, gen_random_uuid());
    new.type := coalesce(new.type, 'text');
    new.status := coalesce(new.status, 'pending');
    new.created_by := coalesce(new.created_by, auth.uid());
    new.owner_id := coalesce(new.owner_id, auth.uid());
    if new.status <> 'pending' then
        raise exception 'A new message starts as pending, not as %.', new.status using errcode = 'PT409';
    end if;
    return new;
end
$$;
revoke all on function private.guard_insert() from public;

-- Raises for a user what the state machine does not draw for an owner.
create or replace function private.refuse_transition(p_old text, p_new text)
returns void
language plpgsql
set search_path = ''
as $$
begin
    if p_old = 'sent' then
        raise exception 'This message was already sent and can no longer be changed.' using errcode = 'PT409';
    elsif p_old = 'unconfirmed' then
        raise exception 'This message may have been sent. Ask the operator to settle it before you change it.' using errcode = 'PT409';
    elsif p_new <> p_old and not (
        (p_new = 'pending' and p_old in ('processing', 'failed', 'cancelled', 'in_queue'))
        or (p_new = 'cancelled' and p_old in ('pending', 'processing', 'in_queue'))
    ) then
        raise exception 'This message is % and cannot be made %.', p_old, p_new using errcode = 'PT409';
    end if;
end
$$;
revoke all on function private.refuse_transition(text, text) from public;

-- Called with 'user' for users. What is being sent nobody takes back: a user is told so, and for others it stays what it
-- was when they want it pending, since it would go out twice. They may still cancel it: then it is not tried again.
create or replace function private.guard_update()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_by_user constant boolean := tg_nargs > 0;
begin
    if v_by_user then
        perform private.refuse_transition(old.status, new.status);
        if new.status in ('processing', 'in_queue') then
            new.status := 'pending';
        end if;
    end if;
    if old.broadcast_job_id is not null and not private.withdraw_job(old.broadcast_job_id) then
        if v_by_user then
            raise exception 'This message is being sent right now and can no longer be changed.' using errcode = 'PT409';
        elsif new.status = 'pending' then
            new.status := old.status;
        end if;
    end if;
    if new.status = 'pending' then
        new.broadcast_job_id := null;
        new.sent_at := null;
        new.message_id := null;
        new.delivery_status := null;
    end if;
    if new.status = 'pending' or (new.status = 'cancelled' and v_by_user) then
        new.error := null;
    end if;
    new.waiting_reason := null;
    new.waiting_until := null;
    -- A new time, rule or zone starts the wall time anew, unless the series has already gone on without this row.
    if new.next_id is null and (new.scheduled_at, new.recurrence_pattern, new.timezone, new.is_recurring)
        is distinct from (old.scheduled_at, old.recurrence_pattern, old.timezone, old.is_recurring)
    then
        new.series_anchor := null;
        new.occurrence_at := null;
    end if;
    new.revision := old.revision + 1;
    new.updated_at := now();
    return new;
end
$$;
revoke all on function private.guard_update() from public;

create or replace function private.guard_delete()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if not private.withdraw_job(old.broadcast_job_id) and tg_nargs > 0 then
        raise exception 'This message is being sent right now and cannot be deleted.' using errcode = 'PT409';
    end if;
    return old;
end
$$;
revoke all on function private.guard_delete() from public;

-- The table's checks once more, for users: in the words of their comments, and with a status of their own (400). Written
-- from the catalog, so that it says what they say; a migration that changes a check does this again.
do $outer$
declare
    v_cases text;
begin
    select string_agg(
        format(
            E'\n        when (%s) is false then %L', pg_get_expr(c.conbin, c.conrelid), coalesce(obj_description(c.oid, 'pg_constraint'), c.conname)
        ), '' order by c.conname
    )
    into v_cases
    from pg_constraint as c
    where c.conrelid = 'public.scheduled_messages'::regclass and c.contype = 'c' and c.conname like 'scheduled\_messages\_%';

    execute format(
        $format$
create or replace function private.refuse_nonsense()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_words text;
begin
    if new.media is not null then
        begin
            perform new.media::jsonb; -- stricter than json: no character zero, no half of a surrogate pair
        exception when others then
            raise exception 'The media are not valid JSON.' using errcode = 'PT400';
        end;
    end if;
    select case%s
    end
    into v_words
    from (select new.*) as scheduled_messages;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$$
        $format$, v_cases
    );
end
$outer$;
revoke all on function private.refuse_nonsense() from public;

create or replace trigger guard_insert before insert on public.scheduled_messages
for each row when (current_user in ('anon', 'authenticated')) execute function private.guard_insert();

create or replace trigger guard_update before update on public.scheduled_messages
for each row when (current_user in ('anon', 'authenticated')) execute function private.guard_update('user');

-- A row that ends up pending or cancelled was edited by somebody, never by the daemon.
create or replace trigger guard_update_by_service before update on public.scheduled_messages
for each row when (current_user not in ('anon', 'authenticated') and new.status in ('pending', 'cancelled'))
execute function private.guard_update();

create or replace trigger guard_delete before delete on public.scheduled_messages
for each row when (current_user in ('anon', 'authenticated') and old.broadcast_job_id is not null)
execute function private.guard_delete('user');

create or replace trigger guard_delete_by_service before delete on public.scheduled_messages
for each row when (current_user not in ('anon', 'authenticated') and old.broadcast_job_id is not null)
execute function private.guard_delete();

-- After the guards, by its name.
create or replace trigger refuse_nonsense before insert or update on public.scheduled_messages
for each row when (current_user in ('anon', 'authenticated')) execute function private.refuse_nonsense();
