-- When a campaign would begin and end, as its connection sends: its pace, its limits, its hours,
-- and what else goes out through it. No message is simulated, only days.
-- Locks: `alter table` on campaign_runs, which the files before have made.
set local lock_timeout = '1s';

alter table public.campaign_runs add column if not exists estimated_at timestamptz;

-- Seconds between two messages of a connection, at its own rate or its gateway's, with half of what
-- chance adds, and with what the gateway has last asked for; null where nothing spaces them.
create or replace function private.step_of(p_connection_id text)
returns double precision
language sql
stable
set search_path = ''
as $$
    select coalesce(
        known.step,
        -- As private.situation spaces what has never sent yet.
        1.03 * settings.period_seconds / (settings.messages - settings.burst + 1)
    ) + coalesce(settings.jitter_seconds, 0) / 2
    from (select) as one
    left join public.connection_settings as settings
        on settings.connection_id = any(array[p_connection_id])
    left join private.situation(array[p_connection_id], now(), null) as known on true
$$;

-- How far a connection comes from an instant on: when the so-manieth message goes out, or how many
-- have gone out until an instant, whichever comes first. What it has sent today counts.
create or replace function private.sent_until(
    p_connection_id text, p_from timestamptz, p_step double precision, p_number bigint,
    p_until timestamptz
)
returns table (reached_at timestamptz, number bigint)
language plpgsql
stable
set search_path = ''
as $$
declare
    -- A limit of nothing, or of one a day, need not be followed to its end.
    v_most_days constant integer := 1000;
    v_settings public.connection_settings;
    v_calendar record;
    v_day date;
    v_used bigint;
    v_closes timestamptz;
    v_allowed bigint;
    v_goes bigint;
begin
    select settings.* into v_settings
    from public.connection_settings as settings
    where settings.connection_id = p_connection_id;
    select state.day, state.sent_today into v_day, v_used
    from private.connection_state as state
    where state.connection_id = p_connection_id;
    reached_at := greatest(p_from, now());
    number := 0;
    for v_turn in 1..v_most_days loop
        select calendar.* into v_calendar
        from private.calendar(
            coalesce(v_settings.timezone, 'UTC'),
            v_settings.window_start,
            v_settings.window_end,
            reached_at
        ) as calendar;
        if not v_calendar.is_open then
            reached_at := v_calendar.opens_at;
            continue when p_until is null or reached_at < p_until;
            reached_at := p_until;
            return next;
            return;
        end if;
        if v_day is distinct from v_calendar.today then
            v_day := v_calendar.today;
            v_used := 0;
        end if;
        v_closes := least(
            case when v_settings.daily_limit is not null then v_calendar.tomorrow end,
            case when v_settings.window_start is not null then v_calendar.closes_at end,
            p_until
        );
        v_allowed := least(p_number - number, case when v_settings.daily_limit is not null
            then greatest(0, private.daily_limit(v_settings, v_calendar.today) - v_used) end);
        v_goes := greatest(0, least(
            v_allowed, ceil(extract(epoch from v_closes - reached_at) / p_step)::bigint
        ));
        number := number + v_goes;
        v_used := v_used + v_goes;
        if number = p_number then
            reached_at := reached_at + make_interval(secs => greatest(0, v_goes - 1) * p_step);
            return next;
            return;
        end if;
        reached_at := v_closes;
        if reached_at >= p_until then
            reached_at := p_until;
            return next;
            return;
        end if;
    end loop;
end
$$;
revoke all on function private.step_of, private.sent_until from public;
grant execute on function private.step_of, private.sent_until to service_role;

