-- What comes next: the database's clock, the next instants at which there is something to do, and the rows that fall due
-- within p_horizon_seconds, so that the daemon can prepare them. Holds nothing. `stale_hand_overs`: jobs that a Node worker
-- was given more than p_stale_seconds ago and has not finished. `upcoming` is json and not jsonb, which refuses some of what
-- the column `media` may hold, and one such row would hold up all. It holds the first rows, up to p_limit and two million bytes;
-- where that is not all, `complete_until` says how far they reach, and beside them are the next rows of everybody else, so that
-- nobody's many rows keep another's from being prepared. `holders`: whom the daemon waits for, null where nobody.
drop function if exists public.get_agenda(double precision, integer, double precision);
create or replace function public.get_agenda(
    p_horizon_seconds double precision, p_limit integer default 500, p_stale_seconds double precision default 600
)
returns table (
    db_now timestamptz, next_due_at timestamptz, next_ready_at timestamptz, next_expiry_at timestamptz, next_probe_at timestamptz,
    upcoming json, stale_hand_overs integer, complete_until timestamptz, holders json
)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    with ahead as materialized (
        select s.id, s.due_at, md5(coalesce(s.owner_id::text, s.connection_id)) as payer,
            sum(octet_length(s.message) + coalesce(octet_length(s.caption), 0) + coalesce(octet_length(s.media::text), 0))
                over (order by s.due_at, s.id rows between unbounded preceding and 1 preceding) as size_before
        from public.scheduled_messages as s
        where s.due_at > now() and s.due_at <= now() + make_interval(secs => p_horizon_seconds)
        order by s.due_at, s.id
        limit least(p_limit, 1000)
    ),
    first as materialized (
        select a.* from ahead as a where coalesce(a.size_before, 0) < 2000000
    ),
    reach as materialized (
        select max(f.due_at) as due_at
        from first as f
        having count(*) = least(p_limit, 1000) or count(*) < (select count(*) from ahead)
    ),
    -- Also of those who have some among the first: more of theirs may lie beyond.
    others as materialized (
        select found.id
        from reach as r
        cross join lateral private.rows_of_others(
            array(select f.payer from first as f group by f.payer having count(*) >= 25),
            now(), now() + make_interval(secs => p_horizon_seconds), 25, least(p_limit, 500)
        ) as found (id)
    )
    select clock_timestamp(),
        (select min(s.due_at) from public.scheduled_messages as s),
        (select min(c.ready_at) from private.connection_state as c where c.ready_at < 'infinity'),
        private.next_expiry(),
        (select min(c.probe_at) from private.connection_state as c where c.probe_at is not null),
        (
            select json_agg(soon order by soon.scheduled_at, soon.id)
            from (
                -- What a plan is made of (worker/store/store.py). A project's own columns may hold anything.
                select s.id, s.owner_id, s.connection_id, s.created_at, s.revision, s.contact_id, s.type, s.message,
                    s.media_url, s.caption, s.media, s.asset_id, s.scheduled_at, s.is_recurring, s.recurrence_pattern,
                    s.recurrence_end_at, s.timezone, s.series_anchor, s.occurrence_at, s.next_id
                from (select f.id from first as f union select o.id from others as o) as found
                cross join lateral (select r.* from public.scheduled_messages as r where r.id = any(array[found.id]) limit 1) as s
            ) as soon
        ),
        (
            select count(*) from public.broadcast_jobs as j
            where j.status in ('handed_over', 'active') and j.scheduled_message_id is not null and j.send_at < now() - make_interval(secs => p_stale_seconds)
        ),
        (select r.due_at from reach as r),
        (select json_agg(h) from public.get_holders() as h)
$$;
revoke all on function public.get_agenda(double precision, integer, double precision) from public, anon, authenticated;
grant execute on function public.get_agenda(double precision, integer, double precision) to service_role;

-- Whom the contact ids of some rows mean, and what is known of their connections: every look-up of a batch in one call.
-- A contact counts only for its owner. Rows come back in the order of the arguments; those with nothing to tell are
-- left out. The time, by which a daemon that was asleep sees what it has missed. One row, because a server may cut the rows
-- of an answer ("max rows") without a word.
create or replace function public.look_up_recipients(p_ids uuid[])
returns table (db_now timestamptz, known json)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select clock_timestamp(), json_agg(json_build_object(
        'id', s.id, 'phone_number', c.phone, 'is_blocked', private.is_yes(c.is_blocked),
        'connection_exists', k.id is not null,
        'timezone', se.timezone, 'country_code', se.country_code, 'gateway', se.gateway
    ) order by given.position)
    from unnest(p_ids) with ordinality as given (id, position)
    join public.scheduled_messages as s on s.id = any(array[given.id])
    left join lateral (
        select found.id, found.owner
        from (values (null::text)) as missing (user_id)
        cross join lateral (
            select k.id, user_id::text as owner from public.connections as k
            where k.id::text = any(array[s.connection_id])
        ) as found
    ) as k on true
    -- Column by column, because the others of a contact may hold many megabytes; one that another application's contacts lack
    -- is found one level up. A row of nobody's, as the upstream application's REST service may write it, is its connection's
    -- owner's.
    left join lateral (
        select found.phone, found.is_blocked, found.owner
        from (values (null::text, null::text, null::text, null::text)) as missing (phone_number, is_blocked, owner_id, user_id)
        cross join lateral (
            select left(phone_number::text, 256) as phone, is_blocked::text as is_blocked,
                coalesce(owner_id::text, user_id::text) as owner
            from public.contacts as c
            where c.id = any(array[private.contact_key(s.contact_id)])
        ) as found
    ) as c on c.owner in (s.owner_id::text, s.created_by::text)
        or (s.owner_id is null and s.created_by is null and c.owner = k.owner)
    left join public.connection_settings as se on se.connection_id = any(array[s.connection_id])
    where c.owner is not null or k.id is null or se.connection_id is not null
$$;
revoke all on function public.look_up_recipients(uuid[]) from public, anon, authenticated;
grant execute on function public.look_up_recipients(uuid[]) to service_role;
