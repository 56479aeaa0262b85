-- How much one owner may have waiting: what users insert, move or set pending again is counted, in
-- steps of a statement. An operator changes a limit with `insert into private.limits (name, value)
-- values (…) on conflict (name) do update set value = excluded.value`; what is there already stays.
-- Rows that the service key writes are not counted when they come, but they are when an owner's are
-- counted again.
-- Locks: `create trigger` takes `share row exclusive` on scheduled_messages for an instant.
set local lock_timeout = '1s';

create table if not exists private.limits (
    name text primary key check (name in ('max_pending_per_owner', 'max_due_per_minute')),
    value integer not null check (value >= 0)
);
alter table private.limits enable row level security;
grant select on private.limits to service_role;

-- A limit; what it is where no operator has said anything else.
create or replace function private.limit_of(p_name text)
returns integer
language sql
stable
set search_path = ''
as $$
    select coalesce(
        (select m.value from private.limits as m where m.name = p_name),
        case p_name
            when 'max_pending_per_owner' then 200000
            when 'max_due_per_minute' then 50000
        end
    )
$$;
revoke all on function private.limit_of from public;

-- What was inserted since it was last counted, by the minute in which it falls due; '-infinity'
-- stands for all of it. One row of an owner is locked until the transaction ends, by that owner's
-- own inserts alone: nobody waits for anybody else, and the daemon, which takes rows out of
-- `pending` all day, does not look at it. So a number is never too small, and where it reaches the
-- limit the rows themselves are counted.
create table if not exists private.owner_load (
    owner_id uuid,
    minute timestamptz,
    number integer not null,
    primary key (owner_id, minute)
);
alter table private.owner_load enable row level security;

-- The pending rows of an owner in a minute, or all of them; the count ends beyond p_enough.
create or replace function private.count_pending(
    p_owner uuid, p_minute timestamptz, p_enough integer
)
returns integer
language sql
stable
set search_path = ''
set enable_seqscan = off
set enable_bitmapscan = off
set enable_sort = off
as $$
    select count(*)
    from (
        select from public.scheduled_messages as s
        where (
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)), s.due_at
        ) >= (md5(p_owner::text), p_minute)
            and (
                md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                s.due_at
            ) < (
                md5(p_owner::text),
                case
                    when p_minute = '-infinity' then 'infinity'
                    else p_minute + interval '1 minute'
                end
            )
            and s.due_at > '-infinity'
        limit p_enough + 1
    ) as pending
$$;
revoke all on function private.count_pending from public;

create or replace function private.hold_limits()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_owner constant uuid := auth.uid();
    v_most constant integer := private.limit_of('max_pending_per_owner');
    v_most_a_minute constant integer := private.limit_of('max_due_per_minute');
    v_minutes timestamptz[];
    v_numbers integer[];
    v_more integer;
    v_minute timestamptz;
    v_limit integer;
    v_number integer;
begin
    if v_owner is null then
        return null;
    end if;
    -- What this statement inserts, by the minute in which it falls due; of what it updates, that
    -- which falls due in another minute now, and how much of it did not wait before.
    if tg_op = 'INSERT' then
        select array_agg(given.minute), array_agg(given.number), sum(given.number)
        into v_minutes, v_numbers, v_more
        from (
            select
                date_bin('1 minute', a.due_at, '2000-01-01 00:00+00') as minute,
                count(*) as number
            from added as a
            where a.due_at between '2000-01-01 00:00+00' and '2200-01-01 00:00+00'
            group by 1
        ) as given;
    else
        select array_agg(given.minute), array_agg(given.number), sum(given.more)
        into v_minutes, v_numbers, v_more
        from (
            select
                date_bin('1 minute', a.due_at, '2000-01-01 00:00+00') as minute,
                count(*) as number,
                count(*) filter (where f.due_at is null) as more
            from added as a
            join former as f on f.id = a.id
            where a.due_at between '2000-01-01 00:00+00' and '2200-01-01 00:00+00'
                and date_bin('1 minute', a.due_at, '2000-01-01 00:00+00') is distinct from case
                    when isfinite(f.due_at)
                        then date_bin('1 minute', f.due_at, '2000-01-01 00:00+00')
                end
            group by 1
        ) as given;
    end if;
    -- Beside what came before, minutes in order, so that two of these never wait for each other.
    with counted as (
        insert into private.owner_load as l (owner_id, minute, number)
        select v_owner, given.minute, given.number
        from unnest(v_minutes, v_numbers) as given (minute, number)
        union all
        select v_owner, '-infinity', v_more where v_more > 0
        order by 2
        on conflict (owner_id, minute) do update set number = l.number + excluded.number
        returning l.minute, l.number
    )
    select array_agg(c.minute order by c.minute) into v_minutes
    from counted as c
    where c.number > case
        when c.minute = '-infinity' then v_most
        else v_most_a_minute
    end;

    foreach v_minute in array coalesce(v_minutes, '{}') loop
        v_limit := case when v_minute = '-infinity' then v_most else v_most_a_minute end;
        v_number := private.count_pending(v_owner, v_minute, v_limit);
        if v_number > v_limit and v_minute = '-infinity' then
            raise exception using errcode = 'PT429', message = format(
                'More than %s of your messages would be waiting to be sent. Cancel some, or wait '
                'until some are sent.', v_limit
            );
        elsif v_number > v_limit then
            raise exception using errcode = 'PT429', message = format(
                'More than %s of your messages would be due in the minute of %s UTC. Choose '
                'another time for some of them.',
                v_limit, to_char(v_minute at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
            );
        end if;
        update private.owner_load as l
        set number = v_number
        where l.owner_id = v_owner and l.minute = v_minute;
    end loop;

    delete from private.owner_load as l
    where l.owner_id = v_owner and l.minute > '-infinity' and l.minute < now() - interval '1 hour';
    return null;
end
$$;
revoke all on function private.hold_limits from public;

create or replace trigger hold_limits after insert on public.scheduled_messages
referencing new table as added
for each statement execute function private.hold_limits();

-- What users move or set pending again counts as what they insert.
create or replace trigger hold_limits_of_edits after update on public.scheduled_messages
referencing old table as former new table as added
for each statement when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
) execute function private.hold_limits();
