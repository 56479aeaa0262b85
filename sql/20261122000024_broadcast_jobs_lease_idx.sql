-- Which lease ends next.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_jobs_lease_idx on public.broadcast_jobs (lease_until) where status in ('sending', 'handed_over');
