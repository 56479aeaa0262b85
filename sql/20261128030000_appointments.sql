-- Appointments, and the rules by which they remind. What a rule makes is a row of
-- scheduled_messages, written, moved and cancelled in the transaction that books, moves or cancels
-- (reminders_of_appointments).
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

create table if not exists public.appointments (
    id uuid primary key default gen_random_uuid(),
    owner_id uuid not null,
    created_by uuid default auth.uid(),
    connection_id text not null,
    -- Where there is one, its number counts; else `mobile`.
    contact_id text,
    patient_name text,
    mobile text,
    -- Wall time in `timezone`, else in the connection's.
    date date not null,
    time time not null,
    timezone text,
    doctor_name text,
    specialty text,
    followup_date date,
    status text not null default 'booked',
    variables jsonb not null default '{}',
    -- What is wrong with one of its messages; the database's.
    reminder_fault text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (id, owner_id),
    constraint appointments_status_known check (
        status in ('booked', 'visited', 'cancelled', 'no_show')
    ),
    constraint appointments_sane_dates check (
        date between '2000-01-01' and '2199-12-31'
        and followup_date between '2000-01-01' and '2199-12-31'
    ),
    constraint appointments_lengths check (
        coalesce(length(patient_name), 0) <= 256
        and coalesce(length(mobile), 0) <= 64
        and coalesce(length(doctor_name), 0) <= 256
        and coalesce(length(specialty), 0) <= 256
        and coalesce(length(contact_id), 0) <= 256
    ),
    constraint appointments_variables_object check (
        jsonb_typeof(variables) = 'object' and length(variables::text) <= 16384
    )
);
create index if not exists appointments_owner_id_idx on public.appointments (owner_id, date);
create index if not exists appointments_connection_id_idx
on public.appointments (connection_id, date);
create index if not exists appointments_followup_date_idx
on public.appointments (connection_id, followup_date) where followup_date is not null;
create index if not exists appointments_contact_id_idx
on public.appointments (contact_id) where contact_id is not null;
comment on table public.appointments is 'scheduled messages: appointments that remind.';
comment on constraint appointments_status_known on public.appointments is
'An appointment is booked, visited, cancelled or no_show.';
comment on constraint appointments_sane_dates on public.appointments is
'The dates must lie between the years 2000 and 2199.';
comment on constraint appointments_lengths on public.appointments is
'A name or a number of the appointment is too long.';
comment on constraint appointments_variables_object on public.appointments is
'The variables are an object of names and values, at most 16 kB of it.';

create table if not exists public.reminder_rules (
    id uuid primary key default gen_random_uuid(),
    owner_id uuid not null,
    connection_id text not null,
    -- Which of an appointment's messages it makes; never used twice on a connection. The
    -- database's.
    number integer not null default 0,
    name text not null,
    anchor text not null,
    -- Days from the anchor's date, and the time of that day; without `at` the anchor's own time,
    -- shifted.
    day_offset integer not null default 0,
    at time,
    shift interval,
    template_id uuid not null,
    enabled boolean not null default true,
    -- What is past when it is booked or moved: left out, or sent at once.
    when_past text not null default 'skip',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    foreign key (template_id, owner_id) references public.message_templates (id, owner_id),
    constraint reminder_rules_number_key unique (connection_id, owner_id, number),
    constraint reminder_rules_anchor_known check (anchor in ('booked', 'date', 'followup_date')),
    constraint reminder_rules_when_past_known check (when_past in ('skip', 'now')),
    constraint reminder_rules_near check (
        day_offset between -366 and 366
        and coalesce(shift, '0') between interval '-366 days' and interval '366 days'
    ),
    constraint reminder_rules_name_given check (name ~ '\S' and length(name) <= 200)
);
create index if not exists reminder_rules_connection_id_idx
on public.reminder_rules (connection_id);
create index if not exists reminder_rules_template_id_idx
on public.reminder_rules (template_id, owner_id);
comment on table public.reminder_rules is
'scheduled messages: which messages an appointment causes, and when.';
comment on constraint reminder_rules_anchor_known on public.reminder_rules is
'A rule goes by booked, date or followup_date.';
comment on constraint reminder_rules_when_past_known on public.reminder_rules is
'What is past is skipped (skip) or sent at once (now).';
comment on constraint reminder_rules_near on public.reminder_rules is
'A reminder lies within a year of its date.';
comment on constraint reminder_rules_name_given on public.reminder_rules is
'A rule needs a name of at most 200 characters.';

