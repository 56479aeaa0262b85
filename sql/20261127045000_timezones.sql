-- Which names are time zones: those of the IANA database that this server has. AT TIME ZONE takes
-- more: abbreviations, of which three countries share one, and POSIX rules, which "foo5" is.
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- Those that have been asked for. To read pg_timezone_names is to open six hundred files.
create table if not exists private.timezones (
    folded text primary key,
    name text not null unique
);
alter table private.timezones enable row level security;
revoke all on private.timezones from public;
grant select, insert on private.timezones to service_role;

-- The name as the IANA database spells it, whatever its case and the blanks around and in it; null
-- where there is none.
create or replace function private.timezone_name(p_name text)
returns text
language plpgsql
set search_path = ''
as $$
declare
    -- Also the blanks that a page or a phone puts there.
    v_trimmed constant text := regexp_replace(
        p_name,
        '^[\s\u00a0\u200b-\u200f\ufeff]+|[\s\u00a0\u200b-\u200f\ufeff]+$', '', 'g'
    );
    v_folded constant text := regexp_replace(lower(v_trimmed), '[\s\u00a0]+', '_', 'g');
    v_name text;
begin
    select t.name into v_name from private.timezones as t where t.folded = v_folded;
    if v_name is null then
        select n.name into v_name
        from pg_catalog.pg_timezone_names as n
        where lower(n.name) = v_folded
            and n.name !~ '^(posix|right)/'
            and n.name not in ('localtime', 'posixrules', 'Factory')
        limit 1;
        insert into private.timezones (folded, name)
        select v_folded, v_name
        where v_name is not null
        on conflict do nothing;
    end if;
    return v_name;
end
$$;
revoke all on function private.timezone_name from public;

-- What somebody may have meant: zones of that abbreviation (in either season) or offset, or with
-- such a city.
create or replace function private.nearest_timezones(p_name text)
returns text
language sql
stable
set search_path = ''
as $$
    -- What was written, as an abbreviation, a city or an offset.
    with written as (
        select
            upper(btrim(p_name)) as word,
            lower(regexp_replace(regexp_replace(p_name, '^.*/', ''), '\W', '', 'g')) as city,
            regexp_match(
                btrim(p_name), '^(?:utc|gmt)?([+-])(\d{1,2}):?(\d{2})?$', 'i'
            ) as clock
    ),
    -- The zones of places, and how near each comes to it: the less, the nearer.
    near as (
        select
            zone.name,
            case
                when lower(regexp_replace(zone.name, '^.*/', '')) = written.city then 1
                when written.word in (
                    zone.abbrev,
                    regexp_replace(zone.abbrev, 'DT$', 'ST'),
                    regexp_replace(zone.abbrev, 'ST$', 'DT')
                ) then 2
                when zone.utc_offset = make_interval(
                    hours => (written.clock[1] || written.clock[2])::integer,
                    mins => (written.clock[1] || coalesce(written.clock[3], '0'))::integer
                ) then 3
                when length(written.city) > 3
                    and zone.name ~* ('/' || left(written.city, 4)) then 4
            end as rank
        from pg_catalog.pg_timezone_names as zone
        cross join written
        where zone.name ~
            '^(Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific)/'
    )
    select string_agg(found.name, ', ')
    from (
        select near.name
        from near
        where near.rank = (select min(nearest.rank) from near as nearest)
        order by near.name like 'Antarctica/%', near.name
        limit 5
    ) as found
$$;
revoke all on function private.nearest_timezones from public;

-- The zone's own name. Raises 400, in words fit for a toast, for what is none.
create or replace function private.require_timezone(p_name text)
returns text
language plpgsql
set search_path = ''
as $$
declare
    v_name constant text := private.timezone_name(p_name);
begin
    if v_name is null then
        raise exception using errcode = 'PT400', message = format(
            'There is no time zone %s. %s',
            quote_literal(left(p_name, 40)),
            coalesce(
                'Did you mean one of these: ' || private.nearest_timezones(left(p_name, 64)) || '?',
                'Write a name such as Asia/Kolkata.'
            )
        );
    end if;
    return v_name;
end
$$;
revoke all on function private.require_timezone from public;

-- A message that recurs needs a zone that is one; what goes out once needs none, whatever stands
-- there. A form that was left empty writes ''. The next occurrence of a series has its zone from
-- the daemon, whose data may be newer.
create or replace function private.name_timezone()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    new.timezone := case
        when btrim(new.timezone) <> '' then private.require_timezone(new.timezone)
    end;
    return new;
end
$$;
revoke all on function private.name_timezone from public;

-- After the guards, by its name, which let an edit begin its series anew.
create or replace trigger name_timezone before insert or update on public.scheduled_messages
for each row when (
    new.status = 'pending'
    and new.is_recurring
    and new.timezone is not null
    and new.series_anchor is null
)
execute function private.name_timezone();
