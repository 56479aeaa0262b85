-- What appointments cause is made, moved, rendered anew or cancelled by one statement for all of
-- them, in the transaction that books, moves or ends them.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Whether a message was cancelled because its owner lost the right to send it. It comes back only
-- with what somebody does who has the right again.
create or replace function private.was_lost(p_error text)
returns boolean
language sql
immutable
set search_path = ''
as $$
    select p_error ~ '^(The account|The connection|The WhatsApp connection|There is no such conn)'
$$;
revoke all on function private.was_lost from public;

-- Makes the messages of these appointments what they should be. A message that is being sent, or
-- may have gone out, stays as it is; where the appointment's time has changed since, another is
-- made. Whatever is wrong with one is said on its appointment.
-- p_is_edit: the appointment itself has changed, so that what is past follows `when_past`; what a
-- rule, a text or a switch changes, makes nothing that is past.
create or replace function private.sync_reminders(p_appointments uuid[], p_is_edit boolean)
returns void
language plpgsql
set search_path = ''
set enable_seqscan = off -- each message and each appointment by its key, whatever is said of them
set work_mem = '64MB' -- thousands of bookings in one insert stay in memory
as $$
begin
    -- What there is, in the order in which everybody locks messages.
    with held as materialized (
        select message.*
        from public.scheduled_messages as message
        where message.source_id = any(p_appointments)
        order by message.id
        for no key update
    ),
    -- Of each rule the last one; those before it have gone out.
    latest as materialized (
        select distinct on (held.source_id, held.source_position) held.*
        from held
        order by held.source_id, held.source_position, held.source_try desc
    ),
    -- What there should be beside what there is. A rule that is gone wants nothing.
    beside as materialized (
        select
            coalesce(wanted.appointment_id, latest.source_id) as appointment_id,
            coalesce(wanted.number, latest.source_position) as number,
            wanted.anchor,
            wanted.wanted_at,
            wanted.not_after,
            wanted.when_past,
            coalesce(wanted.why_not, 'There is no such reminder any more.') as why_not,
            wanted.fault,
            wanted.zone,
            case when wanted.type = 'text' then wanted.text else '' end as message,
            case when wanted.type <> 'text' then nullif(wanted.text, '') end as caption,
            wanted.type,
            wanted.media_url,
            wanted.category,
            wanted.template,
            latest.id as message_id,
            latest.status,
            latest.error,
            latest.source_try,
            latest.broadcast_job_id,
            latest.connection_id as was_connection_id,
            latest.contact_id as was_address,
            latest.scheduled_at as was_at,
            latest.not_after as was_not_after,
            (
                latest.timezone,
                latest.message,
                latest.caption,
                latest.type,
                latest.media_url,
                latest.category,
                latest.template
            ) as was_content
        from private.wanted_reminders(p_appointments) as wanted
        full join latest
            on latest.source_id = wanted.appointment_id
            and latest.source_position = wanted.number
        where wanted.wanted_at is not null
            or wanted.fault is not null
            or latest.id is not null
    ),
    -- Whom each writes to: the contact, whose number is the one that counts, else the number.
    called as materialized (
        select
            appointment.id,
            appointment.connection_id,
            appointment.owner_id,
            private.author_of(
                appointment.connection_id, appointment.owner_id, appointment.created_by
            ) as created_by,
            appointment.reminder_fault is not null as had_fault,
            coalesce(settings.country_code, '') as country_code,
            nullif(btrim(appointment.contact_id), '') as contact_id,
            coalesce(
                nullif(btrim(appointment.contact_id), ''), nullif(btrim(appointment.mobile), '')
            ) as address
        from public.appointments as appointment
        left join public.connection_settings as settings
            on settings.connection_id = appointment.connection_id
        where appointment.id = any(p_appointments)
    ),
    person as materialized (
        select found.*
        from (
            select array_agg(distinct called.contact_id) as contact_ids
            from called
            where called.contact_id !~ '[@+]'
        ) as asked
        cross join lateral private.people(asked.contact_ids, '{}') as found
        where asked.contact_ids is not null
    ),
    -- What is known of the number already: it is judged by `recipient` (Python), and nothing waits
    -- for that.
    numbered as materialized (
        select
            called.*,
            raw.number as raw,
            raw.number is not null and judged.raw is null as is_asked,
            case
                when person.is_blocked
                    then 'This contact is blocked. Unblock the contact to write to it.'
                when raw.number is null and called.address is not null then format(
                    'Contact %s has no phone number: add one, then schedule again.',
                    case
                        when length(called.contact_id) <= 6 then called.contact_id
                        else '…' || right(called.contact_id, 4)
                    end
                )
                else judged.fault
            end as number_fault
        from called
        left join person
            on person.contact_id = called.contact_id
            and person.owner in (called.owner_id::text, called.created_by::text)
        cross join lateral (
            select case
                when person.contact_id is null then called.address
                when person.phone ~ '\S' then btrim(person.phone)
            end as number
        ) as raw
        left join private.judged_numbers as judged
            on judged.raw = raw.number and judged.country_code = called.country_code
    ),
    -- Its instant now; null: there is to be none. One that waits for its turn is not past.
    dated as materialized (
        select
            beside.*,
            numbered.connection_id,
            numbered.owner_id,
            numbered.created_by,
            numbered.address,
            numbered.country_code,
            numbered.raw,
            numbered.is_asked,
            numbered.number_fault,
            case
                when beside.wanted_at is null
                    or beside.fault is not null
                    or numbered.address is null
                    or beside.not_after <= now() then null
                when beside.wanted_at >= now() then beside.wanted_at
                when beside.status in ('pending', 'processing')
                    and (beside.anchor = 'booked' or beside.was_not_after = beside.not_after)
                    and beside.was_at <= now() then beside.was_at
                -- What failed goes to the number that was put right.
                when p_is_edit
                    and beside.status = 'failed'
                    and beside.was_address <> numbered.address then now()
                when p_is_edit
                    and beside.anchor <> 'booked'
                    and beside.when_past = 'now' then now()
                -- What could not be made when it was booked is confirmed once that is mended.
                when p_is_edit
                    and numbered.had_fault
                    and beside.anchor = 'booked'
                    and (
                        beside.status is null
                        or beside.status = 'cancelled' and beside.error is not null
                    ) then now()
            end as at,
            case
                when beside.fault is not null then beside.fault
                when numbered.address is null and beside.wanted_at is not null
                    and beside.not_after > now() then 'There is no mobile number, and no contact.'
            end as wrong
        from beside
        join numbered on numbered.id = beside.appointment_id
    ),
    compared as materialized (
        select
            dated.*,
            dated.at is null or (
                dated.was_connection_id,
                dated.was_address,
                dated.was_at,
                dated.was_not_after,
                dated.was_content
            ) is distinct from (
                dated.connection_id,
                dated.address,
                dated.at,
                dated.not_after,
                (
                    dated.zone,
                    dated.message,
                    dated.caption,
                    dated.type,
                    dated.media_url,
                    dated.category,
                    dated.template
                )
            ) as differs
        from dated
    ),
    -- What can still be done about it. What was cancelled without a reason was cancelled by hand,
    -- and stays so.
    judged as materialized (
        select
            compared.*,
            case
                when compared.message_id is null then 'none'
                when compared.status = 'pending' then 'open'
                when compared.status = 'processing' and not compared.differs then 'open'
                when compared.status in ('sent', 'unconfirmed') then 'gone out'
                when compared.status = 'processing'
                    and not private.withdraw_job(compared.broadcast_job_id) then 'being sent'
                when compared.status in ('processing', 'cancelled')
                    and compared.broadcast_job_id is not null
                    and private.may_have_gone_out(compared.broadcast_job_id) then 'gone out'
                when compared.status = 'processing' then 'open'
                when compared.status = 'failed' then case
                    when (compared.was_address, compared.was_not_after)
                        is distinct from (compared.address, compared.not_after) then 'over'
                    else 'failed'
                end
                when compared.status = 'cancelled' and not p_is_edit
                    and private.was_lost(compared.error) then 'lost'
                when compared.status = 'cancelled' and compared.error is not null then 'over'
                else 'left alone'
            end as is_now
        from compared
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
            message = judged.message,
            caption = judged.caption,
            type = judged.type,
            media_url = judged.media_url,
            category = judged.category,
            template = judged.template
        from judged
        where message.id = judged.message_id
            and judged.at is not null
            and (judged.is_now = 'over' or (judged.is_now = 'open' and judged.differs))
    ),
    ended as (
        update public.scheduled_messages as message
        set
            status = 'cancelled',
            error = coalesce(
                judged.wrong,
                case when judged.wanted_at is null then judged.why_not end,
                'Its time has passed.'
            )
        from judged
        where message.id = judged.message_id
            and judged.at is null
            and judged.is_now = 'open'
    ),
    made as (
        insert into public.scheduled_messages (
            connection_id,
            contact_id,
            message,
            caption,
            type,
            media_url,
            scheduled_at,
            timezone,
            not_after,
            created_by,
            owner_id,
            category,
            priority,
            template,
            source_id,
            source_position,
            source_try
        )
        select
            judged.connection_id,
            judged.address,
            judged.message,
            judged.caption,
            judged.type,
            judged.media_url,
            judged.at,
            judged.zone,
            judged.not_after,
            judged.created_by,
            judged.owner_id,
            judged.category,
            0,
            judged.template,
            judged.appointment_id,
            judged.number,
            coalesce(judged.source_try + 1, 0)
        from judged
        where judged.at is not null
            and (
                judged.is_now = 'none'
                -- It went out for a time that is no longer the appointment's.
                or (
                    judged.is_now in ('gone out', 'being sent')
                    and judged.anchor <> 'booked'
                    and judged.was_not_after is distinct from judged.not_after
                )
            )
    ),
    asked as (
        insert into private.numbers_asked as known (appointment_id, raw, country_code)
        select distinct
            judged.appointment_id,
            judged.raw,
            judged.country_code
        from judged
        where judged.at is not null and judged.is_asked
        on conflict (appointment_id) do update
        set
            raw = excluded.raw,
            country_code = excluded.country_code
    ),
    said as (
        select
            judged.appointment_id,
            left(string_agg(distinct case
                when judged.is_now = 'being sent' and judged.wanted_at is not null
                    then 'A reminder was being sent when this was changed.'
                when judged.is_now = 'failed' or judged.status = 'unconfirmed' then judged.error
                when judged.is_now = 'lost' and judged.at is not null then
                    'It was cancelled when the connection, or the account, was lost. Set its '
                    'messages pending again, or change the appointment.'
                when judged.at is not null and judged.is_now not in ('gone out', 'left alone')
                    then judged.number_fault
                else judged.wrong
            end, ' '), 500) as fault
        from judged
        group by judged.appointment_id
    )
    update public.appointments as appointment
    set reminder_fault = heard.fault
    from (
        select
            changed.id,
            said.fault
        from unnest(p_appointments) as changed (id)
        left join said on said.appointment_id = changed.id
    ) as heard
    where appointment.id = heard.id
        and appointment.reminder_fault is distinct from heard.fault;
