-- What a campaign needs before it may start, and which changes of it are its author's.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- How many an audience names, at most one more than p_enough: duplicates and faults count until a
-- run is frozen.
create or replace function private.count_audience(p_campaign public.campaigns, p_enough integer)
returns integer
language sql
stable
set search_path = ''
as $$
    select count(*)::integer from private.next_of_audience(p_campaign, null, p_enough + 1)
$$;
revoke all on function private.count_audience from public;

-- Why nobody can be looked for in an audience as it is written; null where that can be done.
create or replace function private.why_no_audience(p_campaign public.campaigns)
returns text
language sql
immutable
set search_path = ''
as $$
    select case
        when count(*) filter (where p_campaign.audience ? kind.name) <> 1
            or bool_or(
                p_campaign.audience ? kind.name
                and jsonb_typeof(p_campaign.audience -> kind.name) <> 'array'
            )
            then 'Say who is to get it: contacts, labels or numbers.'
        when jsonb_typeof(coalesce(p_campaign.audience -> 'except', '{}')) <> 'object'
            or exists (
                select
                from unnest(array['contacts', 'labels']) as list (name)
                where jsonb_typeof(
                    coalesce(p_campaign.audience -> 'except' -> list.name, '[]')
                ) <> 'array'
            )
            then 'What is excepted is an object of lists, such as {"labels": ["staff"]}.'
    end
    from unnest(array['contacts', 'labels', 'numbers']) as kind (name)
$$;
revoke all on function private.why_no_audience from public;

-- Why WhatsApp would not send a campaign's approved template; null where it would, or it has none.
create or replace function private.why_template_is_not_sent(p_campaign public.campaigns)
returns text
language sql
stable
set search_path = ''
as $$
    select private.why_not_approved(template.cloud, p_campaign.connection_id)
    from public.message_templates as template
    where template.id = p_campaign.template_id
$$;
revoke all on function private.why_template_is_not_sent from public;
grant execute on function private.why_template_is_not_sent to service_role;

-- Whether nobody has to approve a campaign any more before it goes on.
create or replace function private.is_let_go(p_campaign public.campaigns)
returns boolean
language sql
stable
set search_path = ''
as $$
    select p_campaign.approved_at is not null or not exists (
        select
        from public.connection_settings as settings
        where settings.connection_id = p_campaign.connection_id
            and settings.approval = 'campaigns'
    )
$$;
revoke all on function private.is_let_go from public;
grant execute on function private.is_let_go to service_role;

-- Why a campaign cannot start as it stands; null where it can. Words for whoever has just pressed
-- the button.
create or replace function private.why_not_to_start(p_campaign public.campaigns)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
    v_count integer;
    v_unknown text[];
    v_why text;
