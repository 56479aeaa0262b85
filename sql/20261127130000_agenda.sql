-- What comes next: the database's clock, the next instants at which there is something to do, and
-- the rows that fall due within p_horizon_seconds, so that the daemon can prepare them. Holds
-- nothing. No more than a thousand of the first rows, whatever p_limit says, and two million bytes;
-- of everybody else 25 rows each.
create or replace function public.get_agenda(
    p_horizon_seconds double precision,
    p_limit integer default 500,
    p_stale_seconds double precision default 600
)
returns table (
    db_now timestamptz,
    next_due_at timestamptz,
    next_ready_at timestamptz,
    next_expiry_at timestamptz,
    next_probe_at timestamptz,
    -- The first rows, and the next of everybody else where those are not all, so that nobody's many
    -- rows keep another's from being prepared. Not jsonb, which refuses some of what the column
    -- `media` may hold: one such row would hold up all.
    upcoming json,
    -- Jobs that a Node worker was given more than p_stale_seconds ago and has not finished.
    stale_hand_overs integer,
    -- How far the first rows reach; null where they are all.
    complete_until timestamptz,
    -- Whom the daemon waits for; null where nobody.
    holders json
)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    -- The first rows that will fall due.
    with ahead as materialized (
        select
            s.id,
            s.due_at,
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)) as payer,
            sum(
                octet_length(s.message)
                + coalesce(octet_length(s.caption), 0)
                + coalesce(octet_length(s.media::text), 0)
                + coalesce(octet_length(s.template::text), 0)
            ) over (line rows between unbounded preceding and 1 preceding) as bytes_before
        from public.scheduled_messages as s
        where s.due_at > now() and s.due_at <= now() + make_interval(secs => p_horizon_seconds)
        window line as (order by s.due_at, s.id)
        order by s.due_at, s.id
        limit least(p_limit, 1000)
    ),
    -- Those of them that an answer has room for.
    first as materialized (
        select a.* from ahead as a where coalesce(a.bytes_before, 0) < 2000000
    ),
    -- How far they reach; nothing where they are all that there are.
    reach as materialized (
        select max(f.due_at) as due_at
        from first as f
        having count(*) = least(p_limit, 1000) or count(*) < (select count(*) from ahead)
    ),
    -- What lies beyond. Also of those who have some among the first: more of theirs may lie there.
    others as materialized (
        select found.id
        from reach
        cross join lateral private.rows_of_others(
            p_payers => array(
                select f.payer from first as f group by f.payer having count(*) >= 25
            ),
            p_after => now(),
            p_until => now() + make_interval(secs => p_horizon_seconds),
            p_share => 25,
            p_limit => least(p_limit, 500)
        ) as found (id)
    )
    select
        clock_timestamp() as db_now,
        (select min(s.due_at) from public.scheduled_messages as s) as next_due_at,
        (
            select min(state.ready_at)
            from private.connection_state as state
            where state.ready_at < 'infinity'
        ) as next_ready_at,
        private.next_expiry() as next_expiry_at,
        (
            select min(state.probe_at)
            from private.connection_state as state
            where state.probe_at is not null
        ) as next_probe_at,
        (
            select json_agg(soon order by soon.scheduled_at, soon.id)
            from (
                -- What a plan is made of (worker/store/store.py). A project's own columns may hold
                -- anything.
                select
                    s.id,
                    s.owner_id,
                    s.connection_id,
                    s.created_at,
                    s.revision,
                    s.contact_id,
                    s.type,
                    s.message,
                    s.media_url,
                    s.caption,
                    s.media,
                    s.asset_id,
                    s.template,
                    s.priority,
                    s.scheduled_at,
                    s.is_recurring,
                    s.recurrence_pattern,
                    s.recurrence_end_at,
                    s.not_after,
                    s.timezone,
                    s.series_anchor,
                    s.occurrence_at,
                    s.next_id
                from (
                    select f.id from first as f union select o.id from others as o
                ) as found
                cross join lateral (
                    select r.*
                    from public.scheduled_messages as r
                    where r.id = any(array[found.id])
                    limit 1
                ) as s
            ) as soon
        ) as upcoming,
        (
            select count(*)
            from public.broadcast_jobs as j
            where j.status in ('handed_over', 'active')
                and j.scheduled_message_id is not null
                and j.send_at < now() - make_interval(secs => p_stale_seconds)
        ) as stale_hand_overs,
        (select reach.due_at from reach) as complete_until,
        (select json_agg(h) from public.get_holders() as h) as holders
$$;
revoke all on function public.get_agenda(double precision, integer, double precision)
from public, anon, authenticated;
grant execute on function public.get_agenda(double precision, integer, double precision)
to service_role;
