-- What of a series still waits.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists broadcast_jobs_series_idx
on public.broadcast_jobs (series_id)
where status = 'queued' and series_id is not null;
