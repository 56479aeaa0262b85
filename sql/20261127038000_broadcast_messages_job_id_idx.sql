-- The messages of a job.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists idx_broadcast_messages_job_id
on public.broadcast_messages (job_id);