begin
    if p_campaign.scheduled_at is null then
        return 'Say when the campaign is to be sent.';
    elsif p_campaign.zone_of = 'recipient' and private.campaign_zone(p_campaign) is null then
        return 'Say in which time zone the time is written (timezone): everybody gets it at that '
            || 'time of their own day.';
    elsif p_campaign.next_run_at is null
        and p_campaign.scheduled_at < now() - interval '1 minute'
    then
        return 'The time of the campaign has passed. Choose a later one.';
    elsif p_campaign.is_recurring
        and p_campaign.recurrence_pattern !~* '^\s*(daily|weekly|monthly|yearly|weekdays)\s*$'
        and p_campaign.recurrence_pattern
        !~* '^\s*(rrule:)?([a-z-]+=[a-z0-9,+:-]+;)*[a-z-]+=[a-z0-9,+:-]+;?\s*$'
    then
        return 'The recurrence pattern must be daily, weekly, monthly, yearly, weekdays or a rule '
            || 'such as FREQ=MONTHLY;BYDAY=1MO.';
    elsif p_campaign.is_recurring and p_campaign.recurrence_end_at < p_campaign.scheduled_at then
        return 'The campaign ends before it begins.';
    end if;

    if not exists (
        select from private.campaign_content(p_campaign) as content
        where (content.type = 'text' and array_to_string(content.parts, '') ~ '\S')
            or (content.type <> 'text' and (content.media_url ~ '\S' or content.media is not null))
    ) then
        return 'The campaign has nothing to send. Write a text, choose a template or a file.';
    end if;

    v_why := private.why_no_audience(p_campaign);
    if v_why is not null then
        return v_why;
    end if;
    if exists (
        select from public.message_templates as template
        where template.id = p_campaign.template_id
            and template.owner_id = p_campaign.owner_id
            and template.connection_id <> p_campaign.connection_id
    ) then
        return 'This template is another connection''s. Choose one of this connection.';
    end if;
    v_count := private.count_audience(p_campaign, coalesce(p_campaign.max_recipients, 0));
    if v_count = 0 then
        return 'Nobody is in this audience.';
    elsif v_count > p_campaign.max_recipients then
        return format('The audience has more than %s recipients, which are the most.',
            p_campaign.max_recipients);
    elsif p_campaign.audience ? 'contacts' and v_count <= 1000 then
        select array_agg(missing.id)
        into v_unknown
        from (
            select next.contact_id as id
            from private.next_of_audience(p_campaign, null, 1000) as next
            where not exists (
                select
                from (values (null::text, null::text)) as none (owner_id, user_id)
                cross join lateral (
                    select coalesce(owner_id::text, user_id::text) as owner
                    from public.contacts as c
                    where c.id = any(array[private.contact_key(next.contact_id)])
                ) as contact
                where contact.owner = p_campaign.owner_id::text
            )
            limit 5
        ) as missing;
        if v_unknown is not null then
            return format('There are no such contacts: %s.', array_to_string(v_unknown, ', '));
        end if;
    end if;

    select array_agg(named.name)
    into v_unknown
    from private.campaign_content(p_campaign) as content
    cross join lateral (
        select unnest(private.names_in(content.parts, content.variables))
        where content.on_missing = 'fault'
        union
        select needed.name
        from unnest(private.names_of_approved(content.cloud)) as needed (name)
        where private.goes_by_cloud(p_campaign.connection_id)
            and not content.variables ? needed.name
    ) as named (name)
    where (p_campaign.audience ? 'numbers' or not exists (
            select
            from pg_catalog.pg_attribute as a
            where a.attrelid = 'public.contacts'::regclass and a.attnum > 0 and not a.attisdropped
                and named.name = case a.attname when 'contact_name'
                    then 'name' else private.placeholder(a.attname) end
        ));
    if v_unknown is not null then
        return 'Nothing can fill {' || array_to_string(v_unknown, '}, {') || '}. Give it a value.';
    end if;
    return coalesce(
        private.why_template_is_not_sent(p_campaign),
        private.why_connection_cannot_send(p_campaign.connection_id)
    );
end
$$;
revoke all on function private.why_not_to_start from public;

-- Why nothing would go out through a connection now; null where it would.
create or replace function private.why_connection_cannot_send(p_connection_id text)
returns text
language sql
stable
set search_path = ''
as $$
    select case
        when connection.is_connected is null then
            'The WhatsApp connection does not exist any more. Choose another one.'
        when not connection.is_connected then
            'The WhatsApp connection is not connected. Connect its phone first.'
        when not coalesce(settings.enabled and settings.active, true) then
            'The WhatsApp connection is switched off.'
        when state.paused_reason is not null then
            format('The WhatsApp connection is paused: %s', state.paused_reason)
    end
    from (select) as one
    left join lateral (
        select coalesce(private.is_yes(found.state), true) as is_connected
        from (values (null::text)) as missing (connected)
        cross join lateral (
            select connected::text as state
            from public.connections as c
            where c.id::text = p_connection_id
        ) as found
    ) as connection on true
    left join public.connection_settings as settings on settings.connection_id = p_connection_id
    left join private.connection_state as state on state.connection_id = p_connection_id
$$;
revoke all on function private.why_connection_cannot_send from public;
grant execute on function private.why_connection_cannot_send to service_role;

-- Holds what waits of a campaign's runs and takes its waiting jobs back. Returns why, and how many
-- are being sent at this moment. What is pending afterwards has no due_at, so nothing of it goes
-- out once this has committed.
create or replace function private.hold_runs(p_campaign_id uuid, p_why text)
returns text
language plpgsql
set search_path = ''
as $$
declare
    v_runs uuid[];
    v_on_their_way integer;
    v_words text := p_why;
