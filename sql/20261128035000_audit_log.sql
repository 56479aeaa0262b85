-- What happened to appointments and their messages: written by triggers, changed by nobody but the
-- database's owner, and the source of the files of EXPORT_DIR.
-- Locks: `create trigger` on scheduled_messages takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create table if not exists public.audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    -- The transaction that wrote it. Ids are given before they can be seen; in the order of
    -- transactions, up to the oldest one under way, nothing comes in between later.
    transaction xid8 not null default pg_current_xact_id(),
    connection_id text not null,
    owner_id uuid not null,
    kind text not null,
    record jsonb not null,
    constraint audit_log_kind_known check (
        kind in ('booked', 'moved', 'followup_set', 'cancelled', 'sent', 'failed')
    )
);
create index if not exists audit_log_transaction_idx on public.audit_log (transaction, id);
create index if not exists audit_log_connection_id_idx on public.audit_log (connection_id, id);
create index if not exists audit_log_owner_id_idx on public.audit_log (owner_id, id);
comment on table public.audit_log is
'scheduled messages: what happened to appointments and their messages, for good.';

alter table public.audit_log enable row level security;
revoke all on public.audit_log from public, anon, authenticated, service_role;
grant select on public.audit_log to authenticated, service_role;
drop policy if exists audit_log_policy on public.audit_log;
create policy audit_log_policy on public.audit_log
for select to authenticated
using (
    owner_id = (select auth.uid())
    or (connection_id, owner_id) in (
        select
            mine.connection_id,
            mine.owner_id
        from private.my_connections() as mine
    )
);

create or replace function private.refuse_change_of_audit()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    -- Whoever owns the table could drop this as well.
    if pg_has_role(
        (select c.relowner from pg_catalog.pg_class as c where c.oid = tg_relid), 'usage'
    ) then
        return null;
    end if;
    raise exception 'The audit log is written once and not changed.' using errcode = '42501';
end
$$;
revoke all on function private.refuse_change_of_audit from public;

create or replace trigger refuse_change before update or delete or truncate on public.audit_log
for each statement execute function private.refuse_change_of_audit();

-- Appointments as the log keeps them, with the number of their contact as it was, and the country
-- that a number without one belonged to.
drop function if exists private.audited(public.appointments);
create or replace function private.audited(p_appointments public.appointments[])
returns table (appointment_id uuid, connection_id text, owner_id uuid, record jsonb)
language sql
stable
set search_path = ''
as $$
    with person as materialized (
        select found.*
        from (
            select array_agg(distinct appointment.contact_id) as contact_ids
            from unnest(p_appointments) as appointment
            where appointment.contact_id is not null
        ) as asked
        cross join lateral private.people(asked.contact_ids, '{}') as found
        where asked.contact_ids is not null
    )
    select
        appointment.id,
        appointment.connection_id,
        appointment.owner_id,
        jsonb_build_object(
            'country_code', settings.country_code,
            'appointment_id', appointment.id,
            'patient_name', appointment.patient_name,
            'contact_id', appointment.contact_id,
            'mobile', coalesce(person.phone, appointment.mobile),
            'date', appointment.date,
            'time', to_char(appointment.time, 'HH24:MI'),
            'timezone', appointment.timezone,
            'doctor_name', appointment.doctor_name,
            'specialty', appointment.specialty,
            'followup_date', appointment.followup_date,
            'status', appointment.status
        )
    from unnest(p_appointments) as appointment
    left join public.connection_settings as settings
        on settings.connection_id = appointment.connection_id
    -- A contact counts only for its owner.
    left join person
        on person.contact_id = appointment.contact_id
        and person.owner in (appointment.owner_id::text, appointment.created_by::text)
$$;
revoke all on function private.audited from public;

create or replace function private.audit_booked()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    insert into public.audit_log (connection_id, owner_id, kind, record)
    select
        booked.connection_id,
        booked.owner_id,
        'booked',
        booked.record
    from private.audited(array(
        select new_row::public.appointments
        from new_appointments as new_row
    )) as booked;
    return null;
