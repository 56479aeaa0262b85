-- The rescue: what a dead daemon left behind, and what the database refused to have written. The
-- private functions run as their caller, the service key.

-- The next end of a lease or of a waiting job's usefulness, when a job may leave a Node worker's
-- queue, or when what the database refused is tried again; null where there is none.
create or replace function private.next_expiry()
returns timestamptz
language sql
stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select least(
        -- A lease.
        (
            select job.lease_until from public.broadcast_jobs as job
            where job.status in ('sending', 'handed_over')
                and job.lease_until is not null
                and job.id <> all(array(
                    select aside.id from private.refused_rows as aside
                    where aside.step = 'record'
                        or (aside.step = 'rescue' and aside.again_at > now())
                ))
            order by job.lease_until
            limit 1
        ),
        -- A waiting job's usefulness.
        (
            select job.expires_at from public.broadcast_jobs as job
            where job.status = 'queued'
                and job.expires_at is not null
                and job.id <> all(array(
                    select aside.id from private.refused_rows as aside
                    where aside.step = 'rescue' and aside.again_at > now()
                ))
            order by job.expires_at
            limit 1
        ),
        -- What was put aside.
        (
            select min(aside.again_at) from private.refused_rows as aside
            where aside.step in ('record', 'settle', 'rescue', 'announce', 'note', 'tend')
        ),
        -- What a Node worker need not do any more.
        (
            select min(job.lease_until) from private.gateways as kind
            cross join lateral (
                select o.lease_until from public.broadcast_jobs as o
                where o.gateway = any(array[kind.name])
                    and o.status in ('completed', 'failed', 'cancelled', 'unconfirmed')
                    and o.lease_until is not null
                order by o.lease_until
                limit 1
            ) as job
            where kind.hands_over
        ),
        -- What is to be erased.
        (
            select min(greatest(erasure.again_at, now())) from private.erasures as erasure
            where coalesce((
                select j.status from public.broadcast_jobs as j where j.id = erasure.job_id limit 1
            ), '') not in ('queued', 'sending', 'handed_over', 'active')
        )
    )
$$;

-- quietly: the scheduled row is not told why its job waits.
drop type if exists private.late_row cascade;
create type private.late_row as (id uuid, handover_seconds double precision, quietly boolean);

