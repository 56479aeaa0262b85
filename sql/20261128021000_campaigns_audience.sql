-- What a campaign says, and to whom: the same for its activation, its rehearsal and its runs.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- The cut text of what a campaign sends, and what is known of its values: a template's in the
-- version given, or the latest.
create or replace function private.campaign_content(
    p_campaign public.campaigns, p_version integer default null
)
returns table (
    parts text[], type text, media_url text, media json, category text, cloud jsonb,
    on_missing text, variables jsonb, version integer
)
language sql
stable
set search_path = ''
as $$
    select
        version.parts,
        version.type,
        version.media_url,
        null::json,
        version.category,
        version.cloud,
        version.on_missing,
        private.values_of(version.defaults) || private.values_of(p_campaign.variables),
        version.version
    from private.template_versions as version
    where version.template_id = p_campaign.template_id
        and version.version = coalesce(
            p_version,
            (select template.version from public.message_templates as template
                where template.id = p_campaign.template_id)
        )
    union all
    select
        private.cut(case when p_campaign.type = 'text'
            then p_campaign.message else coalesce(p_campaign.caption, '') end),
        p_campaign.type,
        p_campaign.media_url,
        p_campaign.media,
        'marketing',
        null,
        'fault',
        private.values_of(p_campaign.variables),
        null
    where p_campaign.template_id is null
$$;
revoke all on function private.campaign_content from public;
grant execute on function private.campaign_content to service_role;

-- The file that a campaign sends and through which gateway, for whoever judges links; null where it
-- sends a text.
create or replace function private.attachment_of(p_campaign public.campaigns)
returns json
language sql
stable
set search_path = ''
as $$
    select json_build_object(
        'type', content.type,
        'media_url', content.media_url,
        'media', content.media,
        'gateway', (
            select settings.gateway
            from public.connection_settings as settings
            where settings.connection_id = p_campaign.connection_id
        )
    )
    from private.campaign_content(p_campaign) as content
    where content.type <> 'text'
$$;
revoke all on function private.attachment_of from public;
grant execute on function private.attachment_of to service_role;

-- The columns of a contact that fill places of these names: `name` is contact_name's.
create or replace function private.contact_fields(p_names text[])
returns table (name text, field text)
language sql
stable
set search_path = ''
as $$
    select
        case a.attname when 'contact_name' then 'name' else private.placeholder(a.attname) end,
        a.attname::text
    from pg_catalog.pg_attribute as a
    where a.attrelid = 'public.contacts'::regclass
        and a.attnum > 0
        and not a.attisdropped
        and case a.attname when 'contact_name'
            then 'name' else private.placeholder(a.attname) end = any(p_names)
$$;
revoke all on function private.contact_fields from public;
grant execute on function private.contact_fields to service_role;

-- What a campaign reads of these contacts, and no other column of theirs, which may be big: `given`
-- are the values for places of these names, at most a thousand characters of each; what is blank is
-- no value.
create or replace function private.people(p_contacts text[], p_names text[])
returns table (
    contact_id text, owner text, name text, phone text, is_blocked boolean, labels jsonb,
    timezone text, given jsonb
)
language plpgsql
stable
set search_path = ''
as $$
declare
    v_names text[];
    v_values text;
begin
    select
        coalesce(array_agg(field.name order by field.name), '{}'),
        coalesce(
            string_agg(
                format(
                    'case when c.%1$I::text ~ ''\S'' then left(c.%1$I::text, 1000) end', field.field
                ),
                ', ' order by field.name
            ),
            ''
        )
    into v_names, v_values
    from private.contact_fields(p_names) as field;
    return query execute format(
        'select found.*
        from (values (
            null::text, null::text, null::text, null::text, null::text, null::text, null::text
        )) as missing (
            phone_number, is_blocked, owner_id, user_id, contact_name, labels, timezone
        )
        cross join lateral (
            select
                c.id::text,
                coalesce(owner_id::text, user_id::text),
                left(contact_name::text, 256),
                left(phone_number::text, 256),
                private.is_yes(is_blocked::text),
                to_jsonb(labels),
                left(timezone::text, 64),
                jsonb_strip_nulls(jsonb_object($2, array[%s]::text[]))
            from public.contacts as c
            where c.id = any(array(
                select private.contact_key(asked.id) from unnest($1) as asked (id)
            ))
        ) as found',
        v_values
    )
    using p_contacts, v_names;
end
$$;
revoke all on function private.people from public;
grant execute on function private.people to service_role;

