-- What is made for a row of another table is made once.
-- Locks: `share update exclusive`: readers and writers go on.
create unique index concurrently if not exists scheduled_messages_source_key
on public.scheduled_messages (source_id, source_position, source_try) where source_id is not null;
