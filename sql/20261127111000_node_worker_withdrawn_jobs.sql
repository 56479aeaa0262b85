-- Jobs that a Node worker was given and that are over without it: the operator has settled them,
-- their row was cancelled or deleted. Each is told once, so that a daemon takes it out of the
-- queue; where that fails the worker finds it over (guard_job_of_node_worker).
create or replace function public.take_withdrawn_jobs()
returns table (id uuid, gateway text)
language sql
volatile
set search_path = ''
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
    update public.broadcast_jobs as job
    set lease_until = null
    from (
        select withdrawn.id from private.gateways as kind
        cross join lateral (
            select o.id from public.broadcast_jobs as o
            where o.gateway = any(array[kind.name])
                and o.status in ('completed', 'failed', 'cancelled', 'unconfirmed')
                and o.lease_until <= now()
            order by o.lease_until
            limit 1000
            for update skip locked
        ) as withdrawn
        where kind.hands_over
    ) as over
    where job.id = any(array[over.id])
    returning job.id, job.gateway
$$;
revoke all on function public.take_withdrawn_jobs() from public, anon, authenticated;
grant execute on function public.take_withdrawn_jobs() to service_role;
