-- Numbers that appointments ask for and nobody has judged yet (private.judged_numbers): the daemon
-- judges them in thousands, long before anything is due.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

create table if not exists private.numbers_asked (
    appointment_id uuid primary key,
    -- As it was written, and the country that it belongs to where it names none ('': the daemon's).
    raw text not null,
    country_code text not null
);
alter table private.numbers_asked enable row level security;
grant select, insert, update, delete on private.numbers_asked to service_role;

-- The next of them, as one list for each country.
create or replace function public.get_numbers_asked(p_limit integer)
returns table (numbers json)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    select
        coalesce(
            json_agg(
                json_build_object('country_code', asked.country_code, 'raw', asked.raw)
            ), '[]'
        )
    from (
        select
            next.country_code,
            json_agg(distinct next.raw) as raw
        from (
            select
                number.country_code,
                number.raw
            from private.numbers_asked as number
            limit p_limit
        ) as next
        group by next.country_code
    ) as asked
$$;
revoke all on function public.get_numbers_asked from public, anon, authenticated;
grant execute on function public.get_numbers_asked to service_role;

-- What has been judged is asked no more; and what leads to nobody is said on its appointments.
create or replace function private.answer_appointments()
returns trigger
language plpgsql
security definer
set search_path = ''
set enable_nestloop = off -- there are few of them, and no statistics
as $$
declare
    v_faulty uuid[];
begin
    with answered as (
        delete from private.numbers_asked as asked
        using new_numbers as number
        where asked.raw = number.raw and asked.country_code = number.country_code
        returning
            asked.appointment_id,
            number.fault
    )
    select array_agg(answered.appointment_id) into v_faulty
    from answered
    where answered.fault is not null;
    perform private.try_reminders(v_faulty, false);
    return null;
end
$$;
revoke all on function private.answer_appointments from public;

create or replace trigger answer_appointments after insert on private.judged_numbers
referencing new table as new_numbers
for each statement execute function private.answer_appointments();
create or replace trigger answer_appointments_anew after update on private.judged_numbers
referencing new table as new_numbers
for each statement execute function private.answer_appointments();
