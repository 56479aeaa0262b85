-- A run from its beginning to its end: started ahead of its instant, filled up a bounded window at
-- a time, counted, closed.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Whether nothing of a run is sent before all of its recipients are known: where the daily limit
-- may yet refuse it, and where they go by their own clocks, and the last may be the first.
create or replace function private.waits_for_all(p_campaign public.campaigns)
returns boolean
language sql
immutable
set search_path = ''
as $$
    select p_campaign.at_daily_limit = 'fail' or p_campaign.zone_of = 'recipient'
$$;
revoke all on function private.waits_for_all from public;
grant execute on function private.waits_for_all to service_role;

-- What the daemon has to do for campaigns: runs to begin within a minute, and runs under way, those
-- that waited longest first.
create or replace function public.get_campaign_agenda(p_limit integer default 100)
returns table (starts jsonb, runs jsonb, has_ended boolean)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    select
        (
            select jsonb_agg(jsonb_build_object(
                'id', due.id,
                'scheduled_at', due.scheduled_at,
                'next_run_at', due.next_run_at,
                'series_anchor', due.series_anchor,
                'timezone', coalesce(due.timezone, due.connection_timezone),
                'is_recurring', due.is_recurring,
                'recurrence_pattern', due.recurrence_pattern,
                'recurrence_end_at', due.recurrence_end_at,
                'revision', due.revision,
                'attachment', due.attachment
            ))
            from (
                select
                    campaign.*,
                    settings.timezone as connection_timezone,
                    private.attachment_of(campaign.*) as attachment
                from public.campaigns as campaign
                left join public.connection_settings
                    as settings on settings.connection_id = campaign.connection_id
                where campaign.status = 'scheduled'
                    and campaign.next_run_at <= now() + interval '27 hours'
                    -- By the recipients' clocks it begins where the day does, in Kiritimati.
                    and case campaign.zone_of
                        when 'recipient' then private.wall_to_instant(
                            campaign.next_run_at at time zone coalesce(
                                campaign.timezone, settings.timezone, 'UTC'
                            ),
                            'Pacific/Kiritimati'
                        )
                        else campaign.next_run_at
                    end <= now() + interval '1 minute'
                    and (campaign.approved_at is not null or settings.approval is distinct
                        from 'campaigns')
                    -- A run that is still going when the next falls due: the next one waits for it.
                    and not exists (
                        select from public.campaign_runs as run
                        where run.campaign_id = campaign.id and run.finished_at is null
                    )
                order by campaign.next_run_at
                limit p_limit
            ) as due
        ),
        (
            select jsonb_agg(jsonb_build_object(
                'id', open.id,
                'is_frozen', open.total is not null,
                'waits_for_all', open.waits_for_all,
                'unmade', open.unmade,
                'pending', open.pending
            ))
            from (
                select
                    run.*,
                    private.waits_for_all(campaign.*) as waits_for_all
                from public.campaign_runs as run
                join public.campaigns as campaign on campaign.id = run.campaign_id
                where run.finished_at is null
                    and coalesce(run.rests_until, '-infinity') <= now()
                    and (run.status = 'processing' or run.pending = 0 and run.total is not null)
                order by run.advanced_at
                limit p_limit
            ) as open
        ),
        private.has_ended_runs()
$$;
revoke all on function public.get_campaign_agenda from public, anon, authenticated;
grant execute on function public.get_campaign_agenda to service_role;

-- Begins a campaign's run and says when the next one comes (null: none). With a refusal, or without
-- its connection, one that has failed before it began; through one that cannot send just now it
-- waits, and says why. An edit in between wins: then there is no run.
create or replace function public.start_campaign_run(
    p_campaign_id uuid, p_revision integer, p_occurrence_at timestamptz, p_next_at timestamptz,
    p_anchor timestamp, p_refusal text default null
)
returns table (run_id uuid)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_campaign public.campaigns;
    v_obstacle text;
    v_refusal text;
