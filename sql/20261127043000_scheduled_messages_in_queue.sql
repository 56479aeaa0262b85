-- The upstream application's main server makes every row `in_queue` that it has read as due, at
-- each of its starts, for a queue that nobody reads once its scheduling workers are stopped
-- (Server/src/api/services/scheduledMessageService.js, processPendingMessages). It does so by id,
-- whatever became of the row meanwhile. Only what still waits may go there; what has a job, or is
-- over, stays what it is.
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create or replace function private.keep_out_of_queue()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    new.status := old.status;
    new.message_id := old.message_id;
    return new;
end
$$;
revoke all on function private.keep_out_of_queue from public;

-- Before the guards, by its name: they see what is left of the change. Users they refuse
-- themselves.
create or replace trigger a_keep_out_of_queue before update of status on public.scheduled_messages
for each row when (
    new.status = 'in_queue' and old.status not in ('pending', 'in_queue')
    and not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
) execute function private.keep_out_of_queue();
