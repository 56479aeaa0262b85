-- The messages of a job.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_messages_job_id_idx on public.broadcast_messages (job_id);
