-- Jobs and messages that somebody else deletes, empties or marks: a cleaning script with the
-- service key, a person with SQL. What had not been begun goes back to `pending` and is sent once;
-- what was being sent is unconfirmed; nothing is left `processing` with nobody at work. Also where
-- triggers are off for a restore or a replica (`enable always`).
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- In the order in which writers come to them: else one of those and we could wait for each other.
do $$
begin
    if (
        select c.relkind in ('r', 'p') from pg_class as c
        where c.oid = 'public.connections'::regclass
    ) then
        lock table public.connections in share row exclusive mode;
    end if;
end
$$;
lock table public.scheduled_messages in share row exclusive mode;
lock table public.broadcast_jobs in share row exclusive mode;
lock table public.broadcast_messages in share row exclusive mode;

-- p_status: what the job was.
create or replace function private.lose_job(p_row_id uuid, p_job_id uuid, p_status text, p_how text)
returns void
language plpgsql
set search_path = ''
as $$
begin
    update public.scheduled_messages as s
    set status = case when p_status = 'queued' then 'pending' else 'unconfirmed' end,
        -- As guard_update does it, which is off where triggers are.
        broadcast_job_id = case when p_status <> 'queued' then p_job_id end,
        revision = s.revision + (p_status = 'queued')::integer,
        error = case
            when p_status <> 'queued'
            then 'It may have been sent: ' || p_how || ' while it was being sent.'
        end,
        waiting_reason = null,
        waiting_until = null,
        updated_at = now()
    where s.id = p_row_id
        and s.broadcast_job_id = p_job_id
        and s.status in ('processing', 'in_queue');
    update public.broadcast_jobs as j
    set status = 'cancelled', completed_at = now(), updated_at = now()
    where j.id = p_job_id and j.status = 'queued';
end
$$;
revoke all on function private.lose_job from public;

create or replace function private.lose_deleted_job()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.lose_job(old.scheduled_message_id, old.id, old.status, 'its job was deleted');
    return null;
end
$$;
revoke all on function private.lose_deleted_job from public;

create or replace trigger lose_deleted_job after delete on public.broadcast_jobs
for each row when (
    old.scheduled_message_id is not null
    and old.status not in ('completed', 'failed', 'cancelled', 'unconfirmed')
) execute function private.lose_deleted_job();
alter table public.broadcast_jobs enable always trigger lose_deleted_job;

-- A job without its message could tell nobody what became of it. One that waits is taken back; one
-- that is on its way tells its row instead.
create or replace function private.lose_deleted_message()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.lose_job(
        old.scheduled_message_id, j.id, j.status, 'its entry in broadcast_messages was deleted'
    )
    from public.broadcast_jobs as j
    where j.id = old.job_id and j.status not in ('completed', 'failed', 'cancelled', 'unconfirmed');
    return null;
end
$$;
revoke all on function private.lose_deleted_message from public;

create or replace trigger lose_deleted_message after delete on public.broadcast_messages
for each row when (
    old.scheduled_message_id is not null
    and old.status not in ('sent', 'failed', 'skipped', 'cancelled')
) execute function private.lose_deleted_message();
alter table public.broadcast_messages enable always trigger lose_deleted_message;

-- Rare, and the tables are locked anyway: all that is under way is looked at. Without the rows
-- nothing waiting is sent.
create or replace function private.lose_truncated()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_table_name = 'connections' then
        -- As where each is deleted: their ids stay their owners', and what waits is cancelled.
        insert into private.connection_owners as o (connection_id, owner_id)
        select c.id::text, private.owner_by_id(c.id::text)
        from public.connections as c
        on conflict (connection_id) do update
        set owner_id = excluded.owner_id
        where not o.is_held;
        perform private.cancel_messages(
            waiting.connection_id, null, 'The WhatsApp connection of this message was deleted.'
        )
        from (
            select distinct s.connection_id from public.scheduled_messages as s
            where s.status in ('pending', 'processing', 'in_queue')
            order by s.connection_id
        ) as waiting;
    elsif tg_table_name = 'scheduled_messages' then
        update public.broadcast_jobs as j
        set status = 'cancelled', completed_at = now(), updated_at = now()
        where j.status = 'queued' and j.scheduled_message_id is not null;
        perform private.erase_jobs(array(
            select j.id from public.broadcast_jobs as j where j.scheduled_message_id is not null
        ));
    else
        perform private.lose_job(
            j.scheduled_message_id, j.id, j.status, tg_table_name || ' was emptied'
        )
        from public.broadcast_jobs as j
        where j.scheduled_message_id is not null
            and j.status not in ('completed', 'failed', 'cancelled', 'unconfirmed');
    end if;
    return null;