begin
    select array_agg(run.id) into v_runs
    from (
        select open.id
        from public.campaign_runs as open
        where open.campaign_id = p_campaign_id and open.finished_at is null
        order by open.id
        for no key update
    ) as run;
    -- What was counted while somebody else held them: else nobody would look again.
    perform private.fold_tallies(v_runs);
    with open as materialized (
        select
            message.id,
            message.status,
            message.broadcast_job_id
        from public.scheduled_messages as message
        where message.source_id = any(v_runs) and message.status in ('pending', 'processing')
        order by message.id
        for no key update
    ),
    taken_back as materialized (
        select open.id
        from open
        where case when open.status = 'pending'
            then true else private.withdraw_job(open.broadcast_job_id) end
    ),
    held as (
        update public.scheduled_messages as message
        set
            status = 'pending',
            held = p_why,
            waiting_reason = p_why
        from taken_back
        where message.id = taken_back.id
        returning 1
    )
    select count(*) - (select count(*) from held) into v_on_their_way
    from open;
    if v_on_their_way > 0 then
        v_words := format('%s %s on their way at this moment.', p_why, v_on_their_way);
    end if;
    update public.campaign_runs as run
    set
        status = 'paused',
        status_reason = v_words,
        estimated_finish_at = null
    where run.id = any(v_runs) and run.status = 'processing';
    return v_words;
end
$$;
revoke all on function private.hold_runs from public;

