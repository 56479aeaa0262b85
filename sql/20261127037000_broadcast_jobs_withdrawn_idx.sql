-- What a Node worker was given and need not do any more.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_jobs_withdrawn_idx on public.broadcast_jobs (lease_until)
where gateway = 'bullmq' and status in ('completed', 'failed', 'cancelled', 'unconfirmed') and lease_until is not null;