begin
    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = p_campaign_id
        and campaign.status = 'scheduled'
        and campaign.revision = p_revision
        and campaign.next_run_at is not null
        and private.is_let_go(campaign.*)
    for no key update skip locked;
    if found and private.why_template_is_not_sent(v_campaign) is not null then
        update public.campaigns as campaign
        set
            status = 'paused',
            status_reason = private.why_template_is_not_sent(v_campaign)
        where campaign.id = v_campaign.id;
    elsif found then
        v_obstacle := private.why_connection_cannot_send(v_campaign.connection_id);
        v_refusal := coalesce(p_refusal, case
            when not exists (
                select from public.connections as c where c.id::text = v_campaign.connection_id
            ) then v_obstacle
            -- Given away just when it was activated.
            when private.connection_owner(v_campaign.connection_id) <> v_campaign.owner_id
                then 'The WhatsApp connection belongs to somebody else now. Choose another one.'
        end);
        insert into public.campaign_runs (
            campaign_id, owner_id, connection_id, occurrence_at, template_version,
            status, status_reason, total, finished_at
        )
        values (
            v_campaign.id,
            v_campaign.owner_id,
            v_campaign.connection_id,
            p_occurrence_at,
            (select content.version from private.campaign_content(v_campaign) as content),
            case when v_refusal is null then 'processing' else 'failed' end,
            coalesce(v_refusal, v_obstacle),
            case when v_refusal is not null then 0 end,
            case when v_refusal is not null then now() end
        )
        on conflict (campaign_id, occurrence_at) do nothing
        returning id into run_id;
        update public.campaigns as campaign
        set
            next_run_at = p_next_at,
            series_anchor = p_anchor,
            status = case when v_refusal is not null and p_next_at is null
                then 'failed' else campaign.status end,
            status_reason = coalesce(v_refusal, campaign.status_reason),
            updated_at = now()
        where campaign.id = v_campaign.id;
    end if;
    return next;
end
$$;
revoke all on function public.start_campaign_run
from public, anon, authenticated;
grant execute on function public.start_campaign_run
to service_role;

-- How many messages a run may have under way: what its connection sends in two minutes, at least
-- fifty, at most p_most.
create or replace function private.run_window(p_connection_id text, p_most integer)
returns integer
language sql
stable
set search_path = ''
as $$
    select coalesce((
        select least(p_most,
            greatest(50, settings.messages * 120 / settings.period_seconds))::integer
        from public.connection_settings as settings
        where settings.connection_id = p_connection_id and settings.messages is not null
    ), p_most)
$$;
revoke all on function private.run_window from public;
grant execute on function private.run_window to service_role;

-- Why a run stops by itself, null where it goes on: of the last hundred whose end is known (of
-- first tries, or of new ones), more than its campaign's share failed or came back undelivered.
-- What was sent before it was last resumed does not count.
create or replace function private.why_to_stop(
    p_run public.campaign_runs, p_campaign public.campaigns
)
returns text
language sql
stable
set search_path = ''
as $$
    select format(
        'It stopped by itself: of its last 100 messages %s failed. See why, then resume it.',
        count(*) filter (where last.is_failure)
    )
    from (
        (
            select
                false as is_retry,
                message.status = 'failed' or message.delivery_status is not distinct from 'failed'
                    as is_failure
            from public.scheduled_messages as message
            where message.source_id = p_run.id
                and message.source_position > p_run.judged_from
                and message.source_try = 0
                and message.status in ('sent', 'failed', 'unconfirmed')
            order by message.source_position desc
            limit 100
        )
        union all
        (
            select
                true,
                message.status = 'failed' or message.delivery_status is not distinct from 'failed'
            from public.scheduled_messages as message
            where p_run.retried_at is not null
                and message.source_id = p_run.id
                and message.source_try > 0
                and message.created_at >= p_run.judged_since
                and message.status in ('sent', 'failed', 'unconfirmed')
            order by message.source_position desc
            limit 100
        )
    ) as last
    group by last.is_retry
    having count(*) = 100
        and count(*) filter (where last.is_failure) > 100 * p_campaign.stop_at_failures
    limit 1
$$;
revoke all on function private.why_to_stop from public;
grant execute on function private.why_to_stop to service_role;

-- Takes a run and its campaign in the order in which whoever pauses one takes them; null where
-- somebody else has either, or the run is not as it should be.
create or replace function private.take_run(p_run_id uuid)
returns public.campaign_runs
language plpgsql
set search_path = ''
as $$
declare
    v_run public.campaign_runs;
begin
    perform from public.campaigns as campaign
    where campaign.id = (
        select run.campaign_id from public.campaign_runs as run where run.id = p_run_id
    )
    for no key update skip locked;
    if not found then
        return null;
    end if;
    perform from public.campaign_runs as run
    where run.id = p_run_id and run.finished_at is null
    for no key update skip locked;
    if not found then
        return null;
    end if;
    perform private.fold_tallies(array[p_run_id]);
    select run.* into v_run from public.campaign_runs as run where run.id = p_run_id;
    return v_run;
end
$$;
revoke all on function private.take_run from public;
grant execute on function private.take_run to service_role;

-- Pauses the campaign of a run that cannot go on, with the reason, until somebody lets it go on.
create or replace function public.stop_campaign_run(p_run_id uuid, p_why text)
returns void
language sql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
    update public.campaigns as campaign
    set
        status = 'paused',
        status_reason = left(p_why, 500),
        updated_at = now()
    where campaign.status = 'scheduled' and campaign.id = (
        select run.campaign_id from public.campaign_runs as run where run.id = p_run_id
    )