create or replace function private.release_runs(p_campaign_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
    with resumed as (
        update public.campaign_runs as run
        set
            status = 'processing',
            status_reason = null,
            judged_from = case when run.made_due_at is null then run.made_position else 0 end,
            judged_since = now(),
            rests_until = null
        where run.campaign_id = p_campaign_id and run.status = 'paused'
        returning run.id
    ),
    waiting as materialized (
        select message.id
        from public.scheduled_messages as message
        where message.source_id in (select resumed.id from resumed)
            and message.status = 'pending' and message.held is not null
        order by message.id
        for no key update
    )
    update public.scheduled_messages as message
    set
        held = null,
        waiting_reason = null
    from waiting
    where message.id = waiting.id;
end
$$;
revoke all on function private.release_runs from public;

-- Ends the runs under way: what waits is cancelled, and so is whom nothing was made for.
create or replace function private.cancel_runs(p_campaign_id uuid, p_why text)
returns void
language plpgsql
set search_path = ''
as $$
begin
    perform private.hold_runs(p_campaign_id, p_why);
    perform private.unmark_tries(array(
        select run.id from public.campaign_runs as run
        where run.campaign_id = p_campaign_id and run.status = 'paused'
    ));
    update public.scheduled_messages as message
    set
        status = 'cancelled',
        held = null,
        error = p_why
    where message.status = 'pending' and message.source_id in (
        select run.id from public.campaign_runs as run
        where run.campaign_id = p_campaign_id and run.status = 'paused'
    );
    update public.campaign_runs as run
    set
        pending = run.pending - run.unmade,
        cancelled = run.cancelled + run.unmade,
        unmade = 0,
        total = coalesce(run.total, run.frozen_position),
        status = case when run.pending > run.unmade then run.status else 'cancelled' end,
        status_reason = p_why,
        finished_at = case when run.pending > run.unmade then null else now() end
    where run.campaign_id = p_campaign_id and run.status = 'paused';
end
$$;
revoke all on function private.cancel_runs from public;

-- Whose a campaign is, and which of its columns are the database's: for users.
create or replace function private.hold_campaign_to_its_owner(
    p_old public.campaigns, p_new public.campaigns
)
returns public.campaigns
language plpgsql
set search_path = ''
as $$
declare
    v_writers constant text[] := array['admin', 'staff'];
begin
    p_new.updated_at := now();
    if p_old.id is null then
        p_new.owner_id := private.owner_to_write_for(p_new.connection_id, v_writers);
        p_new.created_by := auth.uid();
        p_new.created_at := now();
        p_new.revision := 0;
        p_new.next_run_at := null;
        p_new.series_anchor := null;
        p_new.status_reason := null;
        p_new.activated_by := null;
        p_new.activated_at := null;
        p_new.approved_by := null;
        p_new.approved_at := null;
        return p_new;
    end if;
    perform private.refuse_former_owner(p_old.connection_id, p_old.owner_id, v_writers);
    if (
        p_new.id, p_new.owner_id, p_new.created_by, p_new.next_run_at, p_new.series_anchor,
        p_new.revision, p_new.activated_by
    ) is distinct from (
        p_old.id, p_old.owner_id, p_old.created_by, p_old.next_run_at, p_old.series_anchor,
        p_old.revision, p_old.activated_by
    ) then
        raise exception 'Not yours to change: id, owner, author, next run, anchor and revision.'
            using errcode = '42501';
    end if;
    p_new.created_at := p_old.created_at;
    p_new.activated_at := p_old.activated_at;
    p_new.approved_at := p_old.approved_at;
    p_new.status_reason := p_old.status_reason;
    if p_new.approved_by is distinct from p_old.approved_by then
        perform private.owner_to_write_for(p_old.connection_id, array['admin']);
        if p_new.approved_by <> auth.uid() then
            raise exception 'Approve it in your own name.' using errcode = '42501';
        elsif p_new.approved_by = p_old.activated_by then
            raise exception 'Somebody else has to approve what you have activated or changed.'
                using errcode = 'PT409';
        elsif p_old.status not in ('scheduled', 'paused') then
            raise exception 'This campaign is % and needs no approval.', p_old.status
                using errcode = 'PT409';
        end if;
    end if;
    if p_new.connection_id <> p_old.connection_id
        and private.owner_to_write_for(p_new.connection_id, v_writers) <> p_old.owner_id
    then
        raise exception 'A campaign cannot be given to another owner.' using errcode = '42501';
    end if;
    return p_new;
end
$$;
revoke all on function private.hold_campaign_to_its_owner from public;

-- Whether two states of a campaign are to be sent at the same times.
create or replace function private.is_same_time(
    p_old public.campaigns, p_new public.campaigns
)
returns boolean
language sql
immutable
set search_path = ''
as $$
    select (
        p_old.scheduled_at,
        p_old.timezone,
        p_old.zone_of,
        p_old.is_recurring,
        p_old.recurrence_pattern
    ) is not distinct from (
        p_new.scheduled_at,
        p_new.timezone,
        p_new.zone_of,
        p_new.is_recurring,
        p_new.recurrence_pattern
    )
$$;
revoke all on function private.is_same_time from public;

-- Whether they say the same to the same people.
create or replace function private.is_same_content(
    p_old public.campaigns, p_new public.campaigns
)
returns boolean
language sql
immutable
set search_path = ''
as $$
    select (
        p_old.connection_id,
        p_old.template_id,
        p_old.message,
        p_old.type,
        p_old.media_url,
        p_old.media::text,
        p_old.caption,
        p_old.variables,
        p_old.audience,
        p_old.max_recipients
    ) is not distinct from (
        p_new.connection_id,
        p_new.template_id,
        p_new.message,
        p_new.type,
        p_new.media_url,
        p_new.media::text,
        p_new.caption,
        p_new.variables,
        p_new.audience,
        p_new.max_recipients
    )
$$;
revoke all on function private.is_same_content from public;

-- What each change of a campaign does, in its transaction, whoever makes it; called with 'user' for
-- users. A new time begins the series anew, at once or when a paused campaign goes on.
create or replace function private.guard_campaign()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_by_user constant boolean := tg_nargs > 0;
    v_is_new constant boolean := tg_op = 'INSERT';
    v_is_edited boolean := false;
    v_was text;
    v_why text;
    v_waits constant text := 'It waits for the approval of another admin.';
begin
    if v_by_user then
        new := private.hold_campaign_to_its_owner(old, new);
    elsif v_is_new then
        new.owner_id := coalesce(new.owner_id, private.connection_owner(new.connection_id));
    end if;
    if v_is_new then
        if new.status not in ('draft', 'scheduled') then
            raise exception 'A new campaign starts as draft or scheduled, not as %.', new.status
                using errcode = 'PT409';
        end if;
        v_was := 'draft';
    else
        v_was := old.status;
        v_is_edited := not (private.is_same_content(old, new) and private.is_same_time(old, new));
    end if;
    if v_is_edited then
        if exists (
            select from public.campaign_runs as run
            where run.campaign_id = old.id and run.finished_at is null
        ) then
            raise exception using errcode = 'PT409', message = 'This campaign is being sent. '
                || 'Cancel it, or wait for its end, before you change it.';
        elsif v_was in ('completed', 'failed', 'cancelled') then
            raise exception 'This campaign is over. Make a new one.' using errcode = 'PT409';
        end if;
        new.revision := old.revision + 1;
        if not private.is_same_time(old, new) then
            new.next_run_at := null;
        end if;
        new.activated_by := case when v_by_user then auth.uid() else new.activated_by end;
        new.approved_by := null;
    end if;
    if v_by_user and new.status <> v_was and not (
        (v_was = 'draft' and new.status in ('scheduled', 'cancelled'))
        or (v_was = 'scheduled' and new.status in ('paused', 'cancelled'))
        or (v_was = 'paused' and new.status in ('scheduled', 'cancelled'))
    ) then
        raise exception 'This campaign is % and cannot be made %.', v_was, new.status
            using errcode = 'PT409';
    end if;

    if new.status = 'scheduled' and (v_was = 'draft' or v_is_edited or (
        v_was = 'paused' and new.next_run_at is null and not exists (
            select from public.campaign_runs as run
            where run.campaign_id = new.id and run.finished_at is null
        )
    )) then
        v_why := private.why_not_to_start(new);
        if v_why is not null then
            raise exception using errcode = 'PT400', message = v_why;
        end if;
        if new.next_run_at is null then
            new.next_run_at := new.scheduled_at;
            new.series_anchor := null;
            new.activated_at := now();
        end if;
        if v_was = 'draft' then
            new.activated_by := auth.uid();
        end if;
        new.status_reason := null;
    end if;
    new.approved_at := case
        when new.approved_by is null then null
        when v_is_new or new.approved_by is distinct from old.approved_by then now()
        else new.approved_at
    end;
    case
        when new.status = v_was then null;
        when new.status = 'paused' then
            new.status_reason := private.hold_runs(new.id, coalesce(
                case when not v_by_user then new.status_reason end, 'The campaign is paused.'
            ));
        when v_was = 'paused' and new.status = 'scheduled' then
            v_why := private.why_template_is_not_sent(new);
            if v_why is not null then
                raise exception using errcode = 'PT409', message = v_why;
            end if;
            perform private.release_runs(new.id);
            new.status_reason := null;
        when new.status = 'cancelled' then
            v_why := case
                when not v_by_user and new.status_reason is distinct from old.status_reason
                    then new.status_reason
            end;
            perform private.cancel_runs(new.id, coalesce(v_why, 'The campaign was cancelled.'));
            new.next_run_at := null;
            new.status_reason := v_why;
        else null;
    end case;
    if new.status = 'scheduled' and not private.is_let_go(new) then
        new.status_reason := v_waits;
    elsif new.status_reason = v_waits then
        new.status_reason := null;
    end if;
    return new;
end
$$;
revoke all on function private.guard_campaign from public;

create or replace trigger guard_campaign before insert or update on public.campaigns
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_campaign('user');

create or replace trigger guard_campaign_by_service before insert or update on public.campaigns
for each row when (
    not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
)
execute function private.guard_campaign();

-- A campaign that is being sent is cancelled before it is deleted; its messages that went out stay.
create or replace function private.guard_campaign_deletion()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform private.owner_to_write_for(old.connection_id, array['admin', 'staff']);
    if exists (
        select from public.campaign_runs as run
        where run.campaign_id = old.id and run.finished_at is null
    ) then
        raise exception 'This campaign is being sent. Cancel it before you delete it.'
            using errcode = 'PT409';
    end if;
    return old;
end
$$;
revoke all on function private.guard_campaign_deletion from public;

create or replace trigger guard_campaign_deletion before delete on public.campaigns
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_campaign_deletion();

-- What is approved is what it said then: a template that is changed is to be approved anew, and by
-- somebody else than whoever has changed it.
create or replace function private.withdraw_approval()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.campaigns as campaign
    set
        approved_by = null,
        activated_by = coalesce(auth.uid(), campaign.activated_by)
    where campaign.template_id = new.id
        and campaign.status in ('scheduled', 'paused')
        and (campaign.approved_by is not null or not private.is_let_go(campaign.*));
    return null;
end
$$;
revoke all on function private.withdraw_approval from public;

create or replace trigger withdraw_approval after update on public.message_templates
for each row when (new.version is distinct from old.version)
execute function private.withdraw_approval();

-- Those that wait, or need not wait any more, say so at once.
create or replace function private.tell_of_approval()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.campaigns as campaign
    set updated_at = now()
    where campaign.connection_id = new.connection_id and campaign.status = 'scheduled';
    return null;
end
$$;
revoke all on function private.tell_of_approval from public;

create or replace trigger tell_of_approval after update on public.connection_settings
for each row when (new.approval is distinct from old.approval)
execute function private.tell_of_approval();
create or replace trigger tell_of_new_approval after insert on public.connection_settings
for each row when (new.approval <> 'none')
execute function private.tell_of_approval();
