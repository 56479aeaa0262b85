-- What cannot have a next occurrence has none, and says so where it is written: a series that ends
-- before its first message is refused, one whose next occurrence would lie beyond the years that
-- the table takes is sent once. By arithmetic alone, however the rule reads: what needs a calendar
-- is for the daemon, which tells the same when it enqueues the message.
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- Why a message whose series goes no further is the last one, where its author has set no end.
-- settle_rows keeps what begins so.
create or replace function private.why_no_next(p_pattern text, p_end timestamptz)
returns text
language sql
immutable
set search_path = ''
as $$
    select 'The series ends with this message: its next occurrence would lie beyond the year 2199.'
    where p_end is null and p_pattern !~* '(count|until)='
$$;

-- The latest instant that UNTIL can mean, null where there is none or it is none: without `Z` it is
-- wall time, which is at most half a day behind UTC, and a bare date is the whole day (RFC 5545
-- §3.3.10).
create or replace function private.latest_until(p_pattern text)
returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
declare
    v_parts constant text[] := regexp_match(
        p_pattern, '(?:^|[;:\s])until=(\d{8})(?:t(\d{6})(z?))?\s*(?:;|$)', 'i'
    );
begin
    return ((v_parts[1] || 't' || coalesce(v_parts[2], '235959'))::timestamp) at time zone 'UTC'
        + case when v_parts[3] <> '' then interval '0' else interval '12 hours' end;
exception when others then
    return null; -- the daemon says what is wrong with it
end
$$;

-- The earliest instant of a next occurrence, where no part of the rule names other days than its
-- start; else null.
create or replace function private.earliest_next(p_pattern text, p_start timestamptz)
returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
declare
    v_unit constant text := lower((regexp_match(p_pattern, '(?:^|[;:\s])freq=([a-z]+)', 'i'))[1]);
    v_interval constant bigint :=
        (regexp_match(p_pattern, '(?:^|[;:\s])interval=(\d{1,9})\s*(?:;|$)', 'i'))[1]::bigint;
begin
    return case
        when p_pattern ~* '(?:^|[;:\s])by' then null
        when v_unit = 'daily' and v_interval > 70000 then 'infinity'
        when v_unit = 'weekly' and v_interval > 10000 then 'infinity'
        when v_unit = 'monthly' and v_interval > 2400 then 'infinity'
        when v_unit = 'yearly' and v_interval > 200 then 'infinity'
        else p_start + v_interval::integer * case v_unit
            when 'daily' then interval '1 day' when 'weekly' then interval '7 days'
            when 'monthly' then interval '1 month' when 'yearly' then interval '1 year'
        end
    end;
end
$$;

create or replace function private.look_at_series()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_end constant timestamptz :=
        least(new.recurrence_end_at, private.latest_until(new.recurrence_pattern));
begin
    -- Each occurrence gets a copy of the application's own columns, in a call that takes others
    -- too. What is there already stays.
    if (tg_op = 'INSERT' or pg_column_size(new) > pg_column_size(old))
        and pg_column_size(new) - 1000 - (
        select sum(coalesce(pg_column_size(ours.value), 0))
        from unnest(array[
            new.message, new.caption, new.media::text, new.media_url, new.recurrence_pattern,
            new.contact_id, new.connection_id
        ]) as ours (value)
    ) > 32000 then
        raise exception 'The other columns of a recurring message may hold 32 kB in all, because '
            'each occurrence has a copy of them.' using errcode = 'PT400';
    end if;
    -- Of a series that has begun, its author may move the last message beyond the end.
    if v_end < new.scheduled_at and new.series_id is null then
        raise exception using errcode = 'PT400', message = 'The series would end before its first '
            || 'message. Choose a later end, or none.';
    elsif private.earliest_next(new.recurrence_pattern, new.scheduled_at)
        >= '2200-01-02 00:00+00'
    then
        new.error := private.why_no_next(new.recurrence_pattern, new.recurrence_end_at);
    end if;
    return new;
end
$$;
revoke all on function private.why_no_next, private.latest_until, private.earliest_next,
private.look_at_series from public;
grant execute on function private.why_no_next to service_role;

-- After the guards, by its name.
create or replace trigger look_at_series before insert or update on public.scheduled_messages
for each row when (
    new.is_recurring and new.status = 'pending'
    and row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
) execute function private.look_at_series();
