-- A hospital's rules and texts in one call.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- The rules of document 003: a confirmation at once, a reminder the day before at 10:00, another on
-- the follow-up date at 09:00; with its texts, in which a specialty that there is none of is blank.
-- A rule of the same name is there already and stays as it is, so that a second call makes nothing
-- twice. Returns the rules. The caller's own rights count: owner and admins.
create or replace function public.set_up_reminders(
    connection_id text, kind text default 'hospital'
)
returns setof public.reminder_rules
language plpgsql
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_connection constant text := set_up_reminders.connection_id;
    v_owner uuid := coalesce(
        (
            select member.owner_id
            from public.connection_members as member
            where member.connection_id = v_connection and member.user_id = auth.uid()
        ),
        auth.uid()
    );
    v_wanted record;
    v_template public.message_templates;
begin
    -- The service key has nobody's rights. A user, for whom the guards write the owner, has no way
    -- into `private`.
    if v_owner is null then
        v_owner := private.connection_owner(v_connection);
    end if;
    if set_up_reminders.kind is distinct from 'hospital' then
        raise exception 'There is no such kind of reminders. The only one is hospital.'
            using errcode = 'PT400';
    end if;
    for v_wanted in
        select *
        from (
            values
            (
                1, 'Confirmation', 'booked', 0, null::time,
                'Hello {patient_name}, Your appointment with Dr {doctor_name} is confirmed for '
                '{date} at {time}. - {hospital_name}'
            ),
            (
                2, 'Reminder', 'date', -1, '10:00',
                'Hello {patient_name}, Reminder: Appointment with Dr {doctor_name} tomorrow at '
                '{time}. - {hospital_name}'
            ),
            (
                3, 'Follow-up', 'followup_date', 0, '09:00',
                'Hello {patient_name}, Reminder: Follow-up with Dr {doctor_name} on '
                '{followup_date}. - {hospital_name}'
            )
        ) as wanted (place, name, anchor, day_offset, at, body)
        where not exists (
            select from public.reminder_rules as r
            where r.connection_id = v_connection
                and r.owner_id = v_owner
                and r.name = wanted.name
        )
        order by wanted.place
    loop
        insert into public.message_templates (owner_id, connection_id, name, body)
        values (
            v_owner,
            v_connection,
            v_wanted.name,
            v_wanted.body
        )
        returning * into v_template;
        insert into public.reminder_rules (
            owner_id, connection_id, name, anchor, day_offset, at, template_id
        )
        values (
            v_template.owner_id,
            v_connection,
            v_wanted.name,
            v_wanted.anchor,
            v_wanted.day_offset,
            v_wanted.at,
            v_template.id
        );
    end loop;
    return query
    select r.*
    from public.reminder_rules as r
    where r.connection_id = v_connection
        and r.owner_id = v_owner
        and r.name in ('Confirmation', 'Reminder', 'Follow-up')
    order by r.number;
end
$$;
revoke all on function public.set_up_reminders from public, anon;
grant execute on function public.set_up_reminders to authenticated, service_role;
comment on function public.set_up_reminders(text, text) is
'Gives a connection the reminders of a hospital: confirmation, the day before, follow-up.';
