-- Whom a run writes to: worked out once, when it begins, in batches that each end with their
-- transaction.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Why a run that is not to wait at the daily limit does not begin: its connection's allowance of
-- that day is smaller than what would be sent. Null where it is not.
create or replace function private.why_beyond_limit(
    p_connection_id text, p_at timestamptz, p_count integer
)
returns text
language sql
stable
set search_path = ''
as $$
    select format(
        'Nothing was sent: these are %s messages, and today''s limit of the connection leaves %s '
        || '(%s a day, %s used).',
        p_count, greatest(today.allowed - today.used, 0), today.allowed, today.used
    )
    from (
        select
            private.daily_limit(settings, day.today) as allowed,
            coalesce((
                select state.sent_today
                from private.connection_state as state
                where state.connection_id = p_connection_id and state.day = day.today
            ), 0) as used
        from public.connection_settings as settings
        cross join lateral (
            select (p_at at time zone coalesce(settings.timezone, 'UTC'))::date as today
        ) as day
        where settings.connection_id = p_connection_id and settings.daily_limit is not null
    ) as today
    where p_count > today.allowed - today.used
$$;
revoke all on function private.why_beyond_limit from public;
grant execute on function private.why_beyond_limit to service_role;

-- Freezes the next recipients of a run, once all their numbers are judged; before that it tells
-- which are not. The first of a number counts, the others are skipped. Ends with the total. Where
-- that is more than today's allowance of a connection, and the campaign is not to wait, it failed.
create or replace function public.freeze_campaign_run(
    p_run_id uuid, p_rules_version text, p_limit integer default 5000, p_gateway text default null
)
returns table (
    is_done boolean, frozen integer, country_code text, by_clock boolean, to_judge text[]
)
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
    v_refusal text;
begin
    select run.* into v_run
    from public.campaign_runs as run
    where run.id = p_run_id and run.status = 'processing' and run.total is null
    for no key update skip locked;
    if not found then
        return;
    end if;
    -- It is held through most of its freezing: what is counted meanwhile is put down.
    perform private.fold_tallies(array[p_run_id]);
    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = v_run.campaign_id;
    by_clock := v_campaign.zone_of = 'recipient';
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
        v_campaign, v_run.template_version, v_run.occurrence_at, v_run.frozen_key, p_limit,
        p_rules_version, p_gateway
    ) as candidate;
    if to_judge is not null then
        is_done := false;
        frozen := 0;
        return next;
        return;
    end if;

    with frozen_now as (
        insert into public.campaign_recipients as frozen_row (
            run_id, position, contact_id, address, raw, name, variables, timezone, due_at, fault
        )
        select
            v_run.id,
            v_run.frozen_position + given.nth,
            (given.recipient).contact_id,
            (given.recipient).address,
            left((given.recipient).raw, 256),
            (given.recipient).name,
            (given.recipient).variables,
            case when by_clock then (given.recipient).timezone end,
            given.due_at,
            coalesce((given.recipient).fault, case
                when given.is_repeated or earlier.is_there
                    then 'This number is in the audience already.'
            end)
        from unnest(v_candidates) with ordinality
            as given (recipient, key, is_repeated, due_at, nth)
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
    -- Not what has begun already, before somebody chose this.
    if is_done and v_campaign.at_daily_limit = 'fail' and v_run.made_position = 0 then
        v_refusal := private.why_beyond_limit(
            v_run.connection_id, greatest(v_run.occurrence_at, now()), v_run.unmade + v_good
        );
    end if;
    update public.campaign_runs as run
    set
        frozen_key = coalesce(v_candidates[cardinality(v_candidates)].key, run.frozen_key),
        frozen_position = run.frozen_position + frozen,
        unmade = case when v_refusal is null then run.unmade + v_good else 0 end,
        pending = case when v_refusal is null then run.pending + v_good else 0 end,
        failed = case when v_refusal is null then run.failed else run.pending + v_good end,
        skipped = run.skipped + frozen - v_good,
        status_reason = coalesce(v_refusal, run.status_reason),
        total = case when is_done then run.frozen_position + frozen end
    where run.id = v_run.id;
    return next;
end
$$;
revoke all on function public.freeze_campaign_run from public, anon, authenticated;
grant execute on function public.freeze_campaign_run to service_role;
