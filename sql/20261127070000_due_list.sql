-- What is due now, oldest first. Invoker: a user sees only what the policies show; the daemon, as
-- service_role, all.
-- A function with a pinned search_path is not inlined, so a limit outside would not reach the
-- index: it has its own, a thousand rows. Where statistics are old, the planner would rather read
-- and sort all that is due than go along the index: it may not. Ends early after 8 MB, so that
-- nobody can fill the daemon's memory; what is left out comes with the next call.

-- A project may have a function of this name that returns something else; the name is ours by
-- agreement.
do $$
begin
    if exists (
        select from pg_proc as p
        where p.oid = to_regprocedure('public.get_pending_scheduled_messages()')
            and p.prorettype <> 'public.scheduled_messages'::regtype
    ) then
        drop function public.get_pending_scheduled_messages();
    end if;
end
$$;

-- What comes after a row, so that the next rows can be read while these are written.
create or replace function public.get_pending_scheduled_messages_after(
    p_due_at timestamptz, p_id uuid
)
returns setof public.scheduled_messages
language sql
stable
security invoker
set search_path = ''
set lock_timeout = '2s'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select listed.*
    from (
        select
            m.id,
            m.due_at,
            sum(
                octet_length(m.message)
                + coalesce(octet_length(m.caption), 0)
                + coalesce(octet_length(m.media::text), 0)
                + coalesce(octet_length(m.template::text), 0)
            ) over (line rows between unbounded preceding and 1 preceding) as bytes_before
        from public.scheduled_messages as m
        where m.due_at <= now()
            and (m.due_at, m.id) > (p_due_at, p_id)
        window line as (order by m.due_at, m.id)
        order by m.due_at, m.id
        limit 1000
    ) as due
    -- By its id, not as one value, which would be the row with all that it has stored elsewhere: a
    -- project's own column may hold a megabyte, and nobody asks for it here.
    cross join lateral (
        select r.*
        from public.scheduled_messages as r
        where r.id = any(array[due.id])
        limit 1
    ) as listed
    where coalesce(due.bytes_before, 0) < 8000000
    order by due.due_at, due.id
$$;
revoke all on function public.get_pending_scheduled_messages_after(timestamptz, uuid)
from public, anon, authenticated;
grant execute on function public.get_pending_scheduled_messages_after(timestamptz, uuid)
to authenticated, service_role;

create or replace function public.get_pending_scheduled_messages()
returns setof public.scheduled_messages
language sql
stable
security invoker
set search_path = ''
set lock_timeout = '2s'
as $$
    select *
    from public.get_pending_scheduled_messages_after(
        '-infinity', '00000000-0000-0000-0000-000000000000'
    )
$$;
revoke all on function public.get_pending_scheduled_messages() from public, anon, authenticated;
grant execute on function public.get_pending_scheduled_messages()
to authenticated, service_role;
