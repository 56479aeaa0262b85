-- Who may do what with scheduled_messages. Policies say whose rows, and the guards which columns
-- are the author's and which changes of state: sql/README.md draws them. They refuse users alone,
-- but count everybody's edits.
-- There are no column privileges: a front end may write back, copy or upsert whole rows, and a
-- column that an application adds is its users' (docs/adr/0011).
-- Who a user is stands with private.connection_owners, which the triggers' conditions ask.
-- Locks: `enable row level security` and `create policy` take `access exclusive`, `create trigger`
-- `share row exclusive`, for an instant.
set local lock_timeout = '1s';

alter table public.scheduled_messages enable row level security;

revoke all on public.scheduled_messages from public, anon, authenticated;
grant select, insert, update, delete on public.scheduled_messages to authenticated, service_role;

-- Permissive policies add up, so one that was there before would undo ours.
do $$
declare
    v_name text;
begin
    for v_name in
        select p.polname
        from pg_policy as p
        where p.polrelid = 'public.scheduled_messages'::regclass
    loop
        execute format('drop policy %I on public.scheduled_messages', v_name);
    end loop;
end
$$;

create policy scheduled_messages_select_policy on public.scheduled_messages
for select to authenticated
using (owner_id = (select auth.uid()) or created_by = (select auth.uid()));

-- The connection must be one that the caller can see: its own policies decide, whatever its columns
-- are. One that is another's and one that does not exist are refused alike.
create policy scheduled_messages_insert_policy on public.scheduled_messages
for insert to authenticated
with check (
    owner_id = (select auth.uid())
    and created_by = (select auth.uid())
    and exists (
        select 1 from public.connections as c
        where c.id::text = scheduled_messages.connection_id
    )
);

create policy scheduled_messages_update_policy on public.scheduled_messages
for update to authenticated
using (owner_id = (select auth.uid()) or created_by = (select auth.uid()))
with check (
    (owner_id = (select auth.uid()) or created_by = (select auth.uid()))
    -- What is not to be sent may be cancelled or labelled also when its connection is gone.
    and (
        status not in ('pending', 'processing', 'in_queue')
        or exists (
            select 1 from public.connections as c
            where c.id::text = scheduled_messages.connection_id
        )
    )
);

create policy scheduled_messages_delete_policy on public.scheduled_messages
for delete to authenticated
using (owner_id = (select auth.uid()) or created_by = (select auth.uid()));

