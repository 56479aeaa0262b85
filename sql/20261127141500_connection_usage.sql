-- What whoever may use a connection sees of it: today's use, its limits and hours, and what waits
-- there and why, whoever's it is: numbers and reasons, no text and no recipient.
-- The state of connections and jobs are closed to users, so one function reads them as its owner.
-- Users cannot name it: `private` is closed. They reach it by way of connection_usage, whose body
-- is bound when it is made, and which asks the policies of `connections` first (sql/README.md).
create or replace function private.usage_of(p_connection_id text)
returns table (
    enabled boolean,
    state text,
    state_until timestamptz,
    timezone text,
    today date,
    sent_today integer,
    daily_limit integer,
    at_daily_limit text,
    messages integer,
    period_seconds double precision,
    window_start time,
    window_end time,
    waiting jsonb,
    waiting_is_cut boolean
)
language sql
stable
security definer
set search_path = ''
as $$
    with ours as materialized (
        select
            st.*,
            private.owner_by_id(p_connection_id) as owner_id
        from public.connections as c
        left join private.connection_state as st on st.connection_id = c.id::text
        where c.id::text = any(array[p_connection_id])
    ),
    -- What has a job and waits for its turn, the connection, a limit.
    queued as materialized (
        select
            s.waiting_reason,
            s.waiting_until
        from (
            select j.scheduled_message_id as id
            from public.broadcast_jobs as j
            where j.connection_id = p_connection_id and j.status = 'queued'
                and j.scheduled_message_id is not null
            order by j.priority, j.available_at, j.id
            limit 5000
        ) as job
        cross join lateral (
            select m.* from public.scheduled_messages as m where m.id = any(array[job.id]) limit 1
        ) as s
    ),
    -- What is due and has none yet: no daemon runs, or it is behind. By the index of who pays.
    overdue as materialized (
        select m.due_at
        from public.scheduled_messages as m
        where md5(coalesce(m.owner_id::text, m.connection_id) || repeat('*', m.priority)) = any(
            array(
                select md5(payer.name || level.mark)
                from (
                    select p_connection_id
                    union all
                    select o.owner_id from ours as o
                ) as payer (name)
                cross join (values (''), ('*')) as level (mark)
            )
        )
        and m.due_at > '-infinity'
        and m.due_at <= now() - interval '10 seconds'
        and m.connection_id = p_connection_id
        limit 5000
    ),
    reasons as (
        select
            coalesce(q.waiting_reason, 'its turn') as reason,
            count(*) as number,
            max(nullif(q.waiting_until, 'infinity')) as until
        from queued as q
        group by 1
        union all
        select 'the daemon has not taken it up yet', count(*), null
        from overdue
        having count(*) > 0
    )
    select
        coalesce(se.enabled, true),
        coalesce(
            si.blocked_reason,
            case when o.waiting_until > now() then o.waiting_reason end,
            -- Where nothing was ever sent it has no state that could say so.
            case
                when not (se.enabled and se.active) then 'this connection is switched off'
            end
        ),
        nullif(
            coalesce(
                si.blocked_until, case when o.waiting_until > now() then o.waiting_until end
            ),
            'infinity'
        ),
        coalesce(se.timezone, 'UTC'),
        (now() at time zone coalesce(se.timezone, 'UTC'))::date,
        coalesce(si.used, 0),
        case
            when se.daily_limit is not null then private.daily_limit(
                se.*, (now() at time zone coalesce(se.timezone, 'UTC'))::date
            )
        end,
        se.at_daily_limit,
        se.messages,
        se.period_seconds,
        se.window_start,
        se.window_end,
        coalesce(
            (select jsonb_agg(to_jsonb(r) order by r.number desc, r.reason) from reasons as r),
            '[]'
        ),
        (select count(*) from queued) = 5000 or (select count(*) from overdue) = 5000
    from ours as o
    left join public.connection_settings as se on se.connection_id = p_connection_id
    left join private.situation(array[p_connection_id], now(), null) as si on true
$$;
revoke all on function private.usage_of from public;
grant execute on function private.usage_of to authenticated, service_role;

-- No row for a connection that the caller cannot see, whether there is one or not.
create or replace function public.connection_usage(connection_id text)
returns table (
    enabled boolean,
    state text,
    state_until timestamptz,
    timezone text,
    today date,
    sent_today integer,
    daily_limit integer,
    at_daily_limit text,
    messages integer,
    period_seconds double precision,
    window_start time,
    window_end time,
    waiting jsonb,
    waiting_is_cut boolean
)
language sql
stable
set search_path = ''
begin atomic
    select
        u.enabled,
        u.state,
        u.state_until,
        u.timezone,
        u.today,
        u.sent_today,
        u.daily_limit,
        u.at_daily_limit,
        u.messages,
        u.period_seconds,
        u.window_start,
        u.window_end,
        u.waiting,
        u.waiting_is_cut
    from public.connections as c
    cross join lateral private.usage_of(c.id::text) as u
    where c.id::text = $1;
end;
revoke all on function public.connection_usage(text) from public, anon;
grant execute on function public.connection_usage(text) to authenticated, service_role;
