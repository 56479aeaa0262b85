-- What appointments cause: for each rule one message, made, moved, rendered anew or cancelled by
-- one statement, in the transaction that changes the appointment, a rule, a template or the
-- connection's settings. Whatever is wrong with a message is said on its appointment, and is never
-- an error of the booking.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Each appointment with each rule of its connection: when its message is to go out (null: not at
-- all), until when it makes sense, what it says, and what is wrong with it.
create or replace function private.wanted_reminders(p_appointments uuid[])
returns table (
    appointment_id uuid, number integer, anchor text, wanted_at timestamptz, why_not text, not_after timestamptz,
    text text, type text, media_url text, category text, zone text, when_past text, fault text
)
language sql
stable
set search_path = ''
set enable_seqscan = off
as $$
    with rule as materialized (
        select
            asked.connection_id,
            asked.owner_id,
            r.number,
            r.anchor,
            r.day_offset,
            r.at,
            coalesce(r.shift, '0') as shift,
            r.when_past,
            r.enabled and coalesce(settings.enabled and settings.active, true) as is_on,
            coalesce(settings.timezone, 'UTC') as zone,
            template.parts,
            template.variables as names,
            template.type,
            template.media_url,
            template.category,
            template.on_missing = 'fault' as needs_all,
            case template.type when 'text' then 4096 else 1024 end as longest,
            private.values_of(template.defaults) || private.values_of(jsonb_build_object(
                'hospital_name', coalesce(settings.display_name, connection.name)
            )) as given,
            words.date_pattern,
            words.time_pattern,
            words.before_noon,
            words.after_noon,
            words.months
        from (
            select distinct
                appointment.connection_id,
                appointment.owner_id
            from public.appointments as appointment
            where appointment.id = any(p_appointments)
        ) as asked
        join public.reminder_rules as r on r.connection_id = asked.connection_id and r.owner_id = asked.owner_id
        join public.message_templates as template on template.id = r.template_id
        left join private.date_words as words
            on words.language = lower(substring(template.language from '^[A-Za-z]+'))
        left join public.connection_settings as settings on settings.connection_id = asked.connection_id
        left join lateral (
            select named.name
            from (values (null::text)) as missing (name)
            cross join lateral (
                select name::text as name from public.connections as c where c.id::text = asked.connection_id
            ) as named
        ) as connection on true
    ),
    timed as materialized (
        select
            appointment.id,
            appointment.status,
            appointment.date,
            appointment.time,
            appointment.followup_date,
            appointment.patient_name,
            appointment.doctor_name,
            appointment.specialty,
            appointment.variables,
            rule.*,
            zone.name as wall_zone,
            case
                when not rule.is_on then null
                when rule.anchor = 'followup_date' and appointment.status <> 'cancelled' then
                    private.wall_to_instant(
                        appointment.followup_date + rule.day_offset + coalesce(rule.at, '09:00'), zone.name
                    ) + rule.shift
                when appointment.status <> 'booked' then null
                when rule.anchor = 'date' then
                    private.wall_to_instant(
                        appointment.date + rule.day_offset + coalesce(rule.at, appointment.time), zone.name
                    ) + rule.shift
                when rule.anchor = 'booked' and rule.at is null then
                    appointment.created_at + make_interval(days => rule.day_offset) + rule.shift
                when rule.anchor = 'booked' then
                    private.wall_to_instant(
                        (appointment.created_at at time zone zone.name)::date + rule.day_offset + rule.at, zone.name
                    ) + rule.shift
            end as instant
        from public.appointments as appointment
        join rule on rule.connection_id = appointment.connection_id and rule.owner_id = appointment.owner_id
        cross join lateral (select coalesce(appointment.timezone, rule.zone) as name) as zone
        where appointment.id = any(p_appointments)
    ),
    filled as materialized (
        select
            timed.*,
            -- An appointment's own columns come before its variables.
            timed.given
            || case when timed.variables = '{}' then '{}' else private.values_of(timed.variables) end
            || jsonb_strip_nulls(jsonb_build_object(
                'patient_name', nullif(btrim(timed.patient_name), ''),
                'doctor_name', nullif(btrim(timed.doctor_name), ''),
                'specialty', nullif(btrim(timed.specialty), ''),
                'date', private.spell_date(timed.date_pattern, timed.months, timed.date),
                'time', private.spell_time(timed.time_pattern, timed.before_noon, timed.after_noon, timed.time),
                'followup_date', private.spell_date(timed.date_pattern, timed.months, timed.followup_date)
            )) as all_given
        from timed
        where timed.instant is not null
    ),
    rendered as (
        select
            filled.*,
            private.render(filled.parts, filled.all_given) as text
        from filled
    )
    select
        rendered.id,
        rendered.number,
        rendered.anchor,
        rendered.instant,
        null,
        case
            when rendered.anchor = 'followup_date' then
                private.wall_to_instant((rendered.followup_date + 1)::timestamp, rendered.wall_zone)
            else private.wall_to_instant(rendered.date + rendered.time, rendered.wall_zone)
        end,
        rendered.text,
        rendered.type,
        rendered.media_url,
        rendered.category,
        rendered.wall_zone,
        rendered.when_past,
        case
            when rendered.needs_all and not rendered.all_given ?& rendered.names then
                'No value for {' || array_to_string(private.names_in(rendered.parts, rendered.all_given), '}, {') || '}.'
            when length(rendered.text) > rendered.longest then
                format('The text has %s characters; %s are the most.', length(rendered.text), rendered.longest)
        end
    from rendered
    union all
    select
        timed.id,
        timed.number,
        timed.anchor,
        null,
        case
            when not timed.is_on then 'These reminders are switched off.'
            when timed.status = 'booked' then 'The appointment has no such date.'
            else format('The appointment is %s.', replace(timed.status, '_', ' '))
        end,
        null, null, null, null, null, timed.wall_zone, timed.when_past, null
    from timed
    where timed.instant is null
