-- What a Node worker was given and has not finished, by connection.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_jobs_handed_over_idx
on public.broadcast_jobs (connection_id, send_at)
where status in ('handed_over', 'active') and scheduled_message_id is not null;
