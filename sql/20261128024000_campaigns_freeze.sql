-- Whom a run writes to: worked out once, when it begins, in batches that each end with their
-- transaction.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Freezes the next recipients of a run, once all their numbers are judged; before that it tells
-- which are not. The first of a number counts, the others are skipped. Ends with the total.
create or replace function public.freeze_campaign_run(
    p_run_id uuid, p_rules_version text, p_limit integer default 5000, p_gateway text default null
)
returns table (is_done boolean, frozen integer, country_code text, to_judge text[])
language plpgsql
volatile
set search_path = ''
set enable_seqscan = off
set lock_timeout = '2s'
as $$
declare
    v_run public.campaign_runs;
    v_campaign public.campaigns;
    v_candidates private.candidate[];
    v_good integer;
begin
    select run.* into v_run
    from public.campaign_runs as run
    where run.id = p_run_id and run.status = 'processing' and run.total is null
    for no key update skip locked;
    if not found then
        return;
    end if;
    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = v_run.campaign_id;
    country_code := coalesce((
        select settings.country_code
        from public.connection_settings as settings
        where settings.connection_id = v_campaign.connection_id
    ), '');

    select
        array_agg(candidate.*),
        array_agg(distinct (candidate.recipient).raw)
            filter (where not (candidate.recipient).is_judged)
    into v_candidates, to_judge
    from private.next_recipients(
        v_campaign, v_run.template_version, v_run.frozen_key, p_limit, p_rules_version, p_gateway
    ) as candidate;
    if to_judge is not null then
        is_done := false;
        frozen := 0;
        return next;
        return;
    end if;

    with frozen_now as (
        insert into public.campaign_recipients as frozen_row (
            run_id, position, contact_id, address, name, variables, fault
        )
        select
            v_run.id,
            v_run.frozen_position + given.nth,
            (given.recipient).contact_id,
            (given.recipient).address,
            (given.recipient).name,
            (given.recipient).variables,
            coalesce((given.recipient).fault, case
                when given.is_repeated or earlier.is_there
                    then 'This number is in the audience already.'
            end)
        from unnest(v_candidates) with ordinality as given (recipient, key, is_repeated, nth)
        left join lateral (
            select true as is_there
            from public.campaign_recipients as before
            where before.run_id = v_run.id
                and before.address = (given.recipient).address
                and before.fault is null
            limit 1
        ) as earlier on true
        returning frozen_row.fault is null as is_good
    )
    select
        count(*),
        count(*) filter (where frozen_now.is_good)
    into frozen, v_good
    from frozen_now;

    is_done := frozen < p_limit;
    update public.campaign_runs as run
    set
        frozen_key = coalesce(v_candidates[cardinality(v_candidates)].key, run.frozen_key),
        frozen_position = run.frozen_position + frozen,
        unmade = run.unmade + v_good,
        pending = run.pending + v_good,
        skipped = run.skipped + frozen - v_good,
        total = case when is_done then run.frozen_position + frozen end
    where run.id = v_run.id;
    return next;
end
$$;
revoke all on function public.freeze_campaign_run from public, anon, authenticated;
grant execute on function public.freeze_campaign_run to service_role;
