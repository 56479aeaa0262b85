-- Writes down what the gateway said. A job is settled only by the token of its last claim, and once; returned are those whose
-- token it is not: they were fenced out. It says the same when the caller asks again because the first reply was lost, unless a
-- job has been claimed again meanwhile. An answer after the lease still settles what became `unconfirmed`.
-- p_outcomes: sent | failed | unconfirmed | retry | throttled_recipient | throttled_connection | stopped | released |
-- handed_over. p_waits: seconds until a retry, or until a hand-over is added again. p_ages: seconds since the gateway answered.
-- The four before `handed_over` cost no attempt; `released` was never dialled. `stopped` pauses the connection until a probe
-- succeeds, which then judges the message too (finish_probes); `throttled_connection` slows it down.
-- What is in doubt on its way to the Node worker's queue is handed over: adding it again is harmless. That worker may have
-- begun, or even finished, before we write that it has the job; then there is nothing left to write.
create or replace function public.record_outcomes(
    p_job_ids uuid[], p_tokens uuid[], p_outcomes text[], p_message_ids text[], p_errors text[],
    p_waits double precision[], p_ages double precision[]
)
returns setof uuid
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_connections text[];
    v_outcomes text[];
    v_errors text[];
    v_available_at timestamptz[];
    v_send_at timestamptz[];
    v_recipients text[];
    v_ids uuid[];