$$;
revoke all on function private.wanted_reminders from public;

-- Makes the messages of these appointments what they should be. A message that is being sent, or
-- may have gone out, stays as it is; where its time has changed since, another is made.
create or replace function private.sync_reminders(p_appointments uuid[])
returns void
language plpgsql
set search_path = ''
set enable_seqscan = off
set enable_nestloop = on
as $$
begin
    with wanted as materialized (
        select
            w.*,
            appointment.connection_id,
            appointment.owner_id,
            appointment.created_by,
            coalesce(appointment.contact_id, appointment.mobile) as address,
            latest.id as latest_id,
            latest.status as latest_status,
            latest.scheduled_at as latest_at,
            latest.source_try as latest_try,
            latest.broadcast_job_id,
            -- By us, not by somebody who wanted this one reminder away.
            latest.status = 'failed' or (latest.status = 'cancelled' and latest.error is not null) as may_come_back
        from private.wanted_reminders(p_appointments) as w
        join public.appointments as appointment on appointment.id = w.appointment_id
        left join lateral (
            select message.*
            from public.scheduled_messages as message
            where message.source_id = w.appointment_id and message.source_position = w.number
            order by message.source_try desc
            limit 1
            for no key update
        ) as latest on true
    ),
    judged as materialized (
        select
            wanted.*,
            -- What is past is left out or sent at once; what is there already at its instant is not
            -- past.
            case
                when wanted.wanted_at is null or wanted.fault is not null or wanted.not_after <= now() then null
                when wanted.wanted_at >= now() or wanted.latest_at = wanted.wanted_at then wanted.wanted_at
                when wanted.when_past = 'now' then now()
            end as at,
            case
                when wanted.latest_id is null then 'none'
                when wanted.latest_status = 'pending' then 'open'
                when wanted.latest_status = 'processing' and private.withdraw_job(wanted.broadcast_job_id) then 'open'
                when wanted.latest_status in ('cancelled', 'failed') then
                    case when wanted.may_come_back then 'over' else 'left alone' end
                else 'gone out'
            end as is_now
        from wanted
    ),
    moved as (
        update public.scheduled_messages as message
        set
            status = 'pending',
            connection_id = judged.connection_id,
            contact_id = judged.address,
            scheduled_at = judged.at,
            timezone = judged.zone,
            not_after = judged.not_after,
            message = case when judged.type = 'text' then judged.text else '' end,
            caption = case when judged.type <> 'text' then nullif(judged.text, '') end,
            type = judged.type,
            media_url = judged.media_url,
            category = judged.category
        from judged
        where message.id = judged.latest_id
            and judged.at is not null
            and judged.is_now in ('open', 'over')
            and (
                message.status <> 'pending'
                or (
                    message.connection_id, message.contact_id, message.scheduled_at, message.not_after, message.message,
                    message.caption, message.type, message.media_url
                ) is distinct from (
                    judged.connection_id, judged.address, judged.at, judged.not_after,
                    case when judged.type = 'text' then judged.text else '' end,
                    case when judged.type <> 'text' then nullif(judged.text, '') end,
                    judged.type, judged.media_url
                )
            )
    ),
    ended as (
        update public.scheduled_messages as message
        set
            status = 'cancelled',
            error = coalesce(judged.fault, case
                when judged.wanted_at is null then judged.why_not
                else 'Its time has passed.'
            end)
        from judged
        where message.id = judged.latest_id
            and judged.at is null
            and judged.is_now = 'open'
    ),
    made as (
        insert into public.scheduled_messages (
            connection_id, contact_id, message, caption, type, media_url, scheduled_at, timezone, not_after,
            created_by, owner_id, category, priority, source_id, source_position, source_try
        )
        select
            judged.connection_id,
            judged.address,
            case when judged.type = 'text' then judged.text else '' end,
            case when judged.type <> 'text' then nullif(judged.text, '') end,
            judged.type,
            judged.media_url,
            judged.at,
            judged.zone,
            judged.not_after,
            judged.created_by,
            judged.owner_id,
            judged.category,
            0,
            judged.appointment_id,
            judged.number,
            coalesce(judged.latest_try + 1, 0)
        from judged
        where judged.at is not null
            and judged.address is not null
            and (
                judged.is_now = 'none'
                -- It went out for a time that is no longer the time.
                or (judged.is_now = 'gone out' and judged.anchor <> 'booked' and judged.latest_at <> judged.at)
            )
    ),
    said as (
        select
            judged.appointment_id,
            string_agg(judged.fault, ' ' order by judged.number) as fault
        from judged
        group by judged.appointment_id
    )
    update public.appointments as appointment
    set reminder_fault = said.fault
    from said
    where appointment.id = said.appointment_id
        and appointment.reminder_fault is distinct from said.fault;