$$;
revoke all on function public.stop_campaign_run from public, anon, authenticated;
grant execute on function public.stop_campaign_run to service_role;

-- Makes the next messages of a run, for those who are frozen by now, as many as its window has room
-- for, once half of it is free: what is made by tens is also polled, enqueued and claimed by tens.
-- Rows and cursor move in one transaction, so a second daemon or a repetition makes nobody's twice.
-- They stand a microsecond apart, which keeps their order.
create or replace function public.advance_campaign_run(p_run_id uuid, p_limit integer default 1000)
returns table (made integer, stopped text)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_run public.campaign_runs;
    v_campaign public.campaigns;
    v_window integer;
    v_room integer;
    v_retried integer;
    v_from timestamptz;
    v_last integer;
    v_last_due_at timestamptz;
    v_next_due_at timestamptz;
    v_obstacle text;
begin
    made := 0;
    v_run := private.take_run(p_run_id);
    if v_run.status is distinct from 'processing' then
        return next;
        return;
    end if;
    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = v_run.campaign_id;
    if v_run.total is null and private.waits_for_all(v_campaign) then
        return next;
        return;
    end if;
    stopped := private.why_to_stop(v_run, v_campaign);
    if stopped is not null then
        perform public.stop_campaign_run(p_run_id, stopped);
        return next;
        return;
    end if;
    if v_run.status_reason is not null then
        v_obstacle := private.why_connection_cannot_send(v_run.connection_id);
    end if;
    v_window := private.run_window(v_run.connection_id, 2 * p_limit);
    v_room := least(v_run.unmade, v_window - (v_run.pending - v_run.unmade));
    if v_room < least(greatest(v_run.unmade, 1), v_window / 2) then
        update public.campaign_runs as run
        set
            advanced_at = now(),
            status_reason = v_obstacle
        where run.id = p_run_id;
        return next;
        return;
    end if;
    v_room := least(v_room, p_limit);
    v_from := greatest(v_run.occurrence_at, v_run.started_at, v_run.retried_at);
    v_retried := private.make_tries(v_run, v_from + v_campaign.give_up_after, v_room);
    v_room := v_room - v_retried;
    with content as materialized (
        select content.* from private.campaign_content(v_campaign, v_run.template_version)
            as content
    ),
    chosen as materialized (
        (
            select recipient.*
            from public.campaign_recipients as recipient
            where v_campaign.zone_of = 'campaign'
                and recipient.run_id = p_run_id
                and recipient.position > v_run.made_position
                and recipient.fault is null
            order by recipient.position
            limit v_room
        )
        union all
        -- By the recipients' own clocks, a minute ahead.
        (
            select recipient.*
            from public.campaign_recipients as recipient
            where v_campaign.zone_of = 'recipient'
                and recipient.run_id = p_run_id
                and (recipient.due_at, recipient.position)
                > (coalesce(v_run.made_due_at, '-infinity'), v_run.made_position)
                and recipient.due_at <= now() + interval '1 minute'
                and recipient.due_at is not null
                and recipient.fault is null
            order by recipient.due_at, recipient.position
            limit v_room
        )
    ),
    written as (
        insert into public.scheduled_messages (
            connection_id, contact_id, message, type, media_url, caption, media, scheduled_at,
            timezone, created_by, owner_id, category, priority, template, not_after,
            source_id, source_position, source_try
        )
        select
            v_run.connection_id,
            coalesce(chosen.contact_id, chosen.address),
            case when content.type = 'text' then rendered.text else '' end,
            content.type,
            content.media_url,
            case when content.type <> 'text' then nullif(rendered.text, '') end,
            content.media,
            greatest(coalesce(chosen.due_at, v_run.occurrence_at), now())
            + chosen.position * interval '1 microsecond',
            coalesce(chosen.timezone, v_campaign.timezone),
            (select private.author_of(
                v_campaign.connection_id, v_campaign.owner_id, v_campaign.created_by
            )),
            v_campaign.owner_id,
            content.category,
            1,
            case when content.cloud is not null
                then private.fill_approved(content.cloud, rendered.variables, content.media_url)
            end,
            coalesce(greatest(chosen.due_at, v_run.started_at, v_run.retried_at), v_from)
            + v_campaign.give_up_after,
            p_run_id,
            chosen.position,
            0
        from chosen
        cross join content
        cross join lateral (
            select
                private.render(content.parts, given.variables) as text,
                given.variables
            from (select content.variables || chosen.variables as variables) as given
        ) as rendered
        on conflict (source_id, source_position, source_try) where source_id is not null do nothing
        returning 1
    )
    select
        (select count(*) from chosen),
        last.position,
        last.due_at
    into made, v_last, v_last_due_at
    from (select) as one
    left join lateral (
        select
            chosen.position,
            chosen.due_at
        from chosen
        order by chosen.due_at desc, chosen.position desc
        limit 1
    ) as last on true;

    -- With nothing under way and nobody's time come, it rests until the next one's has.
    if made + v_retried = 0 and v_run.pending = v_run.unmade then
        select min(recipient.due_at) into v_next_due_at
        from public.campaign_recipients as recipient
        where recipient.run_id = p_run_id
            and recipient.due_at > now()
            and recipient.due_at is not null
            and recipient.fault is null;
    end if;
    update public.campaign_runs as run
    set
        made_position = coalesce(v_last, run.made_position),
        made_due_at = coalesce(v_last_due_at, run.made_due_at),
        rests_until = v_next_due_at - interval '1 minute',
        unmade = run.unmade - made,
        status_reason = v_obstacle,
        advanced_at = now()
    where run.id = p_run_id;
    made := made + v_retried;
    return next;
