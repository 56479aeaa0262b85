-- A text to some contacts in one call: what makes and activates a campaign for them.
-- Locks: none.

-- The connections that the caller may use, the first two of them.
-- noqa: disable=RF01,RF03,ST05,LT02
create or replace function private.usable_connections()
returns setof text
language sql
stable
set search_path = ''
begin atomic
    select connection.id::text
    from public.connections as connection
    where private.owner_by_id(connection.id::text) = auth.uid()::text
        or connection.id::text in (
            select mine.connection_id from private.my_connections() as mine
        )
    order by connection.id
    limit 2;
end;
-- noqa: enable=RF01,RF03,ST05,LT02
revoke all on function private.usable_connections from public;
grant execute on function private.owner_by_id, private.usable_connections
to authenticated, service_role;

-- The connection that is named, or the only one that there is; and its zone.
create or replace function private.choose_connection(p_named text, p_usable text[])
returns table (id text, timezone text)
language plpgsql
stable
set search_path = ''
as $$
begin
    if coalesce(p_named, '') !~ '\S' and cardinality(p_usable) <> 1 then
        raise exception using errcode = 'PT400', message = case cardinality(p_usable)
            when 0 then 'You have no WhatsApp connection yet.'
            else 'You may use several connections. Say which one sends it (connection_id).'
        end;
    end if;
    id := coalesce(nullif(btrim(p_named), ''), p_usable[1]);
    timezone := coalesce((
        select settings.timezone
        from public.connection_settings as settings
        where settings.connection_id = choose_connection.id
    ), 'UTC');
    return next;
end
$$;
revoke all on function private.choose_connection from public;
grant execute on function private.choose_connection to authenticated, service_role;

-- A time as ISO 8601 writes it: an instant where it has an offset, else a time on some wall.
create or replace function private.read_time(p_text text)
returns table (instant timestamptz, wall timestamp)
language plpgsql
stable
set search_path = ''
set datestyle = 'ISO, YMD'
as $$
declare
    v_words constant text :=
        'The time must be written like 2026-12-01T14:30:00, with or without an offset.';
    v_found constant text[] := regexp_match(
        btrim(p_text),
        '^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) ?(Z|[+-]\d\d(?::?\d\d)?)?$', 'i'
    );
    v_wall text;
begin
    if v_found is null then
        raise exception using errcode = 'PT400', message = v_words;
    end if;
    v_wall := v_found[1] || ' ' || replace(v_found[2], ',', '.');
    if v_found[3] is null then
        wall := v_wall;
    else
        instant := v_wall || v_found[3];
    end if;
    return next;
exception
    when datetime_field_overflow or invalid_datetime_format
        or invalid_time_zone_displacement_value
    then
        raise exception using errcode = 'PT400', message = v_words;
end
$$;
revoke all on function private.read_time from public;
grant execute on function private.read_time, private.wall_to_instant
to authenticated, service_role;

-- Makes the campaign, unless the very same is there already: a button pressed twice, or an answer
-- that got lost, writes to nobody twice. Refuses all where one of them cannot be written to.
create or replace function private.write_to_contacts(
    p_contacts bigint[], p_message text, p_at timestamptz, p_connection_id text
)
returns table (id uuid, recipient_count integer, estimated_finish_at timestamptz)
language plpgsql
set search_path = ''
as $$
declare
    v_most constant integer := 50;
    v_ids constant bigint[] := array(
        select distinct given.id
        from unnest(p_contacts) as given (id)
        where given.id is not null
        order by given.id
    );
    v_audience constant jsonb := jsonb_build_object('contacts', to_jsonb(v_ids));
    v_unknown text;
    v_numberless text;
