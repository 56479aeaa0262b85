-- What appointments should cause: each of them with each rule of its connection.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- When a message is to go out (null: not at all, and `why_not`), until when it makes sense, what it
-- says, and what is wrong with it.
create or replace function private.wanted_reminders(p_appointments uuid[])
returns table (
    appointment_id uuid,
    number integer,
    anchor text,
    wanted_at timestamptz,
    not_after timestamptz,
    when_past text,
    why_not text,
    fault text,
    zone text,
    text text,
    type text,
    media_url text,
    category text,
    template jsonb
)
language sql
stable
set search_path = ''
set enable_nestloop = off -- each appointment meets each rule, and there are no statistics
set work_mem = '64MB' -- thousands of bookings in one insert stay in memory
as $$
    -- The connections of these appointments, as they are now.
    with place as materialized (
        select
            asked.connection_id,
            asked.owner_id,
            coalesce(settings.timezone, 'UTC') as zone,
            coalesce(settings.display_name, known.name) as hospital_name,
            private.why_lost(asked.connection_id, asked.owner_id) as lost,
            coalesce(settings.enabled and settings.active, true) as is_on
        from (
            select distinct
                appointment.connection_id,
                appointment.owner_id
            from public.appointments as appointment
            where appointment.id = any(p_appointments)
        ) as asked
        left join public.connection_settings as settings
            on settings.connection_id = asked.connection_id
        -- A project's connections need have no name.
        left join lateral (
            select found.name
            from (values (null::text)) as missing (name)
            cross join lateral (
                select name::text as name
                from public.connections as connection
                where connection.id::text = asked.connection_id
            ) as found
        ) as known on true
    ),
    -- Their rules, with the text and the words for dates.
    rule as materialized (
        select
            place.*,
            r.number,
            r.anchor,
            r.day_offset,
            r.at,
            coalesce(r.shift, '0') as shift,
            r.when_past,
            place.lost is null and place.is_on and r.enabled as is_wanted,
            template.parts,
            template.variables as names,
            template.type,
            template.media_url,
            template.category,
            template.cloud,
            case
                when private.goes_by_cloud(place.connection_id)
                    then private.names_of_approved(template.cloud)
                else '{}'
            end as approved_names,
            template.on_missing = 'fault' as needs_all,
            case template.type when 'text' then 4096 else 1024 end as longest,
            words.language,
            -- Where there is no specialty, none is missed.
            '{"specialty": ""}'::jsonb
            || private.values_of(template.defaults)
            || jsonb_strip_nulls(jsonb_build_object('hospital_name', place.hospital_name)) as given,
            words.date_pattern,
            words.time_pattern,
            words.before_noon,
            words.after_noon,
            words.months
        from place
        join public.reminder_rules as r
            on r.connection_id = place.connection_id and r.owner_id = place.owner_id
        join public.message_templates as template on template.id = r.template_id
        left join private.date_words as words
            on words.language = lower(substring(template.language from '^[A-Za-z]+'))
    ),
    -- Each appointment, with the zone that its wall times are meant in, and its start.
    booked as materialized (
        select
            appointment.*,
            zone.name as zone,
            private.wall_to_instant(appointment.date + appointment.time, zone.name) as starts_at,
            case
                when appointment.variables = '{}' then '{}'
                else private.values_of(appointment.variables)
            end as given
        from public.appointments as appointment
        join place
            on place.connection_id = appointment.connection_id
            and place.owner_id = appointment.owner_id
        cross join lateral (select coalesce(appointment.timezone, place.zone) as name) as zone
        where appointment.id = any(p_appointments)
    ),
    -- Dates and times as each language writes them, each once.
    spelled_date as materialized (
        select
            words.language,
            day.date,
            private.spell_date(words.date_pattern, words.months, day.date) as words
        from (select distinct rule.language, rule.date_pattern, rule.months from rule) as words
        cross join (
            select booked.date from booked
            union
            select booked.followup_date from booked
        ) as day
    ),
    spelled_time as materialized (
        select
            words.language,
            moment.time,
            private.spell_time(
                words.time_pattern, words.before_noon, words.after_noon, moment.time
            ) as words
        from (
            select distinct
                rule.language,
                rule.time_pattern,
                rule.before_noon,
                rule.after_noon
            from rule
        ) as words
        cross join (select distinct booked.time from booked) as moment
    ),
    -- What fills the texts of each language. An appointment's own columns come before its
    -- variables; null stands for a language without words of its own.
    spoken as materialized (
        select
            booked.id,
            day.language,
            booked.given || jsonb_strip_nulls(jsonb_build_object(
                'patient_name', nullif(btrim(booked.patient_name), ''),
                'doctor_name', nullif(btrim(booked.doctor_name), ''),
                'specialty', nullif(btrim(booked.specialty), ''),
                'date', day.words,
                'time', moment.words,
                'followup_date', followup.words
            )) as given
        from booked
        join spelled_date as day on day.date = booked.date
        join spelled_time as moment
            on moment.time = booked.time
            and coalesce(moment.language, '') = coalesce(day.language, '')
        left join spelled_date as followup
            on followup.date = booked.followup_date
            and coalesce(followup.language, '') = coalesce(day.language, '')
    ),
    -- The wall time at which each rule speaks; null: never.
    timed as materialized (
        select
            booked.id,
            booked.zone as zone,
            booked.starts_at,
            booked.followup_date,
            booked.status,
            rule.number,
            rule.anchor,
            rule.when_past,
            rule.lost,
            rule.is_wanted,
            rule.parts,
            rule.names,
            rule.needs_all,
            rule.longest,
            rule.type,
            rule.media_url,
            rule.category,
            rule.cloud,
            rule.approved_names,
            rule.language,
            rule.given,
            case
                when not rule.is_wanted then null
                when rule.anchor = 'followup_date' and booked.status <> 'cancelled'
                    then private.wall_to_instant(
                        booked.followup_date + rule.day_offset + coalesce(rule.at, '09:00'),
                        booked.zone
                    )
                when booked.status <> 'booked' then null
                when rule.anchor = 'date' and rule.day_offset = 0 and rule.at is null
                    then booked.starts_at
                when rule.anchor = 'date'
                    then private.wall_to_instant(
                        booked.date + rule.day_offset + coalesce(rule.at, booked.time), booked.zone
                    )
                when rule.anchor = 'booked' and rule.at is not null
                    then private.wall_to_instant(
                        (booked.created_at at time zone booked.zone)::date
                        + rule.day_offset + rule.at,
                        booked.zone
                    )
                when rule.anchor = 'booked'
                    then booked.created_at + rule.day_offset * interval '24 hours'
            end + rule.shift as wanted_at
        from booked
        join rule
            on rule.connection_id = booked.connection_id
            and rule.owner_id = booked.owner_id
    ),
    filled as materialized (
        select
            timed.*,
            timed.given || spoken.given as all_given
        from timed
        join spoken
            on spoken.id = timed.id
            and coalesce(spoken.language, '') = coalesce(timed.language, '')
        where timed.wanted_at is not null
    )
    select
        filled.id,
        filled.number,
        filled.anchor,
        filled.wanted_at,
        -- What comes before the appointment is of no use once it has begun; what comes with it or
        -- after it, and a follow-up, once its own day is over.
        case
            when filled.anchor = 'followup_date'
                then private.wall_to_instant(
                    (filled.followup_date + 1)::timestamp, filled.zone
                )
            when filled.anchor = 'booked' or filled.wanted_at < filled.starts_at
                then filled.starts_at
            else private.wall_to_instant(
                ((filled.wanted_at at time zone filled.zone)::date + 1)::timestamp, filled.zone
            )
        end,
        filled.when_past,
        null,
        case
            when not filled.all_given ?& filled.approved_names
                then 'No value for {' || array_to_string(array(
                    select needed.name
                    from unnest(filled.approved_names) as needed (name)
                    where not filled.all_given ? needed.name
                ), '}, {') || '}, which the approved template needs.'
            when filled.needs_all and not filled.all_given ?& filled.names
                then 'No value for {' || array_to_string(
                    private.names_in(filled.parts, filled.all_given), '}, {'
                ) || '}.'
            when length(rendered.text) > filled.longest
                then format(
                    'The text has %s characters; %s are the most.',
                    length(rendered.text), filled.longest
                )
        end,
        filled.zone,
        rendered.text,
        filled.type,
        filled.media_url,
        filled.category,
        private.fill_approved(filled.cloud, filled.all_given, filled.media_url)
    from filled
    cross join lateral (
        select private.render(filled.parts, filled.all_given) as text
        offset 0
    ) as rendered
    union all
    select
        timed.id,
        timed.number,
        timed.anchor,
        null,
        null,
        timed.when_past,
        case
            when timed.lost is not null then timed.lost
            when not timed.is_wanted then 'These reminders are switched off.'
            when timed.status = 'booked' then 'The appointment has no such date.'
            else format('The appointment is %s.', replace(timed.status, '_', ' '))
        end,
        case when timed.status = 'booked' and timed.starts_at > now() then timed.lost end,
        timed.zone,
        null,
        timed.type,
        timed.media_url,
        timed.category,
        null
    from timed
    where timed.wanted_at is null
$$;
revoke all on function private.wanted_reminders from public;
