-- Which lease ends next. `is not null` keeps it from being used for a claim's own jobs, which are
-- found by their token.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_jobs_lease_idx
on public.broadcast_jobs (lease_until)
where status in ('sending', 'handed_over') and lease_until is not null;
