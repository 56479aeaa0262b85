-- Settles rows that their caller has locked. `resend` makes them pending again, at a new revision,
-- hence with new jobs; the old ones cannot begin any more (guard_job_of_node_worker).
create or replace function private.resolve_rows(p_ids uuid[], p_outcome text)
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
    if coalesce(p_outcome, '') not in ('sent', 'failed', 'resend') then
        raise exception 'The outcome is one of sent, failed, resend, not %.', p_outcome
            using errcode = '22023';
    end if;

    -- At once, so that the message's own trigger finds the job settled. The new token fences out
    -- whoever still has the job.
    with settled as (
        update public.broadcast_jobs as j
        set status = case p_outcome
                when 'sent' then 'completed'
                when 'failed' then 'failed'
                else 'cancelled'
            end,
            lease_token = gen_random_uuid(),
            lease_until = case when private.hands_over(j.gateway) then now() end,
            completed_at = now(),
            updated_at = now()
        from public.scheduled_messages as s
        where s.id = any(p_ids) and j.id = s.broadcast_job_id
        returning j.id, j.send_at
    )
    update public.broadcast_messages as m
    set status = p_outcome,
        updated_at = now(),
        sent_at = case when p_outcome = 'sent' then coalesce(settled.send_at, now()) end,
        error = case
            when p_outcome = 'failed' then 'The operator found that it was not sent.'
        end
    from settled
    where m.job_id = settled.id and p_outcome <> 'resend';

    -- A row without a job is left from a former worker (docs/upgrading.md), or somebody has deleted
    -- its job or message.
    update public.scheduled_messages as s
    set status = p_outcome,
        sent_at = case when p_outcome = 'sent' then s.scheduled_at end,
        message_id = coalesce(s.message_id, s.id::text),
        error = case
            when p_outcome = 'failed' then 'The operator found that it was not sent.'
        end,
        updated_at = now()
    where s.id = any(p_ids) and s.status not in ('sent', 'failed') and p_outcome <> 'resend';

    update public.scheduled_messages as s
    set status = 'pending'
    where s.id = any(p_ids) and p_outcome = 'resend';
end
$$;
revoke all on function private.resolve_rows from public;
grant execute on function private.resolve_rows to service_role;

-- Settles by hand what is unconfirmed, and what a Node worker was given and never told of.
-- Returns what is known of the attempt; no row when there is nothing to settle.
create or replace function public.resolve_scheduled_message(p_id uuid, p_outcome text)
returns table (
    id uuid,
    connection_id text,
    gateway text,
    attempts integer,
    send_at timestamptz,
    lease_until timestamptz,
    error text
)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
#variable_conflict use_column
begin
    return query
    select
        s.id,
        s.connection_id,
        j.gateway,
        j.attempts,
        j.send_at,
        j.lease_until,
        s.error
    from public.scheduled_messages as s
    left join public.broadcast_jobs as j on j.id = s.broadcast_job_id
    where s.id = p_id
        and (
            s.status = 'unconfirmed'
            or (
                s.status = 'processing'
                -- The last: where the project refuses to have the row told.
                and j.status in ('handed_over', 'active', 'unconfirmed')
            )
        )
    for update of s;
    if not found then
        return;
    end if;

    perform private.resolve_rows(array[p_id], p_outcome);
end
$$;
revoke all on function public.resolve_scheduled_message(uuid, text)
from public, anon, authenticated;
grant execute on function public.resolve_scheduled_message(uuid, text) to service_role;
