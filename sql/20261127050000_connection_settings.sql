-- How each connection may send. Owners read, the service key writes; without a row there is no
-- pacing of ours. They outlive their connection, until an operator ends them: a switch-off must not
-- end with a deletion (private.remember_owner).
-- Locks: where connections' ids are uuids, `create trigger` takes `share row exclusive` for an
-- instant.
set local lock_timeout = '1s';

create table if not exists public.connection_settings (
    connection_id text primary key,
    -- The operator's switch, and the owner's: nothing is sent unless both are on.
    enabled boolean not null default true,
    active boolean not null default true,
    -- Null: the environment's gateway; and the connection's id is the session, instance or (cloud)
    -- the environment's number.
    gateway text references private.gateways (name),
    sender text check (length(sender) between 1 and 256),
    timezone text, -- one of the IANA database, seen to by name_timezone
    country_code text check (country_code ~ '^[A-Z]{2}$'),
    -- At most so many in any so many seconds, evenly spaced; 1 message makes it a minimum interval.
    -- After a pause `burst` of them go at once. Those come out of the same allowance, so what
    -- follows is spaced as `messages - burst + 1` would be. Null: what private.gateways says of its
    -- gateway, which is no limit but for `bullmq`.
    messages integer check (messages between 1 and 100000),
    period_seconds double precision check (period_seconds between 0.1 and 86400),
    burst integer not null default 1,
    -- Up to so many seconds more between one message and the next, at random.
    jitter_seconds double precision not null default 0 check (
        jitter_seconds between 0 and 3600
    ),
    daily_limit integer check (daily_limit >= 0),
    at_daily_limit text not null default 'defer' check (at_daily_limit in ('defer', 'fail')),
    -- The daily limit grows from warm_up_limit to daily_limit in warm_up_days from warm_up_from on.
    warm_up_from date,
    warm_up_days integer check (warm_up_days between 1 and 365),
    warm_up_limit integer check (warm_up_limit >= 1),
    -- Sending hours, by the connection's time zone; from 20:00 until 08:00 is a window too.
    window_start time,
    window_end time,
    -- Null: its gateway's `pair_seconds`.
    recipient_interval_seconds double precision check (
        recipient_interval_seconds between 0 and 86400
    ),
    updated_at timestamptz not null default now(),
    constraint connection_settings_rate_complete check (
        (messages is null) = (period_seconds is null)
    ),
    constraint connection_settings_burst_within_messages check (
        burst between 1 and coalesce(messages, 1)
    ),
    constraint connection_settings_jitter_needs_rate check (
        jitter_seconds = 0 or messages is not null
    ),
    constraint connection_settings_window_complete check (
        (window_start is null) = (window_end is null) and window_start <> window_end
    ),
    constraint connection_settings_warm_up_complete check (
        num_nulls(warm_up_from, warm_up_days, warm_up_limit) in (0, 3)
        and (warm_up_from is null or daily_limit is not null)
    )
);

create index if not exists connection_settings_gateway_idx
on public.connection_settings (gateway) where gateway is not null;
create index if not exists connection_settings_sender_idx
on public.connection_settings (sender) where sender is not null;

create or replace trigger name_timezone before insert or update on public.connection_settings
for each row when (new.timezone is not null) execute function private.name_timezone();

-- Where the connections' ids are uuids, whoever names one may do it in capitals, as Swift does.
create or replace function private.fold_connection_id()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.connection_id := lower(new.connection_id);
    return new;
end
$$;
revoke all on function private.fold_connection_id from public;

do $$
declare
    v_table text;
begin
    if (
        select a.atttypid <> 'uuid'::regtype from pg_attribute as a
        where a.attrelid = 'public.connections'::regclass and a.attname = 'id'
    ) then
        return;
    end if;
    foreach v_table in array array['scheduled_messages', 'connection_settings'] loop
        -- Before the guards, by its name.
        execute format(
            'create or replace trigger a_fold_connection_id '
            'before insert or update of connection_id on public.%I '
            'for each row when (new.connection_id ~ ''[A-F]'') '
            'execute function private.fold_connection_id()', v_table
        );
    end loop;
end
$$;

alter table public.connection_settings enable row level security;
revoke all on public.connection_settings from public, anon, authenticated;
grant select on public.connection_settings to authenticated;
grant select, insert, update, delete on public.connection_settings to service_role;

drop policy if exists connection_settings_select_policy on public.connection_settings;
create policy connection_settings_select_policy on public.connection_settings
for select to authenticated
using (
    exists (
        select 1 from public.connections as c
        where c.id::text = connection_settings.connection_id
    )
);

-- A connection's day and sending hours at an instant; without hours it is always open. A wall time
-- that does not exist is PostgreSQL's: as much later as the clock leapt. A midnight that comes
-- twice (the Azores) is PostgreSQL's second one, but the day begins with the first. `reopens_at`:
-- when sending may begin on the next day.
create or replace function private.calendar(
    p_zone text,
    p_start time,
    p_end time,
    p_now timestamptz
)
returns table (
    today date,
    tomorrow timestamptz,
    is_open boolean,
    opens_at timestamptz,
    closes_at timestamptz,
    reopens_at timestamptz
)
language sql
stable
set search_path = ''
as $$
    select
        wall.day as today,
        next_day.begins_at as tomorrow,
        p_start is null or case
            when p_start < p_end then wall.clock >= p_start and wall.clock < p_end
            else wall.clock >= p_start or wall.clock < p_end
        end as is_open,
        (wall.day + (wall.clock >= p_start)::integer + p_start) at time zone p_zone as opens_at,
        (wall.day + (wall.clock >= p_end)::integer + p_end) at time zone p_zone as closes_at,
        case
            when p_start > '00:00' and (p_start < p_end or p_end = '00:00')
                then (wall.day + 1 + p_start) at time zone p_zone
            else next_day.begins_at -- midnight is within the hours
        end as reopens_at
    from (
        select
            (p_now at time zone p_zone)::date as day,
            (p_now at time zone p_zone)::time as clock
    ) as wall
    cross join lateral (
        select (wall.day + 1)::timestamp at time zone p_zone as at
    ) as midnight
    -- An hour earlier, where that was midnight too.
    cross join lateral (
        select midnight.at - case
            when ((midnight.at - interval '1 hour') at time zone p_zone)::date > wall.day
                then interval '1 hour'
            else interval '0'
        end as begins_at
    ) as next_day
$$;

-- A connection's limit for a day: while it warms up, it grows evenly, from the first day's on.
create or replace function private.daily_limit(p_settings public.connection_settings, p_day date)
returns integer
language sql
immutable
set search_path = ''
as $$
    select case
        when p_day - p_settings.warm_up_from < p_settings.warm_up_days then least(
            p_settings.daily_limit,
            p_settings.warm_up_limit
            + (p_settings.daily_limit - p_settings.warm_up_limit)::bigint
            * greatest(0, p_day - p_settings.warm_up_from)
            / p_settings.warm_up_days
        )
        else p_settings.daily_limit
    end
$$;
revoke all on function private.calendar, private.daily_limit from public;
grant execute on function private.calendar, private.daily_limit to service_role;
