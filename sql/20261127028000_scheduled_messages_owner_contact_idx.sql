-- The policies' columns, and the contacts page's counter.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists scheduled_messages_owner_contact_idx
on public.scheduled_messages (owner_id, contact_id);