-- Takes a waiting job back. False when somebody is sending it, has handed it over, or is deciding
-- so at this moment: `skip locked`, because waiting for the settling transaction, which wants our
-- row, would be a deadlock.
create or replace function private.withdraw_job(p_job_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
    update public.broadcast_jobs as j
    set status = 'cancelled',
        completed_at = now(),
        updated_at = now()
    from (
        select w.id
        from public.broadcast_jobs as w
        where w.id = p_job_id and w.status = 'queued' and w.scheduled_message_id is not null
        for update skip locked
    ) as waiting
    where j.id = waiting.id;
    if found then
        update public.broadcast_messages as m
        set status = 'cancelled',
            updated_at = now()
        where m.job_id = p_job_id;
        return true;
    end if;
    return not exists (
        select 1 from public.broadcast_jobs as j
        where j.id = p_job_id
            and j.status not in ('cancelled', 'completed', 'failed', 'unconfirmed')
    );
end
$$;
revoke all on function private.withdraw_job from public;

-- Whether a job went out, or may have, though its row need not have heard of it yet: somebody held
-- the row, or the project refuses what it was told (private.refused_rows). Such a row must not
-- become pending.
create or replace function private.may_have_gone_out(p_job_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
    return exists (
        select from public.broadcast_jobs as j
        where j.id = p_job_id
            and (
                j.status = 'unconfirmed'
                or (
                    j.status = 'completed'
                    and not exists (
                        select from public.broadcast_messages as m
                        where m.job_id = j.id and m.status in ('failed', 'skipped', 'cancelled')
                    )
                )
            )
    ) or exists (
        select from private.refused_rows as r
        where r.id = p_job_id
            and r.step = 'settle'
            and r.outcome ->> 'status' in ('sent', 'unconfirmed')
    );
end
$$;
revoke all on function private.may_have_gone_out from public;

-- A new message has nothing of the daemon's: what a copy of another row brings along is left out. A
-- copy is known by what the database alone writes; another status than `pending` without that is
-- refused, because what somebody else sent or only noted down must not go out. A bulk insert
-- through the API writes null where an object of it lacks a column that another has.
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
    perform private.hold_right();
    -- An upsert that meets the caller's own row becomes an update, with all that it says. The lock
    -- keeps the row there.
    perform from public.scheduled_messages as s
    where s.id = any(array[new.id]) and auth.uid() in (s.owner_id, s.created_by)
    for key share;
    if found then
        return new;
    end if;
    if new.broadcast_job_id is not null or new.error is not null or new.revision > 0 then
        new.status := 'pending';
    -- One of the project's own, such as `draft`, is for the check to know.
    elsif new.status in (
        'processing', 'sent', 'failed', 'unconfirmed', 'cancelled', 'in_queue'
    ) then
        raise exception 'A new message starts as pending, not as %.', new.status
            using errcode = 'PT409';
    end if;
    new.created_at := now();
    new.updated_at := now();
    -- Anywhere: what a daemon has planned for a row that was deleted does not fit one that somebody
    -- inserts under its id.
    new.revision := floor(random() * 1000000000);
    new.missed := 0;
    new.priority := 0;
    new.held := null;
    new.source_id := null;
    new.source_position := null;
    new.source_try := null;
    new.sent_at := null;
    new.message_id := null;
    new.error := null;
    new.delivery_status := null;
    new.waiting_reason := null;
    new.waiting_until := null;
    new.broadcast_job_id := null;
    new.next_id := null;
    new.series_id := null;
    new.series_anchor := null;
    new.occurrence_at := null;
    return new;
end
$$;
revoke all on function private.guard_insert from public;

-- Which columns a user has changed that are not the author's; null where none is.
create or replace function private.foreign_changes(
    p_old public.scheduled_messages, p_new public.scheduled_messages
)
returns text
language sql
immutable
set search_path = ''
as $$
    select string_agg(c.name, ', ')
    from (
        values
        ('id', p_old.id is distinct from p_new.id),
        ('created_by', p_old.created_by is distinct from p_new.created_by),
        ('owner_id', p_old.owner_id is distinct from p_new.owner_id),
        ('created_at', p_old.created_at is distinct from p_new.created_at),
        ('sent_at', p_old.sent_at is distinct from p_new.sent_at),
        ('message_id', p_old.message_id is distinct from p_new.message_id),
        ('error', p_old.error is distinct from p_new.error),
        ('delivery_status', p_old.delivery_status is distinct from p_new.delivery_status),
        ('series_id', p_old.series_id is distinct from p_new.series_id),
        ('series_anchor', p_old.series_anchor is distinct from p_new.series_anchor),
        ('occurrence_at', p_old.occurrence_at is distinct from p_new.occurrence_at),
        ('missed', p_old.missed is distinct from p_new.missed),
        ('next_id', p_old.next_id is distinct from p_new.next_id),
        ('broadcast_job_id', p_old.broadcast_job_id is distinct from p_new.broadcast_job_id),
        ('priority', p_old.priority is distinct from p_new.priority),
        ('held', p_old.held is distinct from p_new.held),
        ('source_id', p_old.source_id is distinct from p_new.source_id),
        ('source_position', p_old.source_position is distinct from p_new.source_position),
        ('source_try', p_old.source_try is distinct from p_new.source_try),
        ('revision', p_old.revision is distinct from p_new.revision)
    ) as c (name, is_changed)
    where c.is_changed
$$;
revoke all on function private.foreign_changes from public;

-- What a user wants of a row, with the daemon's columns as they are. Some of those are set by
-- whatever follows, so that a row which was read a while ago can be written back: they are not
-- looked at. An upsert fills an author who is empty with the caller, and a browser cuts
-- microseconds off.
create or replace function private.wanted(
    p_old public.scheduled_messages, p_new public.scheduled_messages
)
returns public.scheduled_messages
language plpgsql
set search_path = ''
as $$
declare
    v_changes text;
begin
    p_new.due_at := p_old.due_at;
    p_new.waiting_reason := p_old.waiting_reason;
    p_new.waiting_until := p_old.waiting_until;
    if p_old.created_by is null and p_new.created_by = auth.uid() then
        p_new.created_by := null;
    end if;
    if p_old.owner_id is null and p_new.owner_id = auth.uid() then
        p_new.owner_id := null;
    end if;
    if date_trunc('milliseconds', p_new.created_at)
        = date_trunc('milliseconds', p_old.created_at)
    then
        p_new.created_at := p_old.created_at;
    end if;
    if date_trunc('milliseconds', p_new.sent_at)
        = date_trunc('milliseconds', p_old.sent_at)
    then
        p_new.sent_at := p_old.sent_at;
    end if;
    if date_trunc('milliseconds', p_new.occurrence_at)
        = date_trunc('milliseconds', p_old.occurrence_at)
    then
        p_new.occurrence_at := p_old.occurrence_at;
    end if;
    v_changes := private.foreign_changes(p_old, p_new);
    if v_changes is not null then
        raise exception using errcode = '42501', message = format(
            'Not yours to change: %s. Read the message again and leave them as they are.', v_changes
        );
    end if;
    p_new.updated_at := now();
    return p_new;
end
$$;
revoke all on function private.wanted from public;

-- Whether the message is the same: then only an application's own columns were written, and its job
-- may go on.
create or replace function private.is_same_message(
    p_old public.scheduled_messages, p_new public.scheduled_messages
)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
    return (
        p_old.status,
        p_old.connection_id,
        p_old.contact_id,
        p_old.message,
        p_old.type,
        p_old.media_url,
        p_old.caption,
        p_old.asset_id,
        p_old.scheduled_at,
        p_old.is_recurring,
        p_old.recurrence_pattern,
        p_old.recurrence_end_at,
        p_old.next_scheduled_at,
        p_old.timezone,
        p_old.category,
        p_old.not_after,
        p_old.template
    ) is not distinct from (
        p_new.status,
        p_new.connection_id,
        p_new.contact_id,
        p_new.message,
        p_new.type,
        p_new.media_url,
        p_new.caption,
        p_new.asset_id,
        p_new.scheduled_at,
        p_new.is_recurring,
        p_new.recurrence_pattern,
        p_new.recurrence_end_at,
        p_new.next_scheduled_at,
        p_new.timezone,
        p_new.category,
        p_new.not_after,
        p_new.template
    ) and (
        p_old.media::text is not distinct from p_new.media::text
        -- Written back by a browser, the same JSON has other blanks.
        or p_old.media::jsonb is not distinct from p_new.media::jsonb
    );
exception
    when untranslatable_character or invalid_text_representation or program_limit_exceeded
        or numeric_value_out_of_range
    then
        return false; -- no jsonb
end
$$;
revoke all on function private.is_same_message from public;

-- Raises for a user what the state machine does not draw for an owner.
create or replace function private.refuse_transition(p_old text, p_new text)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_ours constant text[] := '{pending,processing,sent,failed,unconfirmed,cancelled,in_queue}';
    v_rests constant boolean := p_old in ('pending', 'failed', 'cancelled') or p_old <> all(v_ours);
begin
    if p_old = 'sent' then
        raise exception 'This message was already sent and can no longer be changed.'
            using errcode = 'PT409';
    elsif p_old = 'unconfirmed' then
        raise exception using errcode = 'PT409', message = 'This message may have been sent. '
            || 'Ask the operator to settle it before you change it.';
    elsif p_new <> p_old and not (
        (p_new = 'pending' and p_old in ('processing', 'failed', 'cancelled', 'in_queue'))
        or (p_new = 'cancelled' and p_old in ('pending', 'processing', 'in_queue'))
        -- The project's own statuses, which the daemon leaves alone.
        or (p_new <> all(v_ours) and v_rests)
        or (p_new in ('pending', 'cancelled') and p_old <> all(v_ours))
    ) then
        raise exception 'This message is % and cannot be made %.', p_old, p_new
            using errcode = 'PT409';
    end if;
end
$$;
revoke all on function private.refuse_transition from public;

-- Called with 'user' for users. What is being sent nobody takes back: a user is told so, and for
-- others it stays what it was when they want it pending, since it would go out twice. They may
-- still cancel it: then it is not tried again.
create or replace function private.guard_update()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_by_user constant boolean := tg_nargs > 0;
    v_otherwise_same public.scheduled_messages := old;
begin
    if v_by_user then
        new := private.wanted(old, new);
        if private.is_same_message(old, new) then
            return new;
        end if;
        perform private.refuse_transition(old.status, new.status);
        v_otherwise_same.status := new.status;
        if old.source_id is not null and not private.is_same_message(v_otherwise_same, new) then
            raise exception using errcode = 'PT409', message = 'This message was made for '
                || 'something else. Change the campaign (the appointment) instead.';
        end if;
        perform private.hold_right();
        if new.status in ('processing', 'in_queue') then
            new.status := 'pending';
        end if;
    end if;
    if old.broadcast_job_id is not null and not private.withdraw_job(old.broadcast_job_id) then
        if v_by_user then
            raise exception 'This message is being sent right now and can no longer be changed.'
                using errcode = 'PT409';
        elsif new.status = 'pending' then
            new.status := old.status;
        end if;
    elsif old.status in ('processing', 'cancelled', 'in_queue')
        and private.may_have_gone_out(old.broadcast_job_id)
    then
        if v_by_user then
            raise exception using errcode = 'PT409', message = 'This message was sent, or may have '
                || 'been, and can no longer be changed. It will say so within minutes.';
        elsif new.status = 'pending' then
            new.status := old.status;
        end if;
    end if;
    -- The upstream application's dialog writes a text into both columns and edits only one of them.
    if new.message is distinct from old.message
        and new.caption = old.caption
        and old.caption = old.message
    then
        new.caption := nullif(new.message, '');
    end if;
    if new.status = 'pending' then
        perform private.erase_jobs(array[old.broadcast_job_id]);
        new.broadcast_job_id := null;
        new.sent_at := null;
        new.message_id := null;
        new.delivery_status := null;
    end if;
    if new.status = 'pending' or (new.status = 'cancelled' and v_by_user) then
        new.error := null;
    end if;
    new.held := case when new.status = 'pending' then new.held end;
    new.waiting_reason := new.held;
    new.waiting_until := null;
    -- A new time, rule or zone starts the wall time anew, unless the series has already gone on
    -- without this row.
    if new.next_id is null
        and (new.scheduled_at, new.recurrence_pattern, new.timezone, new.is_recurring)
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
revoke all on function private.guard_update from public;

create or replace function private.guard_delete()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_nargs > 0 and old.source_id is not null and old.status in ('pending', 'processing') then
        raise exception using errcode = 'PT409', message = 'This message was made for something '
            || 'else. Cancel it, or change the campaign (the appointment).';
    end if;
    if not private.withdraw_job(old.broadcast_job_id) and tg_nargs > 0 then
        raise exception 'This message is being sent right now and cannot be deleted.'
            using errcode = 'PT409';
    end if;
    perform private.erase_jobs(array[old.broadcast_job_id]);
    return old;
end
$$;
revoke all on function private.guard_delete from public;

create or replace trigger guard_insert before insert on public.scheduled_messages
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_insert();

create or replace trigger guard_update before update on public.scheduled_messages
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_update('user');

-- A row that ends up pending or cancelled was edited by somebody, never by the daemon.
create or replace trigger guard_update_by_service before update on public.scheduled_messages
for each row when (
    new.status in ('pending', 'cancelled')
    and not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
)
execute function private.guard_update();

create or replace trigger guard_delete before delete on public.scheduled_messages
for each row when (
    (old.broadcast_job_id is not null or old.source_id is not null)
    and row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_delete('user');

create or replace trigger guard_delete_by_service before delete on public.scheduled_messages
for each row when (
    old.broadcast_job_id is not null
    and not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
)
execute function private.guard_delete();

-- The policy asks of the connection only where a message is to be sent; of a new one this asks
-- always. Invoker: the policies of `connections` decide.
create or replace function private.refuse_strange_connection()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if not exists (
        select 1 from public.connections as c where c.id::text = new.connection_id
    ) then
        raise exception 'There is no such connection of yours.' using errcode = '42501';
    end if;
    return new;
end
$$;
revoke all on function private.refuse_strange_connection from public;

create or replace trigger refuse_connection before update on public.scheduled_messages
for each row when (
    new.connection_id is distinct from old.connection_id
    and row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
) execute function private.refuse_strange_connection();
