-- Puts right what a dead daemon left behind. A lease that ends on a job that was `sending` leaves it unconfirmed: it may
-- have gone out. A hand-over is added again instead, since adding the same job id twice is harmless. A job that waited
-- past its last useful moment fails.
create or replace function public.rescue_broadcast_jobs()
returns table (rescued integer, readded integer, expired integer)
language plpgsql
volatile
set search_path = ''
set enable_seqscan = off
as $$
declare
    v_readded text[];
begin
    with late as (
        select j.id, j.gateway, j.status, j.lease_until from public.broadcast_jobs as j
        where j.status in ('sending', 'handed_over') and j.lease_until < now()
        order by j.lease_until limit 1000 for update skip locked
    ),
    unconfirmed as (
        update public.broadcast_jobs as j
        set status = 'unconfirmed', updated_at = now()
        from late
        where j.id = late.id and late.status = 'sending' and late.gateway is distinct from 'bullmq'
        returning j.id, late.lease_until
    ),
    told_unconfirmed as (
        update public.broadcast_messages as m
        set status = 'unconfirmed', updated_at = now(),
            error = 'It may have been sent: the sender stopped while it was sending, at about '
                || to_char(unconfirmed.lease_until at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' UTC at the latest.'
        from unconfirmed
        where m.job_id = unconfirmed.id
    ),
    again as (
        update public.broadcast_jobs as j
        set available_at = now(), updated_at = now(),
            status = case when exists (
                select 1 from public.scheduled_messages as s
                where s.id = j.scheduled_message_id and s.broadcast_job_id = j.id and s.status = 'processing'
            ) then 'queued' else 'cancelled' end
        from late
        where j.id = late.id and (late.status = 'handed_over' or late.gateway = 'bullmq')
        returning j.connection_id
    ),
    too_late as (
        update public.broadcast_jobs as j
        set status = 'failed', completed_at = now(), updated_at = now()
        from (
            select w.id from public.broadcast_jobs as w
            where w.status = 'queued' and w.scheduled_message_id is not null and w.expires_at < now() order by w.expires_at limit 1000 for update skip locked
        ) as waiting
        where j.id = waiting.id
        returning j.id, j.scheduled_message_id
    ),
    told_too_late as (
        update public.broadcast_messages as m
        set status = 'failed', updated_at = now(),
            error = 'Not sent in time. It waited for: ' || coalesce(s.waiting_reason, s.error, 'its turn on this connection') || '.'
        from too_late
        join public.scheduled_messages as s on s.id = too_late.scheduled_message_id
        where m.job_id = too_late.id
    )
    select (select count(*) from unconfirmed), (select count(*) from again), (select count(*) from too_late),
        (select array_agg(distinct a.connection_id) from again as a)
    into rescued, readded, expired, v_readded;

    if v_readded is not null then
        perform private.announce_work(v_readded, array_fill(now(), array[cardinality(v_readded)]));
    end if;
    return next;
end
$$;
revoke all on function public.rescue_broadcast_jobs() from public, anon, authenticated;
grant execute on function public.rescue_broadcast_jobs() to service_role;