end
$$;
revoke all on function private.lose_truncated from public;

create or replace trigger lose_truncated before truncate on public.broadcast_jobs
for each statement execute function private.lose_truncated();
create or replace trigger lose_truncated before truncate on public.broadcast_messages
for each statement execute function private.lose_truncated();
create or replace trigger lose_truncated before truncate on public.scheduled_messages
for each statement execute function private.lose_truncated();
alter table public.broadcast_jobs enable always trigger lose_truncated;
alter table public.broadcast_messages enable always trigger lose_truncated;
alter table public.scheduled_messages enable always trigger lose_truncated;

do $$
begin
    if (
        select c.relkind in ('r', 'p') from pg_class as c
        where c.oid = 'public.connections'::regclass
    ) then
        create or replace trigger lose_truncated before truncate on public.connections
        for each statement execute function private.lose_truncated();
    end if;
end
$$;

-- A job that somebody marks by hand. Ours are told in the same statement as their messages; then
-- there is nothing to do here.
create or replace function private.lose_marked_job()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_by constant text := coalesce(
        nullif(to_jsonb(new) ->> 'error_message', ''),
        'its job was marked as ' || new.status || ' by somebody'
    );
begin
    if (
        old.status = 'sending'
        and private.hands_over(old.gateway) -- its worker's word: settle_job_of_node_worker
    ) or not exists (
        select 1 from public.broadcast_messages as m
        where m.job_id = new.id and m.status in ('waiting', 'pending')
    ) then
        return null;
    end if;
    if old.status = 'sending' then
        -- The daemon's answer, if it still comes, settles what is unconfirmed.
        update public.broadcast_jobs as j
        set status = 'unconfirmed', updated_at = now()
        where j.id = new.id;
        perform private.tell(
            new.id, 'unconfirmed', 'It may have been sent: ' || v_by || ' while it was being sent.'
        );
    elsif new.status = 'cancelled' then
        update public.scheduled_messages as s
        set status = 'cancelled', error = 'Not sent: ' || v_by || '.'
        where s.id = new.scheduled_message_id
            and s.broadcast_job_id = new.id
            and s.status in ('processing', 'in_queue');
    elsif new.status = 'failed' then
        perform private.tell(new.id, 'failed', 'Not sent: ' || v_by || '.');
    elsif new.status = 'completed' then
        perform private.tell(
            new.id, 'unconfirmed', 'The daemon did not send it, but ' || v_by || '.'
        );
    else
        update public.broadcast_jobs as j
        set status = 'cancelled', completed_at = now(), updated_at = now()
        where j.id = new.id;
        perform private.lose_job(new.scheduled_message_id, new.id, 'queued', '');
    end if;
    return null;
end
$$;
revoke all on function private.lose_marked_job from public;

create or replace trigger lose_marked_job after update of status on public.broadcast_jobs
for each row when (
    pg_trigger_depth() = 0 and new.scheduled_message_id is not null and (
        (old.status = 'queued' and new.status not in ('queued', 'sending'))
        or (
            old.status = 'sending' and new.status <> 'sending'
            and new.lease_token is not distinct from old.lease_token
            and new.lease_until is not distinct from old.lease_until
        )
    )
) execute function private.lose_marked_job();

-- So with a message that is marked while its job waits: it is over, and must not be sent any more.
create or replace function private.lose_marked_message()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.broadcast_jobs as j
    set status = 'cancelled', completed_at = now(), updated_at = now()
    where j.id = new.job_id and j.status = 'queued';
    if found and new.status = 'cancelled' then
        update public.scheduled_messages as s
        set status = 'cancelled',
            error = 'Not sent: its entry in broadcast_messages was cancelled by somebody.'
        where s.id = new.scheduled_message_id
            and s.broadcast_job_id = new.job_id
            and s.status = 'processing';
    end if;
    return null;
end
$$;
revoke all on function private.lose_marked_message from public;

create or replace trigger lose_marked_message after update of status on public.broadcast_messages
for each row when (
    pg_trigger_depth() = 0
    and new.scheduled_message_id is not null
    and new.status is distinct from old.status
    and (
        new.status in ('failed', 'skipped', 'unconfirmed', 'cancelled')
        or (new.status = 'sent' and new.message_id is null)
    )
) execute function private.lose_marked_message();