end
$$;
revoke all on function private.sync_reminders from public;

-- The same for all of them together or, where that fails for a reason that nobody thought of, half
-- by half: only the appointment that it hangs on says so.
create or replace function private.try_reminders(p_appointments uuid[], p_is_edit boolean)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_half constant integer := cardinality(p_appointments) / 2;
begin
    if p_appointments is not null then
        perform private.sync_reminders(p_appointments, p_is_edit);
    end if;
exception when others then
    if v_half = 0 then
        update public.appointments as appointment
        set reminder_fault = left('The reminders could not be made: ' || sqlerrm, 500)
        where appointment.id = p_appointments[1];
    else
        perform private.try_reminders(p_appointments[:v_half], p_is_edit);
        perform private.try_reminders(p_appointments[v_half + 1:], p_is_edit);
    end if;
end
$$;
revoke all on function private.try_reminders from public;

create or replace function private.remind_of_booked()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.try_reminders(array(select booked.id from new_appointments as booked), true);
    return null;
end
$$;
revoke all on function private.remind_of_booked from public;

create or replace trigger remind_of_booked after insert on public.appointments
referencing new table as new_appointments
for each statement execute function private.remind_of_booked();

create or replace function private.remind_of_changed()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_nestloop = off -- the rows of a transition table are taken to be as few as the first time
as $$
begin
    -- Its own word on what is wrong is no change, nor is a column that the project has added.
    perform private.try_reminders(array_agg(new_row.id), true)
    from new_appointments as new_row
    join old_appointments as old_row on old_row.id = new_row.id
    where (
        new_row.owner_id,
        new_row.connection_id,
        new_row.contact_id,
        new_row.patient_name,
        new_row.mobile,
        new_row.date,
        new_row.time,
        new_row.timezone,
        new_row.doctor_name,
        new_row.specialty,
        new_row.followup_date,
        new_row.status,
        new_row.variables
    ) is distinct from (
        old_row.owner_id,
        old_row.connection_id,
        old_row.contact_id,
        old_row.patient_name,
        old_row.mobile,
        old_row.date,
        old_row.time,
        old_row.timezone,
        old_row.doctor_name,
        old_row.specialty,
        old_row.followup_date,
        old_row.status,
        old_row.variables
    );
    return null;
