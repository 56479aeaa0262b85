-- What a Node worker was given and need not do any more.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_jobs_withdrawn_idx
on public.broadcast_jobs (gateway, lease_until)
where status in ('completed', 'failed', 'cancelled', 'unconfirmed') and lease_until is not null;
