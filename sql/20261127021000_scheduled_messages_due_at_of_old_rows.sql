-- Rows that were there before the trigger was. It writes the value; here they are only touched,
-- before scheduled_messages_checks would refuse old rows that could never be sent.
-- Locks: rows that are pending, for as long as it takes to write them all.
set local lock_timeout = '1s';

update public.scheduled_messages as s
set due_at = null
where s.due_at is distinct from case when s.status = 'pending' then s.scheduled_at end;
