-- What an operator wants to know at a glance, with the runs that are under way: one call for both.
create or replace function public.get_status_with_runs(
    p_stale_seconds double precision default 600
)
returns table (db_now timestamptz, status jsonb, runs jsonb)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    -- The runs that are not over: the hundred that began last.
    with open as (
        select
            run.id,
            run.campaign_id,
            campaign.name,
            run.connection_id,
            run.status,
            run.status_reason,
            run.started_at,
            run.total,
            run.pending,
            run.sent,
            run.failed,
            run.unconfirmed,
            run.skipped,
            run.cancelled
        from public.campaign_runs as run
        join public.campaigns as campaign on campaign.id = run.campaign_id
        where run.finished_at is null
        order by run.started_at desc
        limit 100
    )
    select
        clock_timestamp() as db_now,
        (
            select to_jsonb(core) from public.get_status(p_stale_seconds) as core
        ) as status,
        (
            select jsonb_agg(to_jsonb(open) order by open.started_at) from open
        ) as runs
$$;
revoke all on function public.get_status_with_runs from public, anon, authenticated;
grant execute on function public.get_status_with_runs to service_role;
