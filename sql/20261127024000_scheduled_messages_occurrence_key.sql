-- One next: an occurrence exists once.
-- Locks: `share update exclusive`: readers and writers go on.
create unique index concurrently if not exists scheduled_messages_occurrence_key
on public.scheduled_messages (series_id, occurrence_at)
where series_id is not null;