begin
    with given as (
        select g.job_id, g.token, g.message_id, g.error, g.wait, g.outcome, now() - make_interval(secs => coalesce(g.age, 0)) as answered_at
        from unnest(p_job_ids, p_tokens, p_outcomes, p_message_ids, p_errors, p_waits, p_ages)
            as g (job_id, token, outcome, message_id, error, wait, age)
        order by g.job_id -- like record_deliveries: else the two could wait for each other
    ),
    -- Found by its key, whatever the statistics say of statuses.
    held as materialized (
        select g.*, j.status, j.wanted, case when j.gateway = 'bullmq' and g.outcome = 'unconfirmed' then 'handed_over' else g.outcome end as meaning
        from given as g
        cross join lateral (
            select w.status, w.lease_token, w.gateway, case when g.outcome not in ('sent', 'failed', 'unconfirmed', 'handed_over') then exists (
                select 1 from public.scheduled_messages as s
                where s.id = w.scheduled_message_id and s.broadcast_job_id = w.id and s.status = 'processing'
            ) end as wanted
            from public.broadcast_jobs as w where w.id = g.job_id limit 1 for update
        ) as j
        where j.lease_token = g.token and (
            j.status in ('sending', 'unconfirmed')
            or (j.gateway = 'bullmq' and g.outcome in ('handed_over', 'unconfirmed') and j.status in ('handed_over', 'active', 'completed', 'failed'))
        )
    ),
    -- What is unconfirmed never goes back to the queue, also when a late answer says that it could; nor does what was
    -- cancelled or deleted meanwhile.
    settled as (
        update public.broadcast_jobs as j
        set status = case
                when g.outcome = 'sent' then 'completed'
                when g.meaning in ('unconfirmed', 'handed_over') then g.meaning
                when g.outcome = 'failed' or j.status = 'unconfirmed' then 'failed'
                when not g.wanted then 'cancelled'
                else 'queued'
            end,
            -- Without a wait it keeps its place in the line.
            available_at = case
                when g.meaning = 'handed_over' then j.available_at
                -- One that costs no try must not be first again at once, for ever.
                when g.outcome in ('throttled_recipient', 'throttled_connection') then now() + make_interval(secs => greatest(1, g.wait))
                when g.wait > 0 then now() + make_interval(secs => g.wait)
                else j.available_at
            end,
            attempts = j.attempts - (g.outcome in ('throttled_recipient', 'throttled_connection', 'stopped', 'released'))::integer,
            throttled = j.throttled + (g.outcome = 'throttled_recipient')::integer,
            refusal = case when g.outcome = 'stopped' then left(g.error, 500) else j.refusal end,
            lease_until = case when g.meaning = 'handed_over' then now() + make_interval(secs => coalesce(g.wait, 0)) end,
            sent_count = (g.outcome = 'sent')::integer,
            failed_count = (g.outcome = 'failed')::integer,
            progress = case when g.outcome in ('sent', 'failed') then 100 else j.progress end,
            completed_at = case when g.outcome in ('sent', 'failed') then g.answered_at end,
            updated_at = now()
        from held as g
        where j.id = any(array[g.job_id])
            -- The worker may have said already that nobody knows.
            and (g.status = 'sending' or (g.status = 'unconfirmed' and g.meaning <> 'handed_over'))
        returning j.id, j.scheduled_message_id, j.connection_id, j.recipient, j.status, j.available_at, j.send_at, g.outcome, g.message_id, g.error, g.answered_at
    ),
    told as (
        update public.broadcast_messages as m
        set status = case d.status when 'completed' then 'sent' else d.status end,
            message_id = d.message_id, updated_at = now(),
            error = case
                when d.status = 'failed' and d.outcome <> 'failed' then 'Not sent, and not tried again, because the worker was held up for too long'
                    || coalesce(': ' || regexp_replace(d.error, '^try .*? UTC: ', ''), '.')
                else d.error
            end,
            sent_at = case when d.status = 'completed' then d.answered_at end
        from settled as d
        where m.job_id = any(array[d.id]) and d.status in ('completed', 'failed', 'unconfirmed', 'cancelled')
        returning m.job_id
    ),
    -- Somebody has deleted the message: then the row hears it itself.
    untold as (
        update public.scheduled_messages as s
        set status = case d.status when 'completed' then 'sent' else d.status end,
            message_id = coalesce(d.message_id, s.message_id),
            error = d.error,
            sent_at = case when d.status = 'completed' then d.answered_at end,
            updated_at = now()
        from settled as d
        where d.status in ('completed', 'failed', 'unconfirmed') and d.id not in (select t.job_id from told as t)
            and s.id = any(array[d.scheduled_message_id]) and s.broadcast_job_id = d.id
            and s.status in ('processing', 'unconfirmed')
    ),
    waits as (
        update public.scheduled_messages as s
        set error = case when d.outcome = 'retry' then left(d.error, 2000) end,
            waiting_reason = case when d.outcome <> 'retry' then left(d.error, 500) end,
            waiting_until = case when d.outcome <> 'retry' then d.available_at end,
            updated_at = now()
        from settled as d
        where d.error is not null and d.status = 'queued' and s.id = any(array[d.scheduled_message_id]) and s.broadcast_job_id = d.id and s.status = 'processing'
    )
    select array_agg(d.connection_id), array_agg(d.outcome), array_agg(d.error), array_agg(d.available_at), array_agg(d.send_at),
        array_agg(d.recipient), array_agg(d.id)
    into v_connections, v_outcomes, v_errors, v_available_at, v_send_at, v_recipients, v_ids
    from settled as d
    -- Of what went out the connection is told only where it has been stopped since anything else did.
    where d.outcome not in ('sent', 'unconfirmed', 'handed_over') or exists (
        select from private.connection_state as c where c.connection_id = any(array[d.connection_id]) and c.resumed_at is not null
    );

    if v_connections is not null then
        perform private.note_outcomes(v_connections, v_outcomes, v_errors, v_available_at, v_send_at, v_recipients, v_ids);
    end if;
    return query
    select g.job_id from unnest(p_job_ids, p_tokens) as g (job_id, token)
    left join lateral (select w.lease_token from public.broadcast_jobs as w where w.id = g.job_id limit 1) as j on true
    where j.lease_token is distinct from g.token;
end
$$;
revoke all on function public.record_outcomes(uuid[], uuid[], text[], text[], text[], double precision[], double precision[])
from public, anon, authenticated;
grant execute on function public.record_outcomes(uuid[], uuid[], text[], text[], text[], double precision[], double precision[])
to service_role;
