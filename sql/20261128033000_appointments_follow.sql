-- What is still open follows whatever changes it: a rule, a text, the connection and its settings,
-- a contact's number; and an appointment says which of its messages failed.
-- Locks: `create trigger` on scheduled_messages, connections, contacts and connection_settings
-- takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- The appointments of a connection of which a message may still be to come: how far back depends on
-- how long after its date a rule speaks. p_owner null: whoever's.
create or replace function private.open_appointments(p_connection_id text, p_owner uuid)
returns uuid[]
language sql
stable
set search_path = ''
as $$
    with reach as (
        select
            current_date - 1 - coalesce(max(
                greatest(0, r.day_offset)
                + greatest(0, ceil(extract(epoch from r.shift) / 86400)::integer)
            ), 0) as since
        from public.reminder_rules as r
        where r.connection_id = p_connection_id
    )
    select array_agg(appointment.id)
    from reach
    cross join public.appointments as appointment
    where appointment.connection_id = p_connection_id
        and (p_owner is null or appointment.owner_id = p_owner)
        and (
            appointment.date >= reach.since
            or appointment.followup_date >= reach.since
            or appointment.created_at >= reach.since
        )
$$;
revoke all on function private.open_appointments from public;

create or replace function private.follow_rule()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_rule constant public.reminder_rules := coalesce(new, old);
begin
    perform private.try_reminders(
        private.open_appointments(v_rule.connection_id, v_rule.owner_id), false
    );
    return null;
end
$$;
revoke all on function private.follow_rule from public;

create or replace trigger follow_rule after insert or delete on public.reminder_rules
for each row execute function private.follow_rule();
create or replace trigger follow_changed_rule after update on public.reminder_rules
for each row when (
    (
        old.anchor, old.day_offset, old.at, old.shift, old.template_id, old.enabled
    ) is distinct from (
        new.anchor, new.day_offset, new.at, new.shift, new.template_id, new.enabled
    )
)
execute function private.follow_rule();

create or replace function private.follow_template()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.try_reminders(
        private.open_appointments(using_it.connection_id, using_it.owner_id), false
    )
    from (
        select distinct
            r.connection_id,
            r.owner_id
        from public.reminder_rules as r
        where r.template_id = new.id and r.owner_id = new.owner_id
    ) as using_it;
    return null;
end
$$;
revoke all on function private.follow_template from public;

create or replace trigger follow_template after update on public.message_templates
for each row when (new.version is distinct from old.version)
execute function private.follow_template();

create or replace function private.follow_settings()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.try_reminders(private.open_appointments(
        case tg_op when 'DELETE' then old.connection_id else new.connection_id end, null
    ), false);
    return null;
end
$$;
revoke all on function private.follow_settings from public;

create or replace trigger follow_settings after insert or delete on public.connection_settings
for each row execute function private.follow_settings();
create or replace trigger follow_changed_settings after update on public.connection_settings
for each row when (
    (
        old.connection_id, old.enabled, old.active, old.display_name, old.timezone, old.country_code
    ) is distinct from (
        new.connection_id, new.enabled, new.active, new.display_name, new.timezone, new.country_code
    )
)
execute function private.follow_settings();

-- A connection that is gone, or somebody else's, or has another name. After the core's trigger, by
-- the name, which has cancelled what waits.
create or replace function private.follow_connection()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_op <> 'INSERT' then
        perform private.try_reminders(private.open_appointments(old.id::text, null), false);
    end if;
    if tg_op = 'INSERT' or (tg_op = 'UPDATE' and new.id <> old.id) then
        perform private.try_reminders(private.open_appointments(new.id::text, null), false);
    end if;
    return null;
end
$$;
revoke all on function private.follow_connection from public;

-- A contact's new number: what waits in the queue for the old one is taken back, and what failed
-- goes out while it is of use. Whether a contact can be written to, its appointments say.
create or replace function private.follow_contact()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_seqscan = off
as $$
declare
    v_contact constant text := case tg_op when 'DELETE' then old.id else new.id end;
    v_appointments constant uuid[] := array(
        select appointment.id from public.appointments as appointment
        where appointment.contact_id = v_contact
    );
