-- The policies' columns.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists idx_scheduled_messages_created_by
on public.scheduled_messages (created_by);
