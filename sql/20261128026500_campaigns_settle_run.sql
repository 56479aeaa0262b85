-- Settles by hand, all at once, what is unconfirmed of a run, for the service key: `sent` and
-- `failed` are what became of it; `resend` makes it pending again, held where its campaign is
-- paused. Returns how many that were; null where there is no such run.
create or replace function public.settle_run(run_id uuid, outcome text)
returns table (settled integer)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_campaign public.campaigns;
    v_ids uuid[];
begin
    -- Campaign, run, messages: as whoever pauses one takes them.
    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = (
        select run.campaign_id from public.campaign_runs as run where run.id = settle_run.run_id
    )
    for no key update;
    if not found then
        return next;
        return;
    end if;
    if outcome = 'resend' and v_campaign.status = 'cancelled' then
        raise exception using errcode = 'PT409', message = 'This campaign was cancelled. What is '
            || 'unconfirmed of it was sent, or failed.';
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
    if outcome = 'resend' and v_campaign.status = 'paused' then
        update public.scheduled_messages as message
        set
            held = coalesce(v_campaign.status_reason, 'The campaign is paused.'),
            waiting_reason = coalesce(v_campaign.status_reason, 'The campaign is paused.')
        where message.id = any(v_ids) and message.status = 'pending';
    end if;
    settled := cardinality(v_ids);
    return next;
end
$$;
revoke all on function public.settle_run from public, anon, authenticated;
grant execute on function public.settle_run to service_role;