-- The audience's next contacts and numbers after a key, at most so many; the key is a place in the
-- list, or the id of the last contact. Of labels the index of the contacts' owner finds them.
create or replace function private.next_of_audience(
    p_campaign public.campaigns, p_key text, p_limit integer
)
returns table (place bigint, key text, contact_id text, raw text)
language plpgsql
stable
set search_path = ''
as $$
declare
    v_owner record;
begin
    if p_campaign.audience ?| array['contacts', 'numbers'] then
        return query
        select
            element.place,
            element.place::text,
            case when p_campaign.audience ? 'contacts' then element.value end,
            case when not p_campaign.audience ? 'contacts' then element.value end
        from jsonb_array_elements_text(
            coalesce(p_campaign.audience -> 'contacts', p_campaign.audience -> 'numbers')
        ) with ordinality as element (value, place)
        where element.place > coalesce(p_key, '0')::bigint
        order by element.place
        limit p_limit;
        return;
    end if;
    if not exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = 'public.contacts'::regclass
            and a.attname = 'labels'
            and not a.attisdropped
    ) then
        return;
    end if;
    select
        a.attname,
        format_type(a.atttypid, null) as type
    into v_owner
    from pg_catalog.pg_attribute as a
    where a.attrelid = 'public.contacts'::regclass
        and a.attname in ('owner_id', 'user_id')
        and not a.attisdropped
    order by a.attname
    limit 1;
    return query execute format(
        'select
            row_number() over (order by contact.id), contact.id::text, contact.id::text, null::text
        from public.contacts as contact
        where contact.%I = $1::text::%s
            and ($2 is null or contact.id > private.contact_key($2))
            and to_jsonb(contact.labels) %s $3
        order by contact.id
        limit $4',
        v_owner.attname, v_owner.type,
        case p_campaign.audience ->> 'match' when 'all' then '?&' else '?|' end
    )
    using
        p_campaign.owner_id, p_key,
        array(select jsonb_array_elements_text(p_campaign.audience -> 'labels')), p_limit;
end
$$;
revoke all on function private.next_of_audience from public;
grant execute on function private.next_of_audience to service_role;

-- Whether a text shows nothing: white space, controls, and what Unicode calls ignorable or a
-- format. worker/text/characters.py says the same, but for marks that stand alone.
create or replace function private.is_blank(p_text text)
returns boolean
language sql
immutable
strict
parallel safe
set search_path = ''
as $$
    select p_text !~ (
        '[^\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2'
        '\u115f-\u1160\u1680\u17b4-\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u2064'
        '\u2066-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000110bd\U000110cd'
        '\U00013430-\U00013438\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001'
        '\U000e0020-\U000e007f\U000e0100-\U000e01ef]'
    )
$$;
revoke all on function private.is_blank from public;
grant execute on function private.is_blank to service_role;

-- One of an audience. `raw`: the number as it was written; `is_judged`: whether `recipient`
-- (Python) has judged it by the rules that were named; `variables`: all values that its text is
-- made with; `fault`: why it gets nothing, in words and as one of a few kinds;
-- `timezone`: what its contact says, or its number.
drop type if exists private.recipient cascade;
create type private.recipient as (
    place bigint, contact_id text, name text, raw text, address text, is_judged boolean,
    variables jsonb, text text, fault text, fault_kind text, timezone text
);
-- One with the key of the audience at which it stands, whether its number came before it in the
-- same portion, and, where the campaign goes by the recipients' clocks, when its time is.
drop type if exists private.candidate cascade;
create type private.candidate as (
    recipient private.recipient, key text, is_repeated boolean, due_at timestamptz
);

