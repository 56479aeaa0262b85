-- What `python -m worker doctor` compares with the daemon's own zone data: the zones of messages that recur, of connections,
-- and the daemon's default, each with its offset from UTC in minutes once a week from now on; null where this server knows no
-- such zone. `messages`: how many that are pending name it.
create or replace function public.get_timezones(p_default text, p_weeks integer default 520)
returns table (name text, messages bigint, connections bigint, began_at timestamptz, offsets integer[])
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    -- What is not recurring needs no zone.
    with used as (
        select s.timezone as name, 1 as messages, 0 as connections
        from public.scheduled_messages as s
        where s.due_at is not null and s.is_recurring and s.timezone is not null
        union all
        select se.timezone, 0, 1 from public.connection_settings as se where se.timezone is not null
        union all
        select p_default, 0, 0
    ),
    zones as (
        select u.name, sum(u.messages) as messages, sum(u.connections) as connections
        from used as u
        group by u.name
        order by sum(u.messages) + sum(u.connections) desc, u.name
        limit 500
    )
    select z.name, z.messages, z.connections, date_trunc('day', now()),
        case when exists (select from pg_catalog.pg_timezone_names as n where n.name = z.name) then array(
            select (extract(epoch from (week.at at time zone z.name) - (week.at at time zone 'UTC')) / 60)::integer
            from generate_series(0, least(p_weeks, 1040)) as number
            cross join lateral (select date_trunc('day', now()) + number * interval '168 hours' as at) as week
            order by number
        ) end
    from zones as z
    order by z.name
$$;
revoke all on function public.get_timezones(text, integer) from public, anon, authenticated;
grant execute on function public.get_timezones(text, integer) to service_role;
