-- The next end of a lease or of a waiting job's usefulness; null where there is none.
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
        (select min(j.lease_until) from public.broadcast_jobs as j where j.status in ('sending', 'handed_over')),
        (select min(j.expires_at) from public.broadcast_jobs as j where j.status = 'queued')
    )
$$;
revoke all on function private.next_expiry() from public;
grant execute on function private.next_expiry() to service_role;

-- Puts right what a dead daemon left behind. A lease that ends on a job that was `sending` leaves it unconfirmed: it may
-- have gone out. A job that waited past its last useful moment fails.
-- A hand-over to the Node worker whose time is over is given to the caller to add again, whether it was written down as
-- handed over or its daemon died between the table and Redis: while Redis knows the job id, adding it does nothing. It stays
-- `handed_over` all the time, so that nobody can withdraw it, and no pace or limit counts it twice.
-- A worker may have finished the job and failed to tell us. So nothing is added again later than a day after `send_at`,
-- when it was first added: Redis forgets a finished job two days after its end at the earliest (worker/gateway/bullmq.py), and
-- only what it has forgotten could run twice. After that day the job is shown as stale and left to the operator.
-- Tells when the next of all these ends, so that nobody has to look before.
create or replace function public.rescue_broadcast_jobs(p_handover_seconds double precision default 600)
returns table (rescued integer, expired integer, hand_overs jsonb, db_now timestamptz, next_expiry_at timestamptz)
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    with late as (
        select j.id, j.scheduled_message_id, j.gateway, j.status, j.lease_until from public.broadcast_jobs as j
        where j.status in ('sending', 'handed_over') and j.lease_until < now()
        order by j.lease_until limit 1000 for update skip locked
    ),
    unconfirmed as (
        update public.broadcast_jobs as j
        set status = 'unconfirmed', updated_at = now()
        from late
        where j.id = any(array[late.id]) and late.status = 'sending' and late.gateway is distinct from 'bullmq'
        returning j.id, late.lease_until
    ),
    told_unconfirmed as (
        update public.broadcast_messages as m
        set status = 'unconfirmed', updated_at = now(),
            error = 'It may have been sent: the sender stopped while it was sending, at about '
                || to_char(unconfirmed.lease_until at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' UTC at the latest.'
        from unconfirmed
        where m.job_id = any(array[unconfirmed.id])
    ),
    handed_over as (
        update public.broadcast_jobs as j
        set status = case when l.wanted then 'handed_over' else 'cancelled' end,
            -- What may never have reached Redis is looked at once more, soon.
            lease_until = case when j.send_at > now() - interval '1 day' then now()
                + make_interval(secs => case when l.status = 'sending' then least(60, p_handover_seconds) else p_handover_seconds end) end,
            updated_at = now()
        from (
            select late.*, exists (
                select 1 from public.scheduled_messages as s
                where s.id = late.scheduled_message_id and s.broadcast_job_id = late.id and s.status = 'processing'
            ) as wanted
            from late
        ) as l
        where j.id = any(array[l.id]) and l.gateway = 'bullmq'
        returning j.*, l.status as former_status
    ),
    told_handed_over as (
        update public.scheduled_messages as s
        set waiting_reason = 'the broadcast worker has had it since ' || to_char(h.send_at at time zone 'utc', 'YYYY-MM-DD HH24:MI')
                || ' UTC and has not told what became of it',
            updated_at = now()
        from handed_over as h
        where h.former_status = 'handed_over' and s.id = any(array[h.scheduled_message_id]) and s.broadcast_job_id = h.id and s.status = 'processing'
    ),
    too_late as (
        update public.broadcast_jobs as j
        set status = 'failed', completed_at = now(), updated_at = now()
        from (
            select w.id from public.broadcast_jobs as w
            where w.status = 'queued' and w.scheduled_message_id is not null and w.expires_at < now() order by w.expires_at limit 1000 for update skip locked
        ) as waiting
        where j.id = any(array[waiting.id])
        returning j.id, j.scheduled_message_id
    ),
    told_too_late as (
        update public.broadcast_messages as m
        set status = 'failed', updated_at = now(),
            error = 'Not sent in time. It waited for: ' || coalesce(s.waiting_reason, s.error, 'its turn on this connection') || '.'
        from too_late
        join public.scheduled_messages as s on s.id = any(array[too_late.scheduled_message_id])
        where m.job_id = any(array[too_late.id])
    )
    select (select count(*) from unconfirmed), (select count(*) from too_late), (
            select jsonb_agg(to_jsonb(again))
            from (
                select h.id, h.scheduled_message_id, h.connection_id, h.recipient, h.type, h.message, h.media_url, h.caption, h.media, h.asset_id,
                    h.user_id as owner_id, h.attempts, h.throttled, h.gateway, null as sender, to_jsonb(c) ->> 'api_key' as api_key
                from handed_over as h
                left join public.connections as c on c.id = any(array[h.connection_id])
                where h.status = 'handed_over' and h.lease_until is not null
            ) as again
        )
    into rescued, expired, hand_overs;
    db_now := clock_timestamp();
    next_expiry_at := private.next_expiry();
    return next;
end
$$;
revoke all on function public.rescue_broadcast_jobs(double precision) from public, anon, authenticated;
grant execute on function public.rescue_broadcast_jobs(double precision) to service_role;
