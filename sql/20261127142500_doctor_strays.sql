-- For the doctor: rows of which something else than the daemon must be the cause.
create or replace function private.find_strays()
returns table (level text, what text, remedy text)
language sql
stable
set search_path = ''
as $$
    select 'failure',
        format('%s message(s) are processing, and no job is at work on them', count(*)),
        'select private.note_untended(); -- the rescue asks what became of them, within a minute'
    from private.find_untended() as f (id)
    having count(*) > 0
    union all
    -- An occurrence has the id of its series; a row that something else adds has not, or another.
    select 'warning',
        format(
            '%s message(s) of a series wait twice, with the same text for the same contact at the '
            'same time, such as %s: something else adds the next occurrence too',
            count(*), min(t.id)
        ),
        'Find what inserts into scheduled_messages when a recurring message is sent (a trigger, a '
        'cron job, a function of the application), end it, and cancel one of each.'
    from (
        select min(s.id::text) as id
        from public.scheduled_messages as s
        where s.due_at is not null and s.is_recurring
        group by s.owner_id, s.created_by, s.connection_id, s.contact_id, s.due_at, md5(s.message)
        having count(*) > 1 and count(s.series_id) > 0
    ) as t
    having count(*) > 0
$$;
revoke all on function private.find_strays() from public;
grant execute on function private.find_strays() to service_role;
