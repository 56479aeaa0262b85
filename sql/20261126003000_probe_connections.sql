-- A connection that its gateway stopped is looked at again by one daemon at a time, at growing intervals, until it is back.
-- The rows that wait are told of each new one, hence `ready_at`. `probe_at`: when it is looked at next, should this fail.
create or replace function public.take_probes()
returns table (connection_id text, gateway text, sender text, reason text, probe_at timestamptz)
language sql
volatile
set search_path = ''
as $$
    update private.connection_state as c
    set failed_probes = c.failed_probes + 1, probe_at = now() + private.probe_delay(c.failed_probes + 1), ready_at = now()
    from (
        select d.connection_id from private.connection_state as d
        where d.probe_at <= now() order by d.probe_at limit 50 for update skip locked
    ) as due
    left join public.connection_settings as se on se.connection_id = any(array[due.connection_id])
    where c.connection_id = any(array[due.connection_id])
    returning c.connection_id, se.gateway, se.sender, c.paused_reason, c.probe_at
$$;

create or replace function public.resume_connection(p_connection_id text)
returns setof text
language sql
volatile
set search_path = ''
as $$
    update private.connection_state as c
    set paused_reason = null, probe_at = null, resumed_at = now(), ready_at = now()
    where c.connection_id = p_connection_id and c.paused_reason is not null
    returning c.connection_id
$$;
revoke all on function public.take_probes(), public.resume_connection(text) from public, anon, authenticated;
grant execute on function public.take_probes(), public.resume_connection(text) to service_role;