begin
    recipient_count := cardinality(v_ids);
    if recipient_count = 0 then
        raise exception 'Choose somebody to write to.' using errcode = 'PT400';
    elsif recipient_count > v_most then
        raise exception 'At most % at once can be written to; these are %.', v_most, recipient_count
            using errcode = 'PT400';
    end if;

    -- A column that another application's contacts lack is found one level up. Their ids need not
    -- be numbers.
    execute format(
        $query$
        select
            string_agg(asked.id::text, ', ' order by asked.id) filter (where person.id is null),
            string_agg(coalesce(nullif(btrim(person.name), ''), asked.id::text), ', '
                order by asked.id)
                filter (where person.id is not null and coalesce(person.phone, '') !~ '\S')
        from unnest($1) as asked (id)
        left join lateral (
            select found.*
            from (values (null::text, null::text)) as missing (phone_number, contact_name)
            cross join lateral (
                select
                    c.id,
                    left(phone_number::text, 256) as phone,
                    left(contact_name::text, 256) as name
                from public.contacts as c
                where c.id = any(array[%s])
            ) as found
        ) as person on true
        $query$,
        (
            select case
                when a.atttypid = any(array[
                    'bigint'::regtype, 'integer'::regtype, 'smallint'::regtype, 'numeric'::regtype
                ]) then 'asked.id'
                when a.atttypid = any(array['text'::regtype, 'character varying'::regtype])
                    then 'asked.id::text'
                else format('null::%s', format_type(a.atttypid, null))
            end
            from pg_catalog.pg_attribute as a
            where a.attrelid = 'public.contacts'::regclass and a.attname = 'id'
        )
    )
    into v_unknown, v_numberless
    using v_ids;
    if v_unknown is not null then
        raise exception using errcode = 'PT400', message = format(
            'There are no such contacts: %s.', v_unknown
        );
    elsif v_numberless is not null then
        raise exception using errcode = 'PT400', message = format(
            'No phone number: %s. Add it, or leave them out.', v_numberless
        );
    end if;

    perform pg_advisory_xact_lock(hashtextextended(
        concat_ws('/', p_connection_id, p_at, v_audience, p_message), 0
    ));
    select campaign.id into write_to_contacts.id
    from public.campaigns as campaign
    where campaign.connection_id = p_connection_id
        and campaign.scheduled_at = p_at
        and campaign.audience = v_audience
        and campaign.message = p_message
        and campaign.status in ('scheduled', 'paused')
    limit 1;
    if not found then
        insert into public.campaigns as campaign (
            connection_id, name, message, audience, scheduled_at, max_recipients, status, owner_id
        )
        values (
            p_connection_id,
            left(regexp_replace(p_message, '\s+', ' ', 'g'), 60),
            p_message,
            v_audience,
            p_at,
            v_most,
            'scheduled',
            -- The guard writes the connection's owner.
            auth.uid()
        )
        returning campaign.id into write_to_contacts.id;
    end if;
    estimated_finish_at := coalesce((
        select estimate.ends_at from public.estimate_campaign(write_to_contacts.id) as estimate
    ), p_at);
    return next;
end
$$;
revoke all on function private.write_to_contacts from public;
grant execute on function private.write_to_contacts to authenticated, service_role;

-- Without a connection it is the only one that the caller may use; a time without an offset is the
-- connection's. Raises 400 with words for whoever pressed the button.
-- noqa: disable=RF01,RF03,ST05,LT02
create or replace function public.schedule_to_contacts(
    contact_ids bigint[], message text, scheduled_at text, connection_id text default null
)
returns table (id uuid, recipient_count integer, estimated_finish_at timestamptz)
language sql
volatile
set search_path = ''
begin atomic
    select
        made.id,
        made.recipient_count,
        made.estimated_finish_at
    from private.choose_connection(
        schedule_to_contacts.connection_id, array(select private.usable_connections())
    ) as chosen
    cross join lateral private.read_time(schedule_to_contacts.scheduled_at) as time
    cross join lateral (
        select coalesce(time.instant, private.wall_to_instant(time.wall, chosen.timezone)) as at
    ) as moment
    cross join lateral private.write_to_contacts(
        schedule_to_contacts.contact_ids, schedule_to_contacts.message, moment.at, chosen.id
    ) as made;
end;
-- noqa: enable=RF01,RF03,ST05,LT02
revoke all on function public.schedule_to_contacts from public, anon;
grant execute on function public.schedule_to_contacts to authenticated, service_role;
comment on function public.schedule_to_contacts(bigint[], text, text, text) is
'Makes and activates a campaign of one text to at most fifty contacts.';
