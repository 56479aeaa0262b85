-- What is due now, oldest first. Invoker: a user sees only what the policies show; the daemon, as service_role, all.
-- A function with a pinned search_path is not inlined, so a limit outside would not reach the index: it has its own.
create or replace function public.get_pending_scheduled_messages()
returns setof public.scheduled_messages
language sql
stable
security invoker
set search_path = ''
as $$
    select s.*
    from public.scheduled_messages as s
    where s.status = 'pending' and s.scheduled_at <= now()
    order by s.scheduled_at, s.id
    limit 1000
$$;
revoke all on function public.get_pending_scheduled_messages() from public, anon, authenticated;
grant execute on function public.get_pending_scheduled_messages() to authenticated, service_role;
