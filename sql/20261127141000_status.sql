-- What an operator wants to know at a glance: it reads whole tables, and nobody calls it all day.
create or replace function public.get_status(p_stale_seconds double precision default 600)
returns table (
    db_now timestamptz,
    counts jsonb,
    due integer,
    next_due_at timestamptz,
    oldest_overdue_at timestamptz,
    waiting jsonb,
    connections jsonb,
    unconfirmed jsonb,
    stale_hand_overs integer,
    refused jsonb
)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    -- How many rows are in which state.
    with counted as (
        select s.status, count(*) as number
        from public.scheduled_messages as s
        group by s.status
    ),
    -- What waits, by connection and reason: the fifty most frequent.
    waiting as (
        select
            j.connection_id,
            coalesce(s.waiting_reason, s.error, 'its turn') as reason,
            count(*) as number,
            min(s.waiting_until) as until
        from public.broadcast_jobs as j
        join public.scheduled_messages as s
            on s.id = j.scheduled_message_id and s.broadcast_job_id = j.id
        where j.status = 'queued' and j.scheduled_message_id is not null
        group by 1, 2
        order by 3 desc
        limit 50
    ),
    -- The connections that send nothing at the moment.
    stopped as (
        select
            state.connection_id,
            coalesce('paused: ' || state.paused_reason, state.waiting_reason) as state,
            coalesce(state.probe_at, nullif(state.waiting_until, 'infinity')) as until,
            state.sent_today,
            settings.daily_limit
        from private.connection_state as state
        left join public.connection_settings as settings
            on settings.connection_id = state.connection_id
        where state.paused_reason is not null or state.waiting_until > now()
        limit 100
    ),
    -- What nobody knows of whether it went out.
    unconfirmed as (
        select
            s.id,
            s.connection_id,
            s.error,
            j.gateway,
            j.attempts,
            j.send_at,
            j.lease_until
        from public.scheduled_messages as s
        left join public.broadcast_jobs as j on j.id = s.broadcast_job_id
        where s.status = 'unconfirmed'
        limit 100
    ),
    -- What the database refuses, by the scheduled row's id, whatever it was that was refused.
    refused as (
        select
            coalesce(j.scheduled_message_id, r.id) as id,
            r.step,
            r.code,
            r.reason,
            r.tries,
            r.first_at,
            r.again_at
        from private.refused_rows as r
        left join public.broadcast_jobs as j on r.step <> 'enqueue' and j.id = r.id
        order by r.first_at
        limit 100
    )
    select
        clock_timestamp() as db_now,
        (select jsonb_object_agg(counted.status, counted.number) from counted) as counts,
        (
            select count(*) from public.scheduled_messages as s where s.due_at <= now()
        ) as due,
        (
            select min(s.due_at) from public.scheduled_messages as s where s.due_at > now()
        ) as next_due_at,
        (
            select min(s.due_at) from public.scheduled_messages as s where s.due_at <= now()
        ) as oldest_overdue_at,
        (
            select jsonb_agg(to_jsonb(waiting) order by waiting.number desc) from waiting
        ) as waiting,
        (
            select jsonb_agg(to_jsonb(stopped) order by stopped.connection_id) from stopped
        ) as connections,
        (
            select jsonb_agg(to_jsonb(unconfirmed) order by unconfirmed.send_at) from unconfirmed
        ) as unconfirmed,
        (
            select count(*)
            from public.broadcast_jobs as j
            where j.status in ('handed_over', 'active')
                and j.scheduled_message_id is not null
                and j.send_at < now() - make_interval(secs => p_stale_seconds)
        ) as stale_hand_overs,
        (select jsonb_agg(to_jsonb(refused) order by refused.first_at) from refused) as refused
$$;
revoke all on function public.get_status(double precision) from public, anon, authenticated;
grant execute on function public.get_status(double precision) to service_role;
