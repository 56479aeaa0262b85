-- Who sends a message meets us here: one job with one recipient, one message of that job. The
-- tables are the upstream application's; where they exist, only our columns are added.
-- Locks: `add column` without a volatile default takes `access exclusive` for an instant, `create
-- trigger` `share row exclusive`.
set local lock_timeout = '1s';

do $$
begin
    if to_regclass('public.broadcast_jobs') is null then
        create table public.broadcast_jobs (
            id uuid primary key default gen_random_uuid(),
            connection_id text,
            type text not null default 'text',
            template_name text,
            variables jsonb,
            contacts text[] default '{}',
            message text,
            media_url text,
            caption text,
            status text not null default 'queued',
            progress integer default 0,
            total_contacts integer default 0,
            sent_count integer default 0,
            failed_count integer default 0,
            skipped_count integer default 0,
            schedule timestamptz,
            speed text default 'normal',
            is_group boolean default false,
            group_tag text,
            created_at timestamptz default now(),
            updated_at timestamptz default now(),
            completed_at timestamptz,
            user_id uuid,
            isprivatemessage boolean default false,
            contact_id text,
            broadcast_name text,
            media text
        );
        alter table public.broadcast_jobs enable row level security;
        revoke all on public.broadcast_jobs from anon, authenticated;
    end if;

    if to_regclass('public.broadcast_messages') is null then
        create table public.broadcast_messages (
            id uuid primary key default gen_random_uuid(),
            job_id uuid,
            contact text not null,
            message text,
            type text,
            media_url text,
            caption text,
            status text default 'pending',
            message_id text,
            error text,
            sent_at timestamptz,
            created_at timestamptz default now(),
            updated_at timestamptz default now(),
            data jsonb,
            message_ids text[]
        );
        alter table public.broadcast_messages enable row level security;
        revoke all on public.broadcast_messages from anon, authenticated;
    end if;
end
$$;

-- Upstream itself has had several shapes of both: what it calls by these names is of these types.
alter table public.broadcast_jobs
add column if not exists connection_id text,
add column if not exists type text default 'text',
add column if not exists template_name text,
add column if not exists variables jsonb,
add column if not exists contacts text[] default '{}',
add column if not exists message text,
add column if not exists media_url text,
add column if not exists caption text,
add column if not exists status text default 'queued',
add column if not exists progress integer default 0,
add column if not exists total_contacts integer default 0,
add column if not exists sent_count integer default 0,
add column if not exists failed_count integer default 0,
add column if not exists skipped_count integer default 0,
add column if not exists speed text default 'normal',
add column if not exists is_group boolean default false,
add column if not exists group_tag text,
add column if not exists schedule timestamptz,
add column if not exists created_at timestamptz default now(),
add column if not exists updated_at timestamptz default now(),
add column if not exists completed_at timestamptz,
add column if not exists user_id uuid,
add column if not exists contact_id text,
add column if not exists broadcast_name text,
add column if not exists media text,
-- True keeps a job out of the upstream application's list of broadcasts and its analytics.
add column if not exists isprivatemessage boolean default false,
add column if not exists asset_id uuid,
-- The upstream worker writes it beside `status`, and loses both where it does not exist.
add column if not exists error_message text,
-- Null in the application's own broadcasts, which the daemon never touches.
add column if not exists scheduled_message_id uuid,
add column if not exists series_id uuid,
add column if not exists recipient text,
-- 0 before 1, on its connection: private.choose_jobs.
add column if not exists priority smallint not null default 0,
-- What the gateway `cloud` sends in place of the text.
add column if not exists template jsonb,
add column if not exists gateway text,
add column if not exists attempts integer not null default 0,
add column if not exists throttled integer not null default 0,
-- How often it stopped its connection although that was well, when last, and in which words.
add column if not exists refusals integer not null default 0,
add column if not exists refused_at timestamptz,
add column if not exists refusal text,
-- When it may be tried (again), and after which it is too late to send.
add column if not exists available_at timestamptz,
add column if not exists expires_at timestamptz,
-- Who is sending it now: every later write carries the token.
add column if not exists lease_token uuid,
add column if not exists lease_until timestamptz,
-- When it is to be dialled: at send_at, and not after send_until (null: whenever).
add column if not exists send_at timestamptz,
add column if not exists send_until timestamptz,
-- RETRY_ATTEMPTS and RETRY_DELAY_SECONDS of the daemon that claimed it: a Node worker's answer
-- comes without a daemon.
add column if not exists retry_attempts integer,
add column if not exists retry_delay_seconds double precision;

alter table public.broadcast_messages
add column if not exists job_id uuid,
add column if not exists contact text,
add column if not exists message text,
add column if not exists type text,
add column if not exists media_url text,
add column if not exists caption text,
add column if not exists status text default 'pending',
add column if not exists message_id text,
add column if not exists error text,
add column if not exists sent_at timestamptz,
add column if not exists created_at timestamptz default now(),
add column if not exists updated_at timestamptz default now(),
add column if not exists data jsonb,
add column if not exists message_ids text[],
add column if not exists scheduled_message_id uuid,
add column if not exists delivery_status text,
-- What is known of each part, of a message that goes out in several.
add column if not exists parts jsonb;

alter table public.broadcast_jobs set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
alter table public.broadcast_messages set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

grant select, insert, update, delete on public.broadcast_jobs, public.broadcast_messages
to service_role;

-- Jobs whose scheduled row is gone while they were being sent: text and number go when that is
-- over.
create table if not exists private.erasures (
    job_id uuid primary key,
    -- Where it is over and could not be erased: when to try again.
    again_at timestamptz not null default '-infinity'
);
alter table private.erasures enable row level security;
grant select, insert, update, delete on private.erasures to service_role;