begin
    if v_appointments = '{}' then
        return null;
    end if;
    with held as materialized (
        select message.*
        from public.scheduled_messages as message
        where tg_op = 'UPDATE'
            and old.phone_number is distinct from new.phone_number
            and message.source_id = any(v_appointments)
            and message.contact_id = v_contact
            and message.status in ('processing', 'failed')
        order by message.id
        for no key update
    )
    update public.scheduled_messages as message
    set
        status = 'pending',
        scheduled_at = case held.status when 'failed' then now() else held.scheduled_at end
    from held
    where message.id = held.id
        and case held.status
            when 'failed' then held.not_after > now()
            else private.withdraw_job(held.broadcast_job_id)
                and not private.may_have_gone_out(held.broadcast_job_id)
        end;
    perform private.try_reminders(v_appointments, false);
    return null;
end
$$;
revoke all on function private.follow_contact from public;

do $outer$
declare
    v_columns text;
begin
    if (
        select c.relkind not in ('r', 'p')
        from pg_class as c
        where c.oid = 'public.connections'::regclass
    ) then
        return;
    end if;
    select string_agg(format('or old.%1$I is distinct from new.%1$I', a.attname), ' ')
    into v_columns
    from pg_attribute as a
    where a.attrelid = 'public.connections'::regclass
        and a.attname in ('user_id', 'owner_id', 'name')
        and not a.attisdropped;
    create or replace trigger zz_follow_connection after insert or delete on public.connections
    for each row execute function private.follow_connection();
    execute format(
        'create or replace trigger zz_follow_changed_connection after update on public.connections '
        'for each row when (old.id is distinct from new.id %s) '
        'execute function private.follow_connection()',
        v_columns
    );
end
$outer$;

do $outer$
declare
    v_columns text;
begin
    select string_agg(format('old.%1$I is distinct from new.%1$I', a.attname), ' or ')
    into v_columns
    from pg_attribute as a
    join pg_class as c on c.oid = a.attrelid and c.relkind in ('r', 'p')
    where a.attrelid = 'public.contacts'::regclass
        and a.attname in ('phone_number', 'is_blocked')
        and not a.attisdropped
    having bool_or(a.attname = 'phone_number');
    if v_columns is null then
        return;
    end if;
    execute format(
        'create or replace trigger follow_contact after update on public.contacts '
        'for each row when (%s) execute function private.follow_contact()',
        v_columns
    );
    create or replace trigger follow_deleted_contact after delete on public.contacts
    for each row execute function private.follow_contact();
end
$outer$;

-- What failed, or may have failed, is said on its appointment, and taken back when it turns out to
-- have gone out. An appointment that somebody is changing at this moment is not waited for: whoever
-- changes it waits for the message, and says it (private.sync_reminders).
create or replace function private.tell_appointments()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_nestloop = off -- the rows of a transition table are taken to be as few as the first time
as $$
begin
    if not exists (
        select from new_messages as m
        where m.source_id is not null and m.source_position is not null
    ) then
        return null;
    end if;
    with changed as materialized (
        select
            new_row.source_id,
            new_row.source_position as number,
            case when old_row.status in ('failed', 'unconfirmed') then old_row.error end as was,
            case when new_row.status in ('failed', 'unconfirmed') then new_row.error end as is_now
        from new_messages as new_row
        join old_messages as old_row on old_row.id = new_row.id
        where new_row.source_id is not null
            and new_row.status <> old_row.status
            and (
                new_row.status in ('failed', 'unconfirmed')
                or old_row.status in ('failed', 'unconfirmed')
            )
    ),
    free as materialized (
        select
            appointment.id,
            appointment.reminder_fault
        from public.appointments as appointment
        where appointment.id = any(array(select changed.source_id from changed))
        order by appointment.id
        for no key update skip locked
    ),
    said as (
        select
            free.id,
            -- What was said before it was due is not said twice.
            nullif(btrim(replace(
                replace(
                    coalesce(free.reminder_fault, ''),
                    coalesce(string_agg(changed.was, ' ' order by changed.number), ''),
                    ''
                ),
                coalesce(string_agg(changed.is_now, ' ' order by changed.number), ''),
                ''
            )), '') as others,
            string_agg(changed.is_now, ' ' order by changed.number) as fault
        from free
        join changed on changed.source_id = free.id
        group by free.id, free.reminder_fault
    )
    update public.appointments as appointment
    set reminder_fault = left(nullif(concat_ws(' ', said.others, said.fault), ''), 500)
    from said
    where appointment.id = said.id;
    return null;
end
$$;
revoke all on function private.tell_appointments from public;

create or replace trigger tell_appointments after update on public.scheduled_messages
referencing old table as old_messages new table as new_messages
for each statement execute function private.tell_appointments();