-- These contacts and numbers as recipients of a campaign: the same for a run and for its rehearsal.
-- Without rules a number counts as it was last judged, by whichever. `p_gateway`: the one of
-- connections that name none.
create or replace function private.as_recipients(
    p_campaign public.campaigns, p_version integer,
    p_places bigint[], p_contacts text[], p_numbers text[], p_rules_version text,
    p_gateway text default null
)
returns setof private.recipient
language sql
stable
set search_path = ''
set enable_seqscan = off
as $$
    with content as materialized (
        select
            content.parts,
            content.type,
            named.names,
            -- What no place asks for is not kept with each of a hundred thousand.
            (
                select coalesce(jsonb_object_agg(known.name, known.value), '{}')
                from jsonb_each(content.variables) as known (name, value)
                where known.name = any(named.names)
            ) as variables,
            -- The Cloud API takes no place without a value.
            case
                when content.on_missing = 'fault' then named.of_text
                else '{}'
            end || case
                when coalesce(settings.gateway, p_gateway) = 'cloud'
                    or private.goes_by_cloud(p_campaign.connection_id) then named.of_approved
                else '{}'
            end as needed,
            case when content.type = 'text' then 4096 else 1024 end as longest,
            coalesce(settings.country_code, '') as country_code,
            -- Who writes to people by the ids that WhatsApp gives them beside their numbers.
            coalesce(settings.gateway, p_gateway) in ('cloud', 'mock') as takes_user_ids,
            array(select jsonb_array_elements_text(p_campaign.audience -> 'except' -> 'contacts'))
                as except_contacts,
            array(select jsonb_array_elements_text(p_campaign.audience -> 'except' -> 'labels'))
                as except_labels
        from private.campaign_content(p_campaign, p_version) as content
        cross join lateral (
            select
                given.of_text,
                given.of_approved,
                given.of_text || given.of_approved as names
            from (
                select
                    private.names_in(content.parts) as of_text,
                    private.names_of_approved(content.cloud) as of_approved
            ) as given
        ) as named
        left join public.connection_settings as settings
            on settings.connection_id = p_campaign.connection_id
    ),
    contact as materialized (
        select found.*
        from content
        cross join lateral private.people(p_contacts, content.names) as found
        where found.owner = p_campaign.owner_id::text
    ),
    person as materialized (
        select
            given.place,
            given.contact_id,
            contact.name,
            coalesce(given.number, contact.phone) as raw,
            contact.is_blocked,
            contact.timezone,
            given.contact_id is not null and contact.contact_id is null as is_gone,
            given.contact_id = any(content.except_contacts)
            or contact.labels ?| content.except_labels as is_excepted,
            content.variables || coalesce(contact.given, '{}') as all_values
        from content
        cross join unnest(p_places, p_contacts, p_numbers)
            as given (place, contact_id, number)
        left join contact on contact.contact_id = given.contact_id
    ),
    judged as materialized (
        select
            person.*,
            number.address,
            case
                when number.address ~ '^[A-Z]{2}\.' and not content.takes_user_ids
                    then 'This is a business-scoped user id, which only the WhatsApp Cloud API '
                        'can write to.'
                else number.fault
            end as number_fault,
            number.timezone as number_timezone,
            number.raw is not null or coalesce(person.raw, '') = '' as is_judged,
            private.render(content.parts, person.all_values) as text,
            content.longest,
            case when not person.all_values ?& content.needed
                then array(
                select distinct needed.name
                from unnest(content.needed) as needed (name)
                where not person.all_values ? needed.name
                order by needed.name
            ) end as missing
        from person
        cross join content
        left join lateral (
            select known.*
            from private.judged_numbers as known
            where known.raw = person.raw
                and known.country_code = content.country_code
                and known.rules_version = coalesce(p_rules_version, known.rules_version)
                and (p_campaign.zone_of <> 'recipient' or known.timezone is not null)
            limit 1
        ) as number on true
    ),
    found as materialized (
        select
            judged.*,
            case
                when judged.is_gone then 'gone'
                when judged.is_excepted then 'excepted'
                when judged.is_blocked then 'blocked'
                when coalesce(judged.raw, '') = '' then 'no_number'
                when judged.number_fault is not null then 'bad_number'
                when judged.missing is not null then 'missing_value'
                when length(judged.text) > judged.longest then 'too_long'
                when judged.longest = 4096 and private.is_blank(judged.text) then 'empty'
            end as fault_kind
        from judged
    )
    select
        found.place,
        found.contact_id,
        found.name,
        found.raw,
        found.address,
        found.is_judged,
        found.all_values,
        found.text,
        case found.fault_kind
            when 'gone' then 'This contact does not exist any more.'
            when 'excepted' then 'Excepted from this campaign.'
            when 'blocked' then 'This contact is blocked.'
            when 'no_number' then 'This contact has no phone number.'
            when 'bad_number' then found.number_fault
            when 'missing_value'
                then 'No value for {' || array_to_string(found.missing, '}, {') || '}.'
            when 'too_long'
                then format(
                    'The text has %s characters with these values; %s are the most.',
                    length(found.text), found.longest
                )
            when 'empty' then 'The text is empty with these values.'
        end,
        found.fault_kind,
        coalesce(nullif(btrim(found.timezone), ''), nullif(found.number_timezone, ''))
    from found
$$;
revoke all on function private.as_recipients from public;
grant execute on function private.as_recipients
to service_role;

-- The zone whose wall clock a campaign's time is read on; null where nobody has said.
create or replace function private.campaign_zone(p_campaign public.campaigns)
returns text
language sql
stable
set search_path = ''
as $$
    select coalesce(p_campaign.timezone, (
        select settings.timezone
        from public.connection_settings as settings
        where settings.connection_id = p_campaign.connection_id
    ))
$$;
revoke all on function private.campaign_zone from public;
grant execute on function private.campaign_zone to service_role;

