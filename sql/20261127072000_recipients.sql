-- Whom the contact ids of some rows mean, and what is known of their connections: every look-up of
-- a batch in one call. A contact counts only for its owner. Rows come back in the order of the
-- arguments; those with nothing to tell are left out. The time, by which a daemon that was asleep
-- sees what it has missed. One row, because a server may cut the rows of an answer ("max rows")
-- without a word.
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
    select
        clock_timestamp() as db_now,
        json_agg(
            json_build_object(
                'id', s.id,
                'phone_number', contact.phone,
                'is_blocked', private.is_yes(contact.is_blocked),
                'connection_exists', connection.id is not null,
                'timezone', settings.timezone,
                'country_code', settings.country_code,
                'gateway', settings.gateway
            ) order by given.position
        ) as known
    from unnest(p_ids) with ordinality as given (id, position)
    join public.scheduled_messages as s on s.id = any(array[given.id])
    left join lateral (
        select found.id, found.owner
        from (values (null::text)) as missing (user_id)
        cross join lateral (
            select k.id, user_id::text as owner
            from public.connections as k
            where k.id::text = any(array[s.connection_id])
        ) as found
    ) as connection on true
    -- Column by column, because the others of a contact may hold many megabytes; one that another
    -- application's contacts lack is found one level up. A row of nobody's, as the upstream
    -- application's REST service may write it, is its connection's owner's.
    left join lateral (
        select found.phone, found.is_blocked, found.owner
        from (
            values (null::text, null::text, null::text, null::text)
        ) as missing (phone_number, is_blocked, owner_id, user_id)
        cross join lateral (
            select
                left(phone_number::text, 256) as phone,
                is_blocked::text as is_blocked,
                coalesce(owner_id::text, user_id::text) as owner
            from public.contacts as c
            where c.id = any(array[private.contact_key(s.contact_id)])
        ) as found
    ) as contact
        on contact.owner in (s.owner_id::text, s.created_by::text)
        or (s.owner_id is null and s.created_by is null and contact.owner = connection.owner)
    left join public.connection_settings as settings
        on settings.connection_id = any(array[s.connection_id])
    where contact.owner is not null
        or connection.id is null
        or settings.connection_id is not null
$$;
revoke all on function public.look_up_recipients(uuid[]) from public, anon, authenticated;
grant execute on function public.look_up_recipients(uuid[]) to service_role;