create or replace trigger name_timezone before insert or update on public.appointments
for each row when (new.timezone is not null) execute function private.name_timezone();

alter table public.appointments enable row level security;
alter table public.reminder_rules enable row level security;
revoke all on public.appointments, public.reminder_rules from public, anon, authenticated;
grant select, insert, update, delete on public.appointments, public.reminder_rules
to authenticated, service_role;
drop policy if exists appointments_policy on public.appointments;
create policy appointments_policy on public.appointments
for all to authenticated
using (
    owner_id = (select auth.uid())
    or (connection_id, owner_id) in (
        select
            mine.connection_id,
            mine.owner_id
        from private.my_connections() as mine
    )
);
drop policy if exists reminder_rules_policy on public.reminder_rules;
create policy reminder_rules_policy on public.reminder_rules
for all to authenticated
using (
    owner_id = (select auth.uid())
    or (connection_id, owner_id) in (
        select
            mine.connection_id,
            mine.owner_id
        from private.my_connections() as mine
    )
);

-- Whose an appointment is, set by the database. It may move to another connection of the same
-- owner. Who may change or delete one, the policy has said: a row stays its owner's also when the
-- connection is gone; but no date of it is set any more, which would be another owner's news.
create or replace function private.guard_appointment()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    new.updated_at := now();
    if tg_op = 'UPDATE' and new.connection_id = old.connection_id then
        new.owner_id := old.owner_id;
        if (new.date, new.time, new.timezone, new.followup_date)
            is distinct from (old.date, old.time, old.timezone, old.followup_date)
        then
            perform private.refuse_former_owner(
                old.connection_id, old.owner_id, array['admin', 'staff']
            );
        end if;
    else
        new.owner_id := private.owner_to_write_for(new.connection_id, array['admin', 'staff']);
    end if;
    if tg_op = 'INSERT' then
        new.created_by := auth.uid();
        new.created_at := now();
        new.reminder_fault := null;
        return new;
    end if;
    if new.owner_id <> old.owner_id or new.id <> old.id then
        raise exception 'An appointment cannot be given to another owner.' using errcode = '42501';
    end if;
    new.created_by := old.created_by;
    new.created_at := old.created_at;
    new.reminder_fault := old.reminder_fault;
    return new;
end
$$;
revoke all on function private.guard_appointment from public;

create or replace trigger guard_appointment before insert or update on public.appointments
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_appointment();

-- The numbers that a connection's rules have used, also those of rules that are gone.
create table if not exists private.rule_numbers (
    connection_id text not null,
    owner_id uuid not null,
    last_number integer not null,
    primary key (connection_id, owner_id)
);
alter table private.rule_numbers enable row level security;
grant select, insert, update, delete on private.rule_numbers to service_role;

create or replace function private.guard_rule()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_by_user constant boolean := tg_nargs > 0;
begin
    if tg_op = 'DELETE' then
        if v_by_user then
            perform private.owner_to_write_for(old.connection_id, array['admin']);
        end if;
        return old;
    end if;
    if v_by_user then
        new.owner_id := private.owner_to_write_for(new.connection_id, array['admin']);
    end if;
    if exists (
        select from public.message_templates as template
        where template.id = new.template_id
            and template.owner_id = new.owner_id
            and template.connection_id <> new.connection_id
    ) then
        raise exception 'This template is another connection''s. Choose one of this connection.'
            using errcode = 'PT400';
    end if;
    if tg_op = 'INSERT' then
        insert into private.rule_numbers as used (connection_id, owner_id, last_number)
        values (new.connection_id, new.owner_id, 1)
        on conflict (connection_id, owner_id) do update set last_number = used.last_number + 1
        returning used.last_number into new.number;
    elsif (new.connection_id, new.owner_id) is distinct from (old.connection_id, old.owner_id) then
        raise exception 'A rule stays with its connection. Make a new one.' using errcode = 'PT409';
    else
        new.number := old.number;
    end if;
    new.updated_at := now();
    return new;
end
$$;
revoke all on function private.guard_rule from public;

create or replace trigger guard_rule_of_user
before insert or update or delete on public.reminder_rules
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_rule('user');
create or replace trigger guard_rule_of_service
before insert or update or delete on public.reminder_rules
for each row when (
    not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
)
execute function private.guard_rule();
