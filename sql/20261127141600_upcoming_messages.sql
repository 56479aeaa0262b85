-- How many of the caller's messages are still to come on each day of a calendar in a zone, both
-- days included. By `due_at`, which only pending rows have; the policies say whose they are.
create or replace function public.count_upcoming_messages(timezone text, since date, until date)
returns table (day date, number integer)
language sql
stable
set search_path = ''
as $$
    select
        (s.due_at at time zone count_upcoming_messages.timezone)::date as day,
        count(*)::integer as number
    from public.scheduled_messages as s
    where s.due_at >= count_upcoming_messages.since::timestamp
        at time zone count_upcoming_messages.timezone
        and s.due_at < (count_upcoming_messages.until + 1)::timestamp
        at time zone count_upcoming_messages.timezone
    group by 1
    order by 1
$$;
revoke all on function public.count_upcoming_messages(text, date, date) from public, anon;
grant execute on function public.count_upcoming_messages(text, date, date)
to authenticated, service_role;
