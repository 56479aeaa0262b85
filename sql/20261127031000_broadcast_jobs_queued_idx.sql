-- What waits, connection by connection: what is written to one before what is written to many.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_jobs_queued_idx
on public.broadcast_jobs (connection_id, priority, available_at, id)
where status = 'queued' and scheduled_message_id is not null;
