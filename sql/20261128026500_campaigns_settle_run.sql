-- What is made pending again of a run, one or all at once, is held where its campaign is paused,
-- and is not to be sent where that was cancelled.
-- Locks: `create trigger` on scheduled_messages takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create or replace function private.hold_again()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_campaign public.campaigns;
begin
    -- A pause in the same moment waits, and then holds it.
    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = (
        select run.campaign_id from public.campaign_runs as run where run.id = new.source_id
    )
    for share;
    if v_campaign.status = 'cancelled' and old.status = 'processing' then
        new.status := 'cancelled'; -- its job was lost
        new.error := 'The campaign was cancelled.';
    elsif v_campaign.status = 'cancelled' then
        raise exception using errcode = 'PT409', message = 'This campaign was cancelled. What is '
            || 'unconfirmed of it was sent, or failed.';
    elsif v_campaign.status = 'paused' then
        new.held := coalesce(v_campaign.status_reason, 'The campaign is paused.');
        new.waiting_reason := new.held;
    end if;
    return new;
end
$$;
revoke all on function private.hold_again from public;

create or replace trigger hold_again before update of status on public.scheduled_messages
for each row when (
    old.status in ('unconfirmed', 'processing')
    and new.status = 'pending'
    and new.held is null
    and new.source_id is not null
)
execute function private.hold_again();

-- Settles by hand, all at once, what is unconfirmed of a run, for the service key: `sent` and
-- `failed` are what became of it; `resend` makes it pending again. Returns how many that were; null
-- where there is no such run.
create or replace function public.settle_run(run_id uuid, outcome text)
returns table (settled integer)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_ids uuid[];
begin
    -- Campaign, run, messages: as whoever pauses one takes them.
    perform
    from public.campaigns as campaign
    where campaign.id = (
        select run.campaign_id from public.campaign_runs as run where run.id = settle_run.run_id
    )
    for no key update;
    if not found then
        return next;
        return;
    end if;
    perform from public.campaign_runs as run where run.id = settle_run.run_id for no key update;
    v_ids := array(
        select message.id
        from public.scheduled_messages as message
        where message.source_id = settle_run.run_id and message.status = 'unconfirmed'
        order by message.id
        for update
    );
    perform private.resolve_rows(v_ids, outcome);
    settled := cardinality(v_ids);
    return next;
end
$$;
revoke all on function public.settle_run from public, anon, authenticated;
grant execute on function public.settle_run to service_role;