end
$$;
revoke all on function private.sync_reminders from public;

-- The same for all of them together or, where that fails for a reason that nobody thought of, one
-- by one: only the appointment that it hangs on says so.
create or replace function private.try_reminders(p_appointments uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_one uuid;
begin
    perform private.sync_reminders(p_appointments);
exception when others then
    if cardinality(p_appointments) = 1 then
        update public.appointments as appointment
        set reminder_fault = left('The reminders could not be made: ' || sqlerrm, 500)
        where appointment.id = p_appointments[1];
        return;
    end if;
    foreach v_one in array p_appointments loop
        perform private.try_reminders(array[v_one]);
    end loop;
end
$$;
revoke all on function private.try_reminders from public;

create or replace function private.remind_of_appointments()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_ids uuid[];
begin
    select array_agg(changed.id) into v_ids from new_appointments as changed;
    if v_ids is not null then
        perform private.try_reminders(v_ids);
    end if;
    return null;
end
$$;
revoke all on function private.remind_of_appointments from public;

create or replace trigger remind_of_booked after insert on public.appointments
referencing new table as new_appointments
for each statement execute function private.remind_of_appointments();

create or replace function private.remind_of_changed()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_nestloop = off -- the rows of a transition table are taken to be as many as the first time
as $$
declare
    v_ids uuid[];
begin
    -- Its own word on what is wrong is no change.
    select array_agg(new_row.id)
    into v_ids
    from new_appointments as new_row
    join old_appointments as old_row on old_row.id = new_row.id
    where to_jsonb(new_row) - 'reminder_fault' - 'updated_at' <> to_jsonb(old_row) - 'reminder_fault' - 'updated_at';
    if v_ids is not null then
        perform private.try_reminders(v_ids);
    end if;
    return null;
end
$$;
revoke all on function private.remind_of_changed from public;

create or replace trigger remind_of_changed after update on public.appointments
referencing old table as old_appointments new table as new_appointments
for each statement execute function private.remind_of_changed();

-- An appointment that is deleted takes what waits with it.
create or replace function private.end_reminders_of_deleted()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_nestloop = off -- the rows of a transition table are taken to be as many as the first time
as $$
begin
    update public.scheduled_messages as message
    set
        status = 'cancelled',
        error = 'The appointment was deleted.'
    where message.source_id = any(array(select gone.id from old_appointments as gone))
        and (
            message.status = 'pending'
            or (message.status = 'processing' and private.withdraw_job(message.broadcast_job_id))
        );
    return null;
end
$$;
revoke all on function private.end_reminders_of_deleted from public;

create or replace trigger end_reminders_of_deleted after delete on public.appointments
referencing old table as old_appointments
for each statement execute function private.end_reminders_of_deleted();
