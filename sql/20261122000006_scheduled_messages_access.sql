-- Who may do what with scheduled_messages. Column privileges say which columns are the author's, policies whose rows,
-- and the guard which changes of state. It binds everybody where it keeps a revision honest, and users where it refuses.
-- Locks: `create trigger` and `create policy` take `share row exclusive` / `access exclusive` for an instant.
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

-- The connection must be one that the caller can see: its own policies decide, whatever its columns are.
create policy scheduled_messages_insert_policy on public.scheduled_messages for insert to authenticated
with check (
    owner_id = (select auth.uid()) and created_by = (select auth.uid())
    and exists (select 1 from public.connections as c where c.id = connection_id)
);

create policy scheduled_messages_update_policy on public.scheduled_messages for update to authenticated
using (owner_id = (select auth.uid()) or created_by = (select auth.uid()))
with check (
    (owner_id = (select auth.uid()) or created_by = (select auth.uid()))
    and exists (select 1 from public.connections as c where c.id = connection_id)
);

create policy scheduled_messages_delete_policy on public.scheduled_messages for delete to authenticated
using (owner_id = (select auth.uid()) or created_by = (select auth.uid()));

-- Takes a waiting job back. False when somebody is sending it, has handed it over, or is deciding so at this moment:
-- `skip locked`, because waiting for the settling transaction, which wants our row, would be a deadlock.
create or replace function private.withdraw_job(p_job_id uuid)
returns boolean
language plpgsql
security definer
set search_path = ''
as $$
begin
    if not exists (select 1 from public.broadcast_jobs as j where j.id = p_job_id and j.scheduled_message_id is not null) then
        return true;
    end if;
    update public.broadcast_jobs as j
    set status = 'cancelled', completed_at = now(), updated_at = now()
    from (select w.id from public.broadcast_jobs as w where w.id = p_job_id and w.status = 'queued' for update skip locked) as waiting
    where j.id = waiting.id;
    if found then
        update public.broadcast_messages as m set status = 'cancelled', updated_at = now() where m.job_id = p_job_id;
        return true;
    end if;
    return exists (select 1 from public.broadcast_jobs as j where j.id = p_job_id and j.status = 'cancelled');
end
$$;
revoke all on function private.withdraw_job(uuid) from public;
grant execute on function private.withdraw_job(uuid) to authenticated, service_role;

create or replace function private.is_user()
returns boolean
language sql
stable
set search_path = ''
as $$ select current_user in ('anon', 'authenticated') $$;
grant execute on function private.is_user() to public;

create or replace function private.guard_insert()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if new.status <> 'pending' then
        raise exception 'A new message starts as pending, not as %.', new.status using errcode = 'PT409';
    end if;
    new.created_by := coalesce(new.created_by, auth.uid());
    new.owner_id := coalesce(new.owner_id, auth.uid());
    return new;
end
$$;

-- Raises for a user what the state machine of sql/README.md does not draw for an owner.
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
        raise exception 'A message that is % cannot be made %.', p_old, p_new using errcode = 'PT409';
    end if;
end
$$;

create or replace function private.guard_update()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if private.is_user() then
        perform private.refuse_transition(old.status, new.status);
    end if;
    if old.status in ('processing', 'in_queue') and new.status in ('processing', 'in_queue', 'pending', 'cancelled') then
        if not private.withdraw_job(old.broadcast_job_id) and private.is_user() then
            raise exception 'This message is being sent right now and can no longer be changed.' using errcode = 'PT409';
        end if;
        if new.status <> 'cancelled' then
            new.status := 'pending';
        end if;
    end if;
    if new.status = 'pending' then
        new.error := null;
        new.broadcast_job_id := null;
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

create or replace function private.guard_delete()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if not private.withdraw_job(old.broadcast_job_id) and private.is_user() then
        raise exception 'This message is being sent right now and cannot be deleted.' using errcode = 'PT409';
    end if;
    return old;
end
$$;
grant execute on function private.guard_insert(), private.guard_update(), private.guard_delete(), private.refuse_transition(text, text) to public;

create or replace trigger guard_insert before insert on public.scheduled_messages
for each row when (current_user in ('anon', 'authenticated')) execute function private.guard_insert();

-- A row that ends up pending or cancelled was edited by somebody, never by the daemon.
create or replace trigger guard_update before update on public.scheduled_messages
for each row when (current_user in ('anon', 'authenticated') or new.status in ('pending', 'cancelled')) execute function private.guard_update();

create or replace trigger guard_delete before delete on public.scheduled_messages
for each row when (old.status in ('processing', 'in_queue')) execute function private.guard_delete();