-- Takes what was written and to whom out of jobs that are over; what is not over yet, or in
-- somebody's hands, is remembered. Of jobs for the Node worker the rest stays: it may come back to
-- one, and is told by it that there is nothing to send.
create or replace function private.erase_jobs(p_job_ids uuid[])
returns void
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_over uuid[];
    v_free uuid[];
    v_gone uuid[];
begin
    if array_remove(p_job_ids, null) = '{}' then
        return;
    end if;
    -- Jobs before their messages, as every writer: else a migration and we could wait for each
    -- other.
    lock table public.broadcast_jobs in row exclusive mode;
    v_over := array(
        select j.id from public.broadcast_jobs as j
        where j.id = any(p_job_ids) and j.scheduled_message_id is not null
            and j.status in ('cancelled', 'completed', 'failed', 'unconfirmed')
        order by j.id for update skip locked
    );
    v_free := array(
        select m.job_id from public.broadcast_messages as m
        where m.job_id = any(v_over) for update skip locked
    );
    v_over := array(
        select o.id from unnest(v_over) as o (id)
        where o.id = any(v_free)
            or not exists (
                select from public.broadcast_messages as m where m.job_id = any(array[o.id])
            )
    );
    v_gone := array(
        select j.id from public.broadcast_jobs as j
        where j.id = any(v_over) and not private.hands_over(j.gateway)
    );
    delete from public.broadcast_messages as m where m.job_id = any(v_gone);
    delete from public.broadcast_jobs as j where j.id = any(v_gone);
    update public.broadcast_messages as m
    set contact = '',
        message = null,
        media_url = null,
        caption = null,
        data = null,
        error = null,
        updated_at = now()
    where m.job_id = any(v_over);
    update public.broadcast_jobs as j
    set recipient = null,
        contacts = '{}',
        contact_id = null,
        message = null,
        media_url = null,
        caption = null,
        media = null,
        variables = null,
        template = null,
        updated_at = now()
    where j.id = any(v_over);

    delete from private.erasures as e where e.job_id = any(v_over);
    insert into private.erasures (job_id)
    select j.id from public.broadcast_jobs as j
    where j.id = any(p_job_ids) and j.id <> all(v_over) and j.scheduled_message_id is not null
    on conflict (job_id) do nothing;
end
$$;

-- For private.try_rows.
create or replace function private.erase_rows(p_job_ids uuid[])
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
    perform private.erase_jobs(p_job_ids);
    return '[]';
end
$$;

-- The rescue's part of it. What somebody holds or the project refuses to have erased is tried
-- again.
create or replace function private.erase_deleted()
returns void
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_jobs constant uuid[] := array(
        select e.job_id from private.erasures as e
        where e.again_at <= now() order by e.job_id limit 1000 for update skip locked
    );
begin
    perform private.try_rows('erase_rows', v_jobs, false);
    delete from private.erasures as e
    where e.job_id = any(v_jobs)
        and (select j.id from public.broadcast_jobs as j where j.id = e.job_id limit 1) is null;
    update private.erasures as e
    set again_at = now() + interval '10 seconds'
    where e.job_id = any(v_jobs) and (
        select j.status from public.broadcast_jobs as j where j.id = e.job_id limit 1
    ) in ('cancelled', 'completed', 'failed', 'unconfirmed');
    delete from private.recipient_state as r
    where (r.connection_id, r.recipient) in (
        select o.connection_id, o.recipient from private.recipient_state as o
        where o.free_at < now() - interval '1 minute' for update skip locked
    );
end
$$;
revoke all on function private.erase_jobs, private.erase_rows,
private.erase_deleted from public;
grant execute on function private.erase_jobs, private.erase_rows,
private.erase_deleted to service_role;

-- An application may let its users write these tables; what the daemon keeps in them is not theirs
-- all the same. The Node worker may be such a user: it tells what became of the jobs that were
-- handed over to it, and nothing else. It may be quicker than our writing down that it has the job,
-- which is `sending` till then.
create or replace function private.guard_broadcasts()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_told constant text[] := array[
        'status', 'progress', 'total_contacts', 'sent_count', 'failed_count', 'skipped_count',
        'completed_at', 'updated_at', 'message_id', 'message_ids', 'error', 'error_message',
        'sent_at', 'data'
    ];
    v_old constant jsonb := to_jsonb(old);
    v_new constant jsonb := to_jsonb(new);
    v_job public.broadcast_jobs;
begin
    if coalesce(v_old ->> 'scheduled_message_id', v_new ->> 'scheduled_message_id') is not null then
        select * into v_job from public.broadcast_jobs as j
        where j.id = coalesce(v_old ->> 'job_id', v_old ->> 'id')::uuid;
        if tg_op = 'INSERT'
            or v_job.status = 'queued'
            or (tg_op = 'DELETE' and v_job.status in ('sending', 'handed_over', 'active'))
            or (tg_op = 'UPDATE' and (
                not private.hands_over(v_job.gateway)
                or v_new ->> 'status' in ('queued', 'sending', 'handed_over')
                or v_new - v_told is distinct from v_old - v_told
            ))
        then
            raise exception 'The jobs of scheduled messages are written by their worker alone.'
                using errcode = '42501';
        end if;
    end if;
    if tg_op = 'DELETE' then
        return old;
    end if;
    return new;
end
$$;
revoke all on function private.guard_broadcasts from public;

create or replace trigger guard_broadcasts
before insert or update or delete on public.broadcast_jobs
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
) execute function private.guard_broadcasts();

create or replace trigger guard_broadcasts
before insert or update or delete on public.broadcast_messages
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
) execute function private.guard_broadcasts();
