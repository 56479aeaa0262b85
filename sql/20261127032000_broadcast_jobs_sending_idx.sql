-- What is on its way, by claim.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_jobs_sending_idx
on public.broadcast_jobs (lease_token)
where status = 'sending';