end
$$;
revoke all on function public.advance_campaign_run from public, anon, authenticated;
grant execute on function public.advance_campaign_run to service_role;

-- Ends a run of which nothing is pending, and its campaign where no further run comes. It is
-- counted once more for real; `difference` is what the counts were off by, nothing if they are
-- right.
create or replace function public.finish_campaign_run(p_run_id uuid)
returns table (status text, status_reason text, total integer, sent integer, difference integer)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_run public.campaign_runs;
    v_real record;
    v_campaign_status text;
begin
    v_run := private.take_run(p_run_id);
    if v_run.id is null or v_run.total is null or v_run.unmade > 0 or v_run.pending > 0 then
        return;
    end if;
    select
        count(*) filter (where private.counted_as(message.status) = 'pending') as pending,
        count(*) filter (where message.status = 'sent') as sent,
        count(*) filter (where message.status = 'failed') as failed,
        count(*) filter (where message.status = 'unconfirmed') as unconfirmed
    into v_real
    from (
        select distinct on (m.source_position) m.status
        from public.scheduled_messages as m
        where m.source_id = p_run_id
        order by m.source_position, m.source_try desc
    ) as message;
    difference := greatest(v_real.sent - v_run.sent, 0) + greatest(v_real.failed - v_run.failed, 0)
        + greatest(v_real.unconfirmed - v_run.unconfirmed, 0) + v_real.pending;
    -- A message that somebody has deleted keeps what it counted as.
    if difference > 0 then
        update public.campaign_runs as run
        set
            pending = v_real.pending,
            sent = greatest(run.sent, v_real.sent),
            failed = greatest(run.failed, v_real.failed),
            unconfirmed = greatest(run.unconfirmed, v_real.unconfirmed),
            cancelled = run.total - run.skipped - v_real.pending
                - greatest(run.sent, v_real.sent)
                - greatest(run.failed, v_real.failed)
                - greatest(run.unconfirmed, v_real.unconfirmed)
        where run.id = p_run_id;
    end if;
    if v_real.pending > 0 then
        return next;
        return;
    end if;
    select campaign.status into v_campaign_status
    from public.campaigns as campaign
    where campaign.id = v_run.campaign_id;
    update public.campaign_runs as run
    set
        status = case
            when v_campaign_status = 'cancelled' then 'cancelled'
            else private.run_state(run.*)
        end,
        status_reason = case
            when v_campaign_status = 'cancelled' then run.status_reason
            when run.skipped = run.total then
                'Nobody could be written to; the reasons stand with the recipients.'
            -- What kept it from beginning.
            when run.made_position = 0 then run.status_reason
        end,
        finished_at = now(),
        estimated_finish_at = null
    where run.id = p_run_id
    returning run.status, run.status_reason, run.total, run.sent
    into status, status_reason, total, sent;
    update public.campaigns as campaign
    set
        -- The last run's, where an older one has had messages tried again.
        status = case when (
            select run.status from public.campaign_runs as run
            where run.campaign_id = v_run.campaign_id
            order by run.occurrence_at desc
            limit 1
        ) = 'failed' then 'failed' else 'completed' end,
        status_reason = finish_campaign_run.status_reason,
        updated_at = now()
    where campaign.id = v_run.campaign_id
        and campaign.status in ('scheduled', 'completed', 'failed')
        and campaign.next_run_at is null;
    return next;
end
$$;
revoke all on function public.finish_campaign_run from public, anon, authenticated;
grant execute on function public.finish_campaign_run to service_role;