end
$$;
revoke all on function private.audit_booked from public;

create or replace trigger audit_booked after insert on public.appointments
referencing new table as new_appointments
for each statement execute function private.audit_booked();

-- A line for each thing that happened: an appointment that is moved and gets a follow-up date at
-- once has two. One that is moved to another connection is that one's from here on.
create or replace function private.audit_changed()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_nestloop = off -- the rows of a transition table are taken to be as few as the first time
as $$
begin
    with happened as materialized (
        select
            new_row.id,
            thing.place,
            thing.kind
        from new_appointments as new_row
        join old_appointments as old_row on old_row.id = new_row.id
        cross join lateral (
            values
            (
                1, 'moved',
                (old_row.date, old_row.time, old_row.timezone, old_row.connection_id)
                is distinct from
                (new_row.date, new_row.time, new_row.timezone, new_row.connection_id)
            ),
            (
                2, 'followup_set',
                new_row.followup_date is distinct from old_row.followup_date
            ),
            (
                3, 'cancelled',
                new_row.status in ('cancelled', 'no_show') and new_row.status <> old_row.status
            )
        ) as thing (place, kind, is_so)
        where thing.is_so
    )
    insert into public.audit_log (connection_id, owner_id, kind, record)
    select
        changed.connection_id,
        changed.owner_id,
        happened.kind,
        changed.record
    from private.audited(array(
        select new_row::public.appointments
        from new_appointments as new_row
        where new_row.id in (select happened.id from happened)
    )) as changed
    join happened on happened.id = changed.appointment_id
    order by happened.id, happened.place;
    return null;
end
$$;
revoke all on function private.audit_changed from public;

create or replace trigger audit_changed after update on public.appointments
referencing old table as old_appointments new table as new_appointments
for each statement execute function private.audit_changed();

create or replace function private.audit_deleted()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    insert into public.audit_log (connection_id, owner_id, kind, record)
    select
        gone.connection_id,
        gone.owner_id,
        'cancelled',
        gone.record || '{"deleted": true}'
    from private.audited(array(
        select old_row::public.appointments
        from old_appointments as old_row
        where old_row.status = 'booked'
    )) as gone;
    return null;
end
$$;
revoke all on function private.audit_deleted from public;

create or replace trigger audit_deleted after delete on public.appointments
referencing old table as old_appointments
for each statement execute function private.audit_deleted();

-- What became of each message of an appointment: its id, its text and the gateway's word.
create or replace function private.audit_outcomes()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_nestloop = off -- the rows of a transition table are taken to be as few as the first time
as $$
begin
    if not exists (select from new_messages as m where m.source_id is not null) then
        return null;
    end if;
    insert into public.audit_log (connection_id, owner_id, kind, record)
    select
        new_row.connection_id,
        new_row.owner_id,
        case new_row.status when 'sent' then 'sent' else 'failed' end,
        jsonb_build_object(
            'appointment_id', new_row.source_id,
            'scheduled_message_id', new_row.id,
            'number', new_row.source_position,
            'status', new_row.status,
            'contact_id', new_row.contact_id,
            'message', coalesce(nullif(new_row.message, ''), new_row.caption),
            'scheduled_at', new_row.scheduled_at,
            'sent_at', new_row.sent_at,
            'message_id', new_row.message_id,
            'error', new_row.error
        )
    from new_messages as new_row
    join old_messages as old_row on old_row.id = new_row.id
    where new_row.source_id = any(array(
        select appointment.id from public.appointments as appointment
        where appointment.id = any(array(
            select message.source_id from new_messages as message
            where message.source_id is not null
        ))
    ))
        and new_row.owner_id is not null
        and new_row.status in ('sent', 'failed', 'unconfirmed')
        and new_row.status <> old_row.status;
    return null;
end
$$;
revoke all on function private.audit_outcomes from public;

create or replace trigger audit_outcomes after update on public.scheduled_messages
referencing old table as old_messages new table as new_messages
for each statement execute function private.audit_outcomes();
