-- How each connection may send. Owners read, the service key writes; without a row there is no pacing of ours.
-- Locks: none on existing tables; the foreign key takes `share row exclusive` on connections for an instant.
set local lock_timeout = '1s';

create or replace function private.is_timezone(p_name text)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
    perform now() at time zone p_name;
    return true;
exception when invalid_parameter_value then
    return false;
end
$$;
revoke all on function private.is_timezone(text) from public;
grant execute on function private.is_timezone(text) to service_role;

create table if not exists public.connection_settings (
    connection_id text primary key references public.connections (id) on delete cascade,
    enabled boolean not null default true,
    -- Null: the environment's gateway; and the connection's id is the session, instance or (cloud) the environment's number.
    gateway text check (gateway in ('mock', 'cloud', 'waha', 'evolution', 'wppconnect', 'bullmq')),
    sender text check (length(sender) between 1 and 256),
    timezone text check (private.is_timezone(timezone)),
    country_code text check (country_code ~ '^[A-Z]{2}$'),
    -- At most so many in so many seconds, evenly spaced but for the burst; `messages` 1 makes it a minimum interval.
    messages integer check (messages between 1 and 100000),
    period_seconds double precision check (period_seconds between 0.001 and 86400),
    burst integer not null default 1 check (burst between 1 and 100000),
    jitter_seconds double precision not null default 0 check (jitter_seconds between 0 and 3600),
    daily_limit integer check (daily_limit >= 0),
    at_daily_limit text not null default 'defer' check (at_daily_limit in ('defer', 'fail')),
    -- The daily limit grows from warm_up_limit to daily_limit in warm_up_days from warm_up_from on.
    warm_up_from date,
    warm_up_days integer check (warm_up_days between 1 and 365),
    warm_up_limit integer check (warm_up_limit >= 1),
    -- Sending hours, by the connection's time zone; from 20:00 until 08:00 is a window too.
    window_start time,
    window_end time,
    -- Null: 6 s for `cloud` (WhatsApp's pair limit), else none.
    recipient_interval_seconds double precision check (recipient_interval_seconds between 0 and 86400),
    updated_at timestamptz not null default now(),
    constraint connection_settings_rate_complete check ((messages is null) = (period_seconds is null)),
    constraint connection_settings_window_complete check ((window_start is null) = (window_end is null) and window_start <> window_end),
    constraint connection_settings_warm_up_complete check (
        num_nulls(warm_up_from, warm_up_days, warm_up_limit) in (0, 3) and (warm_up_from is null or daily_limit is not null)
    )
);

alter table public.connection_settings enable row level security;
revoke all on public.connection_settings from public, anon, authenticated;
grant select on public.connection_settings to authenticated;
grant select, insert, update, delete on public.connection_settings to service_role;


drop policy if exists connection_settings_select_policy on public.connection_settings;
create policy connection_settings_select_policy on public.connection_settings for select to authenticated
using (exists (
    select 1 from public.connections as c
    where c.id = connection_settings.connection_id
));
