-- What `python -m worker doctor` compares with the daemon's own zone data: the zones of messages
-- that recur, of connections, and the daemon's default, each with its offset from UTC in minutes
-- once a week from now on; null where this server knows no such zone. `messages`: how many that are
-- pending name it.
create or replace function public.get_timezones(p_default text, p_weeks integer default 520)
returns table (
    name text,
    messages bigint,
    connections bigint,
    began_at timestamptz,
    offsets integer[]
)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    -- Each use of a zone. What is not recurring needs none.
    with used as (
        select s.timezone as name, 1 as messages, 0 as connections
        from public.scheduled_messages as s
        where s.due_at is not null and s.is_recurring and s.timezone is not null
        union all
        select settings.timezone, 0, 1
        from public.connection_settings as settings
        where settings.timezone is not null
        union all
        select p_default, 0, 0
    ),
    -- The five hundred that are used most.
    zones as (
        select
            used.name,
            sum(used.messages) as messages,
            sum(used.connections) as connections
        from used
        group by used.name
        order by sum(used.messages) + sum(used.connections) desc, used.name
        limit 500
    )
    select
        zones.name,
        zones.messages,
        zones.connections,
        date_trunc('day', now()) as began_at,
        case when exists (
            select from pg_catalog.pg_timezone_names as known where known.name = zones.name
        ) then array(
            select (
                extract(
                    epoch from (week.at at time zone zones.name) - (week.at at time zone 'UTC')
                ) / 60
            )::integer
            from generate_series(0, least(p_weeks, 1040)) as number
            cross join lateral (
                select date_trunc('day', now()) + number * interval '168 hours' as at
            ) as week
            order by number
        ) end as offsets
    from zones
    order by zones.name
$$;
revoke all on function public.get_timezones(text, integer) from public, anon, authenticated;
grant execute on function public.get_timezones(text, integer) to service_role;
