-- What waits and may become too late.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_jobs_expiry_idx
on public.broadcast_jobs (expires_at)
where status = 'queued' and expires_at is not null;
