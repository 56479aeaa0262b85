-- The policies' columns, and the contacts page's counter.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists idx_scheduled_messages_owner_id on public.scheduled_messages (owner_id, contact_id);