-- What a connection has to send before a campaign's messages, or between them: single messages and
-- reminders until an instant, which pass it, and as many of each other campaign as of this one,
-- since they take turns. Counted up to a bound.
create or replace function private.ahead_of(
    p_campaign public.campaigns, p_until timestamptz, p_number bigint
)
returns bigint
language sql
stable
set search_path = ''
set enable_seqscan = off
as $$
    -- What has a job and waits for its turn.
    with queued as (
        select count(*) as number
        from (
            select
            from public.broadcast_jobs as job
            where job.connection_id = p_campaign.connection_id
                and job.status = 'queued'
                and job.scheduled_message_id is not null
                and job.priority = 0
            limit 10000
        ) as job
    ),
    -- What has none yet, by the index of who pays.
    coming as (
        select count(*) as number
        from (
            select
            from public.scheduled_messages as message
            where md5(
                coalesce(message.owner_id::text, message.connection_id)
                || repeat('*', message.priority)
            ) = any(array[md5(p_campaign.owner_id::text), md5(p_campaign.connection_id)])
                and message.due_at > '-infinity'
                and message.due_at <= p_until
                and message.connection_id = p_campaign.connection_id
                and message.priority = 0
            limit 100000
        ) as message
    ),
    beside as (
        select sum(least(p_number, run.pending)) as number
        from public.campaign_runs as run
        where run.connection_id = p_campaign.connection_id
            and run.finished_at is null
            and run.status = 'processing'
            and run.campaign_id <> p_campaign.id
    )
    select queued.number + coming.number + coalesce(beside.number, 0)::bigint
    from queued
    cross join coming
    cross join beside
$$;
revoke all on function private.ahead_of from public;
grant execute on function private.ahead_of to service_role;

-- What is to be expected of a campaign: of the run that is on, else of the next one. As its owner,
-- for whoever can see the campaign (estimate_campaign): it counts jobs, and changes nothing.
create or replace function private.estimate_of(p_campaign_id uuid)
returns table (
    number integer,
    is_exact boolean,
    ahead integer,
    begins_at timestamptz,
    ends_at timestamptz,
    too_late integer,
    reason text
)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    -- Of what nothing spaces: twenty at a time through a gateway that answers in a fifth of a
    -- second.
    v_unpaced constant double precision := 0.01;
    v_most constant integer := 200000;
    v_campaign public.campaigns;
    v_run public.campaign_runs;
    v_from timestamptz;
    v_step double precision;
    v_over integer;
    v_first timestamptz;
    v_last timestamptz;
    v_ends record;
begin
    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = p_campaign_id;
    select run.* into v_run
    from public.campaign_runs as run
    where run.campaign_id = p_campaign_id and run.finished_at is null;
    number := 0;
    is_exact := true;
    ahead := 0;
    too_late := 0;
    if v_run.id is null and v_campaign.status in ('completed', 'failed', 'cancelled') then
        reason := 'This campaign is over.';
        return next;
        return;
    end if;
    reason := private.why_no_audience(v_campaign);
    if reason is not null then
        return next;
        return;
    end if;

    reason := coalesce(
        private.why_template_is_not_sent(v_campaign),
        private.why_connection_cannot_send(v_campaign.connection_id)
    );
    v_step := private.step_of(v_campaign.connection_id);
    if v_run.id is null then
        v_from := greatest(now(), coalesce(v_campaign.next_run_at, v_campaign.scheduled_at));
    else
        v_from := greatest(now(), v_run.occurrence_at);
        v_over := v_run.sent + v_run.failed + v_run.unconfirmed;
        v_step := coalesce(v_step, case when v_over >= 100
            then extract(epoch from now() - v_run.started_at) / v_over end);
    end if;
    v_step := greatest(0.0001, coalesce(v_step, v_unpaced));
    if v_run.total is not null then
        number := v_run.pending;
        if v_campaign.zone_of = 'recipient' then
            select
                min(recipient.due_at),
                max(recipient.due_at)
            into v_first, v_last
            from public.campaign_recipients as recipient
            where recipient.run_id = v_run.id
                and recipient.due_at is not null
                and recipient.fault is null;
        end if;
    else
        select
            rehearsal.will_be_sent,
            rehearsal.first_due_at,
            rehearsal.last_due_at
        into number, v_first, v_last
        from public.campaign_rehearsals as rehearsal
        where rehearsal.campaign_id = p_campaign_id
            and rehearsal.revision = v_campaign.revision
            and rehearsal.finished_at is not null;
        is_exact := found;
        -- But for those who have got theirs while others still are frozen.
        number := greatest(0, coalesce(
            number, private.count_audience(v_campaign, v_most) - coalesce(v_run.skipped, 0)
        ) - coalesce(v_over, 0));
    end if;

    -- By the recipients' own clocks it begins with the first of them and ends with the last.
    v_from := greatest(now(), coalesce(v_first, v_from));
    if v_campaign.at_daily_limit = 'fail' and v_run.id is null then
        reason := coalesce(
            reason, private.why_beyond_limit(v_campaign.connection_id, v_from, number)
        );
    end if;
    ahead := private.ahead_of(v_campaign, v_from, 1);
    begins_at := (
        select sent.reached_at
        from private.sent_until(v_campaign.connection_id, v_from, v_step, ahead + 1, null) as sent
    );
    -- What falls due until its end goes out before its end, and puts that off.
    ahead := private.ahead_of(v_campaign, v_from, number);
    for v_turn in 1..2 loop
        select sent.* into v_ends
        from private.sent_until(
            v_campaign.connection_id, v_from, v_step, ahead + number, null
        ) as sent;
        ahead := private.ahead_of(v_campaign, coalesce(v_ends.reached_at, v_from), number);
    end loop;
    ends_at := greatest(v_ends.reached_at, v_last);
    select sent.* into v_ends
    from private.sent_until(
        v_campaign.connection_id, v_from, v_step, ahead + number,
        greatest(
            v_run.started_at, v_run.occurrence_at, v_last,
            case when v_run.id is null then v_from end
        ) + v_campaign.give_up_after
    ) as sent;
    too_late := least(number, ahead + number - v_ends.number);
    if too_late > 0 then
        ends_at := v_ends.reached_at;
    end if;
    return next;