-- The zones of recipients, as the IANA database spells them, and the time on the wall as an instant
-- there. What is no zone, or is not known, is the campaign's.
create or replace function private.wall_in_zones(p_wall timestamp, p_zones text[], p_else text)
returns table (written text, timezone text, at timestamptz)
language sql
volatile
set search_path = ''
as $$
    select
        zone.written,
        known.timezone,
        private.wall_to_instant(p_wall, known.timezone)
    from (select distinct given.zone as written from unnest(p_zones) as given (zone)) as zone
    cross join lateral (
        select coalesce(private.timezone_name(zone.written), p_else) as timezone
    ) as known
$$;
revoke all on function private.wall_in_zones from public;
grant execute on function private.wall_in_zones, private.timezone_name to service_role;

-- The audience's next after a key, at most so many, in its order, for an occurrence: what a run is
-- frozen with, and a rehearsal. Zones are as the IANA database spells them, null where nobody
-- knows; for some whose clock counts the time has passed.
create or replace function private.next_recipients(
    p_campaign public.campaigns, p_version integer, p_occurrence_at timestamptz, p_key text,
    p_limit integer, p_rules_version text, p_gateway text default null
)
returns setof private.candidate
language sql
volatile
set search_path = ''
as $$
    with next as materialized (
        select next.* from private.next_of_audience(p_campaign, p_key, p_limit) as next
    ),
    asked as (
        select
            array_agg(next.place) as places,
            array_agg(next.contact_id) as contacts,
            array_agg(next.raw) as numbers
        from next
    ),
    found as materialized (
        select recipient.*
        from asked
        cross join lateral private.as_recipients(
            p_campaign, p_version, asked.places, asked.contacts, asked.numbers, p_rules_version,
            p_gateway
        ) as recipient
    ),
    clock as materialized (
        select
            coalesce(private.campaign_zone(p_campaign), 'UTC') as timezone,
            p_campaign.zone_of = 'recipient' as is_each_ones
    ),
    zone as materialized (
        select wall.*
        from clock
        cross join lateral private.wall_in_zones(
            p_occurrence_at at time zone clock.timezone,
            array(
                select coalesce(found.timezone, clock.timezone)
                from found
                where clock.is_each_ones or found.timezone is not null
            ),
            clock.timezone
        ) as wall
    ),
    timed as materialized (
        select
            found.*,
            zone.timezone as known_timezone,
            case when clock.is_each_ones then zone.at end as due_at,
            case
                when clock.is_each_ones
                    and zone.at < coalesce(p_campaign.activated_at, now()) - interval '1 minute'
                    then format(
                        '%s in %s had passed already when the campaign was activated.',
                        to_char(
                            p_occurrence_at at time zone clock.timezone, 'YYYY-MM-DD HH24:MI'
                        ),
                        zone.timezone
                    )
            end as passed
        from found
        cross join clock
        left join zone
            on zone.written = coalesce(
                found.timezone, case when clock.is_each_ones then clock.timezone end
            )
    )
    select
        (
            timed.place, timed.contact_id, timed.name, timed.raw, timed.address, timed.is_judged,
            timed.variables, timed.text, coalesce(timed.fault, timed.passed),
            coalesce(timed.fault_kind, case when timed.passed is not null then 'passed' end),
            timed.known_timezone
        )::private.recipient,
        next.key,
        timed.address is not null and row_number() over (
            partition by timed.fault is null and timed.passed is null, timed.address
            order by timed.place
        ) > 1,
        timed.due_at
    from timed
    join next on next.place = timed.place
    order by timed.place
$$;
revoke all on function private.next_recipients from public;
grant execute on function private.next_recipients to service_role;

-- What `recipient` found of numbers as they were written. Other rules judge anew.
create or replace function public.record_judged_numbers(
    p_country_code text, p_rules_version text, p_raw text[], p_addresses text[], p_faults text[],
    p_timezones text[] default null
)
returns table (recorded integer)
language sql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
    with written as (
        insert into private.judged_numbers
            as number (raw, country_code, address, fault, timezone, rules_version)
        select
            given.raw,
            p_country_code,
            given.address,
            given.fault,
            given.timezone,
            p_rules_version
        from unnest(p_raw, p_addresses, p_faults, p_timezones)
            as given (raw, address, fault, timezone)
        order by given.raw
        on conflict (raw, country_code) do update
        set
            address = excluded.address,
            fault = excluded.fault,
            timezone = excluded.timezone,
            rules_version = excluded.rules_version
        returning 1
    )
    select count(*)::integer from written
$$;
revoke all on function public.record_judged_numbers
from public, anon, authenticated;
grant execute on function public.record_judged_numbers to service_role;
