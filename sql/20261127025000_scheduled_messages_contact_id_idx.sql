-- The dialog lists the messages of a contact.
-- Locks: `share update exclusive`: readers and writers go on.
create index concurrently if not exists idx_scheduled_messages_contact_id
on public.scheduled_messages (contact_id);