end
$$;
revoke all on function private.estimate_of from public;
grant execute on function private.estimate_of to authenticated, service_role;

-- No row for a campaign that the caller cannot see, whether there is one or not. `number`: messages
-- still to be sent, exact once they are frozen or rehearsed; `ahead`: what its connection has to
-- send before them or between them; `too_late`: those of them that will not be sent any more then
-- (give_up_after); `reason`: why nothing goes out as things are.
create or replace function public.estimate_campaign(id uuid)
returns table (
    number integer,
    is_exact boolean,
    ahead integer,
    begins_at timestamptz,
    ends_at timestamptz,
    too_late integer,
    reason text
)
language sql
stable
set search_path = ''
begin atomic
    select
        estimate.number,
        estimate.is_exact,
        estimate.ahead,
        estimate.begins_at,
        estimate.ends_at,
        estimate.too_late,
        estimate.reason
    from public.campaigns as campaign
    cross join lateral private.estimate_of(campaign.id) as estimate
    where campaign.id = $1;
end;
revoke all on function public.estimate_campaign from public, anon;
grant execute on function public.estimate_campaign to authenticated, service_role;

-- Tells the runs that are on when they will be over, each every ten seconds; and adds up what was
-- put down of any, for the last that is counted of a run has nobody after it.
create or replace function public.estimate_campaign_runs(p_limit integer default 10)
returns table (estimated integer)
language sql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
    select private.fold_tallies(array(
        select distinct tally.run_id from private.run_tallies as tally
    ));
    with due as materialized (
        select
            run.id,
            run.campaign_id
        from public.campaign_runs as run
        where run.finished_at is null
            and run.status = 'processing'
            and run.total is not null
            and coalesce(run.estimated_at, '-infinity') < now() - interval '10 seconds'
        order by run.estimated_at nulls first
        limit p_limit
        for no key update skip locked
    ),
    told as (
        update public.campaign_runs as run
        set
            estimated_at = now(),
            estimated_finish_at = (
                select estimate.ends_at from private.estimate_of(due.campaign_id) as estimate
            )
        from due
        where run.id = due.id
        returning 1
    )
    select count(*)::integer from told
$$;
revoke all on function public.estimate_campaign_runs from public, anon, authenticated;
grant execute on function public.estimate_campaign_runs to service_role;
