-- Which runs have ended, whoever ended them, so that the log and the metrics tell of each once,
-- however many daemons there are.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- The end that was told: one that was re-opened ends once more.
alter table public.campaign_runs add column if not exists told_at timestamptz;
create index if not exists campaign_runs_untold_idx on public.campaign_runs (finished_at)
where finished_at is not null and told_at is distinct from finished_at;

create or replace function private.has_ended_runs()
returns boolean
language sql
stable
set search_path = ''
as $$
    select exists (
        select from public.campaign_runs as run
        where run.finished_at is not null and run.told_at is distinct from run.finished_at
    )
$$;
revoke all on function private.has_ended_runs from public;
grant execute on function private.has_ended_runs to service_role;

create or replace function public.take_ended_runs()
returns table (
    id uuid,
    campaign_id uuid,
    connection_id text,
    status text,
    status_reason text,
    total integer,
    sent integer,
    failed integer,
    unconfirmed integer,
    skipped integer,
    cancelled integer
)
language sql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
    with ended as materialized (
        select run.id
        from public.campaign_runs as run
        where run.finished_at is not null and run.told_at is distinct from run.finished_at
        order by run.id
        limit 100
        for no key update skip locked
    )
    update public.campaign_runs as run
    set told_at = run.finished_at
    from ended
    where run.id = ended.id
    returning
        run.id,
        run.campaign_id,
        run.connection_id,
        run.status,
        run.status_reason,
        run.total,
        run.sent,
        run.failed,
        run.unconfirmed,
        run.skipped,
        run.cancelled
$$;
revoke all on function public.take_ended_runs from public, anon, authenticated;
grant execute on function public.take_ended_runs to service_role;