-- Leases that have ended. Returns ["unconfirmed"] or [{what is to be handed over again}] for each.
create or replace function private.rescue_rows(p_rows private.late_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_done jsonb;
    v_parted uuid[];
begin
    -- `wanted`: whether its row still waits for it.
    with late as materialized (
        select
            job.id,
            job.scheduled_message_id,
            job.status,
            job.lease_until,
            private.hands_over(job.gateway) as is_handed_over,
            given.handover_seconds,
            given.quietly,
            exists (
                select 1 from public.scheduled_messages as message
                where message.id = any(array[job.scheduled_message_id])
                    and message.broadcast_job_id = job.id
                    and message.status = 'processing'
            ) as wanted
        from unnest(p_rows) as given
        join public.broadcast_jobs as job on job.id = any(array[given.id])
    ),
    -- What a daemon was sending may have gone out.
    unconfirmed as (
        update public.broadcast_jobs as job
        set status = 'unconfirmed',
            updated_at = now()
        from late
        where job.id = any(array[late.id])
            and late.status = 'sending'
            and not late.is_handed_over
        returning job.id, late.lease_until
    ),
    told_unconfirmed as (
        update public.broadcast_messages as entry
        set status = 'unconfirmed',
            error = 'It may have been sent: the sender stopped while it was sending, at about '
                || to_char(
                    unconfirmed.lease_until at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS'
                ) || ' UTC at the latest.',
            updated_at = now()
        from unconfirmed
        where entry.job_id = any(array[unconfirmed.id])
        returning entry.job_id, entry.parts
    ),
    -- What the Node worker was given it is given again.
    handed_over as (
        update public.broadcast_jobs as job
        set status = case when late.wanted then 'handed_over' else 'cancelled' end,
            lease_until = case
                when job.send_at > now() - interval '1 day' then now() + make_interval(
                    -- What may never have reached Redis is looked at once more, soon.
                    secs => case
                        when late.status = 'sending' then least(60, late.handover_seconds)
                        else late.handover_seconds
                    end
                )
            end,
            updated_at = now()
        from late
        where job.id = any(array[late.id]) and late.is_handed_over
        returning job.*, late.status as former_status, late.quietly
    ),
    told_handed_over as (
        update public.scheduled_messages as message
        set waiting_reason = 'the broadcast worker has had it since '
                || to_char(handed_over.send_at at time zone 'utc', 'YYYY-MM-DD HH24:MI')
                || ' UTC and has not told what became of it',
            updated_at = now()
        from handed_over
        where handed_over.former_status = 'handed_over'
            and not handed_over.quietly
            and message.id = any(array[handed_over.scheduled_message_id])
            and message.broadcast_job_id = handed_over.id
            and message.status = 'processing'
    ),
    again as (
        select
            handed_over.id,
            handed_over.scheduled_message_id,
            handed_over.connection_id,
            handed_over.recipient,
            handed_over.type,
            handed_over.message,
            handed_over.media_url,
            handed_over.caption,
            handed_over.media,
            handed_over.asset_id,
            handed_over.template,
            handed_over.user_id as owner_id,
            handed_over.attempts,
            handed_over.throttled,
            handed_over.gateway,
            null as sender,
            private.api_key_of(handed_over.connection_id) as api_key
        from handed_over
        where handed_over.status = 'handed_over' and handed_over.lease_until is not null
    )
    select
        (select coalesce(jsonb_agg('unconfirmed'::text), '[]') from unconfirmed)
        || (select coalesce(jsonb_agg(to_jsonb(again)), '[]') from again),
        (
            select array_agg(told_unconfirmed.job_id) from told_unconfirmed
            where told_unconfirmed.parts is not null
        )
    into v_done, v_parted;
    if v_parted is not null then
        perform private.settle_by_parts(v_parted); -- all may be known of them by now
    end if;
    return v_done;
end
$$;

-- Jobs that waited past their last useful moment. Returns ["expired"] for each.
create or replace function private.expire_rows(p_rows private.late_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_done jsonb;
begin
    with too_late as (
        update public.broadcast_jobs as job
        set status = 'failed',
            completed_at = now(),
            updated_at = now()
        from unnest(p_rows) as given
        where job.id = any(array[given.id]) and job.status = 'queued'
        returning job.id, job.scheduled_message_id
    ),
    told_too_late as (
        update public.broadcast_messages as entry
        set status = 'failed',
            error = 'Not sent in time. It waited for: '
                || coalesce(
                    message.waiting_reason, message.error, 'its turn on this connection'
                ) || '.',
            updated_at = now()
        from too_late
        left join public.scheduled_messages as message
            on message.id = any(array[too_late.scheduled_message_id])
            and message.broadcast_job_id = too_late.id
        where entry.job_id = any(array[too_late.id])
    )
    select jsonb_agg('expired'::text) into v_done from too_late;
    return v_done;
end
$$;

-- Tries again what the database has refused to have written down. What somebody still holds has
-- been waited for before.
create or replace function private.retry_refused()
returns void
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_patience constant text := current_setting('lock_timeout');
    v_due private.refused_rows[];
    v_told private.told_message[];
    v_tended uuid[];
begin
    v_due := array(
        select aside from private.refused_rows as aside
        where aside.step in ('record', 'settle', 'announce', 'note', 'tend')
            and aside.again_at <= now()
        order by aside.again_at
        limit 200
        for update skip locked
    );
    if v_due = '{}' then
        return;
    end if;
    perform set_config('lock_timeout', '5ms', true);
    perform private.record_or_put_aside(array(
        select jsonb_populate_record(null::private.told_row, due.outcome)
        from unnest(v_due) as due
        where due.step = 'record'
        order by due.id
    ));
    perform private.announce_work(array_agg(due.connection_id), array_agg(now()))
    from unnest(v_due) as due
    where due.step = 'announce';
    perform private.note_or_leave(due.outcome)
    from unnest(v_due) as due
    where due.step = 'note';
    v_told := array(
        select jsonb_populate_record(null::private.told_message, due.outcome)
        from unnest(v_due) as due
        where due.step = 'settle'
        order by due.id
    );
    perform private.put_aside(
        'settle', array_agg((v_told[said.place]).job_id), array_agg(said.code),
        array_agg(said.reason), array_agg(to_jsonb(v_told[said.place]))
    )
    from private.try_rows('settle_again', v_told, false) as tried
    cross join lateral jsonb_to_recordset(tried.refused) as said (
        place integer, code text, reason text
    )
    having count(*) > 0;
    v_tended := array(
        select due.id from unnest(v_due) as due where due.step = 'tend' order by due.id
    );
    perform private.put_aside(
        'tend', array_agg(v_tended[said.place]), array_agg(said.code), array_agg(said.reason), null
    )
    from private.try_rows('tend_rows', v_tended, false) as tried
    cross join lateral jsonb_to_recordset(tried.refused) as said (
        place integer, code text, reason text
    )
    having count(*) > 0;
    -- But those that were put aside anew.
    delete from private.refused_rows as aside
    using unnest(v_due) as due
    where aside.id = any(array[due.id])
        and aside.step = due.step
        and aside.again_at = due.again_at;
    perform set_config('lock_timeout', v_patience, true);
end
$$;

-- Forgets what was refused of rows and jobs that are over.
create or replace function private.forget_refused()
returns void
language sql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    delete from private.refused_rows as aside
    where (aside.id, aside.step) in (
        select old.id, old.step from private.refused_rows as old
        where old.step in ('enqueue', 'claim', 'rescue')
            and old.again_at <= now()
            and not exists (
                select 1 from public.scheduled_messages as message
                where old.step = 'enqueue'
                    and message.id = any(array[old.id])
                    and message.status = 'pending'
            )
            and not exists (
                select 1 from public.broadcast_jobs as job
                where old.step <> 'enqueue'
                    and job.id = any(array[old.id])
                    and job.status in ('queued', 'sending', 'handed_over')
            )
        order by old.again_at
        limit 1000
        for update skip locked
    )
$$;

-- Puts right what a dead daemon left behind. A lease that ends on a job that was `sending` leaves
-- it unconfirmed: it may have gone out. A job that waited past its last useful moment fails. A
-- hand-over to the Node worker whose time is over is given to the caller to add again, whether it
-- was written down as handed over or its daemon died between the table and Redis: while Redis knows
-- the job id, adding it does nothing. It stays `handed_over` all the time, so that nobody can
-- withdraw it, and no pace or limit counts it twice. A worker may have finished the job and failed
-- to tell us. So nothing is added again later than a day after `send_at`, when it was first added:
-- Redis forgets a finished job two days after its end at the earliest (worker/gateway/bullmq.py),
-- and only what it has forgotten could run twice. After that day the job is shown as stale and left
-- to the operator. Tells when the next of all these ends, so that nobody has to look before.
create or replace function public.rescue_broadcast_jobs(
    p_handover_seconds double precision default 600
)
returns table (
    rescued integer,
    expired integer,
    hand_overs jsonb,
    db_now timestamptz,
    next_expiry_at timestamptz,
    refused jsonb
)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_late private.late_row[];
    v_expired private.late_row[];
    v_done jsonb;
    v_more jsonb;
begin
    perform private.retry_refused();
    perform private.forget_refused();
    perform private.erase_deleted();
    v_late := array(
        select row(job.id, p_handover_seconds, false)::private.late_row
        from public.broadcast_jobs as job
        where job.status in ('sending', 'handed_over')
            and job.lease_until < now()
            and job.id <> all(array(
                select aside.id from private.refused_rows as aside
                where aside.step = 'record' or (aside.step = 'rescue' and aside.again_at > now())
            ))
        order by job.lease_until
        limit 1000
        for update skip locked
    );
    v_expired := array(
        select row(job.id, p_handover_seconds, false)::private.late_row
        from public.broadcast_jobs as job
        where job.status = 'queued'
            and job.scheduled_message_id is not null
            and job.expires_at < now()
            and job.id <> all(array(
                select aside.id from private.refused_rows as aside
                where aside.step = 'rescue' and aside.again_at > now()
            ))
        order by job.expires_at
        limit 1000
        for update skip locked
    );

    select tried.done, tried.refused into v_done, refused
    from private.try_rows('rescue_rows', v_late, false) as tried;
    if refused <> '[]' then
        -- Perhaps it is only what their rows would be told.
        v_late := array(
            select row((v_late[said.place]).id, p_handover_seconds, true)::private.late_row
            from jsonb_to_recordset(refused) as said (place integer)
        );
        select v_done || tried.done, tried.refused into v_done, refused
        from private.try_rows('rescue_rows', v_late, false) as tried;
    end if;
    select v_done || tried.done, tried.refused into v_done, v_more
    from private.try_rows('expire_rows', v_expired, false) as tried;
    refused := (
        select jsonb_agg(to_jsonb(said)) from (
            select (v_late[late.place]).id, late.code, late.reason
            from jsonb_to_recordset(refused) as late (place integer, code text, reason text)
            union all
            select (v_expired[more.place]).id, more.code, more.reason
            from jsonb_to_recordset(v_more) as more (place integer, code text, reason text)
        ) as said
    );
    perform private.put_aside(
        'rescue', array_agg(said.id), array_agg(said.code), array_agg(said.reason), null
    )
    from jsonb_to_recordset(refused) as said (id uuid, code text, reason text);

    rescued := (
        select count(*) from jsonb_array_elements(v_done) as done where done = '"unconfirmed"'
    );
    expired := (
        select count(*) from jsonb_array_elements(v_done) as done where done = '"expired"'
    );
    hand_overs := (
        select jsonb_agg(done) from jsonb_array_elements(v_done) as done
        where jsonb_typeof(done) = 'object'
    );
    db_now := clock_timestamp();
    next_expiry_at := private.next_expiry();
    return next;
end
$$;
revoke all on function private.next_expiry, private.rescue_rows, private.expire_rows,
private.retry_refused, private.forget_refused from public;
grant execute on function private.next_expiry, private.rescue_rows, private.expire_rows,
private.retry_refused, private.forget_refused to service_role;
revoke all on function public.rescue_broadcast_jobs(double precision)
from public, anon, authenticated;
grant execute on function public.rescue_broadcast_jobs(double precision) to service_role;