end
$$;
revoke all on function private.remind_of_changed from public;

create or replace trigger remind_of_changed after update on public.appointments
referencing old table as old_appointments new table as new_appointments
for each statement execute function private.remind_of_changed();

-- Cancels what is not over of these appointments: of the rules with these numbers, or all of it.
-- What is being sent goes out.
create or replace function private.end_reminders(
    p_appointments uuid[], p_numbers integer[], p_reason text
)
returns void
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
begin
    -- In the order in which everybody locks messages.
    with held as materialized (
        select
            message.id,
            message.status,
            message.broadcast_job_id
        from public.scheduled_messages as message
        where message.source_id = any(p_appointments)
            and (p_numbers is null or message.source_position = any(p_numbers))
            and message.status in ('pending', 'processing')
        order by message.id
        for no key update
    )
    update public.scheduled_messages as message
    set
        status = 'cancelled',
        error = p_reason
    from held
    where message.id = held.id
        and (held.status = 'pending' or private.withdraw_job(held.broadcast_job_id));
end
$$;
revoke all on function private.end_reminders from public;

create or replace function private.end_reminders_of_deleted()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.end_reminders(
        array(select gone.id from old_appointments as gone), null, 'The appointment was deleted.'
    );
    return null;
end
$$;
revoke all on function private.end_reminders_of_deleted from public;

create or replace trigger end_reminders_of_deleted after delete on public.appointments
referencing old table as old_appointments
for each statement execute function private.end_reminders_of_deleted();
