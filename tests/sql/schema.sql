-- Generated from the migrations by ./scripts/dump-schema; not applied by anything.

CREATE SCHEMA private;

CREATE TYPE private.beyond_limit_row AS (
	id uuid,
	connection_id text,
	reason text
);

CREATE TYPE private.recipient AS (
	place bigint,
	contact_id text,
	name text,
	raw text,
	address text,
	is_judged boolean,
	variables jsonb,
	text text,
	fault text,
	fault_kind text,
	timezone text
);

CREATE TYPE private.candidate AS (
	recipient private.recipient,
	key text,
	is_repeated boolean,
	due_at timestamp with time zone
);

CREATE TYPE private.claim_terms AS (
	token uuid,
	lease_seconds double precision,
	gateway text,
	at timestamp with time zone,
	call_seconds double precision,
	early interval,
	retry_attempts integer,
	retry_delay_seconds double precision
);

CREATE TYPE private.delivery AS (
	job_id uuid,
	message_id text,
	status text,
	error text,
	part integer,
	parts integer
);

CREATE TYPE private.late_row AS (
	id uuid,
	handover_seconds double precision,
	quietly boolean
);

CREATE TYPE private.noted_row AS (
	connection_id text,
	outcome text,
	error text,
	available_at timestamp with time zone,
	send_at timestamp with time zone,
	recipient text,
	id uuid
);

CREATE TYPE private.planned_row AS (
	id uuid,
	revision integer,
	job_id uuid,
	recipient text,
	error text,
	timezone text,
	anchor timestamp without time zone,
	occurrence timestamp with time zone,
	missed integer,
	next_at timestamp with time zone,
	next_after timestamp with time zone,
	expires_at timestamp with time zone,
	phone text,
	soon timestamp with time zone,
	stage integer,
	series_ends text
);

CREATE TYPE private.probed_row AS (
	connection_id text,
	is_well boolean,
	judges boolean
);

CREATE TYPE private.told_message AS (
	job_id uuid,
	scheduled_message_id uuid,
	status text,
	sent_at timestamp with time zone,
	message_id text,
	error text,
	delivery_status text,
	longest integer
);

CREATE TYPE private.told_row AS (
	job_id uuid,
	token uuid,
	verdict text,
	message_id text,
	error text,
	wait double precision,
	age double precision,
	parts text,
	told_at timestamp with time zone,
	quietly boolean
);

CREATE TYPE private.waiting_connection AS (
	connection_id text,
	reason text,
	until timestamp with time zone,
	told_at timestamp with time zone,
	told_id uuid,
	told_until timestamp with time zone,
	many_told_at timestamp with time zone,
	many_told_id uuid,
	many_told_until timestamp with time zone,
	has_more boolean,
	look_at timestamp with time zone
);

CREATE FUNCTION private.add_next(p_rows uuid[], p_next_ids uuid[], p_next_after timestamp with time zone[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $_$
declare
    v_own constant text[] := private.columns_that_travel();
    v_made uuid[];
begin
    execute format(
        'with made as (
            insert into public.scheduled_messages (
                id, scheduled_at, next_scheduled_at, connection_id, contact_id, message, type,
                media_url, caption, media, asset_id, created_by, owner_id, is_recurring,
                recurrence_pattern, recurrence_end_at, timezone, series_id, series_anchor,
                occurrence_at, category, priority, template, not_after%1$s
            )
            select
                given.next_id, s.next_scheduled_at, given.next_after, s.connection_id,
                s.contact_id, s.message, s.type, s.media_url, s.caption, s.media, s.asset_id,
                s.created_by, s.owner_id, true, s.recurrence_pattern, s.recurrence_end_at,
                s.timezone, s.series_id, s.series_anchor, s.next_scheduled_at, s.category,
                s.priority, s.template, s.not_after + (s.next_scheduled_at - s.scheduled_at)%2$s
            from unnest($1, $2, $3) as given (id, next_id, next_after)
            join public.scheduled_messages as s on s.id = any(array[given.id])
            on conflict (series_id, occurrence_at) where series_id is not null do nothing
            returning id
        )
        select array_agg(made.id) from made',
        (select string_agg(format(', %I', own.name), '') from unnest(v_own) as own (name)),
        (select string_agg(format(', s.%I', own.name), '') from unnest(v_own) as own (name))
    )
    into v_made using p_rows, p_next_ids, p_next_after;

    if coalesce(cardinality(v_made), 0) < cardinality(p_next_ids) then
        update public.scheduled_messages as s
        set next_id = (
            select o.id from public.scheduled_messages as o
            where o.series_id = s.series_id and o.occurrence_at = s.next_scheduled_at
            limit 1
        )
        where s.id = any(p_rows)
            and s.next_id = any(p_next_ids)
            and s.next_id <> all(coalesce(v_made, '{}'));
    end if;
end
$_$;

CREATE TABLE public.campaigns (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    owner_id uuid NOT NULL,
    created_by uuid DEFAULT auth.uid(),
    connection_id text NOT NULL,
    name text NOT NULL,
    template_id uuid,
    message text DEFAULT ''::text NOT NULL,
    type text DEFAULT 'text'::text NOT NULL,
    media_url text,
    media json,
    caption text,
    variables jsonb DEFAULT '{}'::jsonb NOT NULL,
    audience jsonb DEFAULT '{}'::jsonb NOT NULL,
    scheduled_at timestamp with time zone,
    timezone text,
    zone_of text DEFAULT 'campaign'::text NOT NULL,
    is_recurring boolean DEFAULT false NOT NULL,
    recurrence_pattern text,
    recurrence_end_at timestamp with time zone,
    max_recipients integer,
    at_daily_limit text DEFAULT 'defer'::text NOT NULL,
    give_up_after interval DEFAULT '12:00:00'::interval NOT NULL,
    stop_at_failures numeric DEFAULT 0.3 NOT NULL,
    status text DEFAULT 'draft'::text NOT NULL,
    status_reason text,
    approved_by uuid,
    approved_at timestamp with time zone,
    activated_by uuid,
    activated_at timestamp with time zone,
    next_run_at timestamp with time zone,
    series_anchor timestamp without time zone,
    revision integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT campaigns_at_daily_limit_known CHECK ((at_daily_limit = ANY (ARRAY['defer'::text, 'fail'::text]))),
    CONSTRAINT campaigns_audience_object CHECK (((jsonb_typeof(audience) = 'object'::text) AND (length((audience)::text) <= 4194304))),
    CONSTRAINT campaigns_give_up_after_sane CHECK (((give_up_after >= '00:01:00'::interval) AND (give_up_after <= '7 days'::interval))),
    CONSTRAINT campaigns_lengths CHECK (((length(message) <= 8192) AND (COALESCE(length(caption), 0) <= 8192) AND (COALESCE(length(media_url), 0) <= 4096) AND (COALESCE(length((media)::text), 0) <= 16384) AND (COALESCE(length(recurrence_pattern), 0) <= 1024))),
    CONSTRAINT campaigns_max_recipients_positive CHECK ((max_recipients >= 1)),
    CONSTRAINT campaigns_name_given CHECK (((name ~ '\S'::text) AND (length(name) <= 200))),
    CONSTRAINT campaigns_next_run_is_scheduled CHECK (((next_run_at IS NULL) OR (status = ANY (ARRAY['scheduled'::text, 'paused'::text])))),
    CONSTRAINT campaigns_recurring_has_pattern CHECK (((NOT is_recurring) OR (recurrence_pattern IS NOT NULL))),
    CONSTRAINT campaigns_sane_times CHECK (((scheduled_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (scheduled_at < '2200-01-01 00:00:00+00'::timestamp with time zone))),
    CONSTRAINT campaigns_status_known CHECK ((status = ANY (ARRAY['draft'::text, 'scheduled'::text, 'paused'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT campaigns_stop_at_failures_share CHECK (((stop_at_failures >= (0)::numeric) AND (stop_at_failures <= (1)::numeric))),
    CONSTRAINT campaigns_type_known CHECK ((type = ANY (ARRAY['text'::text, 'media'::text, 'image'::text, 'video'::text, 'audio'::text, 'document'::text]))),
    CONSTRAINT campaigns_variables_object CHECK (((jsonb_typeof(variables) = 'object'::text) AND (length((variables)::text) <= 65536))),
    CONSTRAINT campaigns_zone_of_known CHECK ((zone_of = ANY (ARRAY['campaign'::text, 'recipient'::text])))
);

COMMENT ON TABLE public.campaigns IS 'scheduled messages: one message to many.';

COMMENT ON COLUMN public.campaigns.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.campaigns.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.campaigns.created_by IS 'scheduled messages: created by.';

COMMENT ON COLUMN public.campaigns.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.campaigns.name IS 'scheduled messages: name.';

COMMENT ON COLUMN public.campaigns.template_id IS 'scheduled messages: template id.';

COMMENT ON COLUMN public.campaigns.message IS 'scheduled messages: message.';

COMMENT ON COLUMN public.campaigns.type IS 'scheduled messages: type.';

COMMENT ON COLUMN public.campaigns.media_url IS 'scheduled messages: media url.';

COMMENT ON COLUMN public.campaigns.media IS 'scheduled messages: media.';

COMMENT ON COLUMN public.campaigns.caption IS 'scheduled messages: caption.';

COMMENT ON COLUMN public.campaigns.variables IS 'scheduled messages: variables.';

COMMENT ON COLUMN public.campaigns.audience IS 'scheduled messages: audience.';

COMMENT ON COLUMN public.campaigns.scheduled_at IS 'scheduled messages: scheduled at.';

COMMENT ON COLUMN public.campaigns.timezone IS 'scheduled messages: timezone.';

COMMENT ON COLUMN public.campaigns.zone_of IS 'scheduled messages: zone of.';

COMMENT ON COLUMN public.campaigns.is_recurring IS 'scheduled messages: is recurring.';

COMMENT ON COLUMN public.campaigns.recurrence_pattern IS 'scheduled messages: recurrence pattern.';

COMMENT ON COLUMN public.campaigns.recurrence_end_at IS 'scheduled messages: recurrence end at.';

COMMENT ON COLUMN public.campaigns.max_recipients IS 'scheduled messages: max recipients.';

COMMENT ON COLUMN public.campaigns.at_daily_limit IS 'scheduled messages: at daily limit.';

COMMENT ON COLUMN public.campaigns.give_up_after IS 'scheduled messages: give up after.';

COMMENT ON COLUMN public.campaigns.stop_at_failures IS 'scheduled messages: stop at failures.';

COMMENT ON COLUMN public.campaigns.status IS 'scheduled messages: status.';

COMMENT ON COLUMN public.campaigns.status_reason IS 'scheduled messages: status reason.';

COMMENT ON COLUMN public.campaigns.approved_by IS 'scheduled messages: approved by.';

COMMENT ON COLUMN public.campaigns.approved_at IS 'scheduled messages: approved at.';

COMMENT ON COLUMN public.campaigns.activated_by IS 'scheduled messages: activated by.';

COMMENT ON COLUMN public.campaigns.activated_at IS 'scheduled messages: activated at.';

COMMENT ON COLUMN public.campaigns.next_run_at IS 'scheduled messages: next run at.';

COMMENT ON COLUMN public.campaigns.series_anchor IS 'scheduled messages: series anchor.';

COMMENT ON COLUMN public.campaigns.revision IS 'scheduled messages: revision.';

COMMENT ON COLUMN public.campaigns.created_at IS 'scheduled messages: created at.';

COMMENT ON COLUMN public.campaigns.updated_at IS 'scheduled messages: updated at.';

COMMENT ON CONSTRAINT campaigns_at_daily_limit_known ON public.campaigns IS 'At the daily limit a campaign waits (defer) or fails (fail).';

COMMENT ON CONSTRAINT campaigns_audience_object ON public.campaigns IS 'The audience is an object, such as {"labels": ["customers"]}, of at most 4 MB.';

COMMENT ON CONSTRAINT campaigns_give_up_after_sane ON public.campaigns IS 'A campaign gives up after a minute at the earliest and seven days at the latest.';

COMMENT ON CONSTRAINT campaigns_lengths ON public.campaigns IS 'The message, or a part of it, is too long.';

COMMENT ON CONSTRAINT campaigns_max_recipients_positive ON public.campaigns IS 'The most recipients must be one or more.';

COMMENT ON CONSTRAINT campaigns_name_given ON public.campaigns IS 'A campaign needs a name of at most 200 characters.';

COMMENT ON CONSTRAINT campaigns_next_run_is_scheduled ON public.campaigns IS 'Only what is scheduled or paused has a next run.';

COMMENT ON CONSTRAINT campaigns_recurring_has_pattern ON public.campaigns IS 'A recurring campaign needs a recurrence pattern, such as daily, weekly or monthly.';

COMMENT ON CONSTRAINT campaigns_sane_times ON public.campaigns IS 'The times must lie between the years 2000 and 2199.';

COMMENT ON CONSTRAINT campaigns_status_known ON public.campaigns IS 'There is no such status of a campaign.';

COMMENT ON CONSTRAINT campaigns_stop_at_failures_share ON public.campaigns IS 'The share of failures that stops a campaign lies between 0 and 1.';

COMMENT ON CONSTRAINT campaigns_type_known ON public.campaigns IS 'A campaign sends a text, an image, a video, an audio or a document.';

COMMENT ON CONSTRAINT campaigns_variables_object ON public.campaigns IS 'The variables are an object of names and values, at most 64 kB of it.';

COMMENT ON CONSTRAINT campaigns_zone_of_known ON public.campaigns IS 'The time zone is the campaign''s or the recipient''s.';

CREATE FUNCTION private.ahead_of(p_campaign public.campaigns, p_until timestamp with time zone, p_number bigint) RETURNS bigint
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
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

CREATE FUNCTION private.announce_connection() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_connection text;
begin
    if tg_table_name = 'connection_settings' then
        v_connection := coalesce(new.connection_id, old.connection_id);
    elsif new.connected is distinct from old.connected then
        v_connection := new.id;
    end if;
    if v_connection is not null then
        update private.connection_state as state
        set ready_at = now(),
            probe_at = case when state.paused_reason is not null then now() end,
            refused_ids = '{}'
        where state.connection_id = v_connection;
    end if;
    return null;
exception when undefined_column then -- upstream's table need not have `connected`
    return null;
end
$$;

CREATE FUNCTION private.announce_now(p_connections text[], p_at timestamp with time zone[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    insert into private.connection_state as state (connection_id, ready_at, payer)
    select
        work.connection_id,
        work.at as ready_at,
        coalesce(first_job.payer, work.connection_id) as payer
    from (
        select given.connection_id, min(given.at) as at
        from unnest(p_connections, p_at) as given (connection_id, at)
        group by given.connection_id
    ) as work
    left join lateral (
        select job.user_id::text as payer from public.broadcast_jobs as job
        where job.connection_id = work.connection_id
            and job.status = 'queued'
            and job.scheduled_message_id is not null
        order by job.priority, job.available_at, job.id
        limit 1
    ) as first_job on true
    order by work.connection_id
    on conflict (connection_id) do update
    set ready_at = excluded.ready_at, payer = excluded.payer
    where state.ready_at > excluded.ready_at
$$;

CREATE FUNCTION private.announce_work(p_connections text[], p_at timestamp with time zone[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    perform private.announce_now(p_connections, p_at);
exception when lock_not_available then
    with free as materialized (
        select state.connection_id from private.connection_state as state
        where state.connection_id = any(p_connections)
        order by state.connection_id
        for no key update skip locked
    ),
    held as (
        select given.connection_id
        from unnest(p_connections) as given (connection_id)
        where given.connection_id not in (select free.connection_id from free)
            and exists (
                select 1 from private.connection_state as state
                where state.connection_id = given.connection_id
            )
        group by given.connection_id
    ),
    told_later as (
        insert into private.refused_rows as aside (
            step, id, code, reason, again_at, connection_id
        )
        select
            'announce' as step,
            md5(held.connection_id)::uuid as id,
            '55P03' as code,
            'a transaction that is still open holds this connection' as reason,
            now() + interval '1 second' as again_at,
            held.connection_id
        from held
        on conflict (id, step) do update
        set again_at = excluded.again_at, tries = aside.tries + 1
    )
    select array_agg(given.connection_id), array_agg(given.at)
    into p_connections, p_at
    from unnest(p_connections, p_at) as given (connection_id, at)
    where given.connection_id not in (select held.connection_id from held);
    perform private.announce_now(p_connections, p_at);
end
$$;

CREATE FUNCTION private.answer_appointments() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_nestloop TO 'off'
    AS $$
declare
    v_faulty uuid[];
begin
    with answered as (
        delete from private.numbers_asked as asked
        using new_numbers as number
        where asked.raw = number.raw and asked.country_code = number.country_code
        returning
            asked.appointment_id,
            number.fault
    )
    select array_agg(answered.appointment_id) into v_faulty
    from answered
    where answered.fault is not null;
    perform private.try_reminders(v_faulty, false);
    return null;
end
$$;

CREATE FUNCTION private.answer_parts(p_answers jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
begin
    update public.broadcast_messages as entry
    set parts = private.with_answer(
            entry.parts, (answer.parts ->> 'of')::integer, answer.parts -> 'ids', answer.outcome,
            answer.error
        ),
        message_ids = array(select jsonb_array_elements_text(answer.parts -> 'ids'))
    from jsonb_to_recordset(p_answers) as answer (
        job_id uuid, outcome text, error text, parts jsonb
    )
    where entry.job_id = any(array[answer.job_id]);
    perform private.settle_by_parts(
        array(select (answer ->> 'job_id')::uuid from jsonb_array_elements(p_answers) as answer)
    );
end
$$;

CREATE FUNCTION private.api_key_of(p_connection text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select (
        select left(api_key::text, 255) from public.connections as c
        where c.id::text = any(array[p_connection])
    )
    from (values (null::text)) as missing (api_key)
$$;

CREATE FUNCTION private.approved_for(p_connection_ids text[]) RETURNS TABLE(name text, language text, format text, places text[], header text, header_places text[])
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    select distinct on (known.name, known.language)
        known.name,
        known.language,
        known.format,
        known.places,
        known.header,
        known.header_places
    from private.approved_templates as known
    where known.status = 'APPROVED'
        and exists (
            select from unnest(p_connection_ids) as given (id) where private.goes_by_cloud(given.id)
        )
    order by known.name, known.language, known.account_id
    limit 1000
$$;

CREATE FUNCTION private.approved_value(p_name text, p_values jsonb, p_is_named boolean) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
    select case
        when p_is_named then jsonb_build_object('type', 'text', 'parameter_name', p_name)
        else jsonb_build_object('type', 'text')
    end || jsonb_build_object(
        'text', coalesce(p_values ->> private.placeholder(p_name), '')
    )
$$;

CREATE FUNCTION private.as_recipients(p_campaign public.campaigns, p_version integer, p_places bigint[], p_contacts text[], p_numbers text[], p_rules_version text, p_gateway text DEFAULT NULL::text) RETURNS SETOF private.recipient
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
    with content as materialized (
        select
            content.parts,
            content.type,
            named.names,
            -- What no place asks for is not kept with each of a hundred thousand.
            (
                select coalesce(jsonb_object_agg(known.name, known.value), '{}')
                from jsonb_each(content.variables) as known (name, value)
                where known.name = any(named.names)
            ) as variables,
            -- The Cloud API takes no place without a value.
            case
                when content.on_missing = 'fault' then named.of_text
                else '{}'
            end || case
                when coalesce(settings.gateway, p_gateway) = 'cloud'
                    or private.goes_by_cloud(p_campaign.connection_id) then named.of_approved
                else '{}'
            end as needed,
            case when content.type = 'text' then 4096 else 1024 end as longest,
            coalesce(settings.country_code, '') as country_code,
            -- Who writes to people by the ids that WhatsApp gives them beside their numbers.
            coalesce(settings.gateway, p_gateway) in ('cloud', 'mock') as takes_user_ids,
            array(select jsonb_array_elements_text(p_campaign.audience -> 'except' -> 'contacts'))
                as except_contacts,
            array(select jsonb_array_elements_text(p_campaign.audience -> 'except' -> 'labels'))
                as except_labels
        from private.campaign_content(p_campaign, p_version) as content
        cross join lateral (
            select
                given.of_text,
                given.of_approved,
                given.of_text || given.of_approved as names
            from (
                select
                    private.names_in(content.parts) as of_text,
                    private.names_of_approved(content.cloud) as of_approved
            ) as given
        ) as named
        left join public.connection_settings as settings
            on settings.connection_id = p_campaign.connection_id
    ),
    contact as materialized (
        select found.*
        from content
        cross join lateral private.people(p_contacts, content.names) as found
        where found.owner = p_campaign.owner_id::text
    ),
    person as materialized (
        select
            given.place,
            given.contact_id,
            contact.name,
            coalesce(given.number, contact.phone) as raw,
            contact.is_blocked,
            contact.timezone,
            given.contact_id is not null and contact.contact_id is null as is_gone,
            given.contact_id = any(content.except_contacts)
            or contact.labels ?| content.except_labels as is_excepted,
            content.variables || coalesce(contact.given, '{}') as all_values
        from content
        cross join unnest(p_places, p_contacts, p_numbers)
            as given (place, contact_id, number)
        left join contact on contact.contact_id = given.contact_id
    ),
    judged as materialized (
        select
            person.*,
            number.address,
            case
                when number.address ~ '^[A-Z]{2}\.' and not content.takes_user_ids
                    then 'This is a business-scoped user id, which only the WhatsApp Cloud API '
                        'can write to.'
                else number.fault
            end as number_fault,
            number.timezone as number_timezone,
            number.raw is not null or coalesce(person.raw, '') = '' as is_judged,
            private.render(content.parts, person.all_values) as text,
            content.longest,
            case when not person.all_values ?& content.needed
                then array(
                select distinct needed.name
                from unnest(content.needed) as needed (name)
                where not person.all_values ? needed.name
                order by needed.name
            ) end as missing
        from person
        cross join content
        left join lateral (
            select known.*
            from private.judged_numbers as known
            where known.raw = person.raw
                and known.country_code = content.country_code
                and known.rules_version = coalesce(p_rules_version, known.rules_version)
                and (p_campaign.zone_of <> 'recipient' or known.timezone is not null)
            limit 1
        ) as number on true
    ),
    found as materialized (
        select
            judged.*,
            case
                when judged.is_gone then 'gone'
                when judged.is_excepted then 'excepted'
                when judged.is_blocked then 'blocked'
                when coalesce(judged.raw, '') = '' then 'no_number'
                when judged.number_fault is not null then 'bad_number'
                when judged.missing is not null then 'missing_value'
                when length(judged.text) > judged.longest then 'too_long'
                when judged.longest = 4096 and private.is_blank(judged.text) then 'empty'
            end as fault_kind
        from judged
    )
    select
        found.place,
        found.contact_id,
        found.name,
        found.raw,
        found.address,
        found.is_judged,
        found.all_values,
        found.text,
        case found.fault_kind
            when 'gone' then 'This contact does not exist any more.'
            when 'excepted' then 'Excepted from this campaign.'
            when 'blocked' then 'This contact is blocked.'
            when 'no_number' then 'This contact has no phone number.'
            when 'bad_number' then found.number_fault
            when 'missing_value'
                then 'No value for {' || array_to_string(found.missing, '}, {') || '}.'
            when 'too_long'
                then format(
                    'The text has %s characters with these values; %s are the most.',
                    length(found.text), found.longest
                )
            when 'empty' then 'The text is empty with these values.'
        end,
        found.fault_kind,
        coalesce(nullif(btrim(found.timezone), ''), nullif(found.number_timezone, ''))
    from found
$$;

CREATE FUNCTION private.attachment_of(p_campaign public.campaigns) RETURNS json
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select json_build_object(
        'type', content.type,
        'media_url', content.media_url,
        'media', content.media,
        'gateway', (
            select settings.gateway
            from public.connection_settings as settings
            where settings.connection_id = p_campaign.connection_id
        )
    )
    from private.campaign_content(p_campaign) as content
    where content.type <> 'text'
$$;

CREATE FUNCTION private.audit_booked() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    insert into public.audit_log (connection_id, owner_id, kind, record)
    select
        booked.connection_id,
        booked.owner_id,
        'booked',
        booked.record
    from private.audited(array(
        select new_row::public.appointments
        from new_appointments as new_row
    )) as booked;
    return null;
end
$$;

CREATE FUNCTION private.audit_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_nestloop TO 'off'
    AS $$
begin
    with happened as materialized (
        select
            new_row.id,
            thing.place,
            thing.kind
        from new_appointments as new_row
        join old_appointments as old_row on old_row.id = new_row.id
        cross join lateral (
            values
            (
                1, 'moved',
                (old_row.date, old_row.time, old_row.timezone, old_row.connection_id)
                is distinct from
                (new_row.date, new_row.time, new_row.timezone, new_row.connection_id)
            ),
            (
                2, 'followup_set',
                new_row.followup_date is distinct from old_row.followup_date
            ),
            (
                3, 'cancelled',
                new_row.status in ('cancelled', 'no_show') and new_row.status <> old_row.status
            )
        ) as thing (place, kind, is_so)
        where thing.is_so
    )
    insert into public.audit_log (connection_id, owner_id, kind, record)
    select
        changed.connection_id,
        changed.owner_id,
        happened.kind,
        changed.record
    from private.audited(array(
        select new_row::public.appointments
        from new_appointments as new_row
        where new_row.id in (select happened.id from happened)
    )) as changed
    join happened on happened.id = changed.appointment_id
    order by happened.id, happened.place;
    return null;
end
$$;

CREATE FUNCTION private.audit_deleted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    insert into public.audit_log (connection_id, owner_id, kind, record)
    select
        gone.connection_id,
        gone.owner_id,
        'cancelled',
        gone.record || '{"deleted": true}'
    from private.audited(array(
        select old_row::public.appointments
        from old_appointments as old_row
        where old_row.status = 'booked'
    )) as gone;
    return null;
end
$$;

CREATE FUNCTION private.audit_outcomes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_nestloop TO 'off'
    AS $$
begin
    if not exists (select from new_messages as m where m.source_id is not null) then
        return null;
    end if;
    insert into public.audit_log (connection_id, owner_id, kind, record)
    select
        new_row.connection_id,
        new_row.owner_id,
        case new_row.status when 'sent' then 'sent' else 'failed' end,
        jsonb_build_object(
            'appointment_id', new_row.source_id,
            'scheduled_message_id', new_row.id,
            'number', new_row.source_position,
            'status', new_row.status,
            'contact_id', new_row.contact_id,
            'message', coalesce(nullif(new_row.message, ''), new_row.caption),
            'scheduled_at', new_row.scheduled_at,
            'sent_at', new_row.sent_at,
            'message_id', new_row.message_id,
            'error', new_row.error
        )
    from new_messages as new_row
    join old_messages as old_row on old_row.id = new_row.id
    where new_row.source_id = any(array(
        select appointment.id from public.appointments as appointment
        where appointment.id = any(array(
            select message.source_id from new_messages as message
            where message.source_id is not null
        ))
    ))
        and new_row.owner_id is not null
        and new_row.status in ('sent', 'failed', 'unconfirmed')
        and new_row.status <> old_row.status;
    return null;
end
$$;

CREATE TABLE public.appointments (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    owner_id uuid NOT NULL,
    created_by uuid DEFAULT auth.uid(),
    connection_id text NOT NULL,
    contact_id text,
    patient_name text,
    mobile text,
    date date NOT NULL,
    "time" time without time zone NOT NULL,
    timezone text,
    doctor_name text,
    specialty text,
    followup_date date,
    status text DEFAULT 'booked'::text NOT NULL,
    variables jsonb DEFAULT '{}'::jsonb NOT NULL,
    reminder_fault text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT appointments_lengths CHECK (((COALESCE(length(patient_name), 0) <= 256) AND (COALESCE(length(mobile), 0) <= 64) AND (COALESCE(length(doctor_name), 0) <= 256) AND (COALESCE(length(specialty), 0) <= 256) AND (COALESCE(length(contact_id), 0) <= 256))),
    CONSTRAINT appointments_sane_dates CHECK ((((date >= '2000-01-01'::date) AND (date <= '2199-12-31'::date)) AND ((followup_date >= '2000-01-01'::date) AND (followup_date <= '2199-12-31'::date)))),
    CONSTRAINT appointments_status_known CHECK ((status = ANY (ARRAY['booked'::text, 'visited'::text, 'cancelled'::text, 'no_show'::text]))),
    CONSTRAINT appointments_variables_object CHECK (((jsonb_typeof(variables) = 'object'::text) AND (length((variables)::text) <= 16384)))
);

COMMENT ON TABLE public.appointments IS 'scheduled messages: appointments that remind.';

COMMENT ON COLUMN public.appointments.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.appointments.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.appointments.created_by IS 'scheduled messages: created by.';

COMMENT ON COLUMN public.appointments.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.appointments.contact_id IS 'scheduled messages: contact id.';

COMMENT ON COLUMN public.appointments.patient_name IS 'scheduled messages: patient name.';

COMMENT ON COLUMN public.appointments.mobile IS 'scheduled messages: mobile.';

COMMENT ON COLUMN public.appointments.date IS 'scheduled messages: date.';

COMMENT ON COLUMN public.appointments."time" IS 'scheduled messages: time.';

COMMENT ON COLUMN public.appointments.timezone IS 'scheduled messages: timezone.';

COMMENT ON COLUMN public.appointments.doctor_name IS 'scheduled messages: doctor name.';

COMMENT ON COLUMN public.appointments.specialty IS 'scheduled messages: specialty.';

COMMENT ON COLUMN public.appointments.followup_date IS 'scheduled messages: followup date.';

COMMENT ON COLUMN public.appointments.status IS 'scheduled messages: status.';

COMMENT ON COLUMN public.appointments.variables IS 'scheduled messages: variables.';

COMMENT ON COLUMN public.appointments.reminder_fault IS 'scheduled messages: reminder fault.';

COMMENT ON COLUMN public.appointments.created_at IS 'scheduled messages: created at.';

COMMENT ON COLUMN public.appointments.updated_at IS 'scheduled messages: updated at.';

COMMENT ON CONSTRAINT appointments_lengths ON public.appointments IS 'A name or a number of the appointment is too long.';

COMMENT ON CONSTRAINT appointments_sane_dates ON public.appointments IS 'The dates must lie between the years 2000 and 2199.';

COMMENT ON CONSTRAINT appointments_status_known ON public.appointments IS 'An appointment is booked, visited, cancelled or no_show.';

COMMENT ON CONSTRAINT appointments_variables_object ON public.appointments IS 'The variables are an object of names and values, at most 16 kB of it.';

CREATE FUNCTION private.audited(p_appointments public.appointments[]) RETURNS TABLE(appointment_id uuid, connection_id text, owner_id uuid, record jsonb)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    with person as materialized (
        select found.*
        from (
            select array_agg(distinct appointment.contact_id) as contact_ids
            from unnest(p_appointments) as appointment
            where appointment.contact_id is not null
        ) as asked
        cross join lateral private.people(asked.contact_ids, '{}') as found
        where asked.contact_ids is not null
    )
    select
        appointment.id,
        appointment.connection_id,
        appointment.owner_id,
        jsonb_build_object(
            'country_code', settings.country_code,
            'appointment_id', appointment.id,
            'patient_name', appointment.patient_name,
            'contact_id', appointment.contact_id,
            'mobile', coalesce(person.phone, appointment.mobile),
            'date', appointment.date,
            'time', to_char(appointment.time, 'HH24:MI'),
            'timezone', appointment.timezone,
            'doctor_name', appointment.doctor_name,
            'specialty', appointment.specialty,
            'followup_date', appointment.followup_date,
            'status', appointment.status
        )
    from unnest(p_appointments) as appointment
    left join public.connection_settings as settings
        on settings.connection_id = appointment.connection_id
    -- A contact counts only for its owner.
    left join person
        on person.contact_id = appointment.contact_id
        and person.owner in (appointment.owner_id::text, appointment.created_by::text)
$$;

CREATE FUNCTION private.author_of(p_connection_id text, p_owner_id uuid, p_created_by uuid) RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select p_created_by
    where p_created_by = p_owner_id or exists (
        select
        from public.connection_members as member
        where member.connection_id = p_connection_id
            and member.user_id = p_created_by
            and member.owner_id = p_owner_id
    )
$$;

CREATE TABLE public.campaign_runs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    campaign_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    connection_id text NOT NULL,
    occurrence_at timestamp with time zone NOT NULL,
    template_version integer,
    status text DEFAULT 'processing'::text NOT NULL,
    status_reason text,
    total integer,
    pending integer DEFAULT 0 NOT NULL,
    sent integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    unconfirmed integer DEFAULT 0 NOT NULL,
    skipped integer DEFAULT 0 NOT NULL,
    cancelled integer DEFAULT 0 NOT NULL,
    delivered integer DEFAULT 0 NOT NULL,
    read integer DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    estimated_finish_at timestamp with time zone,
    frozen_key text,
    frozen_position integer DEFAULT 0 NOT NULL,
    made_position integer DEFAULT 0 NOT NULL,
    made_due_at timestamp with time zone,
    unmade integer DEFAULT 0 NOT NULL,
    judged_from integer DEFAULT 0 NOT NULL,
    judged_since timestamp with time zone,
    retried_at timestamp with time zone,
    rests_until timestamp with time zone,
    advanced_at timestamp with time zone DEFAULT now() NOT NULL,
    told_at timestamp with time zone,
    estimated_at timestamp with time zone,
    CONSTRAINT campaign_runs_counts_add_up CHECK (((total IS NULL) OR (total = (((((pending + sent) + failed) + unconfirmed) + skipped) + cancelled)))),
    CONSTRAINT campaign_runs_over_has_an_end CHECK (((finished_at IS NULL) = (status = ANY (ARRAY['processing'::text, 'paused'::text])))),
    CONSTRAINT campaign_runs_over_has_nothing_pending CHECK (((finished_at IS NULL) OR (pending = 0))),
    CONSTRAINT campaign_runs_status_known CHECK ((status = ANY (ARRAY['processing'::text, 'paused'::text, 'completed'::text, 'partial'::text, 'failed'::text, 'cancelled'::text])))
)
WITH (fillfactor='50');

COMMENT ON TABLE public.campaign_runs IS 'scheduled messages: each time that a campaign is sent.';

COMMENT ON COLUMN public.campaign_runs.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.campaign_runs.campaign_id IS 'scheduled messages: campaign id.';

COMMENT ON COLUMN public.campaign_runs.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.campaign_runs.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.campaign_runs.occurrence_at IS 'scheduled messages: occurrence at.';

COMMENT ON COLUMN public.campaign_runs.template_version IS 'scheduled messages: template version.';

COMMENT ON COLUMN public.campaign_runs.status IS 'scheduled messages: status.';

COMMENT ON COLUMN public.campaign_runs.status_reason IS 'scheduled messages: status reason.';

COMMENT ON COLUMN public.campaign_runs.total IS 'scheduled messages: total.';

COMMENT ON COLUMN public.campaign_runs.pending IS 'scheduled messages: pending.';

COMMENT ON COLUMN public.campaign_runs.sent IS 'scheduled messages: sent.';

COMMENT ON COLUMN public.campaign_runs.failed IS 'scheduled messages: failed.';

COMMENT ON COLUMN public.campaign_runs.unconfirmed IS 'scheduled messages: unconfirmed.';

COMMENT ON COLUMN public.campaign_runs.skipped IS 'scheduled messages: skipped.';

COMMENT ON COLUMN public.campaign_runs.cancelled IS 'scheduled messages: cancelled.';

COMMENT ON COLUMN public.campaign_runs.delivered IS 'scheduled messages: delivered.';

COMMENT ON COLUMN public.campaign_runs.read IS 'scheduled messages: read.';

COMMENT ON COLUMN public.campaign_runs.started_at IS 'scheduled messages: started at.';

COMMENT ON COLUMN public.campaign_runs.finished_at IS 'scheduled messages: finished at.';

COMMENT ON COLUMN public.campaign_runs.estimated_finish_at IS 'scheduled messages: estimated finish at.';

COMMENT ON COLUMN public.campaign_runs.frozen_key IS 'scheduled messages: frozen key.';

COMMENT ON COLUMN public.campaign_runs.frozen_position IS 'scheduled messages: frozen position.';

COMMENT ON COLUMN public.campaign_runs.made_position IS 'scheduled messages: made position.';

COMMENT ON COLUMN public.campaign_runs.made_due_at IS 'scheduled messages: made due at.';

COMMENT ON COLUMN public.campaign_runs.unmade IS 'scheduled messages: unmade.';

COMMENT ON COLUMN public.campaign_runs.judged_from IS 'scheduled messages: judged from.';

COMMENT ON COLUMN public.campaign_runs.judged_since IS 'scheduled messages: judged since.';

COMMENT ON COLUMN public.campaign_runs.retried_at IS 'scheduled messages: retried at.';

COMMENT ON COLUMN public.campaign_runs.rests_until IS 'scheduled messages: rests until.';

COMMENT ON COLUMN public.campaign_runs.advanced_at IS 'scheduled messages: advanced at.';

COMMENT ON COLUMN public.campaign_runs.told_at IS 'scheduled messages: told at.';

COMMENT ON COLUMN public.campaign_runs.estimated_at IS 'scheduled messages: estimated at.';

CREATE FUNCTION private.begin_again(p_run public.campaign_runs, p_campaign public.campaigns, p_statuses text[], OUT retried integer, OUT left_out jsonb) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_why constant text := case when p_campaign.at_daily_limit = 'fail'
        then private.why_beyond_limit(p_run.connection_id, now(), p_run.failed)
    end;
begin
    retried := 0;
    left_out := '[]';
    if 'failed' <> all(p_statuses) then
        return;
    elsif v_why is not null then
        left_out := jsonb_build_array(jsonb_build_object(
            'reason', v_why, 'count', p_run.failed, 'positions', '[]'::jsonb
        ));
        return;
    end if;
    retried := p_run.failed;
    update public.campaign_runs as run
    set
        pending = run.failed,
        unmade = run.failed,
        failed = 0,
        status = 'processing',
        status_reason = null,
        finished_at = null,
        retried_at = now(),
        judged_since = now()
    where run.id = p_run.id;
end
$$;

CREATE TABLE public.campaign_rehearsals (
    campaign_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    connection_id text NOT NULL,
    revision integer NOT NULL,
    template_version integer,
    progress integer DEFAULT 0 NOT NULL,
    total integer,
    will_be_sent integer DEFAULT 0 NOT NULL,
    faults jsonb DEFAULT '{}'::jsonb NOT NULL,
    duplicates integer DEFAULT 0 NOT NULL,
    opted_out integer DEFAULT 0 NOT NULL,
    first_departure_at timestamp with time zone,
    last_departure_at timestamp with time zone,
    waiting_reason text,
    requested_at timestamp with time zone DEFAULT now() NOT NULL,
    finished_at timestamp with time zone,
    lines_id uuid DEFAULT gen_random_uuid() NOT NULL,
    parts text[] DEFAULT '{}'::text[] NOT NULL,
    starts_at timestamp with time zone,
    timezone text DEFAULT 'UTC'::text NOT NULL,
    first_due_at timestamp with time zone,
    last_due_at timestamp with time zone,
    is_whole boolean DEFAULT false NOT NULL,
    frozen_key text,
    CONSTRAINT campaign_rehearsals_total_is_all CHECK (((total IS NULL) OR (total = progress)))
);

COMMENT ON TABLE public.campaign_rehearsals IS 'scheduled messages: what a campaign would send, and what is wrong with whom.';

COMMENT ON COLUMN public.campaign_rehearsals.campaign_id IS 'scheduled messages: campaign id.';

COMMENT ON COLUMN public.campaign_rehearsals.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.campaign_rehearsals.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.campaign_rehearsals.revision IS 'scheduled messages: revision.';

COMMENT ON COLUMN public.campaign_rehearsals.template_version IS 'scheduled messages: template version.';

COMMENT ON COLUMN public.campaign_rehearsals.progress IS 'scheduled messages: progress.';

COMMENT ON COLUMN public.campaign_rehearsals.total IS 'scheduled messages: total.';

COMMENT ON COLUMN public.campaign_rehearsals.will_be_sent IS 'scheduled messages: will be sent.';

COMMENT ON COLUMN public.campaign_rehearsals.faults IS 'scheduled messages: faults.';

COMMENT ON COLUMN public.campaign_rehearsals.duplicates IS 'scheduled messages: duplicates.';

COMMENT ON COLUMN public.campaign_rehearsals.opted_out IS 'scheduled messages: opted out.';

COMMENT ON COLUMN public.campaign_rehearsals.first_departure_at IS 'scheduled messages: first departure at.';

COMMENT ON COLUMN public.campaign_rehearsals.last_departure_at IS 'scheduled messages: last departure at.';

COMMENT ON COLUMN public.campaign_rehearsals.waiting_reason IS 'scheduled messages: waiting reason.';

COMMENT ON COLUMN public.campaign_rehearsals.requested_at IS 'scheduled messages: requested at.';

COMMENT ON COLUMN public.campaign_rehearsals.finished_at IS 'scheduled messages: finished at.';

COMMENT ON COLUMN public.campaign_rehearsals.lines_id IS 'scheduled messages: lines id.';

COMMENT ON COLUMN public.campaign_rehearsals.parts IS 'scheduled messages: parts.';

COMMENT ON COLUMN public.campaign_rehearsals.starts_at IS 'scheduled messages: starts at.';

COMMENT ON COLUMN public.campaign_rehearsals.timezone IS 'scheduled messages: timezone.';

COMMENT ON COLUMN public.campaign_rehearsals.first_due_at IS 'scheduled messages: first due at.';

COMMENT ON COLUMN public.campaign_rehearsals.last_due_at IS 'scheduled messages: last due at.';

COMMENT ON COLUMN public.campaign_rehearsals.is_whole IS 'scheduled messages: is whole.';

COMMENT ON COLUMN public.campaign_rehearsals.frozen_key IS 'scheduled messages: frozen key.';

CREATE FUNCTION private.begun_rehearsal(p_campaign public.campaigns) RETURNS public.campaign_rehearsals
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_first_lines constant integer := 500;
    v_begun public.campaign_rehearsals;
begin
    v_begun.campaign_id := p_campaign.id;
    v_begun.owner_id := p_campaign.owner_id;
    v_begun.connection_id := p_campaign.connection_id;
    v_begun.revision := p_campaign.revision;
    v_begun.progress := 0;
    v_begun.will_be_sent := 0;
    v_begun.faults := '{}';
    v_begun.duplicates := 0;
    v_begun.opted_out := 0;
    v_begun.requested_at := now();
    v_begun.lines_id := gen_random_uuid();
    v_begun.is_whole := false;
    select content.version, content.parts
    into v_begun.template_version, v_begun.parts
    from private.campaign_content(p_campaign) as content;
    v_begun.parts := coalesce(v_begun.parts, '{}');
    v_begun.starts_at := coalesce(p_campaign.next_run_at, p_campaign.scheduled_at);
    v_begun.timezone := coalesce(private.campaign_zone(p_campaign), 'UTC');
    return (
        private.rehearse_portion(v_begun, p_campaign, v_first_lines, null, null, null)
    ).rehearsal;
end
$$;

CREATE FUNCTION private.calendar(p_zone text, p_start time without time zone, p_end time without time zone, p_now timestamp with time zone) RETURNS TABLE(today date, tomorrow timestamp with time zone, is_open boolean, opens_at timestamp with time zone, closes_at timestamp with time zone, reopens_at timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select
        wall.day as today,
        next_day.begins_at as tomorrow,
        p_start is null or case
            when p_start < p_end then wall.clock >= p_start and wall.clock < p_end
            else wall.clock >= p_start or wall.clock < p_end
        end as is_open,
        (wall.day + (wall.clock >= p_start)::integer + p_start) at time zone p_zone as opens_at,
        (wall.day + (wall.clock >= p_end)::integer + p_end) at time zone p_zone as closes_at,
        case
            when p_start > '00:00' and (p_start < p_end or p_end = '00:00')
                then (wall.day + 1 + p_start) at time zone p_zone
            else next_day.begins_at -- midnight is within the hours
        end as reopens_at
    from (
        select
            (p_now at time zone p_zone)::date as day,
            (p_now at time zone p_zone)::time as clock
    ) as wall
    cross join lateral (
        select (wall.day + 1)::timestamp at time zone p_zone as at
    ) as midnight
    -- An hour earlier, where that was midnight too.
    cross join lateral (
        select midnight.at - case
            when ((midnight.at - interval '1 hour') at time zone p_zone)::date > wall.day
                then interval '1 hour'
            else interval '0'
        end as begins_at
    ) as next_day
$$;

CREATE FUNCTION private.campaign_content(p_campaign public.campaigns, p_version integer DEFAULT NULL::integer) RETURNS TABLE(parts text[], type text, media_url text, media json, category text, cloud jsonb, on_missing text, variables jsonb, version integer)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select
        version.parts,
        version.type,
        version.media_url,
        null::json,
        version.category,
        version.cloud,
        version.on_missing,
        private.values_of(version.defaults) || private.values_of(p_campaign.variables),
        version.version
    from private.template_versions as version
    where version.template_id = p_campaign.template_id
        and version.version = coalesce(
            p_version,
            (select template.version from public.message_templates as template
                where template.id = p_campaign.template_id)
        )
    union all
    select
        private.cut(case when p_campaign.type = 'text'
            then p_campaign.message else coalesce(p_campaign.caption, '') end),
        p_campaign.type,
        p_campaign.media_url,
        p_campaign.media,
        'marketing',
        null,
        'fault',
        private.values_of(p_campaign.variables),
        null
    where p_campaign.template_id is null
$$;

CREATE FUNCTION private.campaign_zone(p_campaign public.campaigns) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select coalesce(p_campaign.timezone, (
        select settings.timezone
        from public.connection_settings as settings
        where settings.connection_id = p_campaign.connection_id
    ))
$$;

CREATE FUNCTION private.cancel_campaigns(p_connection_id text, p_owner_id text, p_why text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_owner constant uuid := case when p_owner_id ~ '^[0-9a-fA-F-]{36}$' then p_owner_id::uuid end;
begin
    update public.campaigns as campaign
    set
        status = 'cancelled',
        status_reason = p_why,
        updated_at = now()
    from (
        select lost.id
        from public.campaigns as lost
        where (p_owner_id is null or lost.owner_id = v_owner)
            and (p_connection_id is null or lost.connection_id = p_connection_id)
            and lost.status in ('scheduled', 'paused')
            and (p_owner_id is not null or exists (
                select from public.campaign_runs as run
                where run.campaign_id = lost.id and run.finished_at is null
            ))
        order by lost.id
        for no key update
    ) as held
    where campaign.id = held.id;
end
$_$;

CREATE FUNCTION private.cancel_campaigns_of_connection() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_owner constant text := private.owner_of(old);
begin
    -- The first of all that follows: what is being written for the connection is waited for.
    perform private.take_right('connection ' || old.id::text);
    if tg_op = 'DELETE' then
        perform private.cancel_campaigns(
            old.id::text, null, 'The WhatsApp connection of this campaign was deleted.'
        );
    elsif new.id <> old.id then
        perform private.cancel_campaigns(
            old.id::text, null, 'The WhatsApp connection of this campaign has another id now.'
        );
    elsif v_owner <> coalesce(private.owner_of(new), '') then
        perform private.cancel_campaigns(
            old.id::text, v_owner,
            'The WhatsApp connection of this campaign belongs to somebody else now.'
        );
    end if;
    return null;
end
$$;

CREATE FUNCTION private.cancel_messages(p_connection_id text, p_user_id text, p_reason text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_user constant uuid := case when p_user_id ~ '^[0-9a-fA-F-]{36}$' then p_user_id::uuid end;
begin
    loop
        if p_user_id is null then
            update public.scheduled_messages as s
            set status = 'cancelled',
                error = p_reason
            from (
                select w.id
                from public.scheduled_messages as w
                where w.connection_id = p_connection_id
                    and w.status in ('pending', 'processing', 'in_queue')
                order by w.id
                for update
            ) as held
            where s.id = held.id;
        elsif p_connection_id is not null then
            update public.scheduled_messages as s
            set status = 'cancelled',
                error = p_reason
            from (
                select w.id
                from public.scheduled_messages as w
                where w.connection_id = p_connection_id
                    and w.status in ('pending', 'processing', 'in_queue')
                    and v_user in (w.created_by, w.owner_id)
                    and coalesce(w.created_by, v_user) = v_user
                    and coalesce(w.owner_id, v_user) = v_user
                order by w.id
                for update
            ) as held
            where s.id = held.id;
        else
            update public.scheduled_messages as s
            set status = 'cancelled',
                error = p_reason
            from (
                select w.id
                from public.scheduled_messages as w
                where (w.created_by = v_user or w.owner_id = v_user)
                    and w.status in ('pending', 'processing', 'in_queue')
                    and not exists (
                        select 1 from auth.users as u
                        where u.id in (w.created_by, w.owner_id)
                            and u.id <> v_user
                            and not private.is_suspended(to_jsonb(u))
                    )
                order by w.id
                for update
            ) as held
            where s.id = held.id;
        end if;
        exit when not found;
    end loop;
end
$_$;

CREATE FUNCTION private.cancel_messages_of_connection() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_owner constant text := private.owner_of(old);
begin
    if tg_op = 'DELETE' then
        perform private.cancel_messages(
            old.id::text, null, 'The WhatsApp connection of this message was deleted.'
        );
    elsif new.id <> old.id then
        perform private.cancel_messages(
            old.id::text, null,
            'The WhatsApp connection of this message has another id now: choose it again.'
        );
    elsif v_owner <> coalesce(private.owner_of(new), '') then
        perform private.take_right(v_owner);
        perform private.cancel_messages(
            old.id::text, v_owner,
            'The WhatsApp connection of this message belongs to somebody else now: '
            'choose another one.'
        );
    end if;
    return null;
end
$$;

CREATE FUNCTION private.cancel_messages_of_user() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    if tg_op = 'DELETE' then
        perform private.cancel_messages(
            null, old.id::text, 'The account that scheduled this message was deleted.'
        );
        return old;
    end if;
    perform private.take_right(new.id::text);
    perform private.cancel_messages(
        null, new.id::text, 'The account that scheduled this message is suspended.'
    );
    return null;
end
$$;

CREATE FUNCTION private.cancel_runs(p_campaign_id uuid, p_why text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.choose_connection(p_named text, p_usable text[]) RETURNS TABLE(id text, timezone text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    if coalesce(p_named, '') !~ '\S' and cardinality(p_usable) <> 1 then
        raise exception using errcode = 'PT400', message = case cardinality(p_usable)
            when 0 then 'You have no WhatsApp connection yet.'
            else 'You may use several connections. Say which one sends it (connection_id).'
        end;
    end if;
    id := coalesce(nullif(btrim(p_named), ''), p_usable[1]);
    timezone := coalesce((
        select settings.timezone
        from public.connection_settings as settings
        where settings.connection_id = choose_connection.id
    ), 'UTC');
    return next;
end
$$;

CREATE FUNCTION private.choose_jobs(p_turn text[], p_seats integer, p_terms private.claim_terms) RETURNS TABLE(connection_id text, id uuid, scheduled_message_id uuid, recipient text, gateway text, put_off_until timestamp with time zone, arrival_at timestamp with time zone, send_at timestamp with time zone, send_until timestamp with time zone, step double precision, jitter double precision, recipient_step double precision, today date, used integer, recipient_reason text)
    LANGUAGE sql ROWS 50
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    -- The connections that may send now.
    with turn as materialized (
        select * from private.pace(p_turn, p_terms.at, p_terms.gateway, p_terms.call_seconds) as p
        where p.blocked_reason is null
    ),
    -- Of each its oldest jobs, locked.
    candidate as materialized (
        select turn.*, job.*
        from turn
        -- As SERIAL in worker/sending/sender.py.
        cross join (select 4 as few) as session
        cross join lateral (
            select case
                when turn.slots = 0 then 0
                when turn.is_on_trial then 1
                else least(
                    ceil(p_seats::numeric / (select count(*) from turn)),
                    case when turn.recipient_step is null then turn.slots end,
                    case when turn.step is null and turn.one_at_a_time then session.few end
                )
            end as most
        ) as share
        -- One priority after the other, each along the index; the next only where there is room.
        cross join lateral (
            select waiting.*
            from (values (0::smallint), (1::smallint)) as level (priority)
            cross join lateral (
                select
                    j.id,
                    j.scheduled_message_id,
                    j.recipient,
                    j.priority,
                    j.available_at,
                    octet_length(j.message)
                    + coalesce(octet_length(j.caption), 0)
                    + coalesce(octet_length(j.media::text), 0)
                    + coalesce(octet_length(j.template::text), 0) as size
                from public.broadcast_jobs as j
                where j.connection_id = turn.connection_id
                    and j.priority = level.priority
                    and j.status = 'queued'
                    and j.scheduled_message_id is not null
                    and j.available_at <= case
                        when turn.step is null then p_terms.at + p_terms.early else p_terms.at
                    end
                    and (j.expires_at is null or j.expires_at > p_terms.at)
                    and j.id <> all(array(
                        select aside.id from private.refused_rows as aside
                        where aside.step = 'claim' and aside.again_at > p_terms.at
                    ))
                    -- What is tried to find out about the connection is one that nothing is held
                    -- against, if there is one.
                    and (not turn.is_on_trial or j.refused_at is null or not exists (
                        select from public.broadcast_jobs as other
                        where other.connection_id = any(array[turn.connection_id])
                            and other.status = 'queued'
                            and other.scheduled_message_id is not null
                            and other.available_at <= p_terms.at
                            and other.refused_at is null
                            and other.id <> all(array(
                                select aside.id from private.refused_rows as aside
                                where aside.step = 'claim' and aside.again_at > p_terms.at
                            ))
                    ))
                order by j.available_at, j.id
                limit share.most
                for update skip locked
            ) as waiting
            limit share.most
        ) as job
        limit p_seats
    ),
    -- A thousand maximal messages would be more than a claim can carry: eight megabytes.
    carried as (
        select sized.*
        from (
            select
                candidate.*,
                sum(candidate.size) over (
                    order by candidate.priority, candidate.available_at, candidate.id
                    rows between unbounded preceding and 1 preceding
                ) as size_before
            from candidate
        ) as sized
        where coalesce(sized.size_before, 0) < 8000000
    ),
    -- When each one's recipient may get it.
    spaced as (
        select
            carried.*,
            greatest(recipient.free_at, p_terms.at) + make_interval(
                secs => carried.recipient_step * (
                    row_number() over (
                        partition by carried.connection_id, carried.recipient
                        order by carried.priority, carried.available_at, carried.id
                    ) - 1
                )
            ) as free_at,
            case when recipient.free_at > p_terms.at then recipient.reason end as recipient_reason
        from carried
        left join private.recipient_state as recipient
            on carried.recipient_step is not null
            and recipient.connection_id = any(array[carried.connection_id])
            and recipient.recipient = any(array[carried.recipient])
    ),
    -- When its connection may send it: one step after the one before, and some jitter.
    slotted as (
        select
            spaced.*,
            row_number() over line as place,
            spaced.first_at + make_interval(
                secs => spaced.step * (row_number() over line - 1) + coalesce(
                    sum(random() * spaced.jitter) over (
                        line rows between unbounded preceding and 1 preceding
                    ),
                    0
                )
            ) as arrival_at
        from spaced
        where spaced.recipient_step is null or spaced.free_at <= p_terms.at
        window line as (
            partition by spaced.connection_id
            order by spaced.priority, spaced.available_at, spaced.id
        )
    )
    select
        slotted.connection_id,
        slotted.id,
        slotted.scheduled_message_id,
        slotted.recipient,
        slotted.gateway,
        null as put_off_until,
        slotted.arrival_at,
        slot.at as send_at,
        least(slot.at + make_interval(secs => slotted.tolerance), slotted.closes_at) as send_until,
        slotted.step,
        slotted.jitter,
        slotted.recipient_step,
        slotted.today,
        slotted.used,
        null as recipient_reason
    from slotted
    cross join lateral (
        select greatest(
            slotted.earliest,
            slotted.arrival_at - make_interval(secs => slotted.slack),
            slotted.available_at
        ) as at
    ) as slot
    where (slotted.slots is null or slotted.place <= slotted.slots)
        and (slotted.step is null or slot.at < slotted.horizon) -- jitter may push it beyond
        and (slotted.closes_at is null or slot.at < slotted.closes_at)
    union all
    select
        spaced.connection_id,
        spaced.id,
        spaced.scheduled_message_id,
        spaced.recipient,
        spaced.gateway,
        spaced.free_at as put_off_until,
        null as arrival_at,
        null as send_at,
        null as send_until,
        spaced.step,
        spaced.jitter,
        spaced.recipient_step,
        spaced.today,
        spaced.used,
        spaced.recipient_reason
    from spaced
    where spaced.recipient_step is not null and spaced.free_at > p_terms.at
$$;

CREATE FUNCTION private.claimed_jobs(p_token uuid) RETURNS json
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    select json_agg(claimed)
    from (
        select
            job.id,
            job.scheduled_message_id,
            job.connection_id,
            job.recipient,
            job.type,
            job.message,
            job.media_url,
            job.caption,
            job.media,
            job.asset_id,
            job.template,
            job.priority,
            -- For the metrics.
            (
                select message.source_id is not null
                from public.scheduled_messages as message
                where message.id = any(array[job.scheduled_message_id])
                limit 1
            ) as is_of_a_source,
            job.user_id as owner_id,
            job.attempts,
            job.throttled,
            coalesce(job.schedule, job.send_at) as scheduled_at,
            job.send_at,
            job.send_until,
            job.gateway,
            settings.sender,
            extract(epoch from job.lease_until - clock_timestamp()) as lease_left,
            case
                when job.gateway = any(array(
                    select kind.name from private.gateways as kind where kind.hands_over
                )) then private.api_key_of(job.connection_id)
            end as api_key
        from public.broadcast_jobs as job
        left join public.connection_settings as settings
            on settings.connection_id = any(array[job.connection_id])
        where job.lease_token = p_token and job.status = 'sending'
        order by job.send_at, job.priority, job.schedule, job.id
    ) as claimed
$$;

CREATE FUNCTION private.close_job_of_node_worker() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    update public.broadcast_jobs as j
    set status = 'completed',
        sent_count = 1,
        progress = 100,
        completed_at = now(),
        lease_until = null,
        updated_at = now()
    where j.id = new.job_id
        and j.status not in ('queued', 'completed')
        and private.hands_over(j.gateway);
    perform private.note_or_leave(jsonb_build_array(jsonb_build_object(
        'connection_id', j.connection_id, 'outcome', 'sent', 'send_at', j.send_at,
        'recipient', j.recipient, 'id', j.id
    )))
    from public.broadcast_jobs as j
    join private.connection_state as c on c.connection_id = any(array[j.connection_id])
    where j.id = new.job_id and c.resumed_at is not null and private.hands_over(j.gateway);
    return null;
end
$$;

CREATE FUNCTION private.columns_that_travel() RETURNS text[]
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    with own as materialized (
        select
            a.attnum,
            a.attname::text as name,
            not a.attnotnull as is_nullable,
            a.atthasdef as has_default
        from pg_catalog.pg_attribute as a
        left join pg_catalog.pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = 'public.scheduled_messages'::regclass
            and a.attnum > 0
            and not a.attisdropped
            and a.attname <> all(private.our_columns())
            and a.attgenerated = ''
            and a.attidentity = ''
            and coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') !~ 'nextval\('
    ),
    -- Of each such index the column that is left out.
    spared as (
        select without_one.attnum
        from pg_catalog.pg_index as i
        cross join lateral (
            select k.attnum
            from unnest(i.indkey::smallint[]) with ordinality as k (attnum, position)
            join own on own.attnum = k.attnum
            where own.has_default or own.is_nullable
            order by own.has_default desc, k.position desc
            limit 1
        ) as without_one
        where i.indrelid = 'public.scheduled_messages'::regclass
            and i.indisunique
            and 0 <> all(i.indkey::smallint[])
            -- Not where the next occurrence differs anyway.
            and not exists (
                select 1 from pg_catalog.pg_attribute as a
                where a.attrelid = i.indrelid
                    and a.attnum = any(i.indkey::smallint[])
                    and a.attname in (
                        'id', 'scheduled_at', 'occurrence_at', 'created_at', 'due_at',
                        'broadcast_job_id', 'message_id'
                    )
            )
    )
    select array_agg(own.name order by own.attnum)
    from own
    where own.attnum not in (select spared.attnum from spared)
$$;

CREATE FUNCTION private.complete_old_row() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    if old.status = 'sent' and new.status = 'sent' then
        new.sent_at := coalesce(new.sent_at, new.scheduled_at);
        new.message_id := coalesce(new.message_id, new.id::text);
    elsif old.status in ('failed', 'unconfirmed') and new.status = old.status then
        new.error := coalesce(new.error, 'No reason was recorded.');
    elsif new.status = old.status then
        new.status := 'failed';
        new.error := coalesce(
            new.error,
            format('Its status was %L, which is none that is sent.', left(old.status, 40))
        );
    end if;
    return new;
end
$$;

CREATE FUNCTION private.confirm_connection() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    if not exists (
        select 1 from public.connections as c where c.id::text = new.connection_id
    ) then
        raise exception 'You may not use this connection any more.' using errcode = '42501';
    end if;
    return null;
end
$$;

CREATE FUNCTION private.connection_owner(p_connection_id text) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $_$
declare
    v_owner constant text := private.owner_by_id(p_connection_id);
begin
    -- What a project keeps as an owner need not be one of its users.
    return case when v_owner ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then v_owner::uuid end;
end
$_$;

CREATE FUNCTION private.contact_fields(p_names text[]) RETURNS TABLE(name text, field text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select
        case a.attname when 'contact_name' then 'name' else private.placeholder(a.attname) end,
        a.attname::text
    from pg_catalog.pg_attribute as a
    where a.attrelid = 'public.contacts'::regclass
        and a.attnum > 0
        and not a.attisdropped
        and case a.attname when 'contact_name'
            then 'name' else private.placeholder(a.attname) end = any(p_names)
$$;

CREATE FUNCTION private.contact_key(p_id text) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path TO ''
    AS $_$
begin
    return case when p_id ~* '^[0-9]{1,18}$' then p_id::bigint end;
end
$_$;

CREATE FUNCTION private.count_audience(p_campaign public.campaigns, p_enough integer) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select count(*)::integer from private.next_of_audience(p_campaign, null, p_enough + 1)
$$;

CREATE FUNCTION private.count_outcomes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_nestloop TO 'off'
    AS $$
declare
    v_of uuid[];
    v_retried uuid[];
    v_runs uuid[];
begin
    -- What is enqueued counts as it did, and costs no more than to see that.
    select array_agg(distinct m.source_id) into v_of
    from (
        select new_row.source_id, new_row.status, new_row.delivery_status
        from new_messages as new_row
        union all
        select old_row.source_id, old_row.status, old_row.delivery_status
        from old_messages as old_row
    ) as m
    where m.source_id is not null
        and (m.status not in ('pending', 'processing') or m.delivery_status is not null);
    if v_of is null then
        return null;
    end if;
    -- Whoever has messages tried again holds their rows, and says so of their run in the same
    -- transaction: what is changed here cannot be one of them unless that is to be seen.
    v_retried := array(
        select run.id
        from public.campaign_runs as run
        where run.id = any(v_of) and run.retried_at is not null
    );
    with changed as materialized (
        select
            new_row.source_id,
            private.counted_as(old_row.status) as was,
            private.counted_as(new_row.status) as is_now,
            coalesce(old_row.delivery_status in ('delivered', 'read'), false) as was_delivered,
            coalesce(new_row.delivery_status in ('delivered', 'read'), false) as is_delivered,
            coalesce(old_row.delivery_status = 'read', false) as was_read,
            coalesce(new_row.delivery_status = 'read', false) as is_read
        from new_messages as new_row
        join old_messages as old_row on old_row.id = new_row.id
        where new_row.source_id is not null
            and (new_row.status, new_row.delivery_status) is distinct
                from (old_row.status, old_row.delivery_status)
            -- Before its tries are looked for.
            and not (
                old_row.status in ('pending', 'processing')
                and new_row.status in ('pending', 'processing')
                and new_row.delivery_status is not distinct from old_row.delivery_status
            )
            and (
                new_row.source_id <> all(v_retried)
                or new_row.source_try = (
                    select max(latest.source_try)
                    from public.scheduled_messages as latest
                    where latest.source_id = new_row.source_id
                        and latest.source_position = new_row.source_position
                )
                -- Who waits for another try is pending, whatever becomes of the one before.
                and (
                    select recipient.next_try
                    from public.campaign_recipients as recipient
                    where recipient.run_id = new_row.source_id
                        and recipient.position = new_row.source_position
                ) is null
            )
    ),
    put_down as (
        insert into private.run_tallies as tally (
            run_id, pending, sent, failed, unconfirmed, skipped, cancelled, delivered, read
        )
        select
            changed.source_id,
            sum((changed.is_now = 'pending')::integer - (changed.was = 'pending')::integer),
            sum((changed.is_now = 'sent')::integer - (changed.was = 'sent')::integer),
            sum((changed.is_now = 'failed')::integer - (changed.was = 'failed')::integer),
            sum((changed.is_now = 'unconfirmed')::integer - (changed.was = 'unconfirmed')::integer),
            0,
            sum((changed.is_now = 'cancelled')::integer - (changed.was = 'cancelled')::integer),
            sum(changed.is_delivered::integer - changed.was_delivered::integer),
            sum(changed.is_read::integer - changed.was_read::integer)
        from changed
        where (select true from public.campaign_runs as run where run.id = changed.source_id)
        group by changed.source_id
        having bool_or(
            changed.is_now <> changed.was or changed.is_delivered <> changed.was_delivered
            or changed.is_read <> changed.was_read
        )
        returning tally.run_id
    )
    select array_agg(put_down.run_id) into v_runs from put_down;
    if v_runs is not null then
        perform private.fold_tallies(v_runs);
    end if;
    return null;
end
$$;

CREATE FUNCTION private.count_pending(p_owner uuid, p_minute timestamp with time zone, p_enough integer) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    AS $$
    select count(*)
    from (
        select from public.scheduled_messages as s
        where (
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)), s.due_at
        ) >= (md5(p_owner::text), p_minute)
            and (
                md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                s.due_at
            ) < (
                md5(p_owner::text),
                case
                    when p_minute = '-infinity' then 'infinity'
                    else p_minute + interval '1 minute'
                end
            )
            and s.due_at > '-infinity'
        limit p_enough + 1
    ) as pending
$$;

CREATE FUNCTION private.counted_as(p_status text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select case
        when p_status in ('sent', 'failed', 'unconfirmed', 'cancelled') then p_status
        else 'pending'
    end
$$;

CREATE FUNCTION private.placeholder(p_name text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    AS $$
    select regexp_replace(lower(btrim(translate(p_name, e'\u00a0\t', '  '))), '[ _-]+', '_', 'g')
$$;

CREATE FUNCTION private.cut(p_text text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT ARRAY( SELECT cut.part
            FROM ( SELECT (literal.place * 2) AS place,
                     literal.part
                    FROM regexp_split_to_table(cut.p_text, place.pattern) WITH ORDINALITY literal(part, place)
                 UNION ALL
                  SELECT ((found.place * 2) + 1),
                     private.placeholder(COALESCE(found.names[1], found.names[2])) AS placeholder
                    FROM regexp_matches(cut.p_text, place.pattern, 'g'::text) WITH ORDINALITY found(names, place)) cut
           ORDER BY cut.place) AS "array"
    FROM ( SELECT (((('\{\{'::text || name.pattern) || '\}\}|\{'::text) || name.pattern) || '\}'::text) AS pattern
            FROM ( VALUES ('[ \t]*([A-Za-z_\u0080-\uffff][A-Za-z0-9_ \u0080-\uffff-]*)'::text)) name(pattern)) place;
END;

CREATE TABLE public.connection_settings (
    connection_id text NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    active boolean DEFAULT true NOT NULL,
    gateway text,
    sender text,
    timezone text,
    country_code text,
    messages integer,
    period_seconds double precision,
    burst integer DEFAULT 1 NOT NULL,
    jitter_seconds double precision DEFAULT 0 NOT NULL,
    daily_limit integer,
    at_daily_limit text DEFAULT 'defer'::text NOT NULL,
    warm_up_from date,
    warm_up_days integer,
    warm_up_limit integer,
    window_start time without time zone,
    window_end time without time zone,
    recipient_interval_seconds double precision,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    display_name text,
    approval text DEFAULT 'none'::text NOT NULL,
    CONSTRAINT connection_settings_approval_known CHECK ((approval = ANY (ARRAY['none'::text, 'campaigns'::text]))),
    CONSTRAINT connection_settings_at_daily_limit_check CHECK ((at_daily_limit = ANY (ARRAY['defer'::text, 'fail'::text]))),
    CONSTRAINT connection_settings_burst_within_messages CHECK (((burst >= 1) AND (burst <= COALESCE(messages, 1)))),
    CONSTRAINT connection_settings_country_code_check CHECK ((country_code ~ '^[A-Z]{2}$'::text)),
    CONSTRAINT connection_settings_daily_limit_check CHECK ((daily_limit >= 0)),
    CONSTRAINT connection_settings_display_name_short CHECK ((length(display_name) <= 200)),
    CONSTRAINT connection_settings_jitter_needs_rate CHECK (((jitter_seconds = (0)::double precision) OR (messages IS NOT NULL))),
    CONSTRAINT connection_settings_jitter_seconds_check CHECK (((jitter_seconds >= (0)::double precision) AND (jitter_seconds <= (3600)::double precision))),
    CONSTRAINT connection_settings_messages_check CHECK (((messages >= 1) AND (messages <= 100000))),
    CONSTRAINT connection_settings_period_seconds_check CHECK (((period_seconds >= (0.1)::double precision) AND (period_seconds <= (86400)::double precision))),
    CONSTRAINT connection_settings_rate_complete CHECK (((messages IS NULL) = (period_seconds IS NULL))),
    CONSTRAINT connection_settings_recipient_interval_seconds_check CHECK (((recipient_interval_seconds >= (0)::double precision) AND (recipient_interval_seconds <= (86400)::double precision))),
    CONSTRAINT connection_settings_sender_check CHECK (((length(sender) >= 1) AND (length(sender) <= 256))),
    CONSTRAINT connection_settings_warm_up_complete CHECK (((num_nulls(warm_up_from, warm_up_days, warm_up_limit) = ANY (ARRAY[0, 3])) AND ((warm_up_from IS NULL) OR (daily_limit IS NOT NULL)))),
    CONSTRAINT connection_settings_warm_up_days_check CHECK (((warm_up_days >= 1) AND (warm_up_days <= 365))),
    CONSTRAINT connection_settings_warm_up_limit_check CHECK ((warm_up_limit >= 1)),
    CONSTRAINT connection_settings_window_complete CHECK ((((window_start IS NULL) = (window_end IS NULL)) AND (window_start <> window_end)))
);

COMMENT ON TABLE public.connection_settings IS 'scheduled messages: connection settings.';

COMMENT ON COLUMN public.connection_settings.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.connection_settings.enabled IS 'scheduled messages: enabled.';

COMMENT ON COLUMN public.connection_settings.active IS 'scheduled messages: active.';

COMMENT ON COLUMN public.connection_settings.gateway IS 'scheduled messages: gateway.';

COMMENT ON COLUMN public.connection_settings.sender IS 'scheduled messages: sender.';

COMMENT ON COLUMN public.connection_settings.timezone IS 'scheduled messages: timezone.';

COMMENT ON COLUMN public.connection_settings.country_code IS 'scheduled messages: country code.';

COMMENT ON COLUMN public.connection_settings.messages IS 'scheduled messages: messages.';

COMMENT ON COLUMN public.connection_settings.period_seconds IS 'scheduled messages: period seconds.';

COMMENT ON COLUMN public.connection_settings.burst IS 'scheduled messages: burst.';

COMMENT ON COLUMN public.connection_settings.jitter_seconds IS 'scheduled messages: jitter seconds.';

COMMENT ON COLUMN public.connection_settings.daily_limit IS 'scheduled messages: daily limit.';

COMMENT ON COLUMN public.connection_settings.at_daily_limit IS 'scheduled messages: at daily limit.';

COMMENT ON COLUMN public.connection_settings.warm_up_from IS 'scheduled messages: warm up from.';

COMMENT ON COLUMN public.connection_settings.warm_up_days IS 'scheduled messages: warm up days.';

COMMENT ON COLUMN public.connection_settings.warm_up_limit IS 'scheduled messages: warm up limit.';

COMMENT ON COLUMN public.connection_settings.window_start IS 'scheduled messages: window start.';

COMMENT ON COLUMN public.connection_settings.window_end IS 'scheduled messages: window end.';

COMMENT ON COLUMN public.connection_settings.recipient_interval_seconds IS 'scheduled messages: recipient interval seconds.';

COMMENT ON COLUMN public.connection_settings.updated_at IS 'scheduled messages: updated at.';

COMMENT ON COLUMN public.connection_settings.display_name IS 'scheduled messages: display name.';

COMMENT ON COLUMN public.connection_settings.approval IS 'scheduled messages: approval.';

COMMENT ON CONSTRAINT connection_settings_approval_known ON public.connection_settings IS 'Either no campaign or all campaigns wait for another admin''s approval: none or campaigns.';

COMMENT ON CONSTRAINT connection_settings_at_daily_limit_check ON public.connection_settings IS 'At the daily limit messages wait (defer) or fail (fail).';

COMMENT ON CONSTRAINT connection_settings_burst_within_messages ON public.connection_settings IS 'The burst is at least 1, and at most the messages in a period.';

COMMENT ON CONSTRAINT connection_settings_country_code_check ON public.connection_settings IS 'The country is its code of two capital letters, such as IN.';

COMMENT ON CONSTRAINT connection_settings_daily_limit_check ON public.connection_settings IS 'The daily limit is 0 or more.';

COMMENT ON CONSTRAINT connection_settings_display_name_short ON public.connection_settings IS 'The name that is shown has at most 200 characters.';

COMMENT ON CONSTRAINT connection_settings_jitter_needs_rate ON public.connection_settings IS 'Jitter needs a pace: messages and period_seconds.';

COMMENT ON CONSTRAINT connection_settings_jitter_seconds_check ON public.connection_settings IS 'The jitter is 0 to 3,600 seconds.';

COMMENT ON CONSTRAINT connection_settings_messages_check ON public.connection_settings IS 'The messages in a period are 1 to 100,000.';

COMMENT ON CONSTRAINT connection_settings_period_seconds_check ON public.connection_settings IS 'The period is 0.1 to 86,400 seconds.';

COMMENT ON CONSTRAINT connection_settings_rate_complete ON public.connection_settings IS 'A pace needs both messages and period_seconds.';

COMMENT ON CONSTRAINT connection_settings_recipient_interval_seconds_check ON public.connection_settings IS 'Between two messages to one recipient lie 0 to 86,400 seconds.';

COMMENT ON CONSTRAINT connection_settings_sender_check ON public.connection_settings IS 'The sender is a name of 1 to 256 characters.';

COMMENT ON CONSTRAINT connection_settings_warm_up_complete ON public.connection_settings IS 'Warming up needs warm_up_from, warm_up_days, warm_up_limit and a daily limit.';

COMMENT ON CONSTRAINT connection_settings_warm_up_days_check ON public.connection_settings IS 'Warming up takes 1 to 365 days.';

COMMENT ON CONSTRAINT connection_settings_warm_up_limit_check ON public.connection_settings IS 'Warming up begins with a limit of 1 or more.';

COMMENT ON CONSTRAINT connection_settings_window_complete ON public.connection_settings IS 'Sending hours need both a beginning and an end, and they differ.';

CREATE FUNCTION private.daily_limit(p_settings public.connection_settings, p_day date) RETURNS integer
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select case
        when p_day - p_settings.warm_up_from < p_settings.warm_up_days then least(
            p_settings.daily_limit,
            p_settings.warm_up_limit
            + (p_settings.daily_limit - p_settings.warm_up_limit)::bigint
            * greatest(0, p_day - p_settings.warm_up_from)
            / p_settings.warm_up_days
        )
        else p_settings.daily_limit
    end
$$;

CREATE FUNCTION private.deliver_parts(p_rows private.delivery[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
begin
    perform from public.broadcast_jobs as j
    where j.id = any(array(select given.job_id from unnest(p_rows) as given))
    order by j.id
    for update;

    update public.broadcast_messages as m
    set parts = private.with_words(m.parts, told.words)
    from (
        select
            given.job_id,
            jsonb_agg(to_jsonb(given) order by given.part) as words
        from unnest(p_rows) as given
        where given.part is not null
            and given.status in ('sent', 'delivered', 'read', 'failed')
        group by given.job_id
    ) as told
    where m.job_id = any(array[told.job_id]);

    -- A part of them went out, so they do not wait for another try.
    with waiting as (
        update public.broadcast_jobs as j
        set status = 'unconfirmed',
            updated_at = now()
        from (
            select distinct given.job_id
            from unnest(p_rows) as given
            where given.part is not null and given.status in ('sent', 'delivered', 'read')
        ) as out
        where j.id = any(array[out.job_id]) and j.status = 'queued'
        returning j.id
    )
    update public.broadcast_messages as m
    set status = 'unconfirmed',
        error = 'It may have been sent: WhatsApp told of a part of it while it waited for '
            || 'another try.',
        updated_at = now()
    from waiting
    where m.job_id = any(array[waiting.id]);
end
$$;

CREATE FUNCTION private.deliver_rows(p_rows private.delivery[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    -- Of several words on one message the first of these counts; of what is told later, only what
    -- is further on.
    v_by_weight constant text[] := array['read', 'delivered', 'failed', 'sent'];
    v_by_order constant text[] := array['sent', 'failed', 'delivered', 'read'];
    v_parted constant uuid[] := array(
        select distinct given.job_id from unnest(p_rows) as given where given.part is not null
    );
    v_done jsonb;
begin
    if v_parted <> '{}' then
        perform private.deliver_parts(p_rows);
        perform private.settle_by_parts(v_parted);
    end if;

    -- What weighs most of what is told of each message.
    with told as materialized (
        select distinct on (given.job_id)
            given.job_id,
            given.message_id,
            given.status,
            given.error
        from unnest(p_rows) as given
        where given.part is null and given.status = any(v_by_order)
        order by given.job_id, array_position(v_by_weight, given.status)
    ),
    -- Of ours, with how far each job is.
    held as materialized (
        select
            told.*,
            job.status as job_status,
            job.scheduled_message_id
        from told
        cross join lateral (
            select j.status, j.scheduled_message_id
            from public.broadcast_jobs as j
            where j.id = told.job_id
            limit 1
            for update
        ) as job
    ),
    -- Of which nobody knew what became of them.
    settled as (
        update public.broadcast_jobs as j
        set status = case when held.status = 'failed' then 'failed' else 'completed' end,
            progress = 100,
            completed_at = now(),
            updated_at = now()
        from held
        where j.id = any(array[held.job_id])
            and (
                held.job_status in ('sending', 'unconfirmed')
                or (held.job_status = 'queued' and held.status <> 'failed')
            )
        returning j.id
    ),
    -- The messages, which tell their rows, where one is settled now.
    told_messages as (
        update public.broadcast_messages as m
        set delivery_status = held.status,
            status = case
                when settled.id is null then m.status
                when held.status = 'failed' then 'failed'
                else 'sent'
            end,
            message_id = coalesce(m.message_id, held.message_id),
            error = case
                when held.status = 'failed' then coalesce(held.error, 'WhatsApp gave no reason.')
            end,
            sent_at = case
                when settled.id is not null and held.status <> 'failed' then now()
                else m.sent_at
            end,
            updated_at = now()
        from held
        left join settled on settled.id = held.job_id
        where m.job_id = any(array[held.job_id])
            and coalesce(array_position(v_by_order, m.delivery_status), 0)
            < array_position(v_by_order, held.status)
    ),
    -- The rows of those that were settled before.
    told_rows as (
        update public.scheduled_messages as s
        set delivery_status = held.status,
            updated_at = now(),
            error = case
                when held.status = 'failed' then left(
                    'Accepted, but not delivered: '
                    || coalesce(held.error, 'WhatsApp gave no reason.'),
                    2000
                )
            end
        from held
        where s.id = any(array[held.scheduled_message_id])
            and s.broadcast_job_id = held.job_id
            and held.job_status = 'completed'
            and s.status = 'sent'
            and coalesce(array_position(v_by_order, s.delivery_status), 0)
            < array_position(v_by_order, held.status)
    )
    select jsonb_agg(held.job_id) into v_done
    from held;
    return coalesce(v_done, '[]') || to_jsonb(v_parted);
end
$$;

CREATE FUNCTION private.earliest_next(p_pattern text, p_start timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $_$
declare
    v_unit constant text := lower((regexp_match(p_pattern, '(?:^|[;:\s])freq=([a-z]+)', 'i'))[1]);
    v_interval constant bigint :=
        (regexp_match(p_pattern, '(?:^|[;:\s])interval=(\d{1,9})\s*(?:;|$)', 'i'))[1]::bigint;
begin
    return case
        when p_pattern ~* '(?:^|[;:\s])by' then null
        when v_unit = 'daily' and v_interval > 70000 then 'infinity'
        when v_unit = 'weekly' and v_interval > 10000 then 'infinity'
        when v_unit = 'monthly' and v_interval > 2400 then 'infinity'
        when v_unit = 'yearly' and v_interval > 200 then 'infinity'
        else p_start + v_interval::integer * case v_unit
            when 'daily' then interval '1 day' when 'weekly' then interval '7 days'
            when 'monthly' then interval '1 month' when 'yearly' then interval '1 year'
        end
    end;
end
$_$;

CREATE FUNCTION private.end_invitations_of_member() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    delete from public.connection_invitations as invitation
    where invitation.connection_id = old.connection_id and invitation.created_by = old.user_id;
    return null;
end
$$;

CREATE FUNCTION private.end_memberships() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    delete from public.connection_invitations as invitation
    where invitation.connection_id = old.id::text;
    delete from public.connection_members as member
    where member.connection_id = old.id::text;
    return null;
end
$$;

CREATE FUNCTION private.end_rehearsal_lines() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    insert into private.ended_rehearsals (lines_id)
    values (old.lines_id)
    on conflict do nothing;
    return null;
end
$$;

CREATE FUNCTION private.end_reminders(p_appointments uuid[], p_numbers integer[], p_reason text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
begin
    -- In the order in which everybody locks messages.
    with held as materialized (
        select
            message.id,
            message.status,
            message.broadcast_job_id
        from public.scheduled_messages as message
        where message.source_id = any(p_appointments)
            and (p_numbers is null or message.source_position = any(p_numbers))
            and message.status in ('pending', 'processing')
        order by message.id
        for no key update
    )
    update public.scheduled_messages as message
    set
        status = 'cancelled',
        error = p_reason
    from held
    where message.id = held.id
        and (held.status = 'pending' or private.withdraw_job(held.broadcast_job_id));
end
$$;

CREATE FUNCTION private.end_reminders_of_deleted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    perform private.end_reminders(
        array(select gone.id from old_appointments as gone), null, 'The appointment was deleted.'
    );
    return null;
end
$$;

CREATE FUNCTION private.end_rights_of_user() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_reminders uuid[];
begin
    if tg_op = 'UPDATE' then
        perform private.take_right(old.id::text);
    end if;
    perform private.cancel_campaigns(
        null, old.id::text, format('The account that this campaign belongs to %s.', case tg_op
            when 'DELETE' then 'was deleted' else 'is suspended'
        end)
    );
    delete from public.connection_invitations as invitation
    where old.id in (invitation.created_by, invitation.owner_id);
    v_reminders := array(
        select distinct message.source_id
        from public.scheduled_messages as message
        where message.owner_id = old.id
            and message.source_id is not null
            and message.status in ('pending', 'processing')
    );
    if tg_op = 'DELETE' then
        perform private.end_reminders(
            v_reminders, null, 'The account that this appointment belongs to was deleted.'
        );
        return old;
    end if;
    perform private.try_reminders(v_reminders, false);
    return null;
end
$$;

CREATE FUNCTION private.end_what_members_wrote() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_former record;
begin
    update public.scheduled_messages as message
    set created_by = null
    from old_members as former
    where message.created_by = former.user_id
        and message.owner_id = former.owner_id
        and message.connection_id = former.connection_id;
    for v_former in
        select
            former.connection_id,
            former.user_id
        from old_members as former
        -- Of a user who is deleted the core has cancelled them.
        join auth.users as u on u.id = former.user_id
        where private.connection_owner(former.connection_id) is distinct from former.user_id
        order by former.user_id
    loop
        perform private.take_right(v_former.user_id::text);
        perform private.cancel_messages(
            v_former.connection_id, v_former.user_id::text,
            'You may not use the WhatsApp connection of this message any more.'
        );
    end loop;
    return null;
end
$$;

CREATE FUNCTION private.enqueue_or_put_aside(p_planned private.planned_row[], OUT done jsonb, OUT refused jsonb) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_rows private.planned_row[] := p_planned;
    v_try record;
    v_said jsonb := '{}'; -- what was said of each, by its id
begin
    done := '[]';
    while v_rows <> '{}' loop
        select tried.done, tried.refused into v_try
        from private.try_rows('enqueue_rows', v_rows, true) as tried;
        done := done || v_try.done;
        exit when v_try.refused = '[]';
        -- What is not the row's own fault does not fail: it is put aside.
        with less as (
            select
                said.place,
                said.code,
                said.reason,
                planned.id,
                case
                    when private.is_the_rows_fault(said.code)
                    then private.with_less(v_rows[said.place], planned, said.reason)
                end as next
            from jsonb_to_recordset(v_try.refused) as said (place integer, code text, reason text)
            cross join lateral (
                select p.* from unnest(p_planned) as p where p.id = v_rows[said.place].id limit 1
            ) as planned
        )
        select
            coalesce(
                array_agg(less.next order by less.place)
                    filter (where (less.next).stage is not null),
                '{}'
            ),
            -- Of a row that is refused again the first reason stays: the others follow from it.
            v_said || jsonb_object_agg(
                less.id,
                coalesce(
                    v_said -> less.id::text,
                    jsonb_build_object('id', less.id, 'code', less.code, 'reason', less.reason)
                ) || jsonb_build_object('became', case (less.next).stage
                    when 1 then 'series ended'
                    when 2 then 'failed'
                    when 3 then 'failed'
                    else 'put aside'
                end)
            )
        into v_rows, v_said
        from less;
    end loop;

    if v_said <> '{}' then
        perform private.put_aside(
            'enqueue', array_agg(aside.id), array_agg(aside.code), array_agg(aside.reason), null
        )
        from jsonb_each(v_said) as said
        cross join lateral jsonb_to_record(said.value) as aside (
            id uuid, code text, reason text, became text
        )
        where aside.became = 'put aside';
        refused := (select jsonb_agg(said.value) from jsonb_each(v_said) as said);
    end if;
end
$$;

CREATE FUNCTION private.enqueue_rows(p_rows private.planned_row[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_done jsonb;
    v_recurring uuid[]; -- those of a series that have a job now
    v_rows uuid[]; -- those that have a next one, its id, and when the one after that is
    v_next_ids uuid[];
    v_next_after timestamptz[];
begin
    -- Rows that are still as they were read, locked, each with what was decided of it.
    with due as materialized (
        -- Not `message.*`: a project may have columns of its own by the names that follow.
        select
            message.id,
            message.connection_id,
            message.contact_id,
            message.message,
            message.type,
            message.media_url,
            message.caption,
            message.media,
            message.asset_id,
            message.template,
            message.priority,
            message.scheduled_at,
            message.created_by,
            message.owner_id,
            message.is_recurring,
            planned.job_id,
            planned.recipient,
            planned.error as refusal,
            planned.series_ends,
            planned.timezone as zone,
            planned.anchor,
            planned.occurrence,
            planned.missed as missed_now,
            planned.next_at,
            planned.next_after,
            planned.expires_at,
            case
                when planned.next_at is not null and message.next_id is null
                then gen_random_uuid()
            end as new_id,
            -- A series has an id that nobody can choose. An occurrence that its author has moved to
            -- the instant of another one begins a series of its own.
            case
                when planned.anchor is null then message.series_id
                when message.series_id is null or exists (
                    select 1 from public.scheduled_messages as other
                    where other.series_id = any(array[message.series_id])
                        and other.occurrence_at = any(array[planned.occurrence])
                        and other.id <> message.id
                ) then gen_random_uuid()
                else message.series_id
            end as series
        from unnest(p_rows) as planned
        cross join lateral (
            select s.* from public.scheduled_messages as s
            where s.id = planned.id
            limit 1
            for update skip locked
        ) as message
        where message.status = 'pending'
            and message.revision = planned.revision
            and message.scheduled_at <= planned.soon
            -- Its contact is still whom look_up_recipients found: with this number, not blocked,
            -- and of the same owner, who is the connection's where the row has none.
            and (planned.phone is null or exists (
                select 1
                from (
                    values (null::text, null::text, null::text, null::text)
                ) as missing (phone_number, is_blocked, owner_id, user_id)
                cross join lateral (
                    select
                        left(phone_number::text, 256) as phone,
                        is_blocked::text as is_blocked,
                        coalesce(owner_id::text, user_id::text) as owner
                    from public.contacts as c
                    where c.id = any(array[private.contact_key(message.contact_id)])
                ) as contact
                where contact.phone = planned.phone
                    and not private.is_yes(contact.is_blocked)
                    and (
                        contact.owner in (message.owner_id::text, message.created_by::text)
                        or (
                            message.owner_id is null
                            and message.created_by is null
                            and exists (
                                select 1
                                from (values (null::text)) as missing (user_id)
                                cross join lateral (
                                    select user_id::text as owner
                                    from public.connections as c
                                    where c.id::text = any(array[message.connection_id])
                                ) as connection
                                where connection.owner = contact.owner
                            )
                        )
                    )
            ))
    ),
    -- A job each for those that can be sent.
    job as (
        insert into public.broadcast_jobs (
            id, scheduled_message_id, series_id, connection_id, recipient, contacts, contact_id,
            type, message, media_url, caption, media, asset_id, user_id, schedule, status,
            total_contacts, available_at, expires_at, broadcast_name, isprivatemessage, priority,
            template
        )
        select
            due.job_id,
            due.id,
            case when due.is_recurring then due.series end as series_id,
            due.connection_id,
            due.recipient,
            array[due.recipient] as contacts,
            due.contact_id,
            due.type,
            due.message,
            due.media_url,
            due.caption,
            due.media::text as media,
            due.asset_id,
            coalesce(due.owner_id, due.created_by) as user_id,
            due.scheduled_at as schedule,
            'queued' as status,
            1 as total_contacts,
            greatest(now(), due.scheduled_at) as available_at,
            due.expires_at,
            'scheduled message' as broadcast_name,
            true as isprivatemessage,
            case when due.priority > 0 then 1 else 0 end as priority,
            due.template
        from due
        where due.refusal is null
    ),
    -- And that job's message.
    entry as (
        insert into public.broadcast_messages (
            id, job_id, scheduled_message_id, contact, message, type, media_url, caption, status
        )
        select
            due.job_id as id,
            due.job_id,
            due.id as scheduled_message_id,
            -- Digits alone, also of a WhatsApp id: by them the Node worker finds the row.
            regexp_replace(split_part(due.recipient, '@', 1), '\D', '', 'g') as contact,
            due.message,
            due.type,
            due.media_url,
            due.caption,
            'waiting' as status
        from due
        where due.refusal is null
    ),
    -- What the row says of it.
    changed as (
        update public.scheduled_messages as message
        set status = case when due.refusal is null then 'processing' else 'failed' end,
            due_at = null,
            error = coalesce(due.refusal, due.series_ends, case
                when due.is_recurring and due.next_at is null and message.next_id is null
                    then private.why_no_next(message.recurrence_pattern, message.recurrence_end_at)
            end),
            broadcast_job_id = case when due.refusal is null then due.job_id end,
            timezone = coalesce(due.zone, message.timezone),
            series_id = due.series,
            series_anchor = due.anchor,
            occurrence_at = due.occurrence,
            scheduled_at = case
                when due.missed_now > 0 then due.occurrence else message.scheduled_at
            end,
            not_after = case
                when due.missed_now > 0
                    then message.not_after + (due.occurrence - message.scheduled_at)
                else message.not_after
            end,
            missed = due.missed_now,
            next_id = coalesce(message.next_id, due.new_id),
            next_scheduled_at = due.next_at,
            updated_at = now()
        from due
        where message.id = any(array[due.id])
        returning
            message.id,
            case when due.refusal is null then message.connection_id end as connection_id,
            greatest(now(), message.scheduled_at) as due_at,
            due.is_recurring and due.refusal is null as recurs,
            due.new_id,
            due.next_after
    )
    select
        jsonb_agg(jsonb_build_array(changed.id, changed.connection_id, changed.due_at)),
        array_agg(changed.id) filter (where changed.recurs),
        array_agg(changed.id) filter (where changed.new_id is not null),
        array_agg(changed.new_id) filter (where changed.new_id is not null),
        array_agg(changed.next_after) filter (where changed.new_id is not null)
    into v_done, v_recurring, v_rows, v_next_ids, v_next_after
    from changed;

    if v_recurring is not null then
        perform private.supersede(v_recurring);
    end if;
    if v_rows is not null then
        perform private.add_next(v_rows, v_next_ids, v_next_after);
    end if;
    return v_done;
end
$$;

CREATE FUNCTION private.erase_deleted() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_jobs constant uuid[] := array(
        select e.job_id from private.erasures as e
        where e.again_at <= now() order by e.job_id limit 1000 for update skip locked
    );
begin
    perform private.try_rows('erase_rows', v_jobs, false);
    delete from private.erasures as e
    where e.job_id = any(v_jobs)
        and (select j.id from public.broadcast_jobs as j where j.id = e.job_id limit 1) is null;
    update private.erasures as e
    set again_at = now() + interval '10 seconds'
    where e.job_id = any(v_jobs) and (
        select j.status from public.broadcast_jobs as j where j.id = e.job_id limit 1
    ) in ('cancelled', 'completed', 'failed', 'unconfirmed');
    delete from private.recipient_state as r
    where (r.connection_id, r.recipient) in (
        select o.connection_id, o.recipient from private.recipient_state as o
        where o.free_at < now() - interval '1 minute' for update skip locked
    );
end
$$;

CREATE FUNCTION private.erase_jobs(p_job_ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_over uuid[];
    v_free uuid[];
    v_gone uuid[];
begin
    if array_remove(p_job_ids, null) = '{}' then
        return;
    end if;
    -- Jobs before their messages, as every writer: else a migration and we could wait for each
    -- other.
    lock table public.broadcast_jobs in row exclusive mode;
    v_over := array(
        select j.id from public.broadcast_jobs as j
        where j.id = any(p_job_ids) and j.scheduled_message_id is not null
            and j.status in ('cancelled', 'completed', 'failed', 'unconfirmed')
        order by j.id for update skip locked
    );
    v_free := array(
        select m.job_id from public.broadcast_messages as m
        where m.job_id = any(v_over) for update skip locked
    );
    v_over := array(
        select o.id from unnest(v_over) as o (id)
        where o.id = any(v_free)
            or not exists (
                select from public.broadcast_messages as m where m.job_id = any(array[o.id])
            )
    );
    v_gone := array(
        select j.id from public.broadcast_jobs as j
        where j.id = any(v_over) and not private.hands_over(j.gateway)
    );
    delete from public.broadcast_messages as m where m.job_id = any(v_gone);
    delete from public.broadcast_jobs as j where j.id = any(v_gone);
    update public.broadcast_messages as m
    set contact = '',
        message = null,
        media_url = null,
        caption = null,
        data = null,
        error = null,
        updated_at = now()
    where m.job_id = any(v_over);
    update public.broadcast_jobs as j
    set recipient = null,
        contacts = '{}',
        contact_id = null,
        message = null,
        media_url = null,
        caption = null,
        media = null,
        variables = null,
        template = null,
        updated_at = now()
    where j.id = any(v_over);

    delete from private.erasures as e where e.job_id = any(v_over);
    insert into private.erasures (job_id)
    select j.id from public.broadcast_jobs as j
    where j.id = any(p_job_ids) and j.id <> all(v_over) and j.scheduled_message_id is not null
    on conflict (job_id) do nothing;
end
$$;

CREATE FUNCTION private.erase_rows(p_job_ids uuid[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    perform private.erase_jobs(p_job_ids);
    return '[]';
end
$$;

CREATE FUNCTION private.estimate_of(p_campaign_id uuid) RETURNS TABLE(number integer, is_exact boolean, ahead integer, begins_at timestamp with time zone, ends_at timestamp with time zone, too_late integer, reason text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.expect_status(p_ids uuid[], p_status text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_status text;
    v_refused record;
begin
    select r.code, r.reason into v_refused
    from public.scheduled_messages as s
    join private.refused_rows as r on r.id in (s.id, s.broadcast_job_id)
    where s.id = any(p_ids)
    limit 1;
    if found then
        raise exception using message = v_refused.reason, errcode = v_refused.code,
            table = 'scheduled_messages';
    end if;
    select string_agg(distinct coalesce(s.status, 'gone'), ', ') into v_status
    from unnest(p_ids) as given (id)
    left join public.scheduled_messages as s on s.id = given.id;
    if v_status is distinct from p_status then
        raise exception 'A message that should be % is %.',
            p_status, coalesce(v_status, 'not stored')
            using errcode = 'PT200', table = 'scheduled_messages';
    end if;
end
$$;

CREATE FUNCTION private.expire_rows(p_rows private.late_row[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_done jsonb;
begin
    with too_late as (
        update public.broadcast_jobs as job
        set status = 'failed',
            completed_at = now(),
            updated_at = now()
        from unnest(p_rows) as given
        where job.id = any(array[given.id]) and job.status = 'queued'
        returning job.id, job.scheduled_message_id
    ),
    told_too_late as (
        update public.broadcast_messages as entry
        set status = 'failed',
            error = 'Not sent in time. It waited for: '
                || coalesce(
                    message.waiting_reason, message.error, 'its turn on this connection'
                ) || '.',
            updated_at = now()
        from too_late
        left join public.scheduled_messages as message
            on message.id = any(array[too_late.scheduled_message_id])
            and message.broadcast_job_id = too_late.id
        where entry.job_id = any(array[too_late.id])
    )
    select jsonb_agg('expired'::text) into v_done from too_late;
    return v_done;
end
$$;

CREATE FUNCTION private.explain_fault(p_state text, p_words text, p_table text, p_column text, p_constraint text, p_context text) RETURNS TABLE(what text, remedy text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $_$
    -- The project's own triggers: those whose function raised it, or all that could have changed
    -- the row. They go on holding for its users.
    with guilty as (
        select
            string_agg(format('%I', t.tgname), ', ' order by t.tgname) as names,
            string_agg(
                format(
                    'drop trigger if exists %I on %s; %s;',
                    t.tgname,
                    t.tgrelid::regclass,
                    case when t.tgqual is null then regexp_replace(
                        pg_catalog.pg_get_triggerdef(t.oid),
                        ' EXECUTE FUNCTION ',
                        ' WHEN (current_user in (''anon'', ''authenticated'')) EXECUTE FUNCTION '
                    ) else regexp_replace(
                        pg_catalog.pg_get_triggerdef(t.oid),
                        ' WHEN \((.*)\) EXECUTE FUNCTION ',
                        ' WHEN (current_user in (''anon'', ''authenticated'') and (\1)) '
                        'EXECUTE FUNCTION '
                    ) end
                ), ' ' order by t.tgname
            ) as remedies
        from private.tables_of_messages() as c
        join pg_catalog.pg_trigger as t on t.tgrelid = c.oid
        join pg_catalog.pg_proc as p on p.oid = t.tgfoid
        where not t.tgisinternal
            and t.tgenabled <> 'D'
            and not (
                p.pronamespace = to_regnamespace('private')
                and private.is_ours('private.connection_state', 'ready_at')
            )
            and case p_state
                -- Those that insert into it; where none is known to, any of them.
                when 'PT201' then t.tgtype & 20 > 0 -- on insert or update
                    and pg_catalog.pg_get_triggerdef(t.oid) !~* 'current_user'
                    and (p.prosrc ~* 'scheduled_messages' or not exists (
                        select from pg_catalog.pg_trigger as o
                        join pg_catalog.pg_proc as f on f.oid = o.tgfoid
                        where o.tgrelid = t.tgrelid and f.prosrc ~* 'insert.+scheduled_messages'
                    ))
                when 'PT200' then c.relname = p_table
                    and t.tgtype & 2 > 0 -- before
                    -- Those have been seen to.
                    and pg_catalog.pg_get_triggerdef(t.oid) !~* 'current_user'
                else p_context ~ ('function ([a-z0-9_"]+\.)?' || quote_ident(p.proname) || '\(')
            end
    ),
    heard as (
        select regexp_match(
            p_words, '^permission denied for (table|view|sequence|function|schema) (.+)$'
        ) as said
        where p_state = '42501'
    ),
    -- What the service key lacks, in the project's own schemas, by its name.
    lacking as (
        select format(
            case c.relkind
                when 'S' then 'grant usage on sequence %s to service_role;'
                else 'grant select, insert, update, delete on %s to service_role;'
            end, c.oid::regclass
        ) as remedy
        from heard
        join pg_catalog.pg_class as c on c.relname = heard.said[2]
        where heard.said[1] in ('table', 'view', 'sequence')
            and c.relkind in ('r', 'p', 'v', 'S')
            and c.relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
        union all
        select format('grant execute on routine %s to service_role;', p.oid::regprocedure)
        from heard
        join pg_catalog.pg_proc as p on p.proname = heard.said[2]
        where heard.said[1] = 'function'
            and p.pronamespace::regnamespace::text !~ '^(pg_|information_schema$)'
        union all
        select format('grant usage on schema %I to service_role;', heard.said[2])
        from heard
        where heard.said[1] = 'schema'
    )
    select
        format(
            '%s (SQLSTATE %s%s%s)',
            p_words,
            p_state,
            ', column ' || nullif(p_column, ''),
            ', trigger ' || guilty.names
        ),
        case
            when denied.remedies is not null then denied.remedies
            when guilty.remedies is not null then guilty.remedies
            when p_state in ('23514', '23503', '23P01') or (p_state = '23505' and exists (
                select from pg_catalog.pg_constraint as k
                where k.conname = p_constraint
                    and k.conrelid = to_regclass(format('public.%I', p_table))
            )) then format(
                'alter table public.%I drop constraint if exists %I;', p_table, p_constraint
            )
            when p_state = '23505' then format('drop index if exists public.%I;', p_constraint)
            when p_state = '23502' then format(
                'alter table public.%I alter column %I drop not null;', p_table, p_column
            )
            when p_state = '42501' then 'Grant it to service_role, as sql/ does: '
                || coalesce((regexp_match(p_words, 'permission denied for .*'))[1], p_words)
            else 'Look at: ' || coalesce(nullif(split_part(p_context, E'\n', 1), ''), p_words)
        end
    from guilty
    cross join (select string_agg(lacking.remedy, ' ') as remedies from lacking) as denied
$_$;

CREATE FUNCTION private.fail_beyond_limit(p_turn text[], p_now timestamp with time zone, p_gateway text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_strict constant text[] := array(
        select settings.connection_id from public.connection_settings as settings
        where settings.connection_id = any(p_turn) and settings.at_daily_limit = 'fail'
    );
    v_rows private.beyond_limit_row[];
begin
    if v_strict = '{}' then
        return;
    end if;
    v_rows := array(
        select row(
            job.id, connection.connection_id, connection.blocked_reason
        )::private.beyond_limit_row
        from private.situation(v_strict, p_now, p_gateway) as connection
        cross join lateral (
            select j.id from public.broadcast_jobs as j
            where j.connection_id = connection.connection_id
                and j.priority = 0
                and j.status = 'queued'
                and j.scheduled_message_id is not null
                and j.available_at <= p_now
                and j.id <> all(array(
                    select r.id from private.refused_rows as r
                    where r.step = 'claim' and r.again_at > p_now
                ))
            order by j.available_at, j.id
            limit 1000
            for update skip locked
        ) as job
        where connection.fails
    );
    perform private.put_aside(
        'claim', array_agg((v_rows[said.place]).id), array_agg(said.code),
        array_agg(said.reason), null, array_agg((v_rows[said.place]).connection_id)
    )
    from private.try_rows('fail_rows', v_rows, false) as tried
    cross join lateral jsonb_to_recordset(tried.refused) as said (
        place integer, code text, reason text
    );
end
$$;

CREATE FUNCTION private.fail_rows(p_rows private.beyond_limit_row[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
begin
    with failed as (
        update public.broadcast_jobs as job
        set status = 'failed',
            completed_at = now(),
            updated_at = now()
        from unnest(p_rows) as beyond
        where job.id = any(array[beyond.id])
        returning job.id, beyond.reason
    )
    update public.broadcast_messages as entry
    set status = 'failed',
        error = 'Not sent: ' || failed.reason || '.',
        updated_at = now()
    from failed
    where entry.job_id = any(array[failed.id]);
    return '[]';
end
$$;

CREATE FUNCTION private.fate(p_parts jsonb) RETURNS TABLE(status text, message_id text, delivery_status text, error text)
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select
        whole.status,
        whole.message_id,
        whole.delivery_status,
        left(case whole.status
            when 'sent' then 'Accepted, but not delivered: ' || whole.undelivered
            when 'failed' then whole.out || ' of ' || whole.number || ' parts went out, then: '
                || whole.why
        end, 2000) as error
    from (
        select
            count(*) as number,
            count(*) filter (where part.fate = 'out') as out,
            case
                when bool_or(part.fate = 'unknown') then 'unconfirmed'
                when bool_or(part.fate = 'lost') then 'failed'
                else 'sent'
            end as status,
            (array_agg(part.id order by part.place))[1] as message_id,
            case
                when bool_or(part.told = 'failed') then 'failed'
                when bool_and(part.told is not null) then (array['sent', 'delivered', 'read'])[
                    min(array_position(array['sent', 'delivered', 'read'], part.told))
                ]
            end as delivery_status,
            string_agg('part ' || part.place || ': ' || part.error, '; ' order by part.place)
                filter (where part.told = 'failed') as undelivered,
            (array_agg(part.why order by part.place) filter (where part.fate = 'lost'))[1] as why
        from (
            select
                element.place,
                p.id,
                p.told,
                p.error,
                coalesce(p.reason, p.error) as why,
                case
                    when p.said in ('failed', 'none') then 'lost'
                    when p.said = 'sent' or p.told in ('sent', 'delivered', 'read') then 'out'
                    when p.told = 'failed' then 'lost'
                    else 'unknown'
                end as fate
            from jsonb_array_elements(p_parts) with ordinality as element (part, place)
            cross join lateral jsonb_to_record(element.part) as p (
                id text, said text, told text, reason text, error text
            )
        ) as part
    ) as whole
$$;

CREATE FUNCTION private.fill_approved(p_cloud jsonb, p_values jsonb, p_media_url text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
    v_is_named constant boolean := p_cloud ->> 'format' = 'named';
    v_header constant jsonb := p_cloud -> 'header';
    v_kind constant text := v_header ->> 'type';
    v_components jsonb := '[]';
    v_body jsonb;
begin
    if p_cloud is null then
        return null;
    elsif jsonb_typeof(v_header) = 'string' then
        v_components := jsonb_build_array(jsonb_build_object(
            'type', 'header',
            'parameters', jsonb_build_array(
                private.approved_value(v_header #>> '{}', p_values, v_is_named)
            )
        ));
    elsif jsonb_typeof(v_header) = 'object' then
        v_components := jsonb_build_array(jsonb_build_object(
            'type', 'header',
            'parameters', jsonb_build_array(jsonb_build_object(
                'type', v_kind,
                v_kind, v_header - 'type' || jsonb_build_object('link', case
                    when v_header ? 'link'
                        then private.render(private.cut(v_header ->> 'link'), p_values)
                    else p_media_url
                end)
            ))
        ));
    end if;
    select jsonb_agg(
        private.approved_value(given.name, p_values, v_is_named) order by given.place
    )
    into v_body
    from jsonb_array_elements_text(p_cloud -> 'parameters') with ordinality as given (name, place);
    if v_body is not null then
        v_components := v_components || jsonb_build_object('type', 'body', 'parameters', v_body);
    end if;
    return jsonb_build_object(
        'name', p_cloud -> 'name',
        'language', jsonb_build_object('code', p_cloud -> 'language'),
        'components', v_components
    );
end
$$;

CREATE FUNCTION private.find_dependents(p_table regclass, p_column text) RETURNS TABLE(removal text, restoral text, is_view boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    with dependent as (
        select d.classid, d.objid
        from pg_catalog.pg_depend as d
        join pg_catalog.pg_attribute as a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where d.refobjid = p_table and a.attname = p_column
    )
    select
        format('drop policy if exists %I on %I.%I;', p.policyname, p.schemaname, p.tablename),
        format(
            'create policy %I on %I.%I as %s for %s to %s%s%s;',
            p.policyname,
            p.schemaname,
            p.tablename,
            p.permissive,
            p.cmd,
            (
                select string_agg(case r when 'public' then r else quote_ident(r) end, ', ')
                from unnest(p.roles) as r
            ),
            ' using (' || p.qual || ')',
            ' with check (' || p.with_check || ')'
        ),
        false
    from dependent as d
    join pg_catalog.pg_policy as o on o.oid = d.objid
    join pg_catalog.pg_class as c on c.oid = o.polrelid
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    join pg_catalog.pg_policies as p
        on p.schemaname = n.nspname and p.tablename = c.relname and p.policyname = o.polname
    where d.classid = 'pg_catalog.pg_policy'::regclass
    union
    select
        format('drop trigger if exists %I on %s;', t.tgname, t.tgrelid::regclass),
        pg_catalog.pg_get_triggerdef(t.oid) || ';',
        false
    from dependent as d
    join pg_catalog.pg_trigger as t on t.oid = d.objid
    where d.classid = 'pg_catalog.pg_trigger'::regclass
    union
    select
        format('drop %s if exists %s;', private.kind_of(c.relkind), c.oid::regclass),
        format(
            'create %s %s as %s',
            private.kind_of(c.relkind), c.oid::regclass, pg_catalog.pg_get_viewdef(c.oid)
        ),
        true
    from dependent as d
    join pg_catalog.pg_rewrite as r on r.oid = d.objid
    join pg_catalog.pg_class as c on c.oid = r.ev_class
    where d.classid = 'pg_catalog.pg_rewrite'::regclass and c.oid <> p_table
$$;

CREATE FUNCTION private.find_hindering_rules() RETURNS TABLE(what text, remedy text, is_safe boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $_$
    -- Columns that must not be null, keys apart.
    with held as (
        select
            a.attname::text as name,
            c.relname::text as table_name,
            c.relname <> 'scheduled_messages' as is_broadcast,
            a.atthasdef or a.attidentity <> '' or a.attgenerated <> '' as has_default
        from private.tables_of_messages() as c
        join pg_catalog.pg_attribute as a
            on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where a.attnotnull
            and not exists (
                select from pg_catalog.pg_constraint as k
                where k.conrelid = c.oid and k.contype = 'p' and a.attnum = any(k.conkey)
            )
    )
    select
        format(
            'public.%I.%I must not be null, and we may have nothing to put there.',
            h.table_name, h.name
        ),
        case
            when h.is_broadcast then format(
                'alter table public.%1$I add column if not exists scheduled_message_id uuid; '
                'alter table public.%1$I alter column %2$I drop not null, '
                'add constraint %3$I check (scheduled_message_id is not null or %2$I is not null) '
                'not valid;',
                h.table_name, h.name, left(h.table_name || '_' || h.name, 56) || '_given'
            )
            else format(
                'alter table public.%I alter column %I drop not null;', h.table_name, h.name
            )
        end,
        true
    from held as h
    where case
        when not h.is_broadcast then h.name in (
            'created_by', 'owner_id', 'media_url', 'caption', 'media', 'asset_id', 'sent_at',
            'message_id', 'error', 'recurrence_pattern', 'is_recurring', 'next_scheduled_at',
            'timezone', 'recurrence_end_at', 'series_id', 'series_anchor', 'occurrence_at',
            'next_id', 'broadcast_job_id', 'due_at', 'waiting_reason', 'waiting_until',
            'delivery_status'
        )
        when h.name in (
            'message', 'media_url', 'caption', 'media', 'variables', 'asset_id', 'user_id',
            'recipient', 'contact_id', 'message_id', 'error', 'sent_at', 'completed_at', 'data'
        ) then true
        else not h.has_default and h.name not in (
            'job_id', 'connection_id', 'type', 'contact', 'contacts', 'status', 'schedule',
            'total_contacts', 'broadcast_name'
        )
    end
    union all
    select
        format('The check %I on public.%I is for rows of the application.', k.conname, c.relname),
        format(
            'alter table public.%1$I add column if not exists scheduled_message_id uuid; '
            'alter table public.%1$I drop constraint %2$I; '
            'alter table public.%1$I add constraint %2$I '
            'check (scheduled_message_id is not null or (%3$s)) not valid;',
            c.relname, k.conname, rule.condition
        ),
        true
    from private.tables_of_messages() as c
    join pg_catalog.pg_constraint as k on k.conrelid = c.oid and k.contype = 'c'
    cross join lateral (
        select pg_catalog.pg_get_expr(k.conbin, k.conrelid) as condition
    ) as rule
    where c.relname <> 'scheduled_messages'
        and rule.condition not like '%scheduled\_message\_id IS NOT NULL) OR%'
    union all
    -- Before ours are there, one check that knows the project's statuses and ours; later on, what
    -- does not know ours.
    select
        format(
            'The check %s on public.scheduled_messages.status does not know all of ours.',
            string_agg(k.conname, ', ')
        ),
        format(
            '%s alter table public.scheduled_messages '
            'drop constraint if exists scheduled_messages_status_known; '
            'alter table public.scheduled_messages '
            'add constraint scheduled_messages_status_known check ((%s) or status in ('
            '''pending'', ''processing'', ''sent'', ''failed'', ''unconfirmed'', ''cancelled'', '
            '''in_queue'')) not valid;',
            string_agg(
                format('alter table public.scheduled_messages drop constraint %I;', k.conname), ' '
            ),
            string_agg(rule.condition, ' and ')
        ),
        true
    from pg_catalog.pg_constraint as k
    join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attname = 'status'
    cross join lateral (
        select pg_catalog.pg_get_expr(k.conbin, k.conrelid) as condition
    ) as rule
    where k.conrelid = to_regclass('public.scheduled_messages')
        and k.contype = 'c'
        and k.conkey = array[a.attnum]
        and k.conname <> 'scheduled_messages_status_known'
        and not (
            private.is_ours('private.connection_state', 'ready_at')
            and rule.condition like all (array[
                '%''pending''%', '%''processing''%', '%''sent''%', '%''failed''%',
                '%''unconfirmed''%', '%''cancelled''%', '%''in\_queue''%'
            ])
        )
    having count(*) > 0
$_$;

CREATE FUNCTION private.find_misfits() RETURNS TABLE(what text, remedy text, is_safe boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select * from private.find_unfit_tables()
    union all
    select * from private.find_unfit_columns()
    union all
    select * from private.find_hindering_rules()
    union all
    select * from private.find_unfit_ways()
$$;

CREATE FUNCTION private.find_namesakes() RETURNS TABLE(what text, remedy text, is_safe boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select
        format('%s is a function of this project; ours has that name.', p.oid::regprocedure),
        format('alter routine %s rename to own_%s;', p.oid::regprocedure, p.proname),
        false
    from unnest(array[
        'public.connection_usage(text)',
        'public.count_upcoming_messages(text, date, date)',
        'public.diagnose()',
        'public.enqueue_broadcast_jobs(text, double precision)',
        'public.finish_probes(text[], text[])',
        'public.forget_connection(text)',
        'public.get_agenda(double precision, integer, double precision)',
        'public.get_due_of_others(text[])',
        'public.get_holders()',
        'public.get_pending_scheduled_messages_after(timestamptz, uuid)',
        'public.get_status(double precision)',
        'public.get_timezones(text, integer)',
        'public.look_up_recipients(uuid[])',
        'public.record_deliveries(text)',
        'public.record_outcomes(text)',
        'public.rescue_broadcast_jobs(double precision)',
        'public.resolve_scheduled_message(uuid, text)',
        'public.take_probes(integer)',
        'public.take_withdrawn_jobs()',
        'private.announce_connection()',
        'private.calendar(text, time, time, timestamptz)',
        'private.cancel_messages_of_connection()',
        'private.cancel_messages_of_user()',
        'private.complete_old_row()',
        'private.confirm_connection()',
        'private.guard_broadcasts()',
        'private.guard_delete()',
        'private.guard_insert()',
        'private.guard_update()',
        'private.hold_limits()',
        'private.hold_right()',
        'private.name_timezone()',
        'private.next_expiry()',
        'private.refuse_nonsense()',
        'private.refuse_strange_connection()',
        'private.remember_owner()',
        'private.set_due_at()',
        'private.settle_scheduled_messages()'
    ]) as ours (signature)
    join pg_catalog.pg_proc as p on p.oid = to_regprocedure(ours.signature)
    where not private.is_ours('private.connection_state', 'ready_at')
$$;

CREATE FUNCTION private.find_strays() RETURNS TABLE(level text, what text, remedy text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select 'failure',
        format('%s message(s) are processing, and no job is at work on them', count(*)),
        'select private.note_untended(); -- the rescue asks what became of them, within a minute'
    from private.find_untended() as f (id)
    having count(*) > 0
    union all
    -- An occurrence has the id of its series; a row that something else adds has not, or another.
    select 'warning',
        format(
            '%s message(s) of a series wait twice, with the same text for the same contact at the '
            'same time, such as %s: something else adds the next occurrence too',
            count(*), min(t.id)
        ),
        'Find what inserts into scheduled_messages when a recurring message is sent (a trigger, a '
        'cron job, a function of the application), end it, and cancel one of each.'
    from (
        select min(s.id::text) as id
        from public.scheduled_messages as s
        where s.due_at is not null and s.is_recurring
        group by s.owner_id, s.created_by, s.connection_id, s.contact_id, s.due_at, md5(s.message)
        having count(*) > 1 and count(s.series_id) > 0
    ) as t
    having count(*) > 0
$$;

CREATE FUNCTION private.find_unfit_columns() RETURNS TABLE(what text, remedy text, is_safe boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $_$
    with wanted (table_name, kind, names) as (
        values
        ('scheduled_messages', 'text', array[
            'connection_id', 'contact_id', 'message', 'type', 'media_url', 'caption', 'status',
            'message_id', 'error', 'recurrence_pattern', 'timezone', 'waiting_reason',
            'delivery_status', 'category', 'held'
        ]),
        ('scheduled_messages', 'uuid', array[
            'id', 'created_by', 'owner_id', 'asset_id', 'series_id', 'next_id', 'broadcast_job_id',
            'source_id'
        ]),
        ('scheduled_messages', 'timestamp with time zone', array[
            'scheduled_at', 'created_at', 'sent_at', 'next_scheduled_at', 'recurrence_end_at',
            'occurrence_at', 'due_at', 'waiting_until', 'not_after'
        ]),
        ('scheduled_messages', 'time', array['updated_at']),
        ('scheduled_messages', 'timestamp without time zone', array['series_anchor']),
        ('scheduled_messages', 'boolean', array['is_recurring']),
        ('scheduled_messages', 'integer', array[
            'missed', 'revision', 'source_position', 'source_try'
        ]),
        ('scheduled_messages', 'smallint', array['priority']),
        ('scheduled_messages', 'jsonb', array['template']),
        ('scheduled_messages', 'json', array['media']),
        ('broadcast_jobs', 'text', array[
            'connection_id', 'type', 'message', 'media_url', 'caption', 'media', 'status',
            'contact_id', 'recipient', 'gateway', 'error_message', 'broadcast_name'
        ]),
        ('broadcast_jobs', 'uuid', array['id', 'scheduled_message_id', 'series_id', 'lease_token']),
        ('broadcast_jobs', 'id', array['user_id', 'asset_id']),
        ('broadcast_jobs', 'text[]', array['contacts']),
        ('broadcast_jobs', 'boolean', array['isprivatemessage']),
        ('broadcast_jobs', 'smallint', array['priority']),
        ('broadcast_jobs', 'jsonb', array['template']),
        ('broadcast_jobs', 'integer', array[
            'progress', 'total_contacts', 'sent_count', 'failed_count', 'attempts', 'throttled'
        ]),
        ('broadcast_jobs', 'time', array['completed_at', 'updated_at', 'created_at']),
        ('broadcast_jobs', 'timestamp with time zone', array[
            'schedule', 'available_at', 'expires_at', 'lease_until', 'send_at', 'send_until'
        ]),
        ('broadcast_messages', 'text', array[
            'contact', 'message', 'type', 'media_url', 'caption', 'status', 'message_id', 'error',
            'delivery_status'
        ]),
        ('broadcast_messages', 'uuid', array['id', 'job_id', 'scheduled_message_id']),
        ('broadcast_messages', 'time', array['updated_at', 'created_at']),
        ('broadcast_messages', 'timestamp with time zone', array['sent_at'])
    ),
    -- Those that are there, with the type that each has; `base` is a domain's.
    held as (
        select
            w.kind,
            a.attrelid,
            a.attnum,
            a.attname::text as name,
            'public.' || w.table_name as table_name,
            a.attgenerated,
            a.atthasdef and a.attgenerated = '' as has_default,
            format_type(a.atttypid, a.atttypmod) as type,
            format_type(base.oid, null) as base,
            t.typname = 'citext' as is_citext,
            t.typtype = 'd'
            or (base.oid = 'pg_catalog.varchar'::regtype and a.atttypmod > 0) as is_narrow
        from wanted as w
        join pg_catalog.pg_attribute as a
            on a.attrelid = to_regclass('public.' || w.table_name)
            and a.attname = any(w.names)
            and not a.attisdropped
        join pg_catalog.pg_type as t on t.oid = a.atttypid
        cross join lateral (select coalesce(nullif(t.typbasetype, 0), t.oid) as oid) as base
    ),
    -- Whether that is a type of the same kind; where it is not, how its values become ours.
    judged as (
        select
            h.*,
            case h.kind
                when 'text' then h.base in ('text', 'character varying') or h.is_citext
                when 'id' then h.base in ('uuid', 'text', 'character varying')
                when 'time' then h.base in (
                    'timestamp with time zone', 'timestamp without time zone'
                )
                when 'integer' then h.base in ('smallint', 'integer', 'bigint', 'numeric')
                when 'json' then h.base in ('json', 'jsonb')
                else h.base = h.kind
            end as is_alike,
            case
                when h.name = 'id' then null
                when h.kind = 'text' then '%I::text'
                when h.kind = 'text[]' and h.base in ('json', 'jsonb')
                    then 'translate(%I::text, ''[]'', ''{}'')::text[]'
                when h.kind = 'json' and h.base not in ('text', 'character varying')
                    then 'to_json(%I)'
                when h.base in ('text', 'character varying')
                    and h.kind in ('uuid', 'boolean', 'json', 'timestamp with time zone')
                    then 'nullif(%I, '''')::' || h.kind
                when h.kind = 'boolean' and h.base in ('smallint', 'integer', 'bigint')
                    then '%I <> 0'
                when h.kind <> 'timestamp with time zone' then null
                when h.base in ('timestamp without time zone', 'date')
                    then '%I::timestamp at time zone ''UTC'''
                when h.base in ('integer', 'bigint', 'numeric', 'double precision')
                    then 'to_timestamp(%I)'
            end as conversion,
            case
                when h.name = 'status' and h.table_name like '%\_jobs' then '''queued'''
                when h.name = 'status' then '''pending'''
                when h.name = 'type' then '''text'''
                when h.name = 'created_at' then 'now()'
                when h.kind = 'boolean' then 'false'
                else 'null'
            end as our_default
        from held as h
    )
    select
        format('%s.%I is %s.', j.table_name, j.name, case
            when j.attgenerated <> '' then 'a generated column, and we write it'
            when j.is_alike then j.type || ', which is too narrow for what we write'
            when j.base in ('timestamp without time zone', 'date')
                then j.type || ': in which time zone? The statement takes it for UTC'
            else j.type || ', not ' || case j.kind
                when 'id' then 'uuid'
                when 'time' then 'timestamptz'
                else j.kind
            end
        end),
        case
            when j.attgenerated = 'v' then format(
                'alter table %1$s drop column %2$I, add column %2$I %3$s;',
                j.table_name, j.name, j.type
            )
            when j.attgenerated = 's' then format(
                'alter table %s alter column %I drop expression;', j.table_name, j.name
            )
            when j.is_alike then concat_ws(
                ' ',
                own.removals,
                format('alter table %s alter column %I type %s;', j.table_name, j.name, j.kind),
                own.restorals
            )
            when j.name = 'id' then format(
                'alter table %1$s rename column id to own_id; '
                'alter table %1$s add column id uuid not null unique default gen_random_uuid();',
                j.table_name
            )
            when j.conversion is null then format(
                'alter table %s rename column %I to own_%s;', j.table_name, j.name, j.name
            )
            else concat_ws(
                ' ',
                own.removals,
                tied.removals,
                case when j.has_default then format(
                    'alter table %s alter column %I drop default;', j.table_name, j.name
                ) end,
                format(
                    'alter table %s alter column %I type %s using %s;',
                    j.table_name, j.name, j.kind, format(j.conversion, j.name)
                ),
                case when j.has_default then format(
                    'alter table %s alter column %I set default %s;',
                    j.table_name, j.name, j.our_default
                ) end
            )
        end,
        j.is_alike and j.attgenerated = '' and own.views = 0
    from judged as j
    cross join lateral (
        select
            string_agg(d.removal, ' ' order by d.removal) as removals,
            string_agg(d.restoral, ' ' order by d.restoral) as restorals,
            count(*) filter (where d.is_view) as views
        from private.find_dependents(j.attrelid, j.name) as d
    ) as own
    -- Foreign keys, checks and partial indexes are written for the type that the column has now.
    cross join lateral (
        select string_agg(found.removal, ' ') as removals
        from (
            select format(
                'alter table %s drop constraint if exists %I;', k.conrelid::regclass, k.conname
            ) as removal
            from pg_catalog.pg_constraint as k
            where k.contype in ('f', 'c')
                and k.conrelid = j.attrelid
                and j.attnum = any(k.conkey)
            union
            select format('drop index if exists %s;', i.indexrelid::regclass)
            from pg_catalog.pg_index as i
            join pg_catalog.pg_depend as d
                on d.objid = i.indexrelid and d.classid = 'pg_catalog.pg_class'::regclass
            where i.indrelid = j.attrelid
                and i.indpred is not null
                and d.refobjid = j.attrelid
                and d.refobjsubid = j.attnum
        ) as found
    ) as tied
    where not j.is_alike
        or j.attgenerated <> ''
        or (j.kind in ('text', 'uuid', 'timestamp with time zone') and j.is_narrow)
$_$;

CREATE FUNCTION private.find_unfit_tables() RETURNS TABLE(what text, remedy text, is_safe boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $_$
    -- What is no table, or one in parts, becomes a table of its own beside it.
    select
        format('public.%I is %s, not a table.', c.relname, case c.relkind
            when 'p' then 'partitioned'
            when 'f' then 'a foreign table'
            else 'a view'
        end),
        format(
            'alter %2$s public.%1$I rename to own_%1$s; '
            'create table public.%1$I (like public.own_%1$s '
            'including defaults including generated including identity); '
            'insert into public.%1$I select * from public.own_%1$s; '
            'alter table public.%1$I add primary key (id);',
            c.relname, private.kind_of(c.relkind)
        ),
        false
    from pg_catalog.pg_class as c
    where c.relkind <> 'r'
        and c.oid in (
            to_regclass('public.scheduled_messages'),
            to_regclass('public.broadcast_jobs'),
            to_regclass('public.broadcast_messages'),
            to_regclass('public.connection_settings')
        )
    union all
    -- None of our triggers and indexes would hold for its rows, which show among the other's.
    select
        format('%s inherits from public.%I.', k.oid::regclass, c.relname),
        format(
            'with moved as (delete from only %1$s returning *) insert into public.%2$I (%3$s) '
            'overriding system value select %3$s from moved; '
            'alter table %1$s no inherit public.%2$I;',
            k.oid::regclass,
            c.relname,
            (
                select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                from pg_catalog.pg_attribute as a
                where a.attrelid = c.oid
                    and a.attnum > 0
                    and not a.attisdropped
                    and a.attgenerated = ''
            )
        ),
        false
    from pg_catalog.pg_class as c
    join pg_catalog.pg_inherits as i on i.inhparent = c.oid
    join pg_catalog.pg_class as k on k.oid = i.inhrelid
    where c.relkind = 'r'
        and c.oid in (
            to_regclass('public.scheduled_messages'),
            to_regclass('public.broadcast_jobs'),
            to_regclass('public.broadcast_messages'),
            to_regclass('public.connections'),
            to_regclass('public.contacts'),
            to_regclass('public.connection_settings')
        )
    union all
    -- Columns without which nothing goes; one that is called otherwise is known by its other names.
    select
        format('public.%I has no column %I.', needed.table_name, needed.name),
        coalesce(
            (
                select format(
                    'alter table public.%I rename column %I to %I;',
                    needed.table_name, a.attname, needed.name
                )
                from unnest(needed.other_names) with ordinality as other (name, place)
                join pg_catalog.pg_attribute as a
                    on a.attrelid = to_regclass('public.' || needed.table_name)
                    and a.attname = other.name
                    and not a.attisdropped
                order by other.place
                limit 1
            ),
            format(
                'alter table public.%I add column %I %s;',
                needed.table_name, needed.name, needed.definition
            )
        ),
        needed.is_safe
    from (
        values
        (
            'scheduled_messages', 'id', '{}'::text[],
            'uuid not null unique default gen_random_uuid()', false
        ),
        (
            'scheduled_messages', 'connection_id', '{session_id,device_id,instance_id,connection}',
            'text', false
        ),
        (
            'scheduled_messages', 'contact_id',
            '{recipient,phone_number,phone,to_number,chat_id,contact}',
            'text', false
        ),
        (
            'scheduled_messages', 'message', '{body,content,text,message_text}',
            'text', false
        ),
        (
            'scheduled_messages', 'scheduled_at', '{send_at,scheduled_for,scheduled_time,run_at}',
            'timestamptz', false
        ),
        ('scheduled_messages', 'type', '{}', 'text not null default ''text''', true),
        ('scheduled_messages', 'status', '{}', 'text not null default ''pending''', true),
        ('scheduled_messages', 'created_at', '{}', 'timestamptz not null default now()', true),
        ('connections', 'id', '{}', 'text primary key default gen_random_uuid()::text', false),
        ('contacts', 'id', '{}', 'bigint generated by default as identity', false),
        ('broadcast_jobs', 'id', '{}', 'uuid primary key default gen_random_uuid()', false),
        ('broadcast_messages', 'id', '{}', 'uuid primary key default gen_random_uuid()', false)
    ) as needed (table_name, name, other_names, definition, is_safe)
    join pg_catalog.pg_class as c
        on c.oid = to_regclass('public.' || needed.table_name) and c.relkind <> 'c'
    where not exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = c.oid and a.attname = needed.name and not a.attisdropped
    )
    union all
    select
        format('%s is another table than ours of that name.', c.oid::regclass),
        format(
            'alter %s %s rename to own_%s;',
            private.kind_of(c.relkind), c.oid::regclass, c.relname
        ),
        false
    from (
        values
        ('public.connection_settings', 'window_start'),
        ('private.connection_state', 'ready_at'),
        ('private.recipient_state', 'free_at'),
        ('private.connection_owners', 'is_held'),
        ('private.erasures', 'job_id'),
        ('private.limits', 'value'),
        ('private.owner_load', 'minute'),
        ('private.timezones', 'folded'),
        ('private.gateways', 'one_at_a_time'),
        ('private.refused_rows', 'step')
    ) as ours (name, its_column)
    join pg_catalog.pg_class as c on c.oid = to_regclass(ours.name)
    where c.relkind in ('r', 'p', 'f', 'm', 'v', 'S')
        and not (c.relkind = 'r' and private.is_ours(ours.name, ours.its_column))
        and not (c.relkind <> 'r' and ours.name = 'public.connection_settings')
    union all
    select
        format('%s is a type, and ours of that name is a table.', t.oid::regtype),
        format(
            'alter %s %s rename to own_%s;',
            case t.typtype when 'd' then 'domain' else 'type' end, t.oid::regtype, t.typname
        ),
        false
    from pg_catalog.pg_type as t
    left join pg_catalog.pg_class as c on c.oid = t.typrelid
    where t.typnamespace = 'public'::regnamespace
        and t.typname in (
            'connection_settings', 'scheduled_messages', 'connections', 'contacts',
            'broadcast_jobs', 'broadcast_messages'
        )
        and (t.typrelid = 0 or c.relkind = 'c')
        and t.typelem = 0
$_$;

CREATE FUNCTION private.find_unfit_ways() RETURNS TABLE(what text, remedy text, is_safe boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select
        format('public.%I.id is not unique.', c.relname),
        format('alter table public.%I add unique (id);', c.relname),
        false
    from private.tables_of_messages() as c
    join pg_catalog.pg_attribute as a
        on a.attrelid = c.oid and a.attname = 'id' and not a.attisdropped
    where c.relkind = 'r'
        and a.atttypid = 'uuid'::regtype
        and not exists (
            select from pg_catalog.pg_index as i
            where i.indrelid = c.oid
                and i.indisunique
                and i.indpred is null
                and i.indnkeyatts = 1
                and i.indkey[0] = a.attnum
        )
    union all
    -- Nothing that a publication tells of can be changed without one.
    select
        format(
            'public.%I has no primary key, and a publication needs to tell its rows apart.',
            c.relname
        ),
        format('alter table public.%I replica identity full;', c.relname),
        true
    from private.tables_of_messages() as c
    where c.relkind = 'r'
        and c.relreplident = 'd'
        and not exists (
            select from pg_catalog.pg_index as i where i.indrelid = c.oid and i.indisprimary
        )
    union all
    -- A new row takes its number from there, with the rights of whoever writes it.
    select
        format(
            'The service key may not use the sequence %s, which numbers public.%I.',
            sequence.oid::regclass, c.relname
        ),
        format(
            'grant usage on sequence %s to %s;', sequence.oid::regclass, case c.relname
                when 'scheduled_messages' then 'authenticated, service_role'
                else 'service_role'
            end
        ),
        true
    from private.tables_of_messages() as c
    join pg_catalog.pg_attrdef as f on f.adrelid = c.oid
    join pg_catalog.pg_depend as d
        on d.objid = f.oid
        and d.classid = 'pg_catalog.pg_attrdef'::regclass
        and d.refclassid = 'pg_catalog.pg_class'::regclass
    join pg_catalog.pg_class as sequence on sequence.oid = d.refobjid
    where case
        when sequence.relkind = 'S'
            then not has_sequence_privilege('service_role', sequence.oid, 'usage')
    end
    union all
    select
        format('public.%I is unlogged: a crash of the server empties it.', c.relname),
        format('alter table public.%I set logged;', c.relname),
        false
    from private.tables_of_messages() as c
    where c.relkind = 'r' and c.relpersistence = 'u'
    union all
    select
        format(
            'The rule %I of public.%I keeps statements with several parts from it.',
            r.rulename, c.relname
        ),
        format('drop rule %I on public.%I;', r.rulename, c.relname),
        false
    from private.tables_of_messages() as c
    join pg_catalog.pg_rewrite as r on r.ev_class = c.oid and r.ev_type <> '1'
    where c.relkind = 'r'
    union all
    -- What we write there need not be in another table.
    select
        format(
            'The foreign key %I ties public.%I.%I to another table.',
            k.conname, c.relname, a.attname
        ),
        format('alter table public.%I drop constraint %I;', c.relname, k.conname),
        false
    from private.tables_of_messages() as c
    join pg_catalog.pg_constraint as k on k.conrelid = c.oid and k.contype = 'f'
    join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum = any(k.conkey)
    where c.relname <> 'scheduled_messages'
        and (
            a.attname in ('id', 'contact', 'contact_id', 'recipient', 'type', 'status')
            or (
                a.attname = 'job_id'
                and k.confrelid is distinct from to_regclass('public.broadcast_jobs')
            )
        )
$$;

CREATE FUNCTION private.find_untended() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select s.id
    from public.scheduled_messages as s
    left join public.broadcast_jobs as j on j.id = s.broadcast_job_id
    where s.status = 'processing'
        and (j.status is null or j.status in ('completed', 'failed', 'cancelled', 'unconfirmed'))
        -- Known, and put aside until the row takes it; or noted.
        and not exists (
            select from private.refused_rows as r
            where (r.id = s.id and r.step = 'tend') or (r.id = j.id and r.step = 'settle')
        )
$$;

CREATE FUNCTION private.finish_rows(p_rows private.probed_row[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_free constant text[] := array(
        select state.connection_id
        from private.connection_state as state
        where state.connection_id = any(
            array(select given.connection_id from unnest(p_rows) as given)
        )
        order by state.connection_id
        for update skip locked
    );
    v_well constant text[] := array(
        select given.connection_id
        from unnest(p_rows) as given
        where given.is_well and given.connection_id = any(v_free)
    );
    v_judged constant text[] := array(
        select given.connection_id
        from unnest(p_rows) as given
        where given.judges and given.connection_id = any(v_well)
    );
begin
    -- The ill ones.
    update private.connection_state as state
    set stopped_ids = '{}',
        refused_ids = '{}',
        is_on_trial = false
    where state.connection_id = any(v_free)
        and state.connection_id <> all(v_well)
        and state.paused_reason is not null;

    -- The messages that stopped a well one, with their rows and messages held.
    with judged as materialized (
        select
            state.connection_id,
            job.id,
            job.scheduled_message_id,
            job.refusal,
            job.refusals,
            coalesce(state.through_at > job.refused_at, false) as is_guilty
        from private.connection_state as state
        cross join unnest(state.stopped_ids) as stopped (id)
        cross join lateral (
            select
                j.id,
                j.scheduled_message_id,
                j.refusal,
                j.refused_at,
                j.refusals
            from public.broadcast_jobs as j
            where j.id = stopped.id
                and j.connection_id = state.connection_id
                and j.status = 'queued'
            limit 1
            for update skip locked
        ) as job
        cross join lateral (
            select from public.scheduled_messages as s
            where s.id = job.scheduled_message_id and s.broadcast_job_id = job.id
            limit 1
            for no key update skip locked
        ) as scheduled
        -- As settle_rows and a webhook would wait for it.
        cross join lateral (
            select from public.broadcast_messages as m
            where m.job_id = job.id
            limit 1
            for update skip locked
        ) as message
        where state.connection_id = any(v_judged) and state.paused_reason is not null
    ),
    -- What is itself at fault fails, and its row through its message.
    failed as (
        update public.broadcast_jobs as j
        set status = 'failed',
            failed_count = 1,
            progress = 100,
            completed_at = now(),
            updated_at = now()
        from judged
        where j.id = any(array[judged.id]) and judged.is_guilty
    ),
    told_failed as (
        update public.broadcast_messages as m
        set status = 'failed',
            updated_at = now(),
            error = judged.refusal || '. But the connection is well, and others got through on it '
                || 'since this message was first refused: it is this message that the gateway does '
                || 'not take.'
        from judged
        where m.job_id = any(array[judged.id]) and judged.is_guilty
    ),
    -- Any other is tried behind those that wait.
    put_behind as (
        update public.broadcast_jobs as j
        set available_at = now() + case
                when judged.refusals > 0 then private.probe_delay(judged.refusals)
                else interval '0'
            end,
            refusals = judged.refusals + 1,
            refused_at = now(),
            updated_at = now()
        from judged
        where j.id = any(array[judged.id]) and not judged.is_guilty
        returning j.id, j.scheduled_message_id, j.available_at, judged.refusal
    ),
    told_why as (
        update public.scheduled_messages as s
        set waiting_reason = left(put_behind.refusal, 400)
                || '. But the connection seems well: the others go first, then this is tried again',
            waiting_until = put_behind.available_at,
            updated_at = now()
        from put_behind
        where s.id = any(array[put_behind.scheduled_message_id])
    ),
    -- The rows that a well connection refused, one after the other, since one got through.
    heard as (
        select
            state.connection_id,
            refused.ids as refused_ids,
            cardinality(refused.ids) > 1 as is_doubted,
            latest.refusal
        from private.connection_state as state
        cross join lateral (
            select array(
                select judged.scheduled_message_id
                from judged
                where judged.connection_id = state.connection_id and not judged.is_guilty
                union
                select unnest(state.refused_ids[:10])
            ) as ids
        ) as refused
        left join lateral (
            select judged.refusal
            from judged
            where judged.connection_id = state.connection_id and not judged.is_guilty
            limit 1
        ) as latest on true
        where state.connection_id = any(v_well) and state.paused_reason is not null
    )
    update private.connection_state as state
    set paused_reason = case
            when heard.is_doubted and cardinality(state.refused_ids) < 2 then
                left(coalesce(heard.refusal, state.paused_reason), 300)
                || '. Two messages in a row were refused so, though the gateway calls the '
                || 'connection well: one at a time is tried until one gets through'
            when heard.is_doubted then state.paused_reason
        end,
        probe_at = case when heard.is_doubted then state.probe_at end,
        failed_probes = case when heard.is_doubted then state.failed_probes else 0 end,
        is_on_trial = heard.is_doubted and cardinality(state.refused_ids) > 1,
        stopped_ids = '{}',
        refused_ids = heard.refused_ids,
        resumed_at = now(),
        ready_at = now()
    from heard
    where state.connection_id = any(array[heard.connection_id]);
    return '[]';
end
$$;

CREATE FUNCTION private.fold_connection_id() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    new.connection_id := lower(new.connection_id);
    return new;
end
$$;

CREATE FUNCTION private.fold_tallies(p_runs uuid[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    with free as materialized (
        select run.id
        from public.campaign_runs as run
        where run.id = any(p_runs)
        order by run.id
        for no key update skip locked
    ),
    taken as (
        delete from private.run_tallies as tally
        using free
        where tally.run_id = free.id
        returning tally.*
    ),
    folded as (
        select
            taken.run_id,
            sum(taken.pending)::integer as pending,
            sum(taken.sent)::integer as sent,
            sum(taken.failed)::integer as failed,
            sum(taken.unconfirmed)::integer as unconfirmed,
            sum(taken.skipped)::integer as skipped,
            sum(taken.cancelled)::integer as cancelled,
            sum(taken.delivered)::integer as delivered,
            sum(taken.read)::integer as read
        from taken
        group by taken.run_id
    ),
    counted as (
        update public.campaign_runs as run
        set
            pending = run.pending + folded.pending,
            sent = run.sent + folded.sent,
            failed = run.failed + folded.failed,
            unconfirmed = run.unconfirmed + folded.unconfirmed,
            skipped = run.skipped + folded.skipped,
            cancelled = run.cancelled + folded.cancelled,
            delivered = run.delivered + folded.delivered,
            read = run.read + folded.read
        from folded
        where run.id = folded.run_id
        returning run.*
    )
    select
$$;

CREATE FUNCTION private.follow_connection() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    if tg_op <> 'INSERT' then
        perform private.try_reminders(private.open_appointments(old.id::text, null), false);
    end if;
    if tg_op = 'INSERT' or (tg_op = 'UPDATE' and new.id <> old.id) then
        perform private.try_reminders(private.open_appointments(new.id::text, null), false);
    end if;
    return null;
end
$$;

CREATE FUNCTION private.follow_contact() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_contact constant text := case tg_op when 'DELETE' then old.id else new.id end;
    v_appointments constant uuid[] := array(
        select appointment.id from public.appointments as appointment
        where appointment.contact_id = v_contact
    );
begin
    if v_appointments = '{}' then
        return null;
    end if;
    with held as materialized (
        select message.*
        from public.scheduled_messages as message
        where tg_op = 'UPDATE'
            and old.phone_number is distinct from new.phone_number
            and message.source_id = any(v_appointments)
            and message.contact_id = v_contact
            and message.status in ('processing', 'failed')
        order by message.id
        for no key update
    )
    update public.scheduled_messages as message
    set
        status = 'pending',
        scheduled_at = case held.status when 'failed' then now() else held.scheduled_at end
    from held
    where message.id = held.id
        and case held.status
            when 'failed' then held.not_after > now()
            else private.withdraw_job(held.broadcast_job_id)
                and not private.may_have_gone_out(held.broadcast_job_id)
        end;
    perform private.try_reminders(v_appointments, false);
    return null;
end
$$;

CREATE FUNCTION private.follow_rule() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_rule constant public.reminder_rules := coalesce(new, old);
begin
    perform private.try_reminders(
        private.open_appointments(v_rule.connection_id, v_rule.owner_id), false
    );
    return null;
end
$$;

CREATE FUNCTION private.follow_settings() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    perform private.try_reminders(private.open_appointments(
        case tg_op when 'DELETE' then old.connection_id else new.connection_id end, null
    ), false);
    return null;
end
$$;

CREATE FUNCTION private.follow_template() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    perform private.try_reminders(
        private.open_appointments(using_it.connection_id, using_it.owner_id), false
    )
    from (
        select distinct
            r.connection_id,
            r.owner_id
        from public.reminder_rules as r
        where r.template_id = new.id and r.owner_id = new.owner_id
    ) as using_it;
    return null;
end
$$;

CREATE TABLE public.scheduled_messages (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    connection_id text NOT NULL,
    contact_id text NOT NULL,
    message text NOT NULL,
    type text DEFAULT 'text'::text NOT NULL,
    media_url text,
    caption text,
    scheduled_at timestamp with time zone NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by uuid DEFAULT auth.uid(),
    sent_at timestamp with time zone,
    message_id text,
    error text,
    is_recurring boolean DEFAULT false,
    recurrence_pattern text,
    next_scheduled_at timestamp with time zone,
    media json,
    owner_id uuid DEFAULT auth.uid(),
    asset_id uuid,
    timezone text,
    recurrence_end_at timestamp with time zone,
    series_id uuid,
    series_anchor timestamp without time zone,
    occurrence_at timestamp with time zone,
    missed integer DEFAULT 0 NOT NULL,
    next_id uuid,
    broadcast_job_id uuid,
    due_at timestamp with time zone,
    waiting_reason text,
    waiting_until timestamp with time zone,
    delivery_status text,
    revision integer DEFAULT 0 NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    category text,
    priority smallint DEFAULT 0 NOT NULL,
    template jsonb,
    held text,
    not_after timestamp with time zone,
    source_id uuid,
    source_position integer,
    source_try integer,
    template_id uuid,
    variables jsonb,
    CONSTRAINT scheduled_messages_failed_says_why CHECK (((status <> ALL (ARRAY['failed'::text, 'unconfirmed'::text])) OR (error IS NOT NULL))),
    CONSTRAINT scheduled_messages_lengths CHECK (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR ((length(message) <= 8192) AND (length(caption) <= 8192) AND (length(contact_id) <= 256) AND (length(connection_id) <= 256) AND (length(media_url) <= 4096) AND (length(recurrence_pattern) <= 1024) AND (length(timezone) <= 64) AND (length((media)::text) <= 16384) AND (length(category) <= 64) AND (length((template)::text) <= 16384)))),
    CONSTRAINT scheduled_messages_media_is_shallow CHECK (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR (media IS NULL) OR (((length((media)::text) - length(translate((media)::text, '[{'::text, ''::text))) <= 200) AND ((media)::text !~ '[0-9]{255}'::text)))),
    CONSTRAINT scheduled_messages_pattern_shape CHECK (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR (is_recurring IS NOT TRUE) OR (recurrence_pattern IS NULL) OR (recurrence_pattern ~* '^\s*(daily|weekly|monthly|yearly|weekdays)[;\s]*$'::text) OR (recurrence_pattern ~* '^\s*(rrule:)?([a-z-]+=[a-z0-9,+:-]+;)*[a-z-]+=[a-z0-9,+:-]+[;\s]*$'::text))),
    CONSTRAINT scheduled_messages_recurring_has_pattern CHECK (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR (is_recurring IS NOT TRUE) OR (recurrence_pattern IS NOT NULL))),
    CONSTRAINT scheduled_messages_sane_times CHECK (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR ((scheduled_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (scheduled_at < '2200-01-01 00:00:00+00'::timestamp with time zone) AND ((recurrence_end_at IS NULL) OR ((recurrence_end_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (recurrence_end_at < '2200-01-01 00:00:00+00'::timestamp with time zone))) AND ((not_after IS NULL) OR ((not_after >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (not_after < '2200-01-01 00:00:00+00'::timestamp with time zone))) AND ((next_scheduled_at IS NULL) OR ((next_scheduled_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (next_scheduled_at < '2201-01-01 00:00:00+00'::timestamp with time zone)))))),
    CONSTRAINT scheduled_messages_sent_is_complete CHECK (((status <> 'sent'::text) OR ((sent_at IS NOT NULL) AND (message_id IS NOT NULL)))),
    CONSTRAINT scheduled_messages_series_complete CHECK ((((series_anchor IS NULL) = (occurrence_at IS NULL)) AND ((series_anchor IS NULL) OR (series_id IS NOT NULL)))),
    CONSTRAINT scheduled_messages_status_known CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'sent'::text, 'failed'::text, 'unconfirmed'::text, 'cancelled'::text, 'in_queue'::text]))),
    CONSTRAINT scheduled_messages_type_known CHECK (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR (lower(btrim(type)) = ANY (ARRAY[''::text, 'text'::text, 'chat'::text, 'media'::text, 'file'::text, 'image'::text, 'photo'::text, 'picture'::text, 'video'::text, 'gif'::text, 'audio'::text, 'voice'::text, 'ptt'::text, 'document'::text, 'pdf'::text, 'template'::text])))),
    CONSTRAINT scheduled_messages_variables_object CHECK (((variables IS NULL) OR ((jsonb_typeof(variables) = 'object'::text) AND (length((variables)::text) <= 16384))))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02', autovacuum_analyze_scale_factor='0.02');

COMMENT ON COLUMN public.scheduled_messages.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.scheduled_messages.asset_id IS 'scheduled messages: asset id.';

COMMENT ON COLUMN public.scheduled_messages.timezone IS 'scheduled messages: timezone.';

COMMENT ON COLUMN public.scheduled_messages.recurrence_end_at IS 'scheduled messages: recurrence end at.';

COMMENT ON COLUMN public.scheduled_messages.series_id IS 'scheduled messages: series id.';

COMMENT ON COLUMN public.scheduled_messages.series_anchor IS 'scheduled messages: series anchor.';

COMMENT ON COLUMN public.scheduled_messages.occurrence_at IS 'scheduled messages: occurrence at.';

COMMENT ON COLUMN public.scheduled_messages.missed IS 'scheduled messages: missed.';

COMMENT ON COLUMN public.scheduled_messages.next_id IS 'scheduled messages: next id.';

COMMENT ON COLUMN public.scheduled_messages.broadcast_job_id IS 'scheduled messages: broadcast job id.';

COMMENT ON COLUMN public.scheduled_messages.due_at IS 'scheduled messages: due at.';

COMMENT ON COLUMN public.scheduled_messages.waiting_reason IS 'scheduled messages: waiting reason.';

COMMENT ON COLUMN public.scheduled_messages.waiting_until IS 'scheduled messages: waiting until.';

COMMENT ON COLUMN public.scheduled_messages.delivery_status IS 'scheduled messages: delivery status.';

COMMENT ON COLUMN public.scheduled_messages.revision IS 'scheduled messages: revision.';

COMMENT ON COLUMN public.scheduled_messages.updated_at IS 'scheduled messages: updated at.';

COMMENT ON COLUMN public.scheduled_messages.category IS 'scheduled messages: category.';

COMMENT ON COLUMN public.scheduled_messages.priority IS 'scheduled messages: priority.';

COMMENT ON COLUMN public.scheduled_messages.template IS 'scheduled messages: template.';

COMMENT ON COLUMN public.scheduled_messages.held IS 'scheduled messages: held.';

COMMENT ON COLUMN public.scheduled_messages.not_after IS 'scheduled messages: not after.';

COMMENT ON COLUMN public.scheduled_messages.source_id IS 'scheduled messages: source id.';

COMMENT ON COLUMN public.scheduled_messages.source_position IS 'scheduled messages: source position.';

COMMENT ON COLUMN public.scheduled_messages.source_try IS 'scheduled messages: source try.';

COMMENT ON COLUMN public.scheduled_messages.template_id IS 'scheduled messages: the template that this message is rendered from.';

COMMENT ON COLUMN public.scheduled_messages.variables IS 'scheduled messages: the values of this message''s template.';

COMMENT ON CONSTRAINT scheduled_messages_failed_says_why ON public.scheduled_messages IS 'What failed has a reason.';

COMMENT ON CONSTRAINT scheduled_messages_lengths ON public.scheduled_messages IS 'The message, or a part of it, is too long.';

COMMENT ON CONSTRAINT scheduled_messages_media_is_shallow ON public.scheduled_messages IS 'The media must be a list of attachments, or a template.';

COMMENT ON CONSTRAINT scheduled_messages_pattern_shape ON public.scheduled_messages IS 'The recurrence pattern must be daily, weekly, monthly, yearly, weekdays or a rule such as FREQ=MONTHLY;BYDAY=1MO.';

COMMENT ON CONSTRAINT scheduled_messages_recurring_has_pattern ON public.scheduled_messages IS 'A recurring message needs a recurrence pattern, such as daily, weekly or monthly.';

COMMENT ON CONSTRAINT scheduled_messages_sane_times ON public.scheduled_messages IS 'The times must lie between the years 2000 and 2199.';

COMMENT ON CONSTRAINT scheduled_messages_sent_is_complete ON public.scheduled_messages IS 'What is sent has a time and an id.';

COMMENT ON CONSTRAINT scheduled_messages_series_complete ON public.scheduled_messages IS 'An occurrence belongs to a series.';

COMMENT ON CONSTRAINT scheduled_messages_status_known ON public.scheduled_messages IS 'There is no such status.';

COMMENT ON CONSTRAINT scheduled_messages_type_known ON public.scheduled_messages IS 'The type must be text, media, image, video, audio, voice, document, file or template.';

COMMENT ON CONSTRAINT scheduled_messages_variables_object ON public.scheduled_messages IS 'The variables are an object of names and values, at most 16 kB of it.';

CREATE FUNCTION private.foreign_changes(p_old public.scheduled_messages, p_new public.scheduled_messages) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select string_agg(c.name, ', ')
    from (
        values
        ('id', p_old.id is distinct from p_new.id),
        ('created_by', p_old.created_by is distinct from p_new.created_by),
        ('owner_id', p_old.owner_id is distinct from p_new.owner_id),
        ('created_at', p_old.created_at is distinct from p_new.created_at),
        ('sent_at', p_old.sent_at is distinct from p_new.sent_at),
        ('message_id', p_old.message_id is distinct from p_new.message_id),
        ('error', p_old.error is distinct from p_new.error),
        ('delivery_status', p_old.delivery_status is distinct from p_new.delivery_status),
        ('series_id', p_old.series_id is distinct from p_new.series_id),
        ('series_anchor', p_old.series_anchor is distinct from p_new.series_anchor),
        ('occurrence_at', p_old.occurrence_at is distinct from p_new.occurrence_at),
        ('missed', p_old.missed is distinct from p_new.missed),
        ('next_id', p_old.next_id is distinct from p_new.next_id),
        ('broadcast_job_id', p_old.broadcast_job_id is distinct from p_new.broadcast_job_id),
        ('priority', p_old.priority is distinct from p_new.priority),
        ('held', p_old.held is distinct from p_new.held),
        ('source_id', p_old.source_id is distinct from p_new.source_id),
        ('source_position', p_old.source_position is distinct from p_new.source_position),
        ('source_try', p_old.source_try is distinct from p_new.source_try),
        ('revision', p_old.revision is distinct from p_new.revision)
    ) as c (name, is_changed)
    where c.is_changed
$$;

CREATE FUNCTION private.forget_refusals() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    -- What was sent is told to a row that is still there, whatever became of it.
    delete from private.refused_rows as r
    where r.id = any (array[old.id, old.broadcast_job_id])
        and (r.step in ('enqueue', 'claim', 'tend') or (r.step = 'settle' and tg_op = 'DELETE'));
    update private.refused_rows as r
    set reason = 'its message was deleted or edited meanwhile'
    where r.id = any (array[old.broadcast_job_id]);
    return null;
end
$$;

CREATE FUNCTION private.forget_refused() RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    delete from private.refused_rows as aside
    where (aside.id, aside.step) in (
        select old.id, old.step from private.refused_rows as old
        where old.step in ('enqueue', 'claim', 'rescue')
            and old.again_at <= now()
            and not exists (
                select 1 from public.scheduled_messages as message
                where old.step = 'enqueue'
                    and message.id = any(array[old.id])
                    and message.status = 'pending'
            )
            and not exists (
                select 1 from public.broadcast_jobs as job
                where old.step <> 'enqueue'
                    and job.id = any(array[old.id])
                    and job.status in ('queued', 'sending', 'handed_over')
            )
        order by old.again_at
        limit 1000
        for update skip locked
    )
$$;

CREATE FUNCTION private.forget_rehearsals(p_limit integer) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    with stale as (
        select rehearsal.campaign_id
        from public.campaign_rehearsals as rehearsal
        where rehearsal.requested_at < now() - interval '1 day'
        order by rehearsal.requested_at
        limit 10
        for update skip locked
    ),
    forgotten as (
        delete from public.campaign_rehearsals as rehearsal
        using stale
        where rehearsal.campaign_id = stale.campaign_id
    ),
    ended as materialized (
        select given.lines_id
        from private.ended_rehearsals as given
        limit 1
        for update skip locked
    ),
    line as materialized (
        select
            given.lines_id,
            given.position
        from public.campaign_rehearsal_lines as given
        where given.lines_id = (select ended.lines_id from ended)
        order by given.position
        limit p_limit
    ),
    deleted as (
        delete from public.campaign_rehearsal_lines as given
        using line
        where given.lines_id = line.lines_id and given.position = line.position
    )
    delete from private.ended_rehearsals as given
    using ended
    where given.lines_id = ended.lines_id
        and (select count(*) from line) < p_limit
$$;

CREATE FUNCTION private.get_holders() RETURNS TABLE(pid integer, role text, application text, seconds double precision, state text, tables text[], blocks integer, transaction text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    -- What the daemon needs.
    with ours as materialized (
        select
            c.oid,
            c.relname::text as name,
            -- Those are shown, but the daemon only reads them.
            c.relname not in ('connections', 'contacts') as is_locked_by_us
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and (
            (n.nspname = 'public' and c.relname in (
                'scheduled_messages', 'broadcast_jobs', 'broadcast_messages',
                'connections', 'contacts', 'connection_settings'
            ))
            or (n.nspname = 'private' and c.relname in (
                'connection_state', 'recipient_state', 'refused_rows', 'erasures'
            ))
            or (n.nspname = 'auth' and c.relname = 'users')
        )
    ),
    -- What everybody else holds, or waits for: the view is read once.
    locks as materialized (
        select
            l.pid,
            l.relation,
            l.mode,
            l.granted,
            l.virtualtransaction
        from pg_catalog.pg_locks as l
        where l.pid is not null and l.pid <> pg_catalog.pg_backend_pid()
    ),
    -- Who holds up how many of those that wait; of fifty, since each costs a look at all locks.
    blocking as materialized (
        select
            blocker.pid,
            count(*)::integer as number
        from (
            select distinct l.pid
            from locks as l
            where not l.granted
            limit 50
        ) as waiting
        cross join lateral unnest(pg_catalog.pg_blocking_pids(waiting.pid)) as blocker (pid)
        group by blocker.pid
    ),
    -- Who holds which of our tables.
    holding as materialized (
        select
            l.pid,
            array_agg(distinct o.name order by o.name) as tables
        from locks as l
        join ours as o on o.oid = l.relation
        where l.granted and l.mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock')
        group by l.pid
        -- A table of which rows are only read is held by nothing less than this.
        having bool_or(o.is_locked_by_us or l.mode = 'AccessExclusiveLock')
    )
    select
        holding.pid,
        activity.usename::text as role,
        nullif(activity.application_name, '') as application,
        extract(epoch from clock_timestamp() - activity.xact_start)::double precision as seconds,
        activity.state,
        holding.tables,
        coalesce(blocking.number, 0) as blocks,
        (
            select min(l.virtualtransaction) from locks as l where l.pid = holding.pid
        ) as transaction
    from holding
    join pg_catalog.pg_stat_activity as activity on activity.pid = holding.pid
    left join blocking on blocking.pid = holding.pid
    where coalesce(activity.backend_type, 'client backend') = 'client backend'
        and coalesce(activity.xact_start < clock_timestamp() - interval '5 seconds', true)
    order by activity.xact_start, holding.pid
    limit 10
$$;

CREATE FUNCTION private.goes_by_cloud(p_connection_id text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select coalesce(
        (
            select settings.gateway = 'cloud'
            from public.connection_settings as settings
            where settings.connection_id = p_connection_id and settings.gateway is not null
        ),
        exists (select from private.template_accounts as account where account.is_default)
    )
$$;

CREATE FUNCTION private.guard_appointment() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    new.updated_at := now();
    if tg_op = 'UPDATE' and new.connection_id = old.connection_id then
        new.owner_id := old.owner_id;
        if (new.date, new.time, new.timezone, new.followup_date)
            is distinct from (old.date, old.time, old.timezone, old.followup_date)
        then
            perform private.refuse_former_owner(
                old.connection_id, old.owner_id, array['admin', 'staff']
            );
        end if;
    else
        new.owner_id := private.owner_to_write_for(new.connection_id, array['admin', 'staff']);
    end if;
    if tg_op = 'INSERT' then
        new.created_by := auth.uid();
        new.created_at := now();
        new.reminder_fault := null;
        return new;
    end if;
    if new.owner_id <> old.owner_id or new.id <> old.id then
        raise exception 'An appointment cannot be given to another owner.' using errcode = '42501';
    end if;
    new.created_by := old.created_by;
    new.created_at := old.created_at;
    new.reminder_fault := old.reminder_fault;
    return new;
end
$$;

CREATE FUNCTION private.guard_broadcasts() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_told constant text[] := array[
        'status', 'progress', 'total_contacts', 'sent_count', 'failed_count', 'skipped_count',
        'completed_at', 'updated_at', 'message_id', 'message_ids', 'error', 'error_message',
        'sent_at', 'data'
    ];
    v_old constant jsonb := to_jsonb(old);
    v_new constant jsonb := to_jsonb(new);
    v_job public.broadcast_jobs;
begin
    if coalesce(v_old ->> 'scheduled_message_id', v_new ->> 'scheduled_message_id') is not null then
        select * into v_job from public.broadcast_jobs as j
        where j.id = coalesce(v_old ->> 'job_id', v_old ->> 'id')::uuid;
        if tg_op = 'INSERT'
            or v_job.status = 'queued'
            or (tg_op = 'DELETE' and v_job.status in ('sending', 'handed_over', 'active'))
            or (tg_op = 'UPDATE' and (
                not private.hands_over(v_job.gateway)
                or v_new ->> 'status' in ('queued', 'sending', 'handed_over')
                or v_new - v_told is distinct from v_old - v_told
            ))
        then
            raise exception 'The jobs of scheduled messages are written by their worker alone.'
                using errcode = '42501';
        end if;
    end if;
    if tg_op = 'DELETE' then
        return old;
    end if;
    return new;
end
$$;

CREATE FUNCTION private.guard_campaign() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.guard_campaign_deletion() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.guard_delete() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    if tg_nargs > 0 and old.source_id is not null and old.status in ('pending', 'processing') then
        raise exception using errcode = 'PT409', message = 'This message was made for something '
            || 'else. Cancel it, or change the campaign (the appointment).';
    end if;
    if not private.withdraw_job(old.broadcast_job_id) and tg_nargs > 0 then
        raise exception 'This message is being sent right now and cannot be deleted.'
            using errcode = 'PT409';
    end if;
    perform private.erase_jobs(array[old.broadcast_job_id]);
    return old;
end
$$;

CREATE FUNCTION private.guard_insert() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    new.id := coalesce(new.id, gen_random_uuid());
    new.type := coalesce(new.type, 'text');
    new.status := coalesce(new.status, 'pending');
    new.created_by := coalesce(new.created_by, auth.uid());
    new.owner_id := coalesce(new.owner_id, auth.uid());
    perform private.hold_right();
    -- An upsert that meets the caller's own row becomes an update, with all that it says. The lock
    -- keeps the row there.
    perform from public.scheduled_messages as s
    where s.id = any(array[new.id]) and auth.uid() in (s.owner_id, s.created_by)
    for key share;
    if found then
        return new;
    end if;
    if new.broadcast_job_id is not null or new.error is not null or new.revision > 0 then
        new.status := 'pending';
    -- One of the project's own, such as `draft`, is for the check to know.
    elsif new.status in (
        'processing', 'sent', 'failed', 'unconfirmed', 'cancelled', 'in_queue'
    ) then
        raise exception 'A new message starts as pending, not as %.', new.status
            using errcode = 'PT409';
    end if;
    new.created_at := now();
    new.updated_at := now();
    -- Anywhere: what a daemon has planned for a row that was deleted does not fit one that somebody
    -- inserts under its id.
    new.revision := floor(random() * 1000000000);
    new.missed := 0;
    new.priority := 0;
    new.held := null;
    new.source_id := null;
    new.source_position := null;
    new.source_try := null;
    new.sent_at := null;
    new.message_id := null;
    new.error := null;
    new.delivery_status := null;
    new.waiting_reason := null;
    new.waiting_until := null;
    new.broadcast_job_id := null;
    new.next_id := null;
    new.series_id := null;
    new.series_anchor := null;
    new.occurrence_at := null;
    return new;
end
$$;

CREATE FUNCTION private.guard_invitation() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    if tg_op = 'DELETE' then
        perform private.owner_to_write_for(old.connection_id, array['admin']);
        return old;
    end if;
    new.owner_id := private.owner_to_write_for(
        new.connection_id, case when new.role = 'staff' then array['admin'] else array[]::text[] end
    );
    new.created_by := auth.uid();
    new.created_at := now();
    new.expires_at := now() + interval '7 days';
    return new;
end
$$;

CREATE FUNCTION private.guard_job_of_node_worker() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    if not private.hands_over(old.gateway) then
        return new;
    end if;
    if new.status = 'active' then
        if old.status not in ('sending', 'handed_over', 'delayed') then
            raise exception 'This message is not to be sent: its job is % already.', old.status
                using errcode = 'PT409';
        end if;
    elsif old.status in ('completed', 'failed', 'cancelled', 'unconfirmed') then
        if new.status in ('failed', 'cancelled', 'delayed', 'completed')
            and not (new.status = 'completed' and old.status in ('cancelled', 'unconfirmed'))
        then
            new.status := old.status;
        end if;
    elsif old.status <> 'queued' then
        if new.status not in ('completed', 'failed', 'cancelled', 'delayed') then
            new.status := old.status; -- no word that a Node worker knows
        elsif new.status in ('failed', 'cancelled') and exists (
            select 1 from public.broadcast_messages as m
            where m.job_id = new.id and m.status = 'sent'
        ) then
            new.status := 'completed';
        end if;
    end if;
    return new;
end
$$;

CREATE FUNCTION private.guard_member() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_invitation public.connection_invitations;
begin
    if tg_op = 'DELETE' then
        if old.user_id is distinct from auth.uid() then
            perform private.owner_to_write_for(
                old.connection_id, case when old.role = 'staff'
                    then array['admin'] else array[]::text[] end
            );
        end if;
        return old;
    elsif tg_op = 'UPDATE' then
        new.owner_id := private.owner_to_write_for(old.connection_id, array[]::text[]);
        if (new.connection_id, new.user_id) is distinct from (old.connection_id, old.user_id) then
            raise exception 'Of a member only the role and the name can be changed.'
                using errcode = '42501';
        end if;
        new.created_by := old.created_by;
        new.created_at := old.created_at;
        return new;
    elsif new.invitation is not null then
        delete from public.connection_invitations as invitation
        where invitation.token_hash = encode(sha256(convert_to(new.invitation, 'utf8')), 'hex')
            and invitation.expires_at > now()
            and invitation.owner_id = private.connection_owner(invitation.connection_id)
        returning invitation.* into v_invitation;
        if not found then
            raise exception 'This invitation is not valid any more. Ask for a new one.'
                using errcode = 'PT400';
        end if;
        new.connection_id := v_invitation.connection_id;
        new.user_id := auth.uid();
        new.role := v_invitation.role;
        new.owner_id := v_invitation.owner_id;
        new.created_by := v_invitation.created_by;
        new.invitation := null;
    else
        new.owner_id := private.owner_to_write_for(
            new.connection_id, case when new.role = 'staff'
                then array['admin'] else array[]::text[] end
        );
        new.created_by := auth.uid();
    end if;
    if new.user_id = new.owner_id then
        raise exception 'The owner of a connection needs no membership.' using errcode = 'PT409';
    end if;
    new.created_at := now();
    return new;
end
$$;

CREATE FUNCTION private.guard_rehearsal() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_most_open constant integer := 20;
    v_by_user constant boolean := tg_nargs > 0;
    v_campaign public.campaigns;
    v_before public.campaign_rehearsals;
    v_why text;
begin
    if tg_op = 'INSERT' then
        select campaign.* into v_campaign
        from public.campaigns as campaign
        where campaign.id = new.campaign_id
        for no key update;
    else
        select campaign.* into v_campaign
        from public.campaigns as campaign
        where campaign.id = old.campaign_id;
    end if;
    if v_by_user then
        perform private.refuse_former_owner(
            coalesce(v_campaign.connection_id, ''), v_campaign.owner_id, array['admin', 'staff']
        );
    end if;
    if v_campaign.id is null then
        raise exception 'There is no such campaign.' using errcode = 'PT400';
    end if;
    select rehearsal.* into v_before
    from public.campaign_rehearsals as rehearsal
    where rehearsal.campaign_id = v_campaign.id;
    if v_before.campaign_id is not null and (
        -- An upsert, which becomes an update.
        tg_op = 'INSERT'
        or v_before.requested_at > now() - interval '1 minute'
        and v_before.revision = v_campaign.revision
        and v_before.template_version is not distinct from (
            select content.version from private.campaign_content(v_campaign) as content
        )
    ) then
        return v_before;
    end if;
    v_why := private.why_no_audience(v_campaign);
    if v_why is not null then
        raise exception using errcode = 'PT400', message = v_why;
    end if;
    if v_by_user and (
        select count(*) >= v_most_open
        from public.campaign_rehearsals as rehearsal
        where rehearsal.owner_id = v_campaign.owner_id
            and rehearsal.finished_at is null
            and rehearsal.campaign_id <> v_campaign.id
    ) then
        raise exception using errcode = 'PT429', message = format(
            '%s campaigns are being rehearsed. Wait until one of them is ready.', v_most_open
        );
    end if;
    return private.begun_rehearsal(v_campaign);
end
$$;

CREATE FUNCTION private.guard_rule() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_by_user constant boolean := tg_nargs > 0;
begin
    if tg_op = 'DELETE' then
        if v_by_user then
            perform private.owner_to_write_for(old.connection_id, array['admin']);
        end if;
        return old;
    end if;
    if v_by_user then
        new.owner_id := private.owner_to_write_for(new.connection_id, array['admin']);
    end if;
    if exists (
        select from public.message_templates as template
        where template.id = new.template_id
            and template.owner_id = new.owner_id
            and template.connection_id <> new.connection_id
    ) then
        raise exception 'This template is another connection''s. Choose one of this connection.'
            using errcode = 'PT400';
    end if;
    if tg_op = 'INSERT' then
        insert into private.rule_numbers as used (connection_id, owner_id, last_number)
        values (new.connection_id, new.owner_id, 1)
        on conflict (connection_id, owner_id) do update set last_number = used.last_number + 1
        returning used.last_number into new.number;
    elsif (new.connection_id, new.owner_id) is distinct from (old.connection_id, old.owner_id) then
        raise exception 'A rule stays with its connection. Make a new one.' using errcode = 'PT409';
    else
        new.number := old.number;
    end if;
    new.updated_at := now();
    return new;
end
$$;

CREATE FUNCTION private.guard_settings() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_old public.connection_settings;
    v_new public.connection_settings := new;
begin
    perform private.owner_to_write_for(new.connection_id, array['admin']);
    if tg_op = 'UPDATE' then
        v_old := old;
    else
        -- What the operator has not set is as it is without settings.
        v_old.connection_id := new.connection_id;
        v_old.enabled := true;
        v_old.burst := 1;
        v_old.jitter_seconds := 0;
        v_old.at_daily_limit := 'defer';
    end if;
    v_new.active := v_old.active;
    v_new.display_name := v_old.display_name;
    v_new.timezone := v_old.timezone;
    v_new.country_code := v_old.country_code;
    v_new.window_start := v_old.window_start;
    v_new.window_end := v_old.window_end;
    v_new.approval := v_old.approval;
    v_new.updated_at := v_old.updated_at;
    if v_new is distinct from v_old then
        raise exception
            using errcode = '42501', message = 'The pace, the limits, the gateway and its '
            || 'sender, and whether a connection is enabled, are the operator''s.';
    end if;
    new.updated_at := now();
    return new;
end
$$;

CREATE FUNCTION private.guard_template() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_by_user constant boolean := tg_nargs > 0;
begin
    if tg_op = 'DELETE' then
        if v_by_user and old.owner_id is distinct from auth.uid() then
            perform private.owner_to_write_for(old.connection_id, array['admin']);
        end if;
        return old;
    end if;
    if v_by_user then
        if tg_op = 'UPDATE' and old.owner_id is distinct from auth.uid() then
            perform private.owner_to_write_for(old.connection_id, array['admin']);
            if new.connection_id is null then
                raise exception 'Only the owner makes a template that all connections share.'
                    using errcode = '42501';
            end if;
        end if;
        if new.connection_id is not null and (
            tg_op = 'INSERT' or new.connection_id is distinct from old.connection_id
        ) then
            new.owner_id := private.owner_to_write_for(new.connection_id, array['admin']);
        elsif tg_op = 'INSERT' then
            new.owner_id := auth.uid();
        else
            new.owner_id := old.owner_id;
        end if;
        if tg_op = 'UPDATE' and new.owner_id is distinct from old.owner_id then
            raise exception 'A template cannot be given to another owner.' using errcode = '42501';
        end if;
        if tg_op = 'INSERT' then
            new.created_by := auth.uid();
            new.created_at := now();
        else
            new.id := old.id;
            new.created_by := old.created_by;
            new.created_at := old.created_at;
        end if;
    end if;
    new.parts := private.cut(new.body);
    new.variables := private.names_in(new.parts);
    if tg_op = 'INSERT' then
        new.version := 1;
    else
        new.version := old.version + (
            (new.body, new.type, new.media_url, new.defaults, new.on_missing, new.category,
                new.language, new.cloud)
            is distinct from
            (old.body, old.type, old.media_url, old.defaults, old.on_missing, old.category,
                old.language, old.cloud)
        )::integer;
    end if;
    new.updated_at := now();
    return new;
end
$$;

CREATE FUNCTION private.guard_update() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_by_user constant boolean := tg_nargs > 0;
    v_otherwise_same public.scheduled_messages := old;
begin
    if v_by_user then
        new := private.wanted(old, new);
        if private.is_same_message(old, new) then
            return new;
        end if;
        perform private.refuse_transition(old.status, new.status);
        v_otherwise_same.status := new.status;
        if old.source_id is not null and not private.is_same_message(v_otherwise_same, new) then
            raise exception using errcode = 'PT409', message = 'This message was made for '
                || 'something else. Change the campaign (the appointment) instead.';
        end if;
        perform private.hold_right();
        if new.status in ('processing', 'in_queue') then
            new.status := 'pending';
        end if;
    end if;
    if old.broadcast_job_id is not null and not private.withdraw_job(old.broadcast_job_id) then
        if v_by_user then
            raise exception 'This message is being sent right now and can no longer be changed.'
                using errcode = 'PT409';
        elsif new.status = 'pending' then
            new.status := old.status;
        end if;
    elsif old.status in ('processing', 'cancelled', 'in_queue')
        and private.may_have_gone_out(old.broadcast_job_id)
    then
        if v_by_user then
            raise exception using errcode = 'PT409', message = 'This message was sent, or may have '
                || 'been, and can no longer be changed. It will say so within minutes.';
        elsif new.status = 'pending' then
            new.status := old.status;
        end if;
    end if;
    -- The upstream application's dialog writes a text into both columns and edits only one of them.
    if new.message is distinct from old.message
        and new.caption = old.caption
        and old.caption = old.message
    then
        new.caption := nullif(new.message, '');
    end if;
    if new.status = 'pending' then
        perform private.erase_jobs(array[old.broadcast_job_id]);
        new.broadcast_job_id := null;
        new.sent_at := null;
        new.message_id := null;
        new.delivery_status := null;
    end if;
    if new.status = 'pending' or (new.status = 'cancelled' and v_by_user) then
        new.error := null;
    end if;
    new.held := case when new.status = 'pending' then new.held end;
    new.waiting_reason := new.held;
    new.waiting_until := null;
    -- A new time, rule or zone starts the wall time anew, unless the series has already gone on
    -- without this row.
    if new.next_id is null
        and (new.scheduled_at, new.recurrence_pattern, new.timezone, new.is_recurring)
        is distinct from (old.scheduled_at, old.recurrence_pattern, old.timezone, old.is_recurring)
    then
        new.series_anchor := null;
        new.occurrence_at := null;
    end if;
    new.revision := old.revision + 1;
    new.updated_at := now();
    return new;
end
$$;

CREATE FUNCTION private.hands_over(p_gateway text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select exists (select from private.gateways as g where g.name = p_gateway and g.hands_over)
$$;

CREATE FUNCTION private.has_ended_runs() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select exists (
        select from public.campaign_runs as run
        where run.finished_at is not null and run.told_at is distinct from run.finished_at
    )
$$;

CREATE FUNCTION private.have_turn(p_turn text[], p_seats integer, p_terms private.claim_terms) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    perform private.fail_beyond_limit(p_turn, p_terms.at, p_terms.gateway);
    perform private.take_jobs(p_turn, p_seats, p_terms);
    perform private.set_next_look(
        array(select told from private.tell_waiting(p_turn, p_terms, false) as told), p_terms.at
    );
end
$$;

CREATE FUNCTION private.have_turn_slowly(p_connection text, p_seats integer, p_terms private.claim_terms) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_turn constant text[] := array[p_connection];
    v_job uuid;
    v_code text;
    v_reason text;
begin
    perform private.fail_beyond_limit(v_turn, p_terms.at, p_terms.gateway);
    for _ in 1..p_seats loop
        v_job := (select chosen.id from private.choose_jobs(v_turn, 1, p_terms) as chosen);
        exit when v_job is null;
        begin
            perform private.take_jobs(v_turn, 1, p_terms);
        exception when others then
            get stacked diagnostics v_code = returned_sqlstate, v_reason = message_text;
            if private.stops_everybody(v_code) then
                raise;
            end if;
            perform private.put_aside(
                'claim', array[v_job], array[v_code], array[left(v_reason, 500)], null, v_turn
            );
        end;
    end loop;
    begin
        perform private.set_next_look(
            array(select told from private.tell_waiting(v_turn, p_terms, false) as told), p_terms.at
        );
    exception when others then
        if private.stops_everybody(sqlstate) then
            raise;
        end if;
        perform private.set_next_look(
            array(select told from private.tell_waiting(v_turn, p_terms, true) as told), p_terms.at
        );
    end;
end
$$;

CREATE FUNCTION private.have_turns(p_turn text[], p_seats integer, p_terms private.claim_terms) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_share constant integer := ceil(p_seats::numeric / cardinality(p_turn));
    v_connection text;
    v_code text;
    v_reason text;
begin
    begin
        perform private.have_turn(p_turn, p_seats, p_terms);
        return;
    exception when others then
        if private.stops_everybody(sqlstate) then
            raise;
        end if;
        perform private.wait_less(sqlstate);
    end;
    foreach v_connection in array p_turn loop
        begin
            perform private.have_turn(array[v_connection], v_share, p_terms);
            continue;
        exception when others then
            if private.stops_everybody(sqlstate) then
                raise;
            end if;
        end;
        begin
            perform private.have_turn_slowly(v_connection, v_share, p_terms);
        exception when others then
            get stacked diagnostics v_code = returned_sqlstate, v_reason = message_text;
            if private.stops_everybody(v_code) then
                raise;
            end if;
            update private.connection_state as state
            set ready_at = p_terms.at + interval '1 minute',
                waiting_until = p_terms.at + interval '1 minute',
                waiting_reason = 'the database refuses to reckon with this connection: '
                    || left(v_reason, 300)
            where state.connection_id = v_connection;
        end;
    end loop;
end
$$;

CREATE FUNCTION private.hear_node_worker(p_job_id uuid, p_meaning text, p_words text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_job public.broadcast_jobs;
    v_error text := coalesce(nullif(p_words, ''), 'it gave no reason');
    v_doubt constant boolean := p_meaning = 'unconfirmed';
    v_goes_on boolean := false;
begin
    select * into v_job from public.broadcast_jobs as j where j.id = p_job_id for update;
    if p_meaning in ('retry', 'stopped') and v_job.status <> 'unconfirmed' then
        if p_meaning = 'stopped' or v_job.attempts < coalesce(v_job.retry_attempts, 3) then
            -- Before the job ends: its message then tells the row nothing.
            v_goes_on := private.send_again(v_job, p_meaning, v_error);
        else
            v_error := v_error || format(
                ' (given up after %s %s)', v_job.attempts,
                case v_job.attempts when 1 then 'try' else 'tries' end
            );
        end if;
    end if;
    update public.broadcast_jobs as j
    set status = case when v_doubt then 'unconfirmed' else 'failed' end,
        failed_count = (not v_doubt)::integer,
        completed_at = now(),
        lease_until = null,
        updated_at = now()
    where j.id = p_job_id;
    perform private.tell(p_job_id, case when v_doubt then 'unconfirmed' else 'failed' end, case
        when not v_doubt then v_error
        when p_words = '' or p_words is null
            then 'It may have been sent: the broadcast worker ended its job without a word on it.'
        else 'It may have been sent: the broadcast worker says: ' || p_words
    end);
    if v_goes_on then
        -- The row knows only its last one, when it is deleted.
        perform private.erase_jobs(array[p_job_id]);
    end if;
end
$$;

CREATE FUNCTION private.hold_again() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.hold_campaign_to_its_owner(p_old public.campaigns, p_new public.campaigns) RETURNS public.campaigns
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.hold_limits() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_owner constant uuid := auth.uid();
    v_most constant integer := private.limit_of('max_pending_per_owner');
    v_most_a_minute constant integer := private.limit_of('max_due_per_minute');
    v_minutes timestamptz[];
    v_numbers integer[];
    v_more integer;
    v_minute timestamptz;
    v_limit integer;
    v_number integer;
begin
    if v_owner is null then
        return null;
    end if;
    -- What this statement inserts, by the minute in which it falls due; of what it updates, that
    -- which falls due in another minute now, and how much of it did not wait before.
    if tg_op = 'INSERT' then
        select array_agg(given.minute), array_agg(given.number), sum(given.number)
        into v_minutes, v_numbers, v_more
        from (
            select
                date_bin('1 minute', a.due_at, '2000-01-01 00:00+00') as minute,
                count(*) as number
            from added as a
            where a.due_at between '2000-01-01 00:00+00' and '2200-01-01 00:00+00'
            group by 1
        ) as given;
    else
        select array_agg(given.minute), array_agg(given.number), sum(given.more)
        into v_minutes, v_numbers, v_more
        from (
            select
                date_bin('1 minute', a.due_at, '2000-01-01 00:00+00') as minute,
                count(*) as number,
                count(*) filter (where f.due_at is null) as more
            from added as a
            join former as f on f.id = a.id
            where a.due_at between '2000-01-01 00:00+00' and '2200-01-01 00:00+00'
                and date_bin('1 minute', a.due_at, '2000-01-01 00:00+00') is distinct from case
                    when isfinite(f.due_at)
                        then date_bin('1 minute', f.due_at, '2000-01-01 00:00+00')
                end
            group by 1
        ) as given;
    end if;
    -- Beside what came before, minutes in order, so that two of these never wait for each other.
    with counted as (
        insert into private.owner_load as l (owner_id, minute, number)
        select v_owner, given.minute, given.number
        from unnest(v_minutes, v_numbers) as given (minute, number)
        union all
        select v_owner, '-infinity', v_more where v_more > 0
        order by 2
        on conflict (owner_id, minute) do update set number = l.number + excluded.number
        returning l.minute, l.number
    )
    select array_agg(c.minute order by c.minute) into v_minutes
    from counted as c
    where c.number > case
        when c.minute = '-infinity' then v_most
        else v_most_a_minute
    end;

    foreach v_minute in array coalesce(v_minutes, '{}') loop
        v_limit := case when v_minute = '-infinity' then v_most else v_most_a_minute end;
        v_number := private.count_pending(v_owner, v_minute, v_limit);
        if v_number > v_limit and v_minute = '-infinity' then
            raise exception using errcode = 'PT429', message = format(
                'More than %s of your messages would be waiting to be sent. Cancel some, or wait '
                'until some are sent.', v_limit
            );
        elsif v_number > v_limit then
            raise exception using errcode = 'PT429', message = format(
                'More than %s of your messages would be due in the minute of %s UTC. Choose '
                'another time for some of them.',
                v_limit, to_char(v_minute at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
            );
        end if;
        update private.owner_load as l
        set number = v_number
        where l.owner_id = v_owner and l.minute = v_minute;
    end loop;

    delete from private.owner_load as l
    where l.owner_id = v_owner and l.minute > '-infinity' and l.minute < now() - interval '1 hour';
    return null;
end
$$;

CREATE FUNCTION private.hold_right() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    perform private.hold_right_of(auth.uid()::text);
    if exists (
        select 1 from auth.users as u
        where u.id = auth.uid() and private.is_suspended(to_jsonb(u))
    ) then
        raise exception 'This account is suspended and sends no messages.'
            using errcode = '42501';
    end if;
end
$$;

CREATE FUNCTION private.hold_right_of(p_user_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    if not pg_try_advisory_xact_lock_shared(
        hashtextextended('the rights of ' || p_user_id, 0)
    ) then
        raise exception 'What you may do is being changed at this moment. Try again.'
            using errcode = 'PT409';
    end if;
end
$$;

CREATE FUNCTION private.hold_runs(p_campaign_id uuid, p_why text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.hold_unapproved() RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_stopped record;
    v_held integer := 0;
begin
    for v_stopped in
        select
            campaign.id,
            told.why
        from public.campaign_runs as run
        join public.campaigns as campaign on campaign.id = run.campaign_id
        cross join lateral private.campaign_content(campaign, run.template_version) as content
        cross join lateral (
            select private.why_not_approved(content.cloud, campaign.connection_id) as why
        ) as told
        where run.finished_at is null
            and campaign.status = 'scheduled'
            and content.cloud is not null
            and told.why is not null
        order by campaign.id
    loop
        update public.campaigns as campaign
        set
            status = 'paused',
            status_reason = left(v_stopped.why || ' Resume it when it is approved again.', 500)
        where campaign.id = v_stopped.id and campaign.status = 'scheduled';
        v_held := v_held + found::integer;
    end loop;
    return v_held;
end
$$;

CREATE FUNCTION private.is_blank(p_text text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO ''
    AS $$
    select p_text !~ (
        '[^\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2'
        '\u115f-\u1160\u1680\u17b4-\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u2064'
        '\u2066-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000110bd\U000110cd'
        '\U00013430-\U00013438\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001'
        '\U000e0020-\U000e007f\U000e0100-\U000e01ef]'
    )
$$;

CREATE TABLE public.message_templates (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    owner_id uuid NOT NULL,
    created_by uuid DEFAULT auth.uid(),
    connection_id text,
    name text NOT NULL,
    language text DEFAULT 'en'::text NOT NULL,
    category text DEFAULT 'utility'::text NOT NULL,
    body text DEFAULT ''::text NOT NULL,
    type text DEFAULT 'text'::text NOT NULL,
    media_url text,
    defaults jsonb DEFAULT '{}'::jsonb NOT NULL,
    on_missing text DEFAULT 'fault'::text NOT NULL,
    cloud jsonb,
    version integer DEFAULT 1 NOT NULL,
    variables text[] DEFAULT '{}'::text[] NOT NULL,
    parts text[] DEFAULT '{}'::text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT message_templates_body_short CHECK ((length(body) <= 65536)),
    CONSTRAINT message_templates_category_known CHECK ((category = ANY (ARRAY['marketing'::text, 'utility'::text]))),
    CONSTRAINT message_templates_cloud_complete CHECK (((cloud IS NULL) OR ((jsonb_typeof(cloud) = 'object'::text) AND (jsonb_typeof((cloud -> 'name'::text)) = 'string'::text) AND (jsonb_typeof((cloud -> 'language'::text)) = 'string'::text) AND (COALESCE(jsonb_typeof((cloud -> 'parameters'::text)), 'array'::text) = 'array'::text) AND (COALESCE((cloud ->> 'format'::text), 'positional'::text) = ANY (ARRAY['positional'::text, 'named'::text])) AND (NOT jsonb_path_exists(cloud, '$."parameters"[*]?(@.type() != "string")'::jsonpath)) AND ((COALESCE(jsonb_typeof((cloud -> 'header'::text)), 'string'::text) = 'string'::text) OR ((jsonb_typeof((cloud -> 'header'::text)) = 'object'::text) AND (((cloud -> 'header'::text) ->> 'type'::text) = ANY (ARRAY['image'::text, 'video'::text, 'document'::text])) AND (COALESCE(jsonb_typeof(((cloud -> 'header'::text) -> 'link'::text)), 'string'::text) = 'string'::text))) AND (length((cloud)::text) <= 8192)))),
    CONSTRAINT message_templates_content_given CHECK ((((type <> 'text'::text) AND (COALESCE(media_url, ''::text) <> ''::text)) OR ((type = 'text'::text) AND (body ~ '\S'::text)))),
    CONSTRAINT message_templates_defaults_object CHECK (((jsonb_typeof(defaults) = 'object'::text) AND (length((defaults)::text) <= 16384))),
    CONSTRAINT message_templates_language_code CHECK ((language ~ '^[a-z]{2,3}([_-][A-Za-z]{2,4})?$'::text)),
    CONSTRAINT message_templates_name_given CHECK (((name ~ '\S'::text) AND (length(name) <= 200))),
    CONSTRAINT message_templates_on_missing_known CHECK ((on_missing = ANY (ARRAY['fault'::text, 'blank'::text]))),
    CONSTRAINT message_templates_type_known CHECK ((type = ANY (ARRAY['text'::text, 'image'::text, 'video'::text, 'audio'::text, 'document'::text, 'media'::text])))
);

COMMENT ON TABLE public.message_templates IS 'scheduled messages: texts with places for names.';

COMMENT ON COLUMN public.message_templates.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.message_templates.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.message_templates.created_by IS 'scheduled messages: created by.';

COMMENT ON COLUMN public.message_templates.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.message_templates.name IS 'scheduled messages: name.';

COMMENT ON COLUMN public.message_templates.language IS 'scheduled messages: language.';

COMMENT ON COLUMN public.message_templates.category IS 'scheduled messages: category.';

COMMENT ON COLUMN public.message_templates.body IS 'scheduled messages: body.';

COMMENT ON COLUMN public.message_templates.type IS 'scheduled messages: type.';

COMMENT ON COLUMN public.message_templates.media_url IS 'scheduled messages: media url.';

COMMENT ON COLUMN public.message_templates.defaults IS 'scheduled messages: defaults.';

COMMENT ON COLUMN public.message_templates.on_missing IS 'scheduled messages: on missing.';

COMMENT ON COLUMN public.message_templates.cloud IS 'scheduled messages: cloud.';

COMMENT ON COLUMN public.message_templates.version IS 'scheduled messages: version.';

COMMENT ON COLUMN public.message_templates.variables IS 'scheduled messages: variables.';

COMMENT ON COLUMN public.message_templates.parts IS 'scheduled messages: parts.';

COMMENT ON COLUMN public.message_templates.created_at IS 'scheduled messages: created at.';

COMMENT ON COLUMN public.message_templates.updated_at IS 'scheduled messages: updated at.';

COMMENT ON CONSTRAINT message_templates_body_short ON public.message_templates IS 'The text of a template is longer than 65,536 characters.';

COMMENT ON CONSTRAINT message_templates_category_known ON public.message_templates IS 'A template is marketing or utility.';

COMMENT ON CONSTRAINT message_templates_cloud_complete ON public.message_templates IS 'The approved template needs its name and language, a list of the names that fill it, and as its header a name, or an image, a video or a document.';

COMMENT ON CONSTRAINT message_templates_content_given ON public.message_templates IS 'A template needs a text, or a link to its file.';

COMMENT ON CONSTRAINT message_templates_defaults_object ON public.message_templates IS 'The defaults of a template are an object of names and values, at most 16 kB of it.';

COMMENT ON CONSTRAINT message_templates_language_code ON public.message_templates IS 'The language of a template is a code such as en, hi or pt_BR.';

COMMENT ON CONSTRAINT message_templates_name_given ON public.message_templates IS 'A template needs a name of at most 200 characters.';

COMMENT ON CONSTRAINT message_templates_on_missing_known ON public.message_templates IS 'What has no value is a fault or blank.';

COMMENT ON CONSTRAINT message_templates_type_known ON public.message_templates IS 'A template is a text, an image, a video, an audio or a document.';

CREATE FUNCTION private.is_contact_of(p_owner text, p_message public.scheduled_messages, p_template public.message_templates) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select p_owner in (
        coalesce(p_message.owner_id, auth.uid())::text,
        coalesce(p_message.created_by, auth.uid())::text,
        p_template.owner_id::text
    )
$$;

CREATE FUNCTION private.is_let_go(p_campaign public.campaigns) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select p_campaign.approved_at is not null or not exists (
        select
        from public.connection_settings as settings
        where settings.connection_id = p_campaign.connection_id
            and settings.approval = 'campaigns'
    )
$$;

CREATE FUNCTION private.is_ours(p_table text, p_column text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = to_regclass(p_table)
            and a.attname = p_column
            and not a.attisdropped
    )
$$;

CREATE FUNCTION private.is_same_content(p_old public.campaigns, p_new public.campaigns) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.is_same_message(p_old public.scheduled_messages, p_new public.scheduled_messages) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    return (
        p_old.status,
        p_old.connection_id,
        p_old.contact_id,
        p_old.message,
        p_old.type,
        p_old.media_url,
        p_old.caption,
        p_old.asset_id,
        p_old.scheduled_at,
        p_old.is_recurring,
        p_old.recurrence_pattern,
        p_old.recurrence_end_at,
        p_old.next_scheduled_at,
        p_old.timezone,
        p_old.category,
        p_old.not_after,
        p_old.template
    ) is not distinct from (
        p_new.status,
        p_new.connection_id,
        p_new.contact_id,
        p_new.message,
        p_new.type,
        p_new.media_url,
        p_new.caption,
        p_new.asset_id,
        p_new.scheduled_at,
        p_new.is_recurring,
        p_new.recurrence_pattern,
        p_new.recurrence_end_at,
        p_new.next_scheduled_at,
        p_new.timezone,
        p_new.category,
        p_new.not_after,
        p_new.template
    ) and (
        p_old.media::text is not distinct from p_new.media::text
        -- Written back by a browser, the same JSON has other blanks.
        or p_old.media::jsonb is not distinct from p_new.media::jsonb
    );
exception
    when untranslatable_character or invalid_text_representation or program_limit_exceeded
        or numeric_value_out_of_range
    then
        return false; -- no jsonb
end
$$;

CREATE FUNCTION private.is_same_time(p_old public.campaigns, p_new public.campaigns) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.is_session_of_another(p_connection_id text, p_gateway text, p_default text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
    select exists (
        select 1 from public.connection_settings as other
        where other.sender = p_connection_id
            and other.connection_id <> p_connection_id
            and coalesce(other.gateway, p_default) = p_gateway
            and coalesce(
                private.owner_by_id(other.connection_id),
                (
                    select w.owner_id from private.connection_owners as w
                    where w.connection_id = other.connection_id
                )
            ) is distinct from private.owner_by_id(p_connection_id)
    )
$$;

CREATE FUNCTION private.is_suspended(p_user jsonb) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select p_user ->> 'deleted_at' is not null
        or coalesce((p_user ->> 'banned_until')::timestamptz > now(), false)
$$;

CREATE FUNCTION private.is_the_rows_fault(p_code text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select left(p_code, 2) not in (
        '08', '0A', '25', '26', '28', '40', '42', '53', '55', '57', '58', 'F0', 'XX'
    )
$$;

CREATE FUNCTION private.is_yes(p_text text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select coalesce(lower(btrim(p_text)) in ('true', 't', 'yes', 'y', 'on', '1'), false)
$$;

CREATE FUNCTION private.keep_out_of_queue() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    new.status := old.status;
    new.message_id := old.message_id;
    return new;
end
$$;

CREATE FUNCTION private.keep_template_version() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    insert into private.template_versions (
        template_id, version, parts, type, media_url, defaults, on_missing, category, language,
            cloud
    )
    values (
        new.id, new.version, new.parts, new.type, new.media_url, new.defaults, new.on_missing,
            new.category,
        new.language, new.cloud
    )
    on conflict do nothing;
    return null;
end
$$;

CREATE FUNCTION private.kind_of(p_kind text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select case p_kind
        when 'v' then 'view'
        when 'm' then 'materialized view'
        when 'f' then 'foreign table'
        when 'S' then 'sequence'
        else 'table'
    end
$$;

CREATE FUNCTION private.latest_until(p_pattern text) RETURNS timestamp with time zone
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $_$
declare
    v_parts constant text[] := regexp_match(
        p_pattern, '(?:^|[;:\s])until=(\d{8})(?:t(\d{6})(z?))?\s*(?:;|$)', 'i'
    );
begin
    return ((v_parts[1] || 't' || coalesce(v_parts[2], '235959'))::timestamp) at time zone 'UTC'
        + case when v_parts[3] <> '' then interval '0' else interval '12 hours' end;
exception when others then
    return null; -- the daemon says what is wrong with it
end
$_$;

CREATE FUNCTION private.limit_of(p_name text) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select coalesce(
        (select m.value from private.limits as m where m.name = p_name),
        case p_name
            when 'max_pending_per_owner' then 200000
            when 'max_due_per_minute' then 50000
        end
    )
$$;

CREATE FUNCTION private.look_at_series() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_end constant timestamptz :=
        least(new.recurrence_end_at, private.latest_until(new.recurrence_pattern));
begin
    -- Each occurrence gets a copy of the application's own columns, in a call that takes others
    -- too. What is there already stays.
    if (tg_op = 'INSERT' or pg_column_size(new) > pg_column_size(old))
        and pg_column_size(new) - 1000 - (
        select sum(coalesce(pg_column_size(ours.value), 0))
        from unnest(array[
            new.message, new.caption, new.media::text, new.media_url, new.recurrence_pattern,
            new.contact_id, new.connection_id
        ]) as ours (value)
    ) > 32000 then
        raise exception 'The other columns of a recurring message may hold 32 kB in all, because '
            'each occurrence has a copy of them.' using errcode = 'PT400';
    end if;
    -- Of a series that has begun, its author may move the last message beyond the end.
    if v_end < new.scheduled_at and new.series_id is null then
        raise exception using errcode = 'PT400', message = 'The series would end before its first '
            || 'message. Choose a later end, or none.';
    elsif private.earliest_next(new.recurrence_pattern, new.scheduled_at)
        >= '2200-01-02 00:00+00'
    then
        new.error := private.why_no_next(new.recurrence_pattern, new.recurrence_end_at);
    end if;
    return new;
end
$$;

CREATE FUNCTION private.lose_deleted_job() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    perform private.lose_job(old.scheduled_message_id, old.id, old.status, 'its job was deleted');
    return null;
end
$$;

CREATE FUNCTION private.lose_deleted_message() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    perform private.lose_job(
        old.scheduled_message_id, j.id, j.status, 'its entry in broadcast_messages was deleted'
    )
    from public.broadcast_jobs as j
    where j.id = old.job_id and j.status not in ('completed', 'failed', 'cancelled', 'unconfirmed');
    return null;
end
$$;

CREATE FUNCTION private.lose_job(p_row_id uuid, p_job_id uuid, p_status text, p_how text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    update public.scheduled_messages as s
    set status = case when p_status = 'queued' then 'pending' else 'unconfirmed' end,
        -- As guard_update does it, which is off where triggers are.
        broadcast_job_id = case when p_status <> 'queued' then p_job_id end,
        revision = s.revision + (p_status = 'queued')::integer,
        error = case
            when p_status <> 'queued'
            then 'It may have been sent: ' || p_how || ' while it was being sent.'
        end,
        waiting_reason = null,
        waiting_until = null,
        updated_at = now()
    where s.id = p_row_id
        and s.broadcast_job_id = p_job_id
        and s.status in ('processing', 'in_queue');
    update public.broadcast_jobs as j
    set status = 'cancelled', completed_at = now(), updated_at = now()
    where j.id = p_job_id and j.status = 'queued';
end
$$;

CREATE FUNCTION private.lose_marked_job() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_by constant text := coalesce(
        nullif(to_jsonb(new) ->> 'error_message', ''),
        'its job was marked as ' || new.status || ' by somebody'
    );
begin
    if (
        old.status = 'sending'
        and private.hands_over(old.gateway) -- its worker's word: settle_job_of_node_worker
    ) or not exists (
        select 1 from public.broadcast_messages as m
        where m.job_id = new.id and m.status in ('waiting', 'pending')
    ) then
        return null;
    end if;
    if old.status = 'sending' then
        -- The daemon's answer, if it still comes, settles what is unconfirmed.
        update public.broadcast_jobs as j
        set status = 'unconfirmed', updated_at = now()
        where j.id = new.id;
        perform private.tell(
            new.id, 'unconfirmed', 'It may have been sent: ' || v_by || ' while it was being sent.'
        );
    elsif new.status = 'cancelled' then
        update public.scheduled_messages as s
        set status = 'cancelled', error = 'Not sent: ' || v_by || '.'
        where s.id = new.scheduled_message_id
            and s.broadcast_job_id = new.id
            and s.status in ('processing', 'in_queue');
    elsif new.status = 'failed' then
        perform private.tell(new.id, 'failed', 'Not sent: ' || v_by || '.');
    elsif new.status = 'completed' then
        perform private.tell(
            new.id, 'unconfirmed', 'The daemon did not send it, but ' || v_by || '.'
        );
    else
        update public.broadcast_jobs as j
        set status = 'cancelled', completed_at = now(), updated_at = now()
        where j.id = new.id;
        perform private.lose_job(new.scheduled_message_id, new.id, 'queued', '');
    end if;
    return null;
end
$$;

CREATE FUNCTION private.lose_marked_message() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    update public.broadcast_jobs as j
    set status = 'cancelled', completed_at = now(), updated_at = now()
    where j.id = new.job_id and j.status = 'queued';
    if found and new.status = 'cancelled' then
        update public.scheduled_messages as s
        set status = 'cancelled',
            error = 'Not sent: its entry in broadcast_messages was cancelled by somebody.'
        where s.id = new.scheduled_message_id
            and s.broadcast_job_id = new.job_id
            and s.status = 'processing';
    end if;
    return null;
end
$$;

CREATE FUNCTION private.lose_truncated() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    if tg_table_name = 'connections' then
        -- As where each is deleted: their ids stay their owners', and what waits is cancelled.
        insert into private.connection_owners as o (connection_id, owner_id)
        select c.id::text, private.owner_by_id(c.id::text)
        from public.connections as c
        on conflict (connection_id) do update
        set owner_id = excluded.owner_id
        where not o.is_held;
        perform private.cancel_messages(
            waiting.connection_id, null, 'The WhatsApp connection of this message was deleted.'
        )
        from (
            select distinct s.connection_id from public.scheduled_messages as s
            where s.status in ('pending', 'processing', 'in_queue')
            order by s.connection_id
        ) as waiting;
    elsif tg_table_name = 'scheduled_messages' then
        update public.broadcast_jobs as j
        set status = 'cancelled', completed_at = now(), updated_at = now()
        where j.status = 'queued' and j.scheduled_message_id is not null;
        perform private.erase_jobs(array(
            select j.id from public.broadcast_jobs as j where j.scheduled_message_id is not null
        ));
    else
        perform private.lose_job(
            j.scheduled_message_id, j.id, j.status, tg_table_name || ' was emptied'
        )
        from public.broadcast_jobs as j
        where j.scheduled_message_id is not null
            and j.status not in ('completed', 'failed', 'cancelled', 'unconfirmed');
    end if;
    return null;
end
$$;

CREATE FUNCTION private.make_tries(p_run public.campaign_runs, p_not_after timestamp with time zone, p_limit integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_made integer;
begin
    with chosen as materialized (
        select
            recipient.position,
            recipient.next_try
        from public.campaign_recipients as recipient
        where recipient.run_id = p_run.id and recipient.next_try is not null
        order by recipient.position
        limit p_limit
    ),
    former as materialized (
        select
            chosen.position,
            chosen.next_try,
            private.counted_as(last.status) as was,
            last.contact_id,
            last.message,
            last.type,
            last.media_url,
            last.caption,
            last.media,
            last.timezone,
            last.created_by,
            last.category,
            last.template
        from chosen
        left join lateral (
            select message.*
            from public.scheduled_messages as message
            where message.source_id = p_run.id and message.source_position = chosen.position
            order by message.source_try desc
            limit 1
            for no key update
        ) as last on true
    ),
    written as (
        insert into public.scheduled_messages (
            connection_id, contact_id, message, type, media_url, caption, media, scheduled_at,
            timezone, created_by, owner_id, category, template, priority, not_after,
            source_id, source_position, source_try
        )
        select
            p_run.connection_id,
            former.contact_id,
            former.message,
            former.type,
            former.media_url,
            former.caption,
            former.media,
            now() + former.position * interval '1 microsecond',
            former.timezone,
            former.created_by,
            p_run.owner_id,
            former.category,
            former.template,
            1,
            p_not_after,
            p_run.id,
            former.position,
            former.next_try
        from former
        where former.was in ('failed', 'unconfirmed', 'cancelled')
        on conflict (source_id, source_position, source_try) where source_id is not null do nothing
        returning 1
    ),
    unmarked as (
        update public.campaign_recipients as recipient
        set next_try = null
        from chosen
        where recipient.run_id = p_run.id and recipient.position = chosen.position
        returning 1
    ),
    -- Those that need none count as what they are; a message that was deleted, as failed.
    needless as (
        select
            count(*) as number,
            count(*) filter (where former.was = 'sent') as sent,
            count(*) filter (where former.was is null) as failed
        from former
        where former.was is null or former.was in ('pending', 'sent')
    ),
    counted as (
        update public.campaign_runs as run
        set
            unmade = run.unmade - (select count(*) from unmarked),
            pending = run.pending - needless.sent - needless.failed,
            sent = run.sent + needless.sent,
            failed = run.failed + needless.failed
        from needless
        where run.id = p_run.id
        returning 1
    )
    select count(*) into v_made
    from written, counted;
    return v_made;
end
$$;

CREATE FUNCTION private.make_up(p_table regclass, p_given jsonb, p_depth integer DEFAULT 0) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_most_parents constant integer := 3;
    v_row jsonb := '{}';
    v_like jsonb;
    v_value jsonb;
    v_column record;
begin
    execute format('select to_jsonb(t.*) from %s as t limit 1', p_table) into v_like;
    for v_column in
        select
            a.attname as name,
            a.attnotnull and not a.atthasdef as is_needed,
            a.atttypmod as width,
            t.typcategory as category,
            coalesce(nullif(t.typbasetype, 0), t.oid) as type,
            k.confrelid::regclass as parent,
            f.attname as parent_column,
            exists (
                select from pg_catalog.pg_index as i
                where i.indrelid = p_table and i.indisunique and a.attnum = any(i.indkey)
            ) as is_unique
        from pg_catalog.pg_attribute as a
        join pg_catalog.pg_type as t on t.oid = a.atttypid
        left join pg_catalog.pg_constraint as k
            on k.conrelid = p_table and k.contype = 'f' and k.conkey = array[a.attnum]
        left join pg_catalog.pg_attribute as f
            on f.attrelid = k.confrelid and f.attnum = k.confkey[1]
        where a.attrelid = p_table
            and a.attnum > 0
            and not a.attisdropped
            and a.attgenerated = ''
            and a.attidentity = ''
    loop
        v_value := p_given -> v_column.name;
        if v_column.parent <> p_table and (v_column.is_needed or v_value <> 'null') then
            execute format(
                'select to_jsonb(t.%I) from %s as t limit 1',
                v_column.parent_column, v_column.parent
            ) into v_value;
            if v_value is null and p_depth < v_most_parents then
                v_value := private.make_up(v_column.parent, '{}', p_depth + 1)
                    -> v_column.parent_column;
            end if;
        elsif v_value is null and v_column.is_needed then
            v_value := case
                when v_like is not null and not v_column.is_unique
                    then v_like -> v_column.name
                -- Of a varchar(n), its width is n + 4.
                when v_column.category = 'S' then to_jsonb(left(
                    'made up ' || random(),
                    case when v_column.width > 4 then v_column.width - 4 else 100 end
                ))
                when v_column.category = 'N' then to_jsonb(floor(random() * 30000))
                when v_column.category = 'B' then 'false'
                when v_column.category = 'D' then to_jsonb(now())
                when v_column.category = 'A' then '[]'
                when v_column.category = 'T' then '"1 hour"'
                when v_column.category = 'E' then (
                    select to_jsonb(e.enumlabel)
                    from pg_catalog.pg_enum as e
                    where e.enumtypid = v_column.type
                    order by e.enumsortorder
                    limit 1
                )
                when v_column.type = 'pg_catalog.uuid'::regtype then to_jsonb(gen_random_uuid())
                else '{}'
            end;
        end if;
        if v_value is not null then
            v_row := v_row || jsonb_build_object(v_column.name, v_value);
        end if;
    end loop;
    execute format(
        'insert into %1$s as stored (%2$s) '
        'select %2$s from jsonb_populate_record(null::%1$s, $1) returning to_jsonb(stored.*)',
        p_table, (
            select coalesce(string_agg(quote_ident(k), ', '), '')
            from jsonb_object_keys(v_row) as k
        )
    ) into v_row using v_row;
    return v_row;
end
$_$;

CREATE FUNCTION private.mark_as_ours(p_table text, p_columns text[] DEFAULT NULL::text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_table constant regclass := to_regclass(p_table);
    v_column record;
begin
    if p_columns is null and obj_description(v_table, 'pg_class') is null then
        execute format(
            'comment on table %s is %L', v_table,
            'scheduled messages: ' || replace(split_part(p_table, '.', 2), '_', ' ') || '.'
        );
    end if;
    for v_column in
        select a.attname as name
        from pg_catalog.pg_attribute as a
        where a.attrelid = v_table
            and a.attnum > 0
            and not a.attisdropped
            and (p_columns is null or a.attname = any(p_columns))
            and col_description(v_table, a.attnum) is null
        order by a.attnum
    loop
        execute format(
            'comment on column %s.%I is %L', v_table, v_column.name,
            'scheduled messages: ' || replace(v_column.name, '_', ' ') || '.'
        );
    end loop;
end
$$;

CREATE FUNCTION private.mark_tries(p_run public.campaign_runs, p_statuses text[], OUT retried integer, OUT left_out jsonb) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    with latest as materialized (
        select distinct on (message.source_position)
            message.id,
            message.status
        from public.scheduled_messages as message
        where message.source_id = p_run.id
        order by message.source_position, message.source_try desc
    ),
    -- Nothing becomes of them until this ends.
    held as materialized (
        select
            message.source_position as position,
            message.source_try,
            message.status,
            message.error
        from public.scheduled_messages as message
        where message.id = any(array(
            select latest.id from latest where latest.status = any(p_statuses)
        ))
            and message.status = any(p_statuses)
        order by message.id
        for no key update
    ),
    asked as materialized (
        select
            held.*,
            recipient.contact_id,
            recipient.raw
        from held
        join public.campaign_recipients as recipient
            on recipient.run_id = p_run.id and recipient.position = held.position
        where recipient.next_try is null
    ),
    person as materialized (
        select found.*
        from private.people(array(
            select asked.contact_id from asked where asked.contact_id is not null
        ), '{}') as found
        where found.owner = p_run.owner_id::text
    ),
    judged as materialized (
        select
            asked.*,
            case
                when asked.contact_id is not null and person.contact_id is null
                    then 'This contact does not exist any more.'
                when person.is_blocked then 'This contact is blocked.'
                when asked.contact_id is not null and coalesce(person.phone, '') !~ '\S'
                    then 'This contact has no phone number.'
                else private.why_it_would_fail_again(
                    asked.error,
                    asked.contact_id is null or person.phone is not distinct from asked.raw
                )
            end as reason
        from asked
        left join person on person.contact_id = asked.contact_id
    ),
    marked as (
        update public.campaign_recipients as recipient
        set next_try = judged.source_try + 1
        from judged
        where recipient.run_id = p_run.id
            and recipient.position = judged.position
            and judged.reason is null
        returning judged.status
    ),
    counted as (
        update public.campaign_runs as run
        set
            pending = run.pending + was.number,
            unmade = run.unmade + was.number,
            failed = run.failed - was.failed,
            unconfirmed = run.unconfirmed - was.unconfirmed,
            cancelled = run.cancelled - was.cancelled,
            status = 'processing',
            status_reason = null,
            finished_at = null,
            retried_at = now(),
            -- What came to nothing before does not stop it now.
            judged_from = case when run.made_due_at is null then run.made_position else 0 end,
            judged_since = now(),
            rests_until = null
        from (
            select
                count(*) as number,
                count(*) filter (where marked.status = 'failed') as failed,
                count(*) filter (where marked.status = 'unconfirmed') as unconfirmed,
                count(*) filter (where marked.status = 'cancelled') as cancelled
            from marked
        ) as was
        where run.id = p_run.id and was.number > 0
        returning was.number
    ),
    reasons as (
        select
            judged.reason,
            count(*) as count,
            (array_agg(judged.position order by judged.position))[:100] as positions
        from judged
        where judged.reason is not null
        group by judged.reason
    )
    select
        coalesce((select counted.number from counted), 0),
        coalesce((
            select jsonb_agg(to_jsonb(reasons) order by reasons.count desc, reasons.reason)
            from reasons
        ), '[]')
    into retried, left_out;
end
$$;

CREATE FUNCTION private.may_have_gone_out(p_job_id uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    return exists (
        select from public.broadcast_jobs as j
        where j.id = p_job_id
            and (
                j.status = 'unconfirmed'
                or (
                    j.status = 'completed'
                    and not exists (
                        select from public.broadcast_messages as m
                        where m.job_id = j.id and m.status in ('failed', 'skipped', 'cancelled')
                    )
                )
            )
    ) or exists (
        select from private.refused_rows as r
        where r.id = p_job_id
            and r.step = 'settle'
            and r.outcome ->> 'status' in ('sent', 'unconfirmed')
    );
end
$$;

CREATE FUNCTION private.meaning_of(p_words text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $_$
    select coalesce((
        select w.meaning
        from (
            values
            -- broadcast/broadcastWorker.js, before it asks for anything to be sent
            ('^CONNECTION_NOT_READY$', 'stopped'),
            ('^Connection .* is in cooldown', 'stopped'),
            ('^MEDIA_NOT_FOUND$', 'retry'),
            ('^E[A-Z]+: .*, (open|read|stat)\M', 'retry'), -- fs.readFileSync of what it downloaded
            ('^EMPTY_MESSAGE$', 'failed'),
            ('^Contacts data is not an array', 'failed'),
            -- a file without a type
            (
                '^Cannot read properties of \w+ \(reading ''(startsWith|split|includes)''\)$',
                'failed'
            ),
            -- utils/broadcastConnectionFactory.js, before it publishes the request
            ('^Connection .* recently failed: ', 'stopped'),
            ('^Koneksi .* tidak dapat diakses', 'stopped'),
            ('^Koneksi .* tidak ditemukan', 'stopped'),
            ('^Data koneksi .* tidak valid', 'stopped'),
            ('^connectionId diperlukan$', 'failed'),
            ('^Too many pending requests', 'stopped'),
            -- utils/whatsappMessageHandler.js, before it hands anything to a phone
            ('^Connection .* not found$', 'stopped'),
            ('^Unknown action: ', 'failed'),
            ('^Missing media path for ', 'failed'),
            ('^Media file not accessible: ', 'retry'),
            -- utils/connectionManagerSingleton.js and connections/ConnectionManager.js, while the
            -- server starts
            ('^Socket\.IO instance is required$', 'stopped'),
            ('^ConnectionManager belum diinisialisasi', 'stopped')
        ) as w (pattern, meaning)
        where btrim(p_words) ~ w.pattern
        limit 1
    ), 'unconfirmed')
$_$;

CREATE FUNCTION private.my_connections() RETURNS TABLE(connection_id text, owner_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER ROWS 5
    SET search_path TO ''
    AS $$
    select
        member.connection_id,
        member.owner_id
    from public.connection_members as member
    where member.user_id = auth.uid()
$$;

CREATE FUNCTION private.name_run_state() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    if new.pending > 0 then
        new.status := 'processing';
        new.finished_at := null;
    elsif old.status <> 'cancelled' then
        new.status := private.run_state(new);
    end if;
    return new;
end
$$;

CREATE FUNCTION private.name_timezone() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    new.timezone := case
        when btrim(new.timezone) <> '' then private.require_timezone(new.timezone)
    end;
    return new;
end
$$;

CREATE FUNCTION private.names_in(p_parts text[], p_values jsonb DEFAULT '{}'::jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
    select coalesce(array_agg(named.part order by named.place), '{}')
    from (
        select
            cut.part,
            min(cut.place) as place
        from unnest(p_parts) with ordinality as cut (part, place)
        where cut.place % 2 = 0 and not p_values ? cut.part
        group by cut.part
    ) as named
$$;

CREATE FUNCTION private.names_of_approved(p_cloud jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT COALESCE(array_agg(DISTINCT private.placeholder(needed.name)), '{}'::text[]) AS "coalesce"
    FROM ( SELECT jsonb_array_elements_text((names_of_approved.p_cloud -> 'parameters'::text)) AS jsonb_array_elements_text
           WHERE (jsonb_typeof((names_of_approved.p_cloud -> 'parameters'::text)) = 'array'::text)
         UNION ALL
          SELECT (names_of_approved.p_cloud ->> 'header'::text)
           WHERE (jsonb_typeof((names_of_approved.p_cloud -> 'header'::text)) = 'string'::text)
         UNION ALL
          SELECT unnest(private.names_in(private.cut(((names_of_approved.p_cloud -> 'header'::text) ->> 'link'::text)))) AS unnest) needed(name);
END;

CREATE FUNCTION private.nearest_timezones(p_name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $_$
    -- What was written, as an abbreviation, a city or an offset.
    with written as (
        select
            upper(btrim(p_name)) as word,
            lower(regexp_replace(regexp_replace(p_name, '^.*/', ''), '\W', '', 'g')) as city,
            regexp_match(
                btrim(p_name), '^(?:utc|gmt)?([+-])(\d{1,2}):?(\d{2})?$', 'i'
            ) as clock
    ),
    -- The zones of places, and how near each comes to it: the less, the nearer.
    near as (
        select
            zone.name,
            case
                when lower(regexp_replace(zone.name, '^.*/', '')) = written.city then 1
                when written.word in (
                    zone.abbrev,
                    regexp_replace(zone.abbrev, 'DT$', 'ST'),
                    regexp_replace(zone.abbrev, 'ST$', 'DT')
                ) then 2
                when zone.utc_offset = make_interval(
                    hours => (written.clock[1] || written.clock[2])::integer,
                    mins => (written.clock[1] || coalesce(written.clock[3], '0'))::integer
                ) then 3
                when length(written.city) > 3
                    and zone.name ~* ('/' || left(written.city, 4)) then 4
            end as rank
        from pg_catalog.pg_timezone_names as zone
        cross join written
        where zone.name ~
            '^(Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific)/'
    )
    select string_agg(found.name, ', ')
    from (
        select near.name
        from near
        where near.rank = (select min(nearest.rank) from near as nearest)
        order by near.name like 'Antarctica/%', near.name
        limit 5
    ) as found
$_$;

CREATE FUNCTION private.next_expiry() RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    select least(
        -- A lease.
        (
            select job.lease_until from public.broadcast_jobs as job
            where job.status in ('sending', 'handed_over')
                and job.lease_until is not null
                and job.id <> all(array(
                    select aside.id from private.refused_rows as aside
                    where aside.step = 'record'
                        or (aside.step = 'rescue' and aside.again_at > now())
                ))
            order by job.lease_until
            limit 1
        ),
        -- A waiting job's usefulness.
        (
            select job.expires_at from public.broadcast_jobs as job
            where job.status = 'queued'
                and job.expires_at is not null
                and job.id <> all(array(
                    select aside.id from private.refused_rows as aside
                    where aside.step = 'rescue' and aside.again_at > now()
                ))
            order by job.expires_at
            limit 1
        ),
        -- What was put aside.
        (
            select min(aside.again_at) from private.refused_rows as aside
            where aside.step in ('record', 'settle', 'rescue', 'announce', 'note', 'tend')
        ),
        -- What a Node worker need not do any more.
        (
            select min(job.lease_until) from private.gateways as kind
            cross join lateral (
                select o.lease_until from public.broadcast_jobs as o
                where o.gateway = any(array[kind.name])
                    and o.status in ('completed', 'failed', 'cancelled', 'unconfirmed')
                    and o.lease_until is not null
                order by o.lease_until
                limit 1
            ) as job
            where kind.hands_over
        ),
        -- What is to be erased.
        (
            select min(greatest(erasure.again_at, now())) from private.erasures as erasure
            where coalesce((
                select j.status from public.broadcast_jobs as j where j.id = erasure.job_id limit 1
            ), '') not in ('queued', 'sending', 'handed_over', 'active')
        )
    )
$$;

CREATE FUNCTION private.next_of_audience(p_campaign public.campaigns, p_key text, p_limit integer) RETURNS TABLE(place bigint, key text, contact_id text, raw text)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $_$
declare
    v_owner record;
begin
    if p_campaign.audience ?| array['contacts', 'numbers'] then
        return query
        select
            element.place,
            element.place::text,
            case when p_campaign.audience ? 'contacts' then element.value end,
            case when not p_campaign.audience ? 'contacts' then element.value end
        from jsonb_array_elements_text(
            coalesce(p_campaign.audience -> 'contacts', p_campaign.audience -> 'numbers')
        ) with ordinality as element (value, place)
        where element.place > coalesce(p_key, '0')::bigint
        order by element.place
        limit p_limit;
        return;
    end if;
    if not exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = 'public.contacts'::regclass
            and a.attname = 'labels'
            and not a.attisdropped
    ) then
        return;
    end if;
    select
        a.attname,
        format_type(a.atttypid, null) as type
    into v_owner
    from pg_catalog.pg_attribute as a
    where a.attrelid = 'public.contacts'::regclass
        and a.attname in ('owner_id', 'user_id')
        and not a.attisdropped
    order by a.attname
    limit 1;
    return query execute format(
        'select
            row_number() over (order by contact.id), contact.id::text, contact.id::text, null::text
        from public.contacts as contact
        where contact.%I = $1::text::%s
            and ($2 is null or contact.id > private.contact_key($2))
            and to_jsonb(contact.labels) %s $3
        order by contact.id
        limit $4',
        v_owner.attname, v_owner.type,
        case p_campaign.audience ->> 'match' when 'all' then '?&' else '?|' end
    )
    using
        p_campaign.owner_id, p_key,
        array(select jsonb_array_elements_text(p_campaign.audience -> 'labels')), p_limit;
end
$_$;

CREATE FUNCTION private.next_probe(p_but text[] DEFAULT '{}'::text[]) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    select min(first.probe_at)
    from (
        select state.probe_at
        from private.connection_state as state
        where state.probe_at is not null and state.connection_id <> all(p_but)
        order by state.probe_at
        limit 1
    ) as first
$$;

CREATE FUNCTION private.next_recipients(p_campaign public.campaigns, p_version integer, p_occurrence_at timestamp with time zone, p_key text, p_limit integer, p_rules_version text, p_gateway text DEFAULT NULL::text) RETURNS SETOF private.candidate
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    with next as materialized (
        select next.* from private.next_of_audience(p_campaign, p_key, p_limit) as next
    ),
    asked as (
        select
            array_agg(next.place) as places,
            array_agg(next.contact_id) as contacts,
            array_agg(next.raw) as numbers
        from next
    ),
    found as materialized (
        select recipient.*
        from asked
        cross join lateral private.as_recipients(
            p_campaign, p_version, asked.places, asked.contacts, asked.numbers, p_rules_version,
            p_gateway
        ) as recipient
    ),
    clock as materialized (
        select
            coalesce(private.campaign_zone(p_campaign), 'UTC') as timezone,
            p_campaign.zone_of = 'recipient' as is_each_ones
    ),
    zone as materialized (
        select wall.*
        from clock
        cross join lateral private.wall_in_zones(
            p_occurrence_at at time zone clock.timezone,
            array(
                select coalesce(found.timezone, clock.timezone)
                from found
                where clock.is_each_ones or found.timezone is not null
            ),
            clock.timezone
        ) as wall
    ),
    timed as materialized (
        select
            found.*,
            zone.timezone as known_timezone,
            case when clock.is_each_ones then zone.at end as due_at,
            case
                when clock.is_each_ones
                    and zone.at < coalesce(p_campaign.activated_at, now()) - interval '1 minute'
                    then format(
                        '%s in %s had passed already when the campaign was activated.',
                        to_char(
                            p_occurrence_at at time zone clock.timezone, 'YYYY-MM-DD HH24:MI'
                        ),
                        zone.timezone
                    )
            end as passed
        from found
        cross join clock
        left join zone
            on zone.written = coalesce(
                found.timezone, case when clock.is_each_ones then clock.timezone end
            )
    )
    select
        (
            timed.place, timed.contact_id, timed.name, timed.raw, timed.address, timed.is_judged,
            timed.variables, timed.text, coalesce(timed.fault, timed.passed),
            coalesce(timed.fault_kind, case when timed.passed is not null then 'passed' end),
            timed.known_timezone
        )::private.recipient,
        next.key,
        timed.address is not null and row_number() over (
            partition by timed.fault is null and timed.passed is null, timed.address
            order by timed.place
        ) > 1,
        timed.due_at
    from timed
    join next on next.place = timed.place
    order by timed.place
$$;

CREATE FUNCTION private.note_or_leave(p_done jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_connection text;
    v_rows private.noted_row[] := array(
        select noted from jsonb_populate_recordset(null::private.noted_row, p_done) as noted
    );
begin
    if v_rows = '{}' then
        return;
    end if;
    begin
        perform private.note_outcomes(v_rows);
        return;
    exception when others then
        if private.stops_everybody(sqlstate) then
            raise;
        end if;
        perform private.wait_less(sqlstate);
    end;
    for v_connection, v_rows in
        select noted.connection_id, array_agg(noted)
        from jsonb_populate_recordset(null::private.noted_row, p_done) as noted
        group by 1
        order by 1
    loop
        begin
            perform private.note_outcomes(v_rows);
        exception when others then
            if private.stops_everybody(sqlstate) then
                raise;
            end if;
            -- What somebody holds is noted later.
            perform private.put_aside(
                'note', array[md5(v_connection || clock_timestamp())::uuid], array[sqlstate],
                array[left(sqlerrm, 500)], array[to_jsonb(v_rows)], array[v_connection]
            )
            where sqlstate = '55P03';
        end;
    end loop;
end
$$;

CREATE FUNCTION private.note_outcomes(p_rows private.noted_row[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    -- In order, like every writer of several of these rows: else two could wait for each other.
    select from private.connection_state as state
    where state.connection_id = any(array(select noted.connection_id from unnest(p_rows) as noted))
    order by state.connection_id
    for update;

    -- First, because what went out beside a message that was refused does not tell which of them
    -- was dialled later.
    select private.note_who_got_through(p_rows);
    select private.note_who_did_not(p_rows);
    -- After the connections, like a claim.
    select private.note_recipients(p_rows)
$$;

CREATE FUNCTION private.note_recipients(p_rows private.noted_row[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $_$
    with free as (
        delete from private.recipient_state as known
        using unnest(p_rows) as noted
        where known.connection_id = any(array[noted.connection_id])
            and known.recipient = any(array[noted.recipient])
            and known.job_id = noted.id
            and noted.outcome not in ('sent', 'unconfirmed', 'handed_over')
        returning known.connection_id, known.recipient, known.free_at, noted.outcome
    )
    update public.broadcast_jobs as job
    set available_at = now(),
        updated_at = now()
    from free
    cross join lateral (
        select first.id
        from (values (0::smallint), (1::smallint)) as level (priority)
        cross join lateral (
            select j.id from public.broadcast_jobs as j
            where j.connection_id = free.connection_id
                and j.priority = level.priority
                and j.status = 'queued'
                and j.scheduled_message_id is not null
                and j.available_at > now()
                and j.available_at <= free.free_at
                and j.recipient = free.recipient
                and j.attempts = 0
            order by j.available_at, j.id
            limit 1
            for update skip locked
        ) as first
        limit 1
    ) as next_one
    where job.id = any(array[next_one.id]) and free.outcome = 'failed';

    insert into private.recipient_state as known (connection_id, recipient, free_at, reason)
    select
        noted.connection_id,
        noted.recipient,
        max(noted.available_at) as free_at,
        max(
            regexp_replace(noted.error, '^try .*? UTC: |\. By the time it might.*$', '', 'g')
        ) as reason
    from unnest(p_rows) as noted
    where noted.outcome in ('throttled_recipient', 'locked_recipient')
    group by noted.connection_id, noted.recipient
    on conflict (connection_id, recipient) do update
    set free_at = greatest(known.free_at, excluded.free_at),
        reason = excluded.reason,
        job_id = null
$_$;

CREATE FUNCTION private.note_row() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    insert into private.refused_rows as r (step, id, code, reason, again_at)
    values (
        'tend', new.id, '', 'it was written as processing by somebody else than the daemon',
        now() + interval '1 minute'
    )
    on conflict (id, step) do update set again_at = excluded.again_at;
    return null;
end
$$;

CREATE FUNCTION private.note_untended() RETURNS integer
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    with noted as (
        insert into private.refused_rows as r (step, id, code, reason, again_at)
        select 'tend', f.id, '', 'it is processing, and no job is at work on it', now()
        from private.find_untended() as f (id)
        on conflict (id, step) do nothing
        returning r.id
    )
    select count(*)::integer from noted
$$;

CREATE FUNCTION private.note_who_did_not(p_rows private.noted_row[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    update private.connection_state as state
    set sent_today = greatest(0, state.sent_today - heard.unsent),
        ready_at = least(state.ready_at, now()),
        arrival_at = greatest(
            -- Nobody dialled on the last slot that was booked, and none behind it is: it is free
            -- again.
            case
                when state.arrival_at < heard.unused_at + heard.two_steps
                then least(state.arrival_at, heard.unused_at)
                else state.arrival_at
            end,
            state.throttled_until,
            heard.throttled_until
        ),
        throttle_seconds = case
            when heard.is_slower then least(60, greatest(0.05, 2 * heard.step))
            else state.throttle_seconds
        end,
        throttled_until = greatest(state.throttled_until, heard.throttled_until),
        recipients_until = greatest(state.recipients_until, heard.recipients_until),
        paused_reason = coalesce(state.paused_reason, heard.stopped),
        probe_at = case
            when heard.pauses then now() + private.probe_delay(0)
            when heard.stopped is not null and cardinality(state.refused_ids) > 1
                then now() + private.probe_delay(state.failed_probes)
            else state.probe_at
        end,
        failed_probes = case when heard.pauses then 0 else state.failed_probes end,
        stopped_ids = state.stopped_ids || heard.stopped_ids,
        told_at = case when heard.stopped is not null then '-infinity' else state.told_at end,
        many_told_at = case
            when heard.stopped is not null then '-infinity' else state.many_told_at
        end
    from (
        select
            known.connection_id,
            count(*) filter (
                where (
                    noted.send_at at time zone coalesce(settings.timezone, 'UTC')
                )::date = known.day
            ) as unsent,
            greatest(
                max(greatest(noted.available_at, now()))
                    filter (where noted.outcome = 'throttled_connection'),
                max(now() + interval '10 seconds')
                    filter (where noted.outcome = 'locked_recipient')
            ) as throttled_until,
            max(noted.available_at)
                filter (where noted.outcome in ('throttled_recipient', 'locked_recipient'))
                as recipients_until,
            bool_or(
                noted.outcome in ('throttled_connection', 'locked_recipient')
                and (known.throttled_until is null or noted.send_at >= known.throttled_until)
            ) as is_slower,
            greatest(
                private.slowdown(known.throttle_seconds, known.throttled_until, now()),
                settings.period_seconds / settings.messages
            ) as step,
            max(noted.send_at) filter (where noted.outcome = 'released') as unused_at,
            case
                when settings.burst = 1
                    and settings.jitter_seconds < settings.period_seconds / settings.messages
                    then make_interval(secs => 2 * settings.period_seconds / settings.messages)
            end as two_steps,
            max(left(noted.error, 300)) filter (where noted.outcome = 'stopped') as stopped,
            bool_or(noted.outcome = 'stopped') and known.paused_reason is null as pauses,
            coalesce(
                array_agg(noted.id) filter (where noted.outcome = 'stopped'), '{}'
            ) as stopped_ids
        from unnest(p_rows) as noted
        join private.connection_state as known
            on known.connection_id = any(array[noted.connection_id])
        left join public.connection_settings as settings
            on settings.connection_id = any(array[noted.connection_id])
        where noted.outcome not in ('sent', 'unconfirmed', 'handed_over')
        group by known.connection_id, settings.connection_id
    ) as heard
    where state.connection_id = any(array[heard.connection_id])
$$;

CREATE FUNCTION private.note_who_got_through(p_rows private.noted_row[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    update private.connection_state as state
    set through_at = case when heard.is_through then now() else state.through_at end,
        resumed_at = case when not heard.is_through then state.resumed_at end,
        refused_ids = case when heard.is_through then '{}' else state.refused_ids end,
        paused_reason = case
            when not (heard.is_through and heard.is_doubted) then state.paused_reason
        end,
        probe_at = case when not (heard.is_through and heard.is_doubted) then state.probe_at end,
        is_on_trial = heard.is_doubted and not heard.is_through and not heard.is_stopped,
        ready_at = least(state.ready_at, now())
    from (
        select
            known.connection_id,
            cardinality(known.refused_ids) > 1 as is_doubted,
            bool_or(noted.outcome = 'sent') as is_through,
            bool_or(noted.outcome = 'stopped') as is_stopped
        from unnest(p_rows) as noted
        join private.connection_state as known
            on known.connection_id = any(array[noted.connection_id])
            and noted.send_at >= known.resumed_at
        group by known.connection_id
    ) as heard
    where state.connection_id = any(array[heard.connection_id])
        and (heard.is_through or heard.is_doubted)
$$;

CREATE FUNCTION private.open_appointments(p_connection_id text, p_owner uuid) RETURNS uuid[]
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    with reach as (
        select
            current_date - 1 - coalesce(max(
                greatest(0, r.day_offset)
                + greatest(0, ceil(extract(epoch from r.shift) / 86400)::integer)
            ), 0) as since
        from public.reminder_rules as r
        where r.connection_id = p_connection_id
    )
    select array_agg(appointment.id)
    from reach
    cross join public.appointments as appointment
    where appointment.connection_id = p_connection_id
        and (p_owner is null or appointment.owner_id = p_owner)
        and (
            appointment.date >= reach.since
            or appointment.followup_date >= reach.since
            or appointment.created_at >= reach.since
        )
$$;

CREATE FUNCTION private.our_columns() RETURNS text[]
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select array[
        'id', 'connection_id', 'contact_id', 'message', 'type', 'media_url', 'caption', 'media',
        'asset_id', 'scheduled_at', 'status', 'created_at', 'created_by', 'owner_id', 'sent_at',
        'message_id', 'error', 'is_recurring', 'recurrence_pattern', 'recurrence_end_at',
        'next_scheduled_at', 'timezone', 'series_id', 'series_anchor', 'occurrence_at', 'missed',
        'next_id', 'broadcast_job_id', 'due_at', 'waiting_reason', 'waiting_until',
        'delivery_status', 'revision', 'updated_at', 'category', 'priority', 'held', 'not_after',
        'template', 'source_id', 'source_position', 'source_try',
        'scheduled_in_queue' -- upstream's: whether its queue has the row
    ]
$$;

CREATE FUNCTION private.owner_by_id(p_connection_id text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $_$select coalesce(c.user_id::text) from public.connections as c where c.id::text = any(array[$1])$_$;

CREATE TABLE public.connections (
    id text DEFAULT (gen_random_uuid())::text NOT NULL,
    name text,
    connected boolean DEFAULT true,
    qr text,
    phone_number text,
    webhook_config jsonb,
    user_id text DEFAULT (auth.uid())::text,
    api_key character varying DEFAULT ('wha_'::text || replace((gen_random_uuid())::text, '-'::text, ''::text)),
    expired_date timestamp with time zone,
    server text,
    status text,
    ai_agent_id text,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE FUNCTION private.owner_of(c public.connections) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$select coalesce(c.user_id::text)$$;

CREATE FUNCTION private.owner_to_write_for(p_connection_id text, p_roles text[]) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_me constant uuid := auth.uid();
    v_owner uuid;
    v_role text;
begin
    perform private.hold_right_of('connection ' || p_connection_id);
    v_owner := private.connection_owner(p_connection_id);
    if v_owner is distinct from v_me then
        select member.role into v_role
        from public.connection_members as member
        where member.connection_id = p_connection_id
            and member.user_id = v_me
            and member.owner_id = v_owner;
        if v_role is null then
            raise exception 'There is no such connection of yours.' using errcode = '42501';
        elsif v_role <> all(p_roles) then
            raise exception 'Only % of this connection may do this.', case
                when 'admin' = any(p_roles) then 'the owner and admins'
                else 'the owner'
            end using errcode = '42501';
        end if;
    end if;
    perform private.hold_right_of(v_owner::text);
    if exists (
        select from auth.users as u
        where u.id in (v_me, v_owner) and private.is_suspended(to_jsonb(u))
    ) then
        raise exception using errcode = '42501', message = case v_me
            when v_owner then 'This account is suspended and sends no messages.'
            else 'Your account, or that of the connection''s owner, is suspended.'
        end;
    end if;
    return v_owner;
end
$$;

CREATE FUNCTION private.pace(p_connections text[], p_now timestamp with time zone, p_gateway text, p_call_seconds double precision) RETURNS TABLE(connection_id text, gateway text, blocked_reason text, blocked_until timestamp with time zone, fails boolean, turn_reason text, today date, used integer, closes_at timestamp with time zone, horizon timestamp with time zone, earliest timestamp with time zone, first_at timestamp with time zone, step double precision, slack double precision, jitter double precision, tolerance double precision, recipient_step double precision, slots integer, look_at timestamp with time zone, is_on_trial boolean, one_at_a_time boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select
        found.connection_id,
        found.gateway,
        found.blocked_reason,
        found.blocked_until,
        found.fails,
        case when found.step is not null then found.turn_reason end as turn_reason,
        found.today,
        found.used,
        found.closes_at,
        next_slot.horizon,
        next_slot.earliest,
        next_slot.first_at,
        found.step,
        found.slack,
        found.jitter,
        found.tolerance,
        found.recipient_step,
        least(
            found.daily_limit - found.used,
            case when found.is_on_trial then 1 end,
            room.free,
            case
                when found.step is null then null
                when next_slot.earliest >= next_slot.horizon then 0
                else greatest(0, ceil(extract(
                    epoch from next_slot.horizon - next_slot.first_at
                        + make_interval(secs => found.slack)
                )::double precision / found.step))
            end
        )::integer as slots,
        case
            when greatest(
                next_slot.earliest, next_slot.first_at - make_interval(secs => found.slack)
            ) >= found.closes_at then found.closes_at
            when room.free = 0 then p_now + interval '5 seconds'
            else next_slot.first_at
                - make_interval(secs => found.slack + p_call_seconds + seconds.early)
        end as look_at,
        found.is_on_trial,
        found.one_at_a_time
    from private.situation(p_connections, p_now, p_gateway) as found
    cross join (select 0.35 as reach, 0.15 as early) as seconds
    cross join lateral (
        select
            least(
                p_now + make_interval(secs => p_call_seconds + seconds.reach), found.closes_at
            ) as horizon,
            soonest.at as earliest,
            greatest(found.arrival_at, soonest.at) as first_at
        from (
            select p_now
                + make_interval(secs => greatest(0, p_call_seconds - found.tolerance)) as at
        ) as soonest
    ) as next_slot
    left join lateral (
        select greatest(
            0, greatest(10, floor((9 + found.slack) / found.step)) - count(*)
        ) as free
        from public.broadcast_jobs as job
        where job.connection_id = found.connection_id
            and job.status in ('handed_over', 'active')
            and job.scheduled_message_id is not null
            and job.send_at > p_now - interval '10 minutes'
        having found.hands_over
    ) as room on true
$$;

CREATE FUNCTION private.people(p_contacts text[], p_names text[]) RETURNS TABLE(contact_id text, owner text, name text, phone text, is_blocked boolean, labels jsonb, timezone text, given jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $_$
declare
    v_names text[];
    v_values text;
begin
    select
        coalesce(array_agg(field.name order by field.name), '{}'),
        coalesce(
            string_agg(
                format(
                    'case when c.%1$I::text ~ ''\S'' then left(c.%1$I::text, 1000) end', field.field
                ),
                ', ' order by field.name
            ),
            ''
        )
    into v_names, v_values
    from private.contact_fields(p_names) as field;
    return query execute format(
        'select found.*
        from (values (
            null::text, null::text, null::text, null::text, null::text, null::text, null::text
        )) as missing (
            phone_number, is_blocked, owner_id, user_id, contact_name, labels, timezone
        )
        cross join lateral (
            select
                c.id::text,
                coalesce(owner_id::text, user_id::text),
                left(contact_name::text, 256),
                left(phone_number::text, 256),
                private.is_yes(is_blocked::text),
                to_jsonb(labels),
                left(timezone::text, 64),
                jsonb_strip_nulls(jsonb_object($2, array[%s]::text[]))
            from public.contacts as c
            where c.id = any(array(
                select private.contact_key(asked.id) from unnest($1) as asked (id)
            ))
        ) as found',
        v_values
    )
    using p_contacts, v_names;
end
$_$;

CREATE FUNCTION private.probe_delay(p_failed integer) RETURNS interval
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select make_interval(secs => least(300, 2 * power(2, least(p_failed, 10))))
$$;

CREATE FUNCTION private.put_aside(p_step text, p_ids uuid[], p_codes text[], p_reasons text[], p_outcomes jsonb[], p_connections text[] DEFAULT NULL::text[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    insert into private.refused_rows as known (
        step, id, code, reason, again_at, outcome, connection_id
    )
    select
        p_step,
        given.id,
        given.code,
        given.reason,
        now() + make_interval(secs => case given.code when '55P03' then 1 else 10 end),
        given.outcome,
        given.connection_id
    from unnest(p_ids, p_codes, p_reasons, p_outcomes, p_connections)
        as given (id, code, reason, outcome, connection_id)
    order by given.id
    on conflict (id, step) do update
    set code = excluded.code,
        reason = excluded.reason,
        tries = known.tries + 1,
        outcome = excluded.outcome,
        again_at = now() + make_interval(secs => least(
            case when private.is_the_rows_fault(excluded.code) then 3600 else 60 end,
            case excluded.code when '55P03' then 1 else 10 end
            * power(2, least(known.tries, 10))
        ))
$$;

CREATE FUNCTION private.read_time(p_text text) RETURNS TABLE(instant timestamp with time zone, wall timestamp without time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET "DateStyle" TO 'ISO, YMD'
    AS $_$
declare
    v_words constant text :=
        'The time must be written like 2026-12-01T14:30:00, with or without an offset.';
    v_found constant text[] := regexp_match(
        btrim(p_text),
        '^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) ?(Z|[+-]\d\d(?::?\d\d)?)?$', 'i'
    );
    v_wall text;
begin
    if v_found is null then
        raise exception using errcode = 'PT400', message = v_words;
    end if;
    v_wall := v_found[1] || ' ' || replace(v_found[2], ',', '.');
    if v_found[3] is null then
        wall := v_wall;
    else
        instant := v_wall || v_found[3];
    end if;
    return next;
exception
    when datetime_field_overflow or invalid_datetime_format
        or invalid_time_zone_displacement_value
    then
        raise exception using errcode = 'PT400', message = v_words;
end
$_$;

CREATE FUNCTION private.ready_of_others(p_payers text[], p_busy text[], p_until timestamp with time zone) RETURNS SETOF text
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET enable_incremental_sort TO 'off'
    AS $$
declare
    v_start constant text := md5(random()::text);
    v_payer text := v_start;
    v_is_second_round boolean := false;
    v_next text;
    v_ready_at timestamptz;
    v_connection text;
begin
    for v_step in 1..200 loop
        select state.payer, state.ready_at into v_next, v_ready_at
        from private.connection_state as state
        where (state.payer, state.ready_at) > (v_payer, 'infinity')
            and state.ready_at < 'infinity'
        order by state.payer, state.ready_at, state.connection_id
        limit 1;
        if v_next is null and not v_is_second_round then
            v_is_second_round := true;
            v_payer := '';
            continue;
        end if;
        exit when v_next is null or (v_is_second_round and v_next > v_start);
        v_payer := v_next;
        continue when v_ready_at > p_until or v_payer = any(p_payers) or v_payer = any(p_busy);
        select state.connection_id into v_connection
        from private.connection_state as state
        where (state.payer, state.ready_at) >= (v_payer, '-infinity')
            and (state.payer, state.ready_at) <= (v_payer, p_until)
            and state.ready_at < 'infinity'
            and state.connection_id <> all(p_busy)
        order by state.payer, state.ready_at, state.connection_id
        limit 1;
        if v_connection is not null then
            return next v_connection;
        end if;
    end loop;
end
$$;

CREATE FUNCTION private.record_or_put_aside(p_rows private.told_row[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_rows private.told_row[] := p_rows;
    v_done jsonb;
    v_refused jsonb;
begin
    select tried.done, tried.refused into v_done, v_refused
    from private.try_rows('record_rows', v_rows, false) as tried;
    if v_refused <> '[]' then
        -- Perhaps it is only what their rows would be told.
        v_rows := array(
            select jsonb_populate_record(v_rows[said.place], '{"quietly": true}')
            from jsonb_to_recordset(v_refused) as said (place integer)
        );
        select v_done || tried.done, tried.refused into v_done, v_refused
        from private.try_rows('record_rows', v_rows, false) as tried;
    end if;
    if v_refused <> '[]' then
        perform private.put_aside(
            'record', array_agg((v_rows[said.place]).job_id), array_agg(said.code),
            array_agg(said.reason), array_agg(to_jsonb(v_rows[said.place]))
        )
        from jsonb_to_recordset(v_refused) as said (place integer, code text, reason text);
    end if;
    perform private.note_or_leave(v_done);
    return (
        select jsonb_agg(jsonb_build_object(
            'id', (v_rows[said.place]).job_id, 'code', said.code, 'reason', said.reason
        ))
        from jsonb_to_recordset(v_refused) as said (place integer, code text, reason text)
    );
end
$$;

CREATE FUNCTION private.record_rows(p_rows private.told_row[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_done jsonb;
    v_parted jsonb;
begin
    -- In order, like record_deliveries: else the two could wait for each other.
    with given as (
        select * from unnest(p_rows) as g order by g.job_id
    ),
    -- The jobs that this is still the answer to, locked, each with what it means. `wanted`: whether
    -- its row still waits for it, where that matters.
    held as materialized (
        select
            given.job_id,
            given.token,
            given.message_id,
            given.wait,
            given.told_at - make_interval(secs => coalesce(given.age, 0)) as answered_at,
            given.quietly,
            given.parts::jsonb as parts,
            given.verdict as said,
            is_late,
            job.status,
            job.wanted,
            case when is_late then 'failed' else given.verdict end as verdict,
            case
                when is_late then regexp_replace(given.error, '^try .*? UTC: ', '')
                    || '. By the time it might, it would be too late'
                else given.error
            end as error,
            case
                when is_late then 'failed'
                when given.verdict = 'unconfirmed' and private.hands_over(job.gateway)
                    then 'handed_over'
                else given.verdict
            end as meaning
        from given
        cross join lateral (
            select
                j.status,
                j.lease_token,
                j.gateway,
                j.expires_at,
                case
                    when given.verdict not in ('sent', 'failed', 'unconfirmed', 'handed_over')
                    then exists (
                        select 1 from public.scheduled_messages as message
                        where message.id = any(array[j.scheduled_message_id])
                            and message.broadcast_job_id = j.id
                            and message.status = 'processing'
                    )
                end as wanted
            from public.broadcast_jobs as j
            where j.id = given.job_id
            limit 1
            for update
        ) as job
        cross join lateral (
            select given.verdict = 'locked_recipient' and coalesce(
                job.expires_at < now() + make_interval(secs => given.wait), false
            ) as is_late
        ) as late
        where job.lease_token = given.token
            and (
                job.status in ('sending', 'unconfirmed')
                or (
                    given.verdict in ('handed_over', 'unconfirmed')
                    and job.status in ('handed_over', 'active', 'completed', 'failed')
                    and private.hands_over(job.gateway)
                )
            )
    ),
    -- What is unconfirmed never goes back to the queue, also when a late answer says that it could;
    -- nor does what was cancelled or deleted meanwhile.
    settled as (
        update public.broadcast_jobs as job
        set status = case
                when held.verdict = 'sent' then 'completed'
                when held.meaning in ('unconfirmed', 'handed_over') then held.meaning
                when held.verdict = 'failed' or job.status = 'unconfirmed' then 'failed'
                when not held.wanted then 'cancelled'
                else 'queued'
            end,
            available_at = case
                when held.meaning = 'handed_over' then job.available_at
                -- One that costs no try must not be first again at once, for ever.
                when held.verdict in ('throttled_recipient', 'throttled_connection')
                    then now() + make_interval(secs => greatest(1, held.wait))
                when held.wait > 0 then now() + make_interval(secs => held.wait)
                -- Without a wait it keeps its place in the line.
                else job.available_at
            end,
            attempts = job.attempts - (held.verdict in (
                'throttled_recipient', 'throttled_connection', 'stopped', 'released'
            ))::integer,
            throttled = job.throttled + (held.verdict = 'throttled_recipient')::integer,
            refusal = case
                when held.verdict = 'stopped' then left(held.error, 500) else job.refusal
            end,
            lease_until = case
                when held.meaning = 'handed_over'
                then now() + make_interval(secs => coalesce(held.wait, 0))
            end,
            sent_count = (held.verdict = 'sent')::integer,
            failed_count = (held.verdict = 'failed')::integer,
            progress = case when held.verdict in ('sent', 'failed') then 100 else job.progress end,
            completed_at = case when held.verdict in ('sent', 'failed') then held.answered_at end,
            updated_at = now()
        from held
        where job.id = any(array[held.job_id])
            -- The worker may have said already that nobody knows.
            and (
                held.status = 'sending'
                or (held.status = 'unconfirmed' and held.meaning <> 'handed_over')
            )
        returning
            job.id,
            job.scheduled_message_id,
            job.connection_id,
            job.recipient,
            job.status,
            job.available_at,
            job.send_at,
            held.said,
            held.wait,
            held.verdict,
            held.message_id,
            held.error,
            held.answered_at,
            held.quietly,
            held.parts
    ),
    -- The rows of those that are over hear of it by their messages (settle_scheduled_messages).
    told as (
        update public.broadcast_messages as entry
        set status = case settled.status when 'completed' then 'sent' else settled.status end,
            message_id = settled.message_id,
            error = case
                when settled.status = 'failed' and settled.verdict <> 'failed'
                    then 'Not sent, and not tried again, because the worker was held up for too'
                        || ' long' || coalesce(
                            ': ' || regexp_replace(settled.error, '^try .*? UTC: ', ''), '.'
                        )
                else settled.error
            end,
            sent_at = case when settled.status = 'completed' then settled.answered_at end,
            updated_at = now()
        from settled
        where entry.job_id = any(array[settled.id])
            and settled.status in ('completed', 'failed', 'unconfirmed', 'cancelled')
        returning entry.job_id
    ),
    -- Somebody has deleted the message: then the row hears it itself.
    untold as (
        update public.scheduled_messages as message
        set status = case settled.status when 'completed' then 'sent' else settled.status end,
            message_id = coalesce(settled.message_id, message.message_id),
            error = settled.error,
            sent_at = case when settled.status = 'completed' then settled.answered_at end,
            updated_at = now()
        from settled
        where settled.status in ('completed', 'failed', 'unconfirmed')
            and settled.id not in (select told.job_id from told)
            and message.id = any(array[settled.scheduled_message_id])
            and message.broadcast_job_id = settled.id
            and message.status in ('processing', 'unconfirmed')
    ),
    -- The rows of those that wait again are told why.
    waits as (
        update public.scheduled_messages as message
        set error = case when settled.verdict = 'retry' then left(settled.error, 2000) end,
            waiting_reason = case when settled.verdict <> 'retry' then left(settled.error, 500) end,
            waiting_until = case when settled.verdict <> 'retry' then settled.available_at end,
            updated_at = now()
        from settled
        where settled.status = 'queued'
            and settled.error is not null
            and not settled.quietly
            and message.id = any(array[settled.scheduled_message_id])
            and message.broadcast_job_id = settled.id
            and message.status = 'processing'
    ),
    -- Of what went out the connection is told only where it has been stopped since anything else
    -- did; and of what was handed over when its worker tells of it.
    noted as (
        select
            settled.connection_id,
            settled.said as outcome,
            settled.error,
            settled.send_at,
            settled.recipient,
            settled.id,
            case settled.said
                when 'locked_recipient' then now() + make_interval(secs => settled.wait)
                else settled.available_at
            end as available_at
        from settled
        where settled.verdict not in ('sent', 'unconfirmed', 'handed_over')
            or (
                settled.verdict <> 'handed_over'
                and exists (
                    select from private.connection_state as state
                    where state.connection_id = any(array[settled.connection_id])
                        and state.resumed_at is not null
                )
            )
    ),
    parted as (
        select
            settled.id as job_id,
            settled.verdict as outcome,
            settled.error,
            settled.parts
        from settled
        where jsonb_typeof(settled.parts) = 'object'
            and settled.status in ('completed', 'failed', 'unconfirmed')
    )
    select
        (select jsonb_agg(to_jsonb(noted)) from noted),
        (select jsonb_agg(to_jsonb(parted)) from parted)
    into v_done, v_parted;
    if v_parted is not null then
        perform private.answer_parts(v_parted);
    end if;
    return v_done;
end
$$;

CREATE FUNCTION private.refuse(p_code text, p_words text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    raise exception using errcode = p_code, message = p_words;
end
$$;

CREATE FUNCTION private.refuse_change_of_audit() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    -- Whoever owns the table could drop this as well.
    if pg_has_role(
        (select c.relowner from pg_catalog.pg_class as c where c.oid = tg_relid), 'usage'
    ) then
        return null;
    end if;
    raise exception 'The audit log is written once and not changed.' using errcode = '42501';
end
$$;

CREATE FUNCTION private.refuse_former_owner(p_connection_id text, p_owner_id uuid, p_roles text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    if private.owner_to_write_for(p_connection_id, p_roles) <> p_owner_id then
        raise exception 'There is no such connection of yours.' using errcode = '42501';
    end if;
end
$$;

CREATE FUNCTION private.refuse_ids_to_come() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    if new.id > (
        select case when sequence.is_called then sequence.last_value else 0 end
        from public.contacts_id_seq as sequence
    ) then
        raise exception 'Leave out the id of a contact: it is given one.' using errcode = '42501';
    end if;
    return new;
end
$$;

CREATE FUNCTION private.refuse_nonsense() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $_$
declare
    v_words text;
begin
    if new.media is not null then
        begin
            perform new.media::jsonb; -- stricter than json: no character zero, no half of a pair
        exception when others then
            raise exception 'The media are not valid JSON.' using errcode = 'PT400';
        end;
    end if;
    select case
        when (((status <> ALL (ARRAY['failed'::text, 'unconfirmed'::text])) OR (error IS NOT NULL))) is false then 'What failed has a reason.'
        when (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR ((length(message) <= 8192) AND (length(caption) <= 8192) AND (length(contact_id) <= 256) AND (length(connection_id) <= 256) AND (length(media_url) <= 4096) AND (length(recurrence_pattern) <= 1024) AND (length(timezone) <= 64) AND (length((media)::text) <= 16384) AND (length(category) <= 64) AND (length((template)::text) <= 16384)))) is false then 'The message, or a part of it, is too long.'
        when (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR (media IS NULL) OR (((length((media)::text) - length(translate((media)::text, '[{'::text, ''::text))) <= 200) AND ((media)::text !~ '[0-9]{255}'::text)))) is false then 'The media must be a list of attachments, or a template.'
        when (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR (is_recurring IS NOT TRUE) OR (recurrence_pattern IS NULL) OR (recurrence_pattern ~* '^\s*(daily|weekly|monthly|yearly|weekdays)[;\s]*$'::text) OR (recurrence_pattern ~* '^\s*(rrule:)?([a-z-]+=[a-z0-9,+:-]+;)*[a-z-]+=[a-z0-9,+:-]+[;\s]*$'::text))) is false then 'The recurrence pattern must be daily, weekly, monthly, yearly, weekdays or a rule such as FREQ=MONTHLY;BYDAY=1MO.'
        when (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR (is_recurring IS NOT TRUE) OR (recurrence_pattern IS NOT NULL))) is false then 'A recurring message needs a recurrence pattern, such as daily, weekly or monthly.'
        when (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR ((scheduled_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (scheduled_at < '2200-01-01 00:00:00+00'::timestamp with time zone) AND ((recurrence_end_at IS NULL) OR ((recurrence_end_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (recurrence_end_at < '2200-01-01 00:00:00+00'::timestamp with time zone))) AND ((not_after IS NULL) OR ((not_after >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (not_after < '2200-01-01 00:00:00+00'::timestamp with time zone))) AND ((next_scheduled_at IS NULL) OR ((next_scheduled_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (next_scheduled_at < '2201-01-01 00:00:00+00'::timestamp with time zone)))))) is false then 'The times must lie between the years 2000 and 2199.'
        when (((status <> 'sent'::text) OR ((sent_at IS NOT NULL) AND (message_id IS NOT NULL)))) is false then 'What is sent has a time and an id.'
        when ((((series_anchor IS NULL) = (occurrence_at IS NULL)) AND ((series_anchor IS NULL) OR (series_id IS NOT NULL)))) is false then 'An occurrence belongs to a series.'
        when ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'sent'::text, 'failed'::text, 'unconfirmed'::text, 'cancelled'::text, 'in_queue'::text]))) is false then 'There is no such status.'
        when (((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR (lower(btrim(type)) = ANY (ARRAY[''::text, 'text'::text, 'chat'::text, 'media'::text, 'file'::text, 'image'::text, 'photo'::text, 'picture'::text, 'video'::text, 'gif'::text, 'audio'::text, 'voice'::text, 'ptt'::text, 'document'::text, 'pdf'::text, 'template'::text])))) is false then 'The type must be text, media, image, video, audio, voice, document, file or template.'
        when (((variables IS NULL) OR ((jsonb_typeof(variables) = 'object'::text) AND (length((variables)::text) <= 16384)))) is false then 'The variables are an object of names and values, at most 16 kB of it.'
    end
    into v_words
    from (select new.*) as scheduled_messages;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$_$;

CREATE FUNCTION private.refuse_nonsense_in_appointments() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_words text;
begin
    select case
        when new.connection_id is null then 'The connection id is missing.'
        when new.created_at is null then 'The created at is missing.'
        when new.date is null then 'The date is missing.'
        when new.id is null then 'The id is missing.'
        when new.owner_id is null then 'The owner id is missing.'
        when new.status is null then 'The status is missing.'
        when new."time" is null then 'The time is missing.'
        when new.updated_at is null then 'The updated at is missing.'
        when new.variables is null then 'The variables is missing.'
        when (((COALESCE(length(patient_name), 0) <= 256) AND (COALESCE(length(mobile), 0) <= 64) AND (COALESCE(length(doctor_name), 0) <= 256) AND (COALESCE(length(specialty), 0) <= 256) AND (COALESCE(length(contact_id), 0) <= 256))) is false then 'A name or a number of the appointment is too long.'
        when ((((date >= '2000-01-01'::date) AND (date <= '2199-12-31'::date)) AND ((followup_date >= '2000-01-01'::date) AND (followup_date <= '2199-12-31'::date)))) is false then 'The dates must lie between the years 2000 and 2199.'
        when ((status = ANY (ARRAY['booked'::text, 'visited'::text, 'cancelled'::text, 'no_show'::text]))) is false then 'An appointment is booked, visited, cancelled or no_show.'
        when (((jsonb_typeof(variables) = 'object'::text) AND (length((variables)::text) <= 16384))) is false then 'The variables are an object of names and values, at most 16 kB of it.'
    end
    into v_words
    from (select new.*) as appointments;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$$;

CREATE FUNCTION private.refuse_nonsense_in_campaigns() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_words text;
begin
    select case
        when new.at_daily_limit is null then 'The at daily limit is missing.'
        when new.audience is null then 'The audience is missing.'
        when new.connection_id is null then 'The connection id is missing.'
        when new.created_at is null then 'The created at is missing.'
        when new.give_up_after is null then 'The give up after is missing.'
        when new.id is null then 'The id is missing.'
        when new.is_recurring is null then 'The is recurring is missing.'
        when new.message is null then 'The message is missing.'
        when new.name is null then 'The name is missing.'
        when new.owner_id is null then 'The owner id is missing.'
        when new.revision is null then 'The revision is missing.'
        when new.status is null then 'The status is missing.'
        when new.stop_at_failures is null then 'The stop at failures is missing.'
        when new.type is null then 'The type is missing.'
        when new.updated_at is null then 'The updated at is missing.'
        when new.variables is null then 'The variables is missing.'
        when new.zone_of is null then 'The zone of is missing.'
        when ((at_daily_limit = ANY (ARRAY['defer'::text, 'fail'::text]))) is false then 'At the daily limit a campaign waits (defer) or fails (fail).'
        when (((jsonb_typeof(audience) = 'object'::text) AND (length((audience)::text) <= 4194304))) is false then 'The audience is an object, such as {"labels": ["customers"]}, of at most 4 MB.'
        when (((give_up_after >= '00:01:00'::interval) AND (give_up_after <= '7 days'::interval))) is false then 'A campaign gives up after a minute at the earliest and seven days at the latest.'
        when (((length(message) <= 8192) AND (COALESCE(length(caption), 0) <= 8192) AND (COALESCE(length(media_url), 0) <= 4096) AND (COALESCE(length((media)::text), 0) <= 16384) AND (COALESCE(length(recurrence_pattern), 0) <= 1024))) is false then 'The message, or a part of it, is too long.'
        when ((max_recipients >= 1)) is false then 'The most recipients must be one or more.'
        when (((name ~ '\S'::text) AND (length(name) <= 200))) is false then 'A campaign needs a name of at most 200 characters.'
        when (((next_run_at IS NULL) OR (status = ANY (ARRAY['scheduled'::text, 'paused'::text])))) is false then 'Only what is scheduled or paused has a next run.'
        when (((NOT is_recurring) OR (recurrence_pattern IS NOT NULL))) is false then 'A recurring campaign needs a recurrence pattern, such as daily, weekly or monthly.'
        when (((scheduled_at >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (scheduled_at < '2200-01-01 00:00:00+00'::timestamp with time zone))) is false then 'The times must lie between the years 2000 and 2199.'
        when ((status = ANY (ARRAY['draft'::text, 'scheduled'::text, 'paused'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))) is false then 'There is no such status of a campaign.'
        when (((stop_at_failures >= (0)::numeric) AND (stop_at_failures <= (1)::numeric))) is false then 'The share of failures that stops a campaign lies between 0 and 1.'
        when ((type = ANY (ARRAY['text'::text, 'media'::text, 'image'::text, 'video'::text, 'audio'::text, 'document'::text]))) is false then 'A campaign sends a text, an image, a video, an audio or a document.'
        when (((jsonb_typeof(variables) = 'object'::text) AND (length((variables)::text) <= 65536))) is false then 'The variables are an object of names and values, at most 64 kB of it.'
        when ((zone_of = ANY (ARRAY['campaign'::text, 'recipient'::text]))) is false then 'The time zone is the campaign''s or the recipient''s.'
        when new.owner_id is not null and new.template_id is not null and not exists (select from public.message_templates as r where r.owner_id = new.owner_id and r.id = new.template_id) then 'There is no such template of yours.'
    end
    into v_words
    from (select new.*) as campaigns;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$$;

CREATE FUNCTION private.refuse_nonsense_in_connection_invitations() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_words text;
begin
    select case
        when new.connection_id is null then 'The connection id is missing.'
        when new.created_at is null then 'The created at is missing.'
        when new.expires_at is null then 'The expires at is missing.'
        when new.id is null then 'The id is missing.'
        when new.owner_id is null then 'The owner id is missing.'
        when new.role is null then 'The role is missing.'
        when new.token_hash is null then 'The token hash is missing.'
        when ((role = ANY (ARRAY['admin'::text, 'staff'::text]))) is false then 'An invitation makes somebody admin or staff.'
    end
    into v_words
    from (select new.*) as connection_invitations;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$$;

CREATE FUNCTION private.refuse_nonsense_in_connection_members() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_words text;
begin
    select case
        when new.connection_id is null then 'The connection id is missing.'
        when new.created_at is null then 'The created at is missing.'
        when new.owner_id is null then 'The owner id is missing.'
        when new.role is null then 'The role is missing.'
        when new.user_id is null then 'The user id is missing.'
        when ((invitation IS NULL)) is false then 'An invitation is not kept.'
        when ((length(name) <= 200)) is false then 'The name of a member has at most 200 characters.'
        when ((role = ANY (ARRAY['admin'::text, 'staff'::text]))) is false then 'A member is admin or staff.'
        when new.user_id is not null and not exists (select from auth.users as r where r.id = new.user_id) then 'There is no such user.'
    end
    into v_words
    from (select new.*) as connection_members;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$$;

CREATE FUNCTION private.refuse_nonsense_in_connection_settings() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $_$
declare
    v_words text;
begin
    select case
        when new.active is null then 'The active is missing.'
        when new.approval is null then 'The approval is missing.'
        when new.at_daily_limit is null then 'The at daily limit is missing.'
        when new.burst is null then 'The burst is missing.'
        when new.connection_id is null then 'The connection id is missing.'
        when new.enabled is null then 'The enabled is missing.'
        when new.jitter_seconds is null then 'The jitter seconds is missing.'
        when new.updated_at is null then 'The updated at is missing.'
        when ((approval = ANY (ARRAY['none'::text, 'campaigns'::text]))) is false then 'Either no campaign or all campaigns wait for another admin''s approval: none or campaigns.'
        when ((at_daily_limit = ANY (ARRAY['defer'::text, 'fail'::text]))) is false then 'At the daily limit messages wait (defer) or fail (fail).'
        when (((burst >= 1) AND (burst <= COALESCE(messages, 1)))) is false then 'The burst is at least 1, and at most the messages in a period.'
        when ((country_code ~ '^[A-Z]{2}$'::text)) is false then 'The country is its code of two capital letters, such as IN.'
        when ((daily_limit >= 0)) is false then 'The daily limit is 0 or more.'
        when ((length(display_name) <= 200)) is false then 'The name that is shown has at most 200 characters.'
        when (((jitter_seconds = (0)::double precision) OR (messages IS NOT NULL))) is false then 'Jitter needs a pace: messages and period_seconds.'
        when (((jitter_seconds >= (0)::double precision) AND (jitter_seconds <= (3600)::double precision))) is false then 'The jitter is 0 to 3,600 seconds.'
        when (((messages >= 1) AND (messages <= 100000))) is false then 'The messages in a period are 1 to 100,000.'
        when (((period_seconds >= (0.1)::double precision) AND (period_seconds <= (86400)::double precision))) is false then 'The period is 0.1 to 86,400 seconds.'
        when (((messages IS NULL) = (period_seconds IS NULL))) is false then 'A pace needs both messages and period_seconds.'
        when (((recipient_interval_seconds >= (0)::double precision) AND (recipient_interval_seconds <= (86400)::double precision))) is false then 'Between two messages to one recipient lie 0 to 86,400 seconds.'
        when (((length(sender) >= 1) AND (length(sender) <= 256))) is false then 'The sender is a name of 1 to 256 characters.'
        when (((num_nulls(warm_up_from, warm_up_days, warm_up_limit) = ANY (ARRAY[0, 3])) AND ((warm_up_from IS NULL) OR (daily_limit IS NOT NULL)))) is false then 'Warming up needs warm_up_from, warm_up_days, warm_up_limit and a daily limit.'
        when (((warm_up_days >= 1) AND (warm_up_days <= 365))) is false then 'Warming up takes 1 to 365 days.'
        when ((warm_up_limit >= 1)) is false then 'Warming up begins with a limit of 1 or more.'
        when ((((window_start IS NULL) = (window_end IS NULL)) AND (window_start <> window_end))) is false then 'Sending hours need both a beginning and an end, and they differ.'
        when new.gateway is not null and not exists (select from private.gateways as r where r.name = new.gateway) then 'There is no such gateway.'
    end
    into v_words
    from (select new.*) as connection_settings;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$_$;

CREATE FUNCTION private.refuse_nonsense_in_message_templates() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $_$
declare
    v_words text;
begin
    select case
        when new.body is null then 'The body is missing.'
        when new.category is null then 'The category is missing.'
        when new.created_at is null then 'The created at is missing.'
        when new.defaults is null then 'The defaults is missing.'
        when new.id is null then 'The id is missing.'
        when new.language is null then 'The language is missing.'
        when new.name is null then 'The name is missing.'
        when new.on_missing is null then 'The on missing is missing.'
        when new.owner_id is null then 'The owner id is missing.'
        when new.parts is null then 'The parts is missing.'
        when new.type is null then 'The type is missing.'
        when new.updated_at is null then 'The updated at is missing.'
        when new.variables is null then 'The variables is missing.'
        when new.version is null then 'The version is missing.'
        when ((length(body) <= 65536)) is false then 'The text of a template is longer than 65,536 characters.'
        when ((category = ANY (ARRAY['marketing'::text, 'utility'::text]))) is false then 'A template is marketing or utility.'
        when (((cloud IS NULL) OR ((jsonb_typeof(cloud) = 'object'::text) AND (jsonb_typeof((cloud -> 'name'::text)) = 'string'::text) AND (jsonb_typeof((cloud -> 'language'::text)) = 'string'::text) AND (COALESCE(jsonb_typeof((cloud -> 'parameters'::text)), 'array'::text) = 'array'::text) AND (COALESCE((cloud ->> 'format'::text), 'positional'::text) = ANY (ARRAY['positional'::text, 'named'::text])) AND (NOT jsonb_path_exists(cloud, '$."parameters"[*]?(@.type() != "string")'::jsonpath)) AND ((COALESCE(jsonb_typeof((cloud -> 'header'::text)), 'string'::text) = 'string'::text) OR ((jsonb_typeof((cloud -> 'header'::text)) = 'object'::text) AND (((cloud -> 'header'::text) ->> 'type'::text) = ANY (ARRAY['image'::text, 'video'::text, 'document'::text])) AND (COALESCE(jsonb_typeof(((cloud -> 'header'::text) -> 'link'::text)), 'string'::text) = 'string'::text))) AND (length((cloud)::text) <= 8192)))) is false then 'The approved template needs its name and language, a list of the names that fill it, and as its header a name, or an image, a video or a document.'
        when ((((type <> 'text'::text) AND (COALESCE(media_url, ''::text) <> ''::text)) OR ((type = 'text'::text) AND (body ~ '\S'::text)))) is false then 'A template needs a text, or a link to its file.'
        when (((jsonb_typeof(defaults) = 'object'::text) AND (length((defaults)::text) <= 16384))) is false then 'The defaults of a template are an object of names and values, at most 16 kB of it.'
        when ((language ~ '^[a-z]{2,3}([_-][A-Za-z]{2,4})?$'::text)) is false then 'The language of a template is a code such as en, hi or pt_BR.'
        when (((name ~ '\S'::text) AND (length(name) <= 200))) is false then 'A template needs a name of at most 200 characters.'
        when ((on_missing = ANY (ARRAY['fault'::text, 'blank'::text]))) is false then 'What has no value is a fault or blank.'
        when ((type = ANY (ARRAY['text'::text, 'image'::text, 'video'::text, 'audio'::text, 'document'::text, 'media'::text]))) is false then 'A template is a text, an image, a video, an audio or a document.'
    end
    into v_words
    from (select new.*) as message_templates;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$_$;

CREATE FUNCTION private.refuse_nonsense_in_reminder_rules() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_words text;
begin
    select case
        when new.anchor is null then 'The anchor is missing.'
        when new.connection_id is null then 'The connection id is missing.'
        when new.created_at is null then 'The created at is missing.'
        when new.day_offset is null then 'The day offset is missing.'
        when new.enabled is null then 'The enabled is missing.'
        when new.id is null then 'The id is missing.'
        when new.name is null then 'The name is missing.'
        when new.number is null then 'The number is missing.'
        when new.owner_id is null then 'The owner id is missing.'
        when new.template_id is null then 'The template id is missing.'
        when new.updated_at is null then 'The updated at is missing.'
        when new.when_past is null then 'The when past is missing.'
        when ((anchor = ANY (ARRAY['booked'::text, 'date'::text, 'followup_date'::text]))) is false then 'A rule goes by booked, date or followup_date.'
        when (((name ~ '\S'::text) AND (length(name) <= 200))) is false then 'A rule needs a name of at most 200 characters.'
        when ((((day_offset >= '-366'::integer) AND (day_offset <= 366)) AND ((COALESCE(shift, '00:00:00'::interval) >= '-366 days'::interval) AND (COALESCE(shift, '00:00:00'::interval) <= '366 days'::interval)))) is false then 'A reminder lies within a year of its date.'
        when ((when_past = ANY (ARRAY['skip'::text, 'now'::text]))) is false then 'What is past is skipped (skip) or sent at once (now).'
        when new.owner_id is not null and new.template_id is not null and not exists (select from public.message_templates as r where r.owner_id = new.owner_id and r.id = new.template_id) then 'There is no such template of yours.'
    end
    into v_words
    from (select new.*) as reminder_rules;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$$;

CREATE FUNCTION private.refuse_strange_connection() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    if not exists (
        select 1 from public.connections as c where c.id::text = new.connection_id
    ) then
        raise exception 'There is no such connection of yours.' using errcode = '42501';
    end if;
    return new;
end
$$;

CREATE FUNCTION private.refuse_transition(p_old text, p_new text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_ours constant text[] := '{pending,processing,sent,failed,unconfirmed,cancelled,in_queue}';
    v_rests constant boolean := p_old in ('pending', 'failed', 'cancelled') or p_old <> all(v_ours);
begin
    if p_old = 'sent' then
        raise exception 'This message was already sent and can no longer be changed.'
            using errcode = 'PT409';
    elsif p_old = 'unconfirmed' then
        raise exception using errcode = 'PT409', message = 'This message may have been sent. '
            || 'Ask the operator to settle it before you change it.';
    elsif p_new <> p_old and not (
        (p_new = 'pending' and p_old in ('processing', 'failed', 'cancelled', 'in_queue'))
        or (p_new = 'cancelled' and p_old in ('pending', 'processing', 'in_queue'))
        -- The project's own statuses, which the daemon leaves alone.
        or (p_new <> all(v_ours) and v_rests)
        or (p_new in ('pending', 'cancelled') and p_old <> all(v_ours))
    ) then
        raise exception 'This message is % and cannot be made %.', p_old, p_new
            using errcode = 'PT409';
    end if;
end
$$;

CREATE FUNCTION private.rehearse() RETURNS TABLE(level text, what text, remedy text)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
declare
    v_act text;
    v_failed boolean := false;
    v_state text;
    v_words text;
    v_table text;
    v_column text;
    v_constraint text;
    v_context text;
begin
    foreach v_act in array array[
        'private.try_out', 'private.rehearse_sending', 'private.rehearse_writing'
    ] loop
        continue when v_failed and v_act = 'private.rehearse_sending'; -- it would tell the same
        begin
            execute format('select %s()', v_act);
        exception
            when sqlstate 'PT299' then
                continue;
            when others then
                get stacked diagnostics
                    v_state = returned_sqlstate,
                    v_words = message_text,
                    v_table = table_name,
                    v_column = column_name,
                    v_constraint = constraint_name,
                    v_context = pg_exception_context;
        end;
        -- What is made up may break the project's own rules: that tells nothing of its real rows.
        continue when v_state ~ '^2[23]'
            and (v_act = 'private.rehearse_writing' or v_context like '%private.make_up(%');
        v_failed := true;
        return query
        select
            case v_act when 'private.rehearse_writing' then 'warning' else 'failure' end,
            format(
                'a rehearsal, which was undone, could not %s: %s, at: %s',
                case v_act
                    when 'private.rehearse_writing' then 'write as a connection''s owner'
                    else 'send a message'
                end,
                fault.what,
                left(regexp_replace(coalesce(
                    (regexp_match(v_context, 'SQL statement "([^"]*)'))[1], v_act
                ), '\s+', ' ', 'g'), 120)
            ),
            fault.remedy
        from private.explain_fault(
            v_state, v_words, v_table, v_column, v_constraint, v_context
        ) as fault
        -- So may a trigger of connections, for one, on which a rehearsal makes one up.
        where v_context not like '%private.make_up(%' or fault.remedy not like 'Look at%';
    end loop;
end
$$;

CREATE FUNCTION private.rehearse_portion(p_rehearsal public.campaign_rehearsals, p_campaign public.campaigns, p_limit integer, p_rules_version text, p_gateway text, p_fault text, OUT rehearsal public.campaign_rehearsals, OUT worked integer, OUT to_judge text[]) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_candidates private.candidate[];
    v_faults jsonb;
begin
    rehearsal := p_rehearsal;
    worked := 0;
    select
        array_agg(candidate.*),
        array_agg(distinct (candidate.recipient).raw)
            filter (where not (candidate.recipient).is_judged)
    into v_candidates, to_judge
    from private.next_recipients(
        p_campaign, rehearsal.template_version, rehearsal.starts_at, rehearsal.frozen_key, p_limit,
        p_rules_version, p_gateway
    ) as candidate;
    if to_judge is not null and p_rules_version is not null then
        return;
    end if;
    with line as materialized (
        select
            rehearsal.progress + given.nth as position,
            given.recipient as it,
            given.due_at,
            case
                when (given.recipient).fault is null and (given.is_repeated or earlier.is_there)
                    then 'duplicate'
                else coalesce(
                    (given.recipient).fault_kind, case when p_fault is not null then 'content' end
                )
            end as fault_kind
        from unnest(v_candidates) with ordinality
            as given (recipient, key, is_repeated, due_at, nth)
        left join lateral (
            select true as is_there
            from public.campaign_rehearsal_lines as before
            where before.lines_id = rehearsal.lines_id
                and before.address = (given.recipient).address
                and before.fault is null
                and before.position <= rehearsal.progress
            limit 1
        ) as earlier on true
    ),
    written as (
        insert into public.campaign_rehearsal_lines as kept (
            lines_id, position, contact_id, name, address, variables, timezone, due_at, fault,
            fault_kind, is_checked
        )
        select
            rehearsal.lines_id,
            line.position,
            (line.it).contact_id,
            (line.it).name,
            coalesce((line.it).address, (line.it).raw),
            (line.it).variables,
            (line.it).timezone,
            line.due_at,
            case line.fault_kind
                when 'duplicate' then 'This number is in the audience already.'
                when 'content' then p_fault
                else (line.it).fault
            end,
            line.fault_kind,
            (line.it).is_judged
        from line
        on conflict (lines_id, position) do update
        set
            contact_id = excluded.contact_id,
            name = excluded.name,
            address = excluded.address,
            variables = excluded.variables,
            timezone = excluded.timezone,
            due_at = excluded.due_at,
            fault = excluded.fault,
            fault_kind = excluded.fault_kind,
            is_checked = excluded.is_checked
        returning kept.fault_kind, kept.is_checked, kept.due_at
    )
    select
        sum(counted.number),
        rehearsal.will_be_sent + coalesce(
            sum(counted.number) filter (where counted.fault_kind is null and counted.is_checked), 0
        ),
        rehearsal.duplicates + coalesce(
            sum(counted.number) filter (where counted.fault_kind = 'duplicate'), 0
        ),
        rehearsal.opted_out + coalesce(
            sum(counted.number) filter (where counted.fault_kind = 'opted_out'), 0
        ),
        jsonb_object_agg(
            counted.fault_kind,
            counted.number + coalesce((rehearsal.faults -> counted.fault_kind)::integer, 0)
        ) filter (where counted.fault_kind not in ('duplicate', 'opted_out')),
        least(
            rehearsal.first_due_at,
            min(counted.first_due_at) filter (where counted.fault_kind is null)
        ),
        greatest(
            rehearsal.last_due_at,
            max(counted.last_due_at) filter (where counted.fault_kind is null)
        )
    into
        worked, rehearsal.will_be_sent, rehearsal.duplicates, rehearsal.opted_out, v_faults,
        rehearsal.first_due_at, rehearsal.last_due_at
    from (
        select
            written.fault_kind,
            written.is_checked or written.fault_kind is not null as is_checked,
            count(*)::integer as number,
            min(written.due_at) as first_due_at,
            max(written.due_at) as last_due_at
        from written
        group by 1, 2
    ) as counted;
    worked := coalesce(worked, 0);
    rehearsal.faults := rehearsal.faults || coalesce(v_faults, '{}');
    rehearsal.progress := rehearsal.progress + worked;
    rehearsal.frozen_key := coalesce(
        v_candidates[cardinality(v_candidates)].key, rehearsal.frozen_key
    );
end
$$;

CREATE FUNCTION private.rehearse_sending() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_token constant uuid := gen_random_uuid();
    v_connection text := 'rehearsal ' || v_token;
    v_ids uuid[] := '{}';
    v_jobs constant uuid[] := array[gen_random_uuid(), gen_random_uuid(), gen_random_uuid()];
    v_number integer;
    v_claimed text;
begin
    -- Three messages that recur, of a connection that nobody else has, due a minute ago.
    if exists (
        select from pg_catalog.pg_constraint as k
        where k.contype = 'f'
            and k.confrelid = 'public.connections'::regclass
            and k.conrelid in (
                'public.scheduled_messages'::regclass, 'public.broadcast_jobs'::regclass
            )
    ) then
        v_connection := private.make_up('public.connections', '{}') ->> 'id';
    end if;
    for v_number in 1..3 loop
        v_ids := v_ids || (
            private.make_up('public.scheduled_messages', jsonb_build_object(
                'connection_id', v_connection,
                'contact_id', '+1000000000' || v_number,
                'message', 'A rehearsal.',
                'type', 'text',
                'status', 'pending',
                'scheduled_at', now() + interval '1 day',
                'created_at', now() - interval '2 days',
                'is_recurring', true,
                'recurrence_pattern', 'daily',
                'timezone', 'UTC'
            )) ->> 'id'
        )::uuid;
    end loop;
    update public.scheduled_messages as s
    set scheduled_at = now() - interval '1 minute'
    where s.id = any(v_ids);
    perform private.expect_status(v_ids, 'pending');

    -- Each gets a job, and the next occurrence of its series a row.
    perform private.enqueue_rows(array(
        select jsonb_populate_record(null::private.planned_row, jsonb_build_object(
            'id', s.id,
            'revision', s.revision,
            'job_id', v_jobs[array_position(v_ids, s.id)],
            'recipient', s.contact_id,
            'timezone', 'UTC',
            'anchor', now()::timestamp,
            'occurrence', now(),
            'missed', 0,
            'next_at', now() + interval '1 day',
            'next_after', now() + interval '2 days',
            'soon', now(),
            'stage', 0
        ))
        from public.scheduled_messages as s
        where s.id = any(v_ids)
    ));
    perform private.expect_status(v_ids, 'processing');
    if (
        select count(*)
        from public.scheduled_messages as s
        join public.scheduled_messages as next on next.id = s.next_id and next.status = 'pending'
        where s.id = any(v_ids)
    ) < 3 then
        raise exception 'The next occurrence of a series was not stored.'
            using errcode = 'PT200', table = 'scheduled_messages';
    end if;

    -- All three are claimed.
    perform private.announce_work(array[v_connection], array[now()]);
    perform private.take_jobs(array[v_connection], 3, row(
        v_token, 60, 'mock', clock_timestamp(), 0.15, '0', 3, 60
    )::private.claim_terms);
    select string_agg(c.jobs::text, '') into v_claimed
    from public.claim_broadcast_jobs(v_token, 3, 60, 'mock') as c;
    if v_claimed is null or json_array_length(v_claimed::json) < 3 then
        raise exception 'What was enqueued could not be claimed.'
            using errcode = 'PT200', table = 'broadcast_jobs';
    end if;

    -- The first is sent, the second refused, by the longest words that there are.
    perform private.record_rows(array(
        select jsonb_populate_record(null::private.told_row, jsonb_build_object(
            'job_id', told.job_id,
            'token', v_token,
            'verdict', told.verdict,
            'message_id', told.message_id,
            'error', told.error,
            'wait', 0,
            'told_at', now(),
            'quietly', false
        ))
        from (
            values
            (v_jobs[1], 'sent', repeat('m', 200), null),
            (v_jobs[2], 'failed', null, repeat('e', 1900))
        ) as told (job_id, verdict, message_id, error)
    ));
    perform private.expect_status(v_ids[1:1], 'sent');
    perform private.expect_status(v_ids[2:2], 'failed');
    if (
        select count(*) from public.scheduled_messages as s
        where s.connection_id = v_connection and s.is_recurring
    ) > 6 then
        raise exception 'A trigger adds a message when a recurring one is sent, and so does the '
            'daemon: each would go out twice' using errcode = 'PT201', table = 'scheduled_messages';
    end if;

    -- Of the third nobody hears, until an operator lets it go out again.
    update public.broadcast_jobs as j
    set lease_until = now() - interval '1 second'
    where j.id = v_jobs[3];
    perform private.rescue_rows(array[jsonb_populate_record(
        null::private.late_row,
        jsonb_build_object('id', v_jobs[3], 'handover_seconds', 600, 'quietly', false)
    )]);
    perform private.expect_status(v_ids[3:3], 'unconfirmed');
    perform public.resolve_scheduled_message(v_ids[3], 'resend');
    perform private.expect_status(v_ids[3:3], 'pending');

    set constraints all immediate;
    raise exception 'undone' using errcode = 'PT299';
end
$$;

CREATE FUNCTION private.rehearse_writing() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_role constant text := current_user;
    v_owner record;
begin
    -- `user_id` is found one level up where the project's connections have none.
    select found.id, found.user_id into v_owner
    from (values (null::text)) as missing (user_id)
    cross join lateral (
        select c.id::text as id, user_id::text as user_id from public.connections as c
    ) as found
    where found.user_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    limit 1;
    if v_owner.user_id is not null then
        perform
            set_config('request.jwt.claim.sub', v_owner.user_id, true),
            set_config('request.jwt.claim.role', 'authenticated', true),
            set_config(
                'request.jwt.claims',
                json_build_object('sub', v_owner.user_id, 'role', 'authenticated')::text,
                true
            );
        set local role authenticated;
        insert into public.scheduled_messages (connection_id, contact_id, message, scheduled_at)
        values (v_owner.id, '+10000000000', 'A rehearsal.', now() + interval '1 day');
        execute format('set local role %I', v_role);
    end if;
    raise exception 'undone' using errcode = 'PT299';
end
$_$;

CREATE FUNCTION private.release_runs(p_campaign_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.remember_owner() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $_$
declare
    v_by_user constant boolean := tg_nargs > 0;
    v_owner text;
    v_has_settings boolean;
    v_chosen boolean;
begin
    if tg_op = 'DELETE' or (tg_op = 'UPDATE' and new.id is distinct from old.id) then
        insert into private.connection_owners as known (connection_id, owner_id)
        values (old.id::text, private.owner_of(old))
        on conflict (connection_id) do update
        set owner_id = excluded.owner_id
        where not known.is_held;
    end if;
    if tg_op = 'INSERT' or (tg_op = 'UPDATE' and new.id is distinct from old.id) then
        v_owner := private.owner_of(new);
        v_chosen := v_by_user
            and new.id::text !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
        update private.connection_owners as known
        set is_held = known.owner_id is distinct from v_owner
                and (v_owner is not null or v_by_user),
            is_chosen = v_chosen
        where known.connection_id = new.id::text;
        if not found then
            v_has_settings := v_by_user and exists (
                select 1 from public.connection_settings as settings
                where settings.connection_id = new.id::text
            );
            if v_chosen or v_has_settings then
                insert into private.connection_owners (
                    connection_id, owner_id, is_held, is_chosen
                ) values (
                    new.id::text,
                    case when not v_has_settings then v_owner end,
                    v_has_settings,
                    v_chosen
                );
            end if;
        end if;
        -- A pause is looked at again.
        update private.connection_state as state
        set ready_at = now(),
            probe_at = case when state.paused_reason is not null then now() end
        where state.connection_id = new.id::text;
    elsif tg_op = 'UPDATE' then
        update private.connection_owners as known
        set owner_id = case when known.is_held then known.owner_id else private.owner_of(new) end,
            is_held = known.is_held and known.owner_id is distinct from private.owner_of(new)
        where known.connection_id = new.id::text;
    end if;
    return null;
end
$_$;

CREATE FUNCTION private.remind_of_booked() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    perform private.try_reminders(array(select booked.id from new_appointments as booked), true);
    return null;
end
$$;

CREATE FUNCTION private.remind_of_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_nestloop TO 'off'
    AS $$
begin
    -- Its own word on what is wrong is no change, nor is a column that the project has added.
    perform private.try_reminders(array_agg(new_row.id), true)
    from new_appointments as new_row
    join old_appointments as old_row on old_row.id = new_row.id
    where (
        new_row.owner_id,
        new_row.connection_id,
        new_row.contact_id,
        new_row.patient_name,
        new_row.mobile,
        new_row.date,
        new_row.time,
        new_row.timezone,
        new_row.doctor_name,
        new_row.specialty,
        new_row.followup_date,
        new_row.status,
        new_row.variables
    ) is distinct from (
        old_row.owner_id,
        old_row.connection_id,
        old_row.contact_id,
        old_row.patient_name,
        old_row.mobile,
        old_row.date,
        old_row.time,
        old_row.timezone,
        old_row.doctor_name,
        old_row.specialty,
        old_row.followup_date,
        old_row.status,
        old_row.variables
    );
    return null;
end
$$;

CREATE FUNCTION private.render(p_parts text[], p_values jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    AS $$
declare
    v_text text := p_parts[1];
begin
    for v_place in 2..cardinality(p_parts) by 2 loop
        v_text := v_text || coalesce(p_values ->> p_parts[v_place], '') || p_parts[v_place + 1];
    end loop;
    return v_text;
end
$$;

CREATE FUNCTION private.render_after_contact() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
begin
    perform private.render_again(array(
        select message.id
        from public.scheduled_messages as message
        where message.contact_id = new.id::text and message.template_id is not null
    ));
    return null;
end
$$;

CREATE FUNCTION private.render_after_template() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
begin
    if tg_op = 'DELETE' then
        update public.scheduled_messages as message
        set
            template_id = null,
            variables = null
        where message.template_id = old.id and message.status = 'pending';
    else
        perform private.render_again(array(
            select message.id
            from public.scheduled_messages as message
            where message.template_id = new.id
        ));
    end if;
    return null;
end
$$;

CREATE FUNCTION private.render_again(p_messages uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    AS $$
begin
    perform set_config('scheduled_messages.is_rendered', 'on', true);
    update public.scheduled_messages as message
    set
        status = case when made.fault is null then 'pending' else 'failed' end,
        error = made.fault,
        type = (made.rendered).type,
        message = (made.rendered).message,
        caption = (made.rendered).caption,
        media_url = (made.rendered).media_url,
        category = (made.rendered).category,
        template = (made.rendered).template
    from private.rendered_anew(p_messages) as made
    where message.id = made.id;
    perform set_config('scheduled_messages.is_rendered', '', true);
end
$$;

CREATE FUNCTION private.render_message() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_by_user constant boolean := tg_nargs > 0;
    v_template public.message_templates;
    v_given jsonb;
    v_made record;
begin
    if tg_op = 'UPDATE' and (
        old.status in ('sent', 'unconfirmed')
        or old.source_id is not null
        or (old.broadcast_job_id is not null and not private.withdraw_job(old.broadcast_job_id))
    ) then
        return new; -- the guards know what to say of it
    end if;
    v_template := private.usable_template(new, v_by_user);
    if v_template.id is not null then
        select person.given into v_given
        from private.people(
            array[new.contact_id],
            v_template.variables || private.names_of_approved(v_template.cloud)
        ) as person
        where private.is_contact_of(person.owner, new, v_template);
    end if;
    select made.* into v_made from private.render_with(new, v_template, v_given) as made;
    if v_made.fault is null then
        return v_made.rendered;
    elsif v_by_user then
        raise exception using message = v_made.fault,
            errcode = case when v_template.id is null then '42501' else 'PT400' end;
    end if;
    new.message := coalesce(new.message, '');
    if new.status = 'pending' then
        new.status := 'failed';
        new.error := v_made.fault;
    end if;
    return new;
end
$$;

CREATE FUNCTION private.render_with(p_message public.scheduled_messages, p_template public.message_templates, p_given jsonb, OUT rendered public.scheduled_messages, OUT fault text) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_values jsonb;
    v_needed text[];
    v_text text;
begin
    rendered := p_message;
    if p_template.id is null then
        fault := 'There is no such template for this connection. Choose another one.';
        return;
    end if;
    v_values := private.values_of(p_template.defaults)
        || coalesce(p_given, '{}')
        || private.values_of(p_message.variables);
    v_needed := case when p_template.on_missing = 'fault' then p_template.variables else '{}' end
        || case when private.goes_by_cloud(p_message.connection_id)
            then private.names_of_approved(p_template.cloud) else '{}' end;
    if not v_values ?& v_needed then
        select 'No value for {' || string_agg(distinct lacking.name, '}, {') || '}.' into fault
        from unnest(v_needed) as lacking (name)
        where not v_values ? lacking.name;
        return;
    end if;
    v_text := private.render(p_template.parts, v_values);
    rendered.type := p_template.type;
    rendered.media_url := p_template.media_url;
    rendered.message := case when p_template.type = 'text' then v_text else '' end;
    rendered.caption := case when p_template.type <> 'text' then nullif(v_text, '') end;
    rendered.category := p_template.category;
    rendered.template := private.fill_approved(
        p_template.cloud, v_values, p_template.media_url
    );
end
$$;

CREATE FUNCTION private.rendered_anew(p_messages uuid[]) RETURNS TABLE(id uuid, rendered public.scheduled_messages, fault text)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET enable_nestloop TO 'off'
    AS $$
begin
    return query
    with open as materialized (
        select whole_row as message
        from public.scheduled_messages as whole_row
        where whole_row.id = any(p_messages)
            and whole_row.source_id is null
            and (
                whole_row.status in ('pending', 'processing')
                or (
                    whole_row.status = 'failed'
                    and whole_row.broadcast_job_id is null
                    and whole_row.scheduled_at > now()
                    and whole_row.error ~ '^(No value for \{|There is no such template )'
                    and not exists (
                        select from auth.users as u
                        where u.id in (whole_row.owner_id, whole_row.created_by)
                            and private.is_suspended(to_jsonb(u))
                    )
                )
            )
        order by whole_row.id
        for no key update
    ),
    waiting as materialized (
        select
            open.message,
            (open.message).contact_id,
            private.usable_template(open.message, false) as template
        from open
        where (open.message).broadcast_job_id is null or (
            private.withdraw_job((open.message).broadcast_job_id)
            and not private.may_have_gone_out((open.message).broadcast_job_id)
        )
    ),
    person as materialized (
        select found.*
        from private.people(
            array(select distinct waiting.contact_id from waiting),
            array(
                select distinct unnest(
                    (waiting.template).variables
                    || private.names_of_approved((waiting.template).cloud)
                )
                from waiting
            )
        ) as found
    ),
    made as materialized (
        select private.render_with(waiting.message, waiting.template, case
            when private.is_contact_of(person.owner, waiting.message, waiting.template)
                then person.given
        end) as it
        from waiting
        left join person on person.contact_id = waiting.contact_id
    )
    select
        ((made.it).rendered).id,
        (made.it).rendered,
        (made.it).fault
    from made;
end
$$;

CREATE FUNCTION private.require_timezone(p_name text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_name constant text := private.timezone_name(p_name);
begin
    if v_name is null then
        raise exception using errcode = 'PT400', message = format(
            'There is no time zone %s. %s',
            quote_literal(left(p_name, 40)),
            coalesce(
                'Did you mean one of these: ' || private.nearest_timezones(left(p_name, 64)) || '?',
                'Write a name such as Asia/Kolkata.'
            )
        );
    end if;
    return v_name;
end
$$;

CREATE FUNCTION private.rescue_rows(p_rows private.late_row[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_done jsonb;
    v_parted uuid[];
begin
    -- `wanted`: whether its row still waits for it.
    with late as materialized (
        select
            job.id,
            job.scheduled_message_id,
            job.status,
            job.lease_until,
            private.hands_over(job.gateway) as is_handed_over,
            given.handover_seconds,
            given.quietly,
            exists (
                select 1 from public.scheduled_messages as message
                where message.id = any(array[job.scheduled_message_id])
                    and message.broadcast_job_id = job.id
                    and message.status = 'processing'
            ) as wanted
        from unnest(p_rows) as given
        join public.broadcast_jobs as job on job.id = any(array[given.id])
    ),
    -- What a daemon was sending may have gone out.
    unconfirmed as (
        update public.broadcast_jobs as job
        set status = 'unconfirmed',
            updated_at = now()
        from late
        where job.id = any(array[late.id])
            and late.status = 'sending'
            and not late.is_handed_over
        returning job.id, late.lease_until
    ),
    told_unconfirmed as (
        update public.broadcast_messages as entry
        set status = 'unconfirmed',
            error = 'It may have been sent: the sender stopped while it was sending, at about '
                || to_char(
                    unconfirmed.lease_until at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS'
                ) || ' UTC at the latest.',
            updated_at = now()
        from unconfirmed
        where entry.job_id = any(array[unconfirmed.id])
        returning entry.job_id, entry.parts
    ),
    -- What the Node worker was given it is given again.
    handed_over as (
        update public.broadcast_jobs as job
        set status = case when late.wanted then 'handed_over' else 'cancelled' end,
            lease_until = case
                when job.send_at > now() - interval '1 day' then now() + make_interval(
                    -- What may never have reached Redis is looked at once more, soon.
                    secs => case
                        when late.status = 'sending' then least(60, late.handover_seconds)
                        else late.handover_seconds
                    end
                )
            end,
            updated_at = now()
        from late
        where job.id = any(array[late.id]) and late.is_handed_over
        returning job.*, late.status as former_status, late.quietly
    ),
    told_handed_over as (
        update public.scheduled_messages as message
        set waiting_reason = 'the broadcast worker has had it since '
                || to_char(handed_over.send_at at time zone 'utc', 'YYYY-MM-DD HH24:MI')
                || ' UTC and has not told what became of it',
            updated_at = now()
        from handed_over
        where handed_over.former_status = 'handed_over'
            and not handed_over.quietly
            and message.id = any(array[handed_over.scheduled_message_id])
            and message.broadcast_job_id = handed_over.id
            and message.status = 'processing'
    ),
    again as (
        select
            handed_over.id,
            handed_over.scheduled_message_id,
            handed_over.connection_id,
            handed_over.recipient,
            handed_over.type,
            handed_over.message,
            handed_over.media_url,
            handed_over.caption,
            handed_over.media,
            handed_over.asset_id,
            handed_over.template,
            handed_over.user_id as owner_id,
            handed_over.attempts,
            handed_over.throttled,
            handed_over.gateway,
            null as sender,
            private.api_key_of(handed_over.connection_id) as api_key
        from handed_over
        where handed_over.status = 'handed_over' and handed_over.lease_until is not null
    )
    select
        (select coalesce(jsonb_agg('unconfirmed'::text), '[]') from unconfirmed)
        || (select coalesce(jsonb_agg(to_jsonb(again)), '[]') from again),
        (
            select array_agg(told_unconfirmed.job_id) from told_unconfirmed
            where told_unconfirmed.parts is not null
        )
    into v_done, v_parted;
    if v_parted is not null then
        perform private.settle_by_parts(v_parted); -- all may be known of them by now
    end if;
    return v_done;
end
$$;

CREATE FUNCTION private.resolve_rows(p_ids uuid[], p_outcome text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.retry_refused() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_patience constant text := current_setting('lock_timeout');
    v_due private.refused_rows[];
    v_told private.told_message[];
    v_tended uuid[];
begin
    v_due := array(
        select aside from private.refused_rows as aside
        where aside.step in ('record', 'settle', 'announce', 'note', 'tend')
            and aside.again_at <= now()
        order by aside.again_at
        limit 200
        for update skip locked
    );
    if v_due = '{}' then
        return;
    end if;
    perform set_config('lock_timeout', '5ms', true);
    perform private.record_or_put_aside(array(
        select jsonb_populate_record(null::private.told_row, due.outcome)
        from unnest(v_due) as due
        where due.step = 'record'
        order by due.id
    ));
    perform private.announce_work(array_agg(due.connection_id), array_agg(now()))
    from unnest(v_due) as due
    where due.step = 'announce';
    perform private.note_or_leave(due.outcome)
    from unnest(v_due) as due
    where due.step = 'note';
    v_told := array(
        select jsonb_populate_record(null::private.told_message, due.outcome)
        from unnest(v_due) as due
        where due.step = 'settle'
        order by due.id
    );
    perform private.put_aside(
        'settle', array_agg((v_told[said.place]).job_id), array_agg(said.code),
        array_agg(said.reason), array_agg(to_jsonb(v_told[said.place]))
    )
    from private.try_rows('settle_again', v_told, false) as tried
    cross join lateral jsonb_to_recordset(tried.refused) as said (
        place integer, code text, reason text
    )
    having count(*) > 0;
    v_tended := array(
        select due.id from unnest(v_due) as due where due.step = 'tend' order by due.id
    );
    perform private.put_aside(
        'tend', array_agg(v_tended[said.place]), array_agg(said.code), array_agg(said.reason), null
    )
    from private.try_rows('tend_rows', v_tended, false) as tried
    cross join lateral jsonb_to_recordset(tried.refused) as said (
        place integer, code text, reason text
    )
    having count(*) > 0;
    -- But those that were put aside anew.
    delete from private.refused_rows as aside
    using unnest(v_due) as due
    where aside.id = any(array[due.id])
        and aside.step = due.step
        and aside.again_at = due.again_at;
    perform set_config('lock_timeout', v_patience, true);
end
$$;

CREATE FUNCTION private.retry_run() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_by_user constant boolean := tg_nargs > 0;
    v_run public.campaign_runs;
    v_campaign public.campaigns;
    v_why text;
begin
    select run.* into v_run from public.campaign_runs as run where run.id = new.run_id;
    if v_run.id is null or (
        v_by_user
        and v_run.owner_id is distinct from auth.uid()
        and (v_run.connection_id, v_run.owner_id) not in (
            select
                mine.connection_id,
                mine.owner_id
            from private.my_connections() as mine
        )
    ) then
        raise exception 'There is no such run of yours.' using errcode = '42501';
    end if;
    if v_by_user then
        perform private.refuse_former_owner(
            v_run.connection_id, v_run.owner_id, array['admin', 'staff']
        );
        new.created_by := auth.uid();
    end if;
    if cardinality(new.statuses) = 0
        or not new.statuses <@ array['failed', 'unconfirmed', 'cancelled']
    then
        raise exception using errcode = 'PT400', message = 'What failed, is unconfirmed or was '
            || 'cancelled can be tried again, nothing else.';
    end if;

    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = v_run.campaign_id
    for no key update;
    perform from public.campaign_runs as run
    where run.id = v_run.id
    for no key update;
    perform private.fold_tallies(array[v_run.id]);
    select run.* into v_run from public.campaign_runs as run where run.id = new.run_id;
    if v_run.total is null then
        raise exception 'This run is still being prepared. Try again in a moment.'
            using errcode = 'PT409';
    elsif v_campaign.status in ('paused', 'cancelled') then
        raise exception using errcode = 'PT409', message = case v_campaign.status
            when 'paused' then 'This campaign is paused. Resume it first.'
            else 'This campaign was cancelled. Make a new one for those who are left.'
        end;
    end if;
    v_why := private.why_connection_cannot_send(v_run.connection_id);
    if v_why is not null then
        raise exception using errcode = 'PT400', message = v_why;
    end if;

    if v_run.failed > 0 and v_run.made_position = 0 then
        select
            begun.retried,
            begun.left_out
        into new.retried, new.left_out
        from private.begin_again(v_run, v_campaign, new.statuses) as begun;
    else
        select
            tries.retried,
            tries.left_out
        into new.retried, new.left_out
        from private.mark_tries(v_run, new.statuses) as tries;
    end if;
    if new.retried > 0 and v_campaign.status in ('completed', 'failed') then
        update public.campaigns as campaign
        set
            status = 'scheduled',
            status_reason = null,
            updated_at = now()
        where campaign.id = v_campaign.id;
    end if;
    new.owner_id := v_run.owner_id;
    new.connection_id := v_run.connection_id;
    new.created_at := now();
    return new;
end
$$;

CREATE FUNCTION private.rows_of_others(p_payers text[], p_after timestamp with time zone, p_until timestamp with time zone, p_share integer, p_limit integer) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    SET enable_sort TO 'off'
    SET enable_incremental_sort TO 'off'
    AS $$
declare
    v_most_payers constant integer := 2000;
    v_most_bytes_of_one constant bigint := 200000;
    v_most_bytes constant bigint := 2000000;
    v_start constant text := md5(random()::text);
    v_payer text := v_start;
    v_is_second_round boolean := false;
    v_due_at timestamptz;
    v_ids uuid[] := '{}';
    v_found uuid[];
    v_bytes bigint := 0;
    v_found_bytes bigint;
    v_next text;
begin
    for v_step in 1..v_most_payers loop
        -- The next payer, and when the first of theirs falls due.
        select
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
            s.due_at
        into v_next, v_due_at
        from public.scheduled_messages as s
        where (
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)), s.due_at
        ) > (v_payer, 'infinity')
            and s.due_at > '-infinity'
        order by
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
            s.due_at,
            s.id
        limit 1;
        if v_next is null and not v_is_second_round then
            v_is_second_round := true;
            v_payer := '';
            continue;
        end if;
        exit when v_next is null or (v_is_second_round and v_next > v_start);
        v_payer := v_next;
        continue when v_due_at > p_until or v_payer = any(p_payers);

        -- Their oldest.
        select
            array_agg(oldest.id),
            coalesce(sum(oldest.bytes), 0)
        into v_found, v_found_bytes
        from (
            select
                s.id,
                row_size.bytes,
                sum(row_size.bytes) over (
                    line rows between unbounded preceding and 1 preceding
                ) as bytes_before
            from public.scheduled_messages as s
            cross join lateral (
                select octet_length(s.message)
                    + coalesce(octet_length(s.caption), 0)
                    + coalesce(octet_length(s.media::text), 0)
                    + coalesce(octet_length(s.template::text), 0) as bytes
            ) as row_size
            where (
                md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                s.due_at
            ) > (v_payer, p_after)
                and (
                    md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                    s.due_at
                ) <= (v_payer, p_until)
                and s.due_at > '-infinity'
            window line as (
                order by
                    md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                    s.due_at,
                    s.id
            )
            order by
                md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)),
                s.due_at,
                s.id
            limit least(p_share, p_limit - cardinality(v_ids))
        ) as oldest
        where coalesce(oldest.bytes_before, 0) < v_most_bytes_of_one;
        v_ids := v_ids || coalesce(v_found, '{}');
        v_bytes := v_bytes + v_found_bytes;
        exit when cardinality(v_ids) >= p_limit or v_bytes > v_most_bytes;
    end loop;
    return query select unnest(v_ids);
end
$$;

CREATE FUNCTION private.run_state(p_run public.campaign_runs) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select case
        when p_run.sent = p_run.total - p_run.skipped then 'completed'
        when p_run.sent > 0 then 'partial'
        when p_run.failed > 0 then 'failed'
        when p_run.cancelled = p_run.total - p_run.skipped then 'cancelled'
        else 'partial'
    end
$$;

CREATE FUNCTION private.run_window(p_connection_id text, p_most integer) RETURNS integer
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select coalesce((
        select least(p_most,
            greatest(50, settings.messages * 120 / settings.period_seconds))::integer
        from public.connection_settings as settings
        where settings.connection_id = p_connection_id and settings.messages is not null
    ), p_most)
$$;

CREATE TABLE public.broadcast_jobs (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    connection_id text,
    type text DEFAULT 'text'::text NOT NULL,
    template_name text,
    variables jsonb,
    contacts text[] DEFAULT '{}'::text[],
    message text,
    media_url text,
    caption text,
    status text DEFAULT 'queued'::text NOT NULL,
    progress integer DEFAULT 0,
    total_contacts integer DEFAULT 0,
    sent_count integer DEFAULT 0,
    failed_count integer DEFAULT 0,
    skipped_count integer DEFAULT 0,
    schedule timestamp with time zone,
    speed text DEFAULT 'normal'::text,
    is_group boolean DEFAULT false,
    group_tag text,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    completed_at timestamp with time zone,
    user_id uuid,
    isprivatemessage boolean DEFAULT false,
    contact_id text,
    broadcast_name text,
    media text,
    asset_id uuid,
    error_message text,
    scheduled_message_id uuid,
    series_id uuid,
    recipient text,
    priority smallint DEFAULT 0 NOT NULL,
    template jsonb,
    gateway text,
    attempts integer DEFAULT 0 NOT NULL,
    throttled integer DEFAULT 0 NOT NULL,
    refusals integer DEFAULT 0 NOT NULL,
    refused_at timestamp with time zone,
    refusal text,
    available_at timestamp with time zone,
    expires_at timestamp with time zone,
    lease_token uuid,
    lease_until timestamp with time zone,
    send_at timestamp with time zone,
    send_until timestamp with time zone,
    retry_attempts integer,
    retry_delay_seconds double precision
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02');

COMMENT ON TABLE public.broadcast_jobs IS 'scheduled messages: broadcast jobs.';

COMMENT ON COLUMN public.broadcast_jobs.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.broadcast_jobs.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.broadcast_jobs.type IS 'scheduled messages: type.';

COMMENT ON COLUMN public.broadcast_jobs.template_name IS 'scheduled messages: template name.';

COMMENT ON COLUMN public.broadcast_jobs.variables IS 'scheduled messages: variables.';

COMMENT ON COLUMN public.broadcast_jobs.contacts IS 'scheduled messages: contacts.';

COMMENT ON COLUMN public.broadcast_jobs.message IS 'scheduled messages: message.';

COMMENT ON COLUMN public.broadcast_jobs.media_url IS 'scheduled messages: media url.';

COMMENT ON COLUMN public.broadcast_jobs.caption IS 'scheduled messages: caption.';

COMMENT ON COLUMN public.broadcast_jobs.status IS 'scheduled messages: status.';

COMMENT ON COLUMN public.broadcast_jobs.progress IS 'scheduled messages: progress.';

COMMENT ON COLUMN public.broadcast_jobs.total_contacts IS 'scheduled messages: total contacts.';

COMMENT ON COLUMN public.broadcast_jobs.sent_count IS 'scheduled messages: sent count.';

COMMENT ON COLUMN public.broadcast_jobs.failed_count IS 'scheduled messages: failed count.';

COMMENT ON COLUMN public.broadcast_jobs.skipped_count IS 'scheduled messages: skipped count.';

COMMENT ON COLUMN public.broadcast_jobs.schedule IS 'scheduled messages: schedule.';

COMMENT ON COLUMN public.broadcast_jobs.speed IS 'scheduled messages: speed.';

COMMENT ON COLUMN public.broadcast_jobs.is_group IS 'scheduled messages: is group.';

COMMENT ON COLUMN public.broadcast_jobs.group_tag IS 'scheduled messages: group tag.';

COMMENT ON COLUMN public.broadcast_jobs.created_at IS 'scheduled messages: created at.';

COMMENT ON COLUMN public.broadcast_jobs.updated_at IS 'scheduled messages: updated at.';

COMMENT ON COLUMN public.broadcast_jobs.completed_at IS 'scheduled messages: completed at.';

COMMENT ON COLUMN public.broadcast_jobs.user_id IS 'scheduled messages: user id.';

COMMENT ON COLUMN public.broadcast_jobs.isprivatemessage IS 'scheduled messages: isprivatemessage.';

COMMENT ON COLUMN public.broadcast_jobs.contact_id IS 'scheduled messages: contact id.';

COMMENT ON COLUMN public.broadcast_jobs.broadcast_name IS 'scheduled messages: broadcast name.';

COMMENT ON COLUMN public.broadcast_jobs.media IS 'scheduled messages: media.';

COMMENT ON COLUMN public.broadcast_jobs.asset_id IS 'scheduled messages: asset id.';

COMMENT ON COLUMN public.broadcast_jobs.error_message IS 'scheduled messages: error message.';

COMMENT ON COLUMN public.broadcast_jobs.scheduled_message_id IS 'scheduled messages: scheduled message id.';

COMMENT ON COLUMN public.broadcast_jobs.series_id IS 'scheduled messages: series id.';

COMMENT ON COLUMN public.broadcast_jobs.recipient IS 'scheduled messages: recipient.';

COMMENT ON COLUMN public.broadcast_jobs.priority IS 'scheduled messages: priority.';

COMMENT ON COLUMN public.broadcast_jobs.template IS 'scheduled messages: template.';

COMMENT ON COLUMN public.broadcast_jobs.gateway IS 'scheduled messages: gateway.';

COMMENT ON COLUMN public.broadcast_jobs.attempts IS 'scheduled messages: attempts.';

COMMENT ON COLUMN public.broadcast_jobs.throttled IS 'scheduled messages: throttled.';

COMMENT ON COLUMN public.broadcast_jobs.refusals IS 'scheduled messages: refusals.';

COMMENT ON COLUMN public.broadcast_jobs.refused_at IS 'scheduled messages: refused at.';

COMMENT ON COLUMN public.broadcast_jobs.refusal IS 'scheduled messages: refusal.';

COMMENT ON COLUMN public.broadcast_jobs.available_at IS 'scheduled messages: available at.';

COMMENT ON COLUMN public.broadcast_jobs.expires_at IS 'scheduled messages: expires at.';

COMMENT ON COLUMN public.broadcast_jobs.lease_token IS 'scheduled messages: lease token.';

COMMENT ON COLUMN public.broadcast_jobs.lease_until IS 'scheduled messages: lease until.';

COMMENT ON COLUMN public.broadcast_jobs.send_at IS 'scheduled messages: send at.';

COMMENT ON COLUMN public.broadcast_jobs.send_until IS 'scheduled messages: send until.';

COMMENT ON COLUMN public.broadcast_jobs.retry_attempts IS 'scheduled messages: retry attempts.';

COMMENT ON COLUMN public.broadcast_jobs.retry_delay_seconds IS 'scheduled messages: retry delay seconds.';

CREATE FUNCTION private.send_again(p_job public.broadcast_jobs, p_meaning text, p_words text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_id constant uuid := gen_random_uuid();
    v_wait constant double precision := case p_meaning
        when 'retry' then coalesce(p_job.retry_delay_seconds, 60) * (1 + random() / 4) else 0
    end;
    v_at constant timestamptz := now() + make_interval(secs => v_wait);
    v_said constant text := 'the broadcast worker says: ' || p_words;
begin
    update public.scheduled_messages as s
    set broadcast_job_id = v_id,
        status = 'processing',
        error = case
            when p_meaning = 'retry' then left(format(
                'try %s of %s at %s UTC: %s', p_job.attempts + 1, coalesce(p_job.retry_attempts, 3),
                to_char(
                    v_at at time zone 'utc',
                    case when v_wait < 43200 then 'HH24:MI' else 'YYYY-MM-DD HH24:MI' end
                ),
                p_words
            ), 2000)
        end,
        waiting_reason = case when p_meaning = 'stopped' then left(v_said, 500) end,
        waiting_until = null,
        updated_at = now()
    where s.id = p_job.scheduled_message_id
        and s.broadcast_job_id = p_job.id
        and s.status in ('processing', 'in_queue');
    if not found then
        return false;
    end if;

    insert into public.broadcast_jobs (
        id, scheduled_message_id, series_id, connection_id, recipient, contacts, contact_id,
        type, message, media_url, caption, media, asset_id, user_id, schedule, status,
        total_contacts, available_at, expires_at, broadcast_name, isprivatemessage, attempts,
        throttled, refusals, refused_at, refusal, priority, template
    )
    values (
        v_id, p_job.scheduled_message_id, p_job.series_id, p_job.connection_id, p_job.recipient,
        p_job.contacts, p_job.contact_id, p_job.type, p_job.message, p_job.media_url,
        p_job.caption, p_job.media, p_job.asset_id, p_job.user_id, p_job.schedule, 'queued', 1,
        v_at, p_job.expires_at, p_job.broadcast_name, true,
        p_job.attempts - (p_meaning = 'stopped')::integer, p_job.throttled, p_job.refusals,
        p_job.refused_at,
        case when p_meaning = 'stopped' then left(v_said, 500) else p_job.refusal end,
        p_job.priority, p_job.template
    );
    insert into public.broadcast_messages (
        id, job_id, scheduled_message_id, contact, message, type, media_url, caption, status
    )
    values (
        v_id, v_id, p_job.scheduled_message_id,
        regexp_replace(split_part(p_job.recipient, '@', 1), '\D', '', 'g'),
        p_job.message, p_job.type, p_job.media_url, p_job.caption, 'waiting'
    );
    perform private.announce_work(array[p_job.connection_id], array[v_at]);
    perform private.note_or_leave(jsonb_build_array(jsonb_build_object(
        'connection_id', p_job.connection_id, 'outcome', p_meaning, 'error', v_said,
        'available_at', v_at, 'send_at', p_job.send_at, 'recipient', p_job.recipient, 'id', v_id
    )));
    return true;
end
$$;

CREATE FUNCTION private.sent_until(p_connection_id text, p_from timestamp with time zone, p_step double precision, p_number bigint, p_until timestamp with time zone) RETURNS TABLE(reached_at timestamp with time zone, number bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.set_due_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    new.due_at := case when new.status = 'pending' and new.held is null then new.scheduled_at end;
    return new;
end
$$;

CREATE FUNCTION private.set_next_look(p_waiting private.waiting_connection[], p_now timestamp with time zone) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    update private.connection_state as state
    set waiting_reason = waiting.reason,
        waiting_until = waiting.until,
        told_at = waiting.told_at,
        told_id = waiting.told_id,
        told_until = waiting.told_until,
        many_told_at = waiting.many_told_at,
        many_told_id = waiting.many_told_id,
        many_told_until = waiting.many_told_until,
        turn_at = p_now,
        ready_at = case
            when waiting.has_more then p_now
            when state.paused_reason is not null and not state.is_on_trial then 'infinity'
            else greatest(
                p_now, waiting.look_at, least(
                    next_job.available_at, next_of_many.available_at, aside.again_at, 'infinity'
                )
            )
        end
    from unnest(p_waiting) as waiting
    left join lateral (
        select j.available_at from public.broadcast_jobs as j
        where j.connection_id = waiting.connection_id
            and j.priority = 0
            and j.status = 'queued'
            and j.scheduled_message_id is not null
            and (j.expires_at is null or j.expires_at > p_now)
            and j.id <> all(array(
                select r.id from private.refused_rows as r
                where r.step = 'claim' and r.again_at > p_now
            ))
        order by j.available_at
        limit 1
    ) as next_job on true
    -- Where that may go now, nothing can be sooner.
    left join lateral (
        select j.available_at from public.broadcast_jobs as j
        where (next_job.available_at is null or next_job.available_at > p_now)
            and j.connection_id = waiting.connection_id
            and j.priority = 1
            and j.status = 'queued'
            and j.scheduled_message_id is not null
            and (j.expires_at is null or j.expires_at > p_now)
            and j.id <> all(array(
                select r.id from private.refused_rows as r
                where r.step = 'claim' and r.again_at > p_now
            ))
        order by j.available_at
        limit 1
    ) as next_of_many on true
    left join lateral (
        select r.again_at from private.refused_rows as r
        where r.step = 'claim'
            and r.connection_id = waiting.connection_id
            and r.again_at > p_now
        order by r.again_at
        limit 1
    ) as aside on true
    where state.connection_id = any(array[waiting.connection_id])
$$;

CREATE FUNCTION private.settle(p_rows private.told_message[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    perform private.settle_rows(p_rows);
exception when others then
    if private.stops_everybody(sqlstate) then
        raise;
    end if;
    perform private.wait_less(sqlstate); -- what is still held has been waited for
    perform private.settle_or_put_aside(p_rows);
end
$$;

CREATE FUNCTION private.settle_again(p_rows private.told_message[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
begin
    update public.broadcast_messages as entry set updated_at = now()
    from unnest(p_rows) as told
    where entry.job_id = any(array[told.job_id]);
    perform private.settle(array(
        select told from unnest(p_rows) as told
        where not exists (
            select from public.broadcast_messages as entry
            where entry.job_id = any(array[told.job_id])
        )
    ));
    return '[]';
end
$$;

CREATE FUNCTION private.settle_by_parts(p_job_ids uuid[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
    -- The jobs, locked, and what became of each by now.
    with known as materialized (
        select
            job.id,
            job.scheduled_message_id,
            job.status as job_status,
            fate.*,
            (job.status = 'unconfirmed' and fate.status <> 'unconfirmed')
            or (job.status = 'sending' and fate.status = 'sent') as is_settled
        from (
            select distinct g.id from unnest(p_job_ids) as g (id) order by g.id
        ) as given
        cross join lateral (
            select j.id, j.scheduled_message_id, j.status from public.broadcast_jobs as j
            where j.id = given.id
            limit 1
            for update
        ) as job
        cross join lateral (
            select m.parts from public.broadcast_messages as m
            where m.job_id = job.id and m.parts is not null
            limit 1
        ) as entry
        cross join lateral private.fate(entry.parts) as fate
    ),
    settled as (
        update public.broadcast_jobs as job
        set status = case known.status when 'sent' then 'completed' else 'failed' end,
            progress = 100,
            completed_at = now(),
            updated_at = now()
        from known
        where job.id = any(array[known.id]) and known.is_settled
    ),
    told as (
        update public.broadcast_messages as entry
        set status = case when known.is_settled then known.status else entry.status end,
            message_id = coalesce(entry.message_id, known.message_id),
            delivery_status = known.delivery_status,
            error = case
                when known.is_settled or entry.status = 'sent' then known.error
                else entry.error
            end,
            sent_at = case
                when known.is_settled and known.status = 'sent' then now()
                else entry.sent_at
            end,
            updated_at = now()
        from known
        where entry.job_id = any(array[known.id])
    )
    select;

    -- And the rows that were sent already.
    update public.scheduled_messages as message
    set delivery_status = entry.delivery_status,
        error = entry.error,
        updated_at = now()
    from unnest(p_job_ids) as given (id)
    cross join lateral (
        select m.scheduled_message_id, m.delivery_status, m.error
        from public.broadcast_messages as m
        where m.job_id = given.id and m.status = 'sent' and m.parts is not null
        limit 1
    ) as entry
    where message.id = any(array[entry.scheduled_message_id])
        and message.broadcast_job_id = given.id
        and message.status = 'sent'
        and (message.delivery_status, message.error)
        is distinct from (entry.delivery_status, entry.error)
$$;

CREATE FUNCTION private.settle_job_of_node_worker() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
declare
    v_began constant boolean := old.status not in ('sending', 'handed_over', 'delayed');
    v_words constant text := nullif(to_jsonb(new) ->> 'error_message', '');
    v_meaning text := private.meaning_of(v_words);
begin
    if not private.hands_over(new.gateway) or exists (
        select 1 from public.broadcast_messages as m
        where m.job_id = new.id and m.status in ('sent', 'failed', 'skipped')
    ) then
        return null;
    end if;
    if new.status = 'completed' then
        perform private.tell(new.id, 'sent', null);
    elsif new.status = 'cancelled' and not v_began then
        perform private.tell(new.id, 'failed', 'The broadcast worker cancelled it.');
    else
        if v_meaning = 'unconfirmed' and not v_began then
            v_meaning := 'retry';
        end if;
        perform private.hear_node_worker(
            new.id, v_meaning,
            coalesce(v_words, case when not v_began then 'it could not begin' end)
        );
    end if;
    return null;
end
$$;

CREATE FUNCTION private.settle_or_put_aside(p_rows private.told_message[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_rows private.told_message[] := array(
        select told from unnest(p_rows) as told
        cross join lateral (
            select m.id from public.scheduled_messages as m
            where m.id = told.scheduled_message_id
            limit 1
            for no key update skip locked
        ) as free
    );
    v_held constant private.told_message[] := array(
        select told from unnest(p_rows) as told
        cross join lateral (
            select m.id from public.scheduled_messages as m
            where m.id = told.scheduled_message_id
            limit 1
        ) as message
        where told.job_id not in (select free.job_id from unnest(v_rows) as free)
    );
    v_refused jsonb;
begin
    if v_held <> '{}' then
        begin
            perform private.settle_rows(v_held);
        exception when lock_not_available then
            perform private.put_aside(
                'settle', array_agg(held.job_id), array_agg('55P03'::text),
                array_agg('a transaction that is still open holds this row'::text),
                array_agg(to_jsonb(held))
            )
            from unnest(v_held) as held;
        when others then
            v_rows := p_rows; -- what is refused is found below
        end;
    end if;

    v_refused := (
        select tried.refused from private.try_rows('settle_rows', v_rows, false) as tried
    );
    if v_refused = '[]' then
        return;
    end if;
    v_rows := array(
        select jsonb_populate_record(v_rows[said.place], jsonb_build_object('longest', (
            select coalesce(min(a.atttypmod) - 4, 100) from pg_catalog.pg_attribute as a
            where a.attrelid = 'public.scheduled_messages'::regclass
                and a.attname in ('error', 'message_id')
                and a.atttypmod > 4
        )))
        from jsonb_to_recordset(v_refused) as said (place integer)
    );
    v_refused := (
        select tried.refused from private.try_rows('settle_rows', v_rows, false) as tried
    );
    perform private.put_aside(
        'settle', array_agg((v_rows[said.place]).job_id), array_agg(said.code),
        array_agg(said.reason), array_agg(to_jsonb(v_rows[said.place]))
    )
    from jsonb_to_recordset(v_refused) as said (place integer, code text, reason text);
end
$$;

CREATE FUNCTION private.settle_rows(p_rows private.told_message[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
begin
    update public.scheduled_messages as message
    set status = case told.status
            when 'sent' then 'sent'
            when 'unconfirmed' then 'unconfirmed'
            else 'failed'
        end,
        sent_at = case when told.status = 'sent' then coalesce(told.sent_at, now()) end,
        message_id = case
            when told.status = 'sent'
            then left(coalesce(told.message_id, told.job_id::text), least(512, told.longest))
        end,
        error = case
            when told.status <> 'sent' then left(
                coalesce(nullif(told.error, ''), 'The sender gave no reason.'),
                least(2000, told.longest)
            )
            when message.error like 'The series ends with this message%' then message.error
        end,
        delivery_status = coalesce(told.delivery_status, message.delivery_status),
        waiting_reason = null,
        waiting_until = null,
        updated_at = now()
    from unnest(p_rows) as told
    where message.id = any(array[told.scheduled_message_id])
        and told.status in ('sent', 'failed', 'skipped', 'unconfirmed')
        and message.broadcast_job_id = told.job_id
        and (
            message.status in ('processing', 'unconfirmed', 'in_queue')
            -- Cancelled while it was being sent, it may have gone out: then that is what the row
            -- says.
            or (message.status = 'cancelled' and told.status in ('sent', 'unconfirmed'))
        );
    return '[]';
end
$$;

CREATE FUNCTION private.settle_scheduled_messages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_patience constant text := current_setting('lock_timeout');
    v_heard uuid[];
    v_rows private.told_message[];
begin
    -- At most so long, whoever writes; some of our own callers are more impatient.
    perform set_config('lock_timeout', private.shorter(v_patience, '100ms'), true);

    -- What a Node worker calls failed may have gone out, or may be tried again (hear_node_worker).
    select array_agg(entry.job_id) into v_heard
    from changed as entry
    cross join lateral (
        select j.gateway, j.status from public.broadcast_jobs as j
        where j.id = entry.job_id
        limit 1
    ) as job
    where entry.status in ('failed', 'skipped')
        and entry.scheduled_message_id is not null
        and job.status not in ('queued', 'completed', 'failed', 'cancelled')
        and private.hands_over(job.gateway);
    if v_heard is not null then
        perform private.hear_node_worker(
            entry.job_id, private.meaning_of(entry.error), entry.error
        )
        from changed as entry
        where entry.job_id = any(v_heard);
    end if;

    select array_agg(
        row(
            entry.job_id,
            entry.scheduled_message_id,
            entry.status,
            entry.sent_at,
            -- As json, because upstream has had message_ids as text and as text[].
            coalesce(
                entry.message_id,
                to_jsonb(entry) #>> '{message_ids,0}',
                nullif(to_jsonb(entry) ->> 'message_ids', '[]')
            ),
            entry.error,
            entry.delivery_status,
            null
        )::private.told_message
        order by entry.scheduled_message_id
    )
    into v_rows
    from changed as entry
    where entry.scheduled_message_id is not null
        and entry.status in ('sent', 'failed', 'skipped', 'unconfirmed')
        and entry.job_id <> all(coalesce(v_heard, '{}'));
    if v_rows is not null then
        perform private.settle(v_rows);
    end if;
    perform set_config('lock_timeout', v_patience, true);
    return null;
end
$$;

CREATE FUNCTION private.share_turns(p_turn text[], p_payers text[], p_busy text[], p_until timestamp with time zone) RETURNS text[]
    LANGUAGE sql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
    with known as (
        select unnest(p_turn) as connection_id
        union
        select other.connection_id
        from private.ready_of_others(p_payers, p_busy, p_until) as other (connection_id)
    ),
    candidate as materialized (
        select state.*
        from known
        cross join lateral (
            select s.connection_id, s.ready_at, s.payer from private.connection_state as s
            where s.connection_id = any(array[known.connection_id])
            limit 1
            for update skip locked
        ) as state
    ),
    ranked as (
        select
            candidate.connection_id,
            candidate.ready_at,
            last_turn.turn_at,
            row_number() over (
                partition by candidate.payer order by candidate.ready_at, candidate.connection_id
            ) as place
        from candidate
        cross join lateral (
            select s.turn_at from private.connection_state as s
            where s.payer = candidate.payer
            order by s.turn_at desc
            limit 1
        ) as last_turn
    )
    select array_agg(chosen.connection_id)
    from (
        select ranked.connection_id from ranked
        order by ranked.place, ranked.turn_at, ranked.ready_at, ranked.connection_id
        limit cardinality(p_turn)
    ) as chosen
$$;

CREATE FUNCTION private.shorter(p_one text, p_other text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select case
        when p_one = '0' or p_one::interval > p_other::interval then p_other
        else p_one
    end
$$;

CREATE FUNCTION private.situation(p_connections text[], p_now timestamp with time zone, p_gateway text) RETURNS TABLE(connection_id text, gateway text, blocked_reason text, blocked_until timestamp with time zone, fails boolean, today date, used integer, daily_limit integer, closes_at timestamp with time zone, arrival_at timestamp with time zone, step double precision, slack double precision, jitter double precision, tolerance double precision, recipient_step double precision, turn_reason text, is_on_trial boolean, one_at_a_time boolean, hands_over boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
    select
        state.connection_id,
        known.gateway,
        case block.kind
            when 'off' then 'this connection is switched off'
            when 'held' then 'this connection has an id that was another account''s; '
                || 'the operator can release it'
            when 'unnamed' then 'nobody has confirmed which session is this connection''s; '
                || 'the operator can name it'
            when 'paused' then 'the connection is paused: ' || state.paused_reason
            when 'disconnected' then 'the WhatsApp connection is not connected'
            when 'closed' then 'outside the sending hours '
                || to_char(settings.window_start, 'HH24:MI') || ' to '
                || to_char(settings.window_end, 'HH24:MI')
            when 'limit' then 'the daily limit of ' || known.daily_limit || ' messages is reached'
        end as blocked_reason,
        case
            when block.kind in ('off', 'held', 'unnamed', 'disconnected') then 'infinity'
            when block.kind = 'paused' then coalesce(state.probe_at, 'infinity')
            when block.kind = 'closed' then calendar.opens_at
            when block.kind = 'limit' then calendar.reopens_at
        end as blocked_until,
        coalesce(block.kind = 'limit' and settings.at_daily_limit = 'fail', false) as fails,
        day.today,
        known.used,
        known.daily_limit,
        least(
            case when settings.daily_limit is not null then calendar.tomorrow end,
            case when settings.window_start is not null then calendar.closes_at end
        ) as closes_at,
        state.arrival_at,
        known.step,
        coalesce(rate.burst - 1, 0) * known.step as slack,
        coalesce(settings.jitter_seconds, 0) as jitter,
        rate.period_seconds * share.tolerance as tolerance,
        coalesce(
            nullif(
                coalesce(settings.recipient_interval_seconds, kind.pair_seconds), 0
            ) * share.stretch,
            case when state.recipients_until > p_now then 0 end
        ) as recipient_step,
        'its turn: ' || coalesce(
            'at most ' || rate.messages || ' in ' || rate.period_seconds || ' s',
            'the gateway has asked to slow down'
        ) as turn_reason,
        state.is_on_trial,
        kind.one_at_a_time,
        kind.hands_over
    from private.connection_state as state
    cross join (select 1.03 as stretch, 0.02 as tolerance) as share
    left join public.connection_settings as settings
        on settings.connection_id = any(array[state.connection_id])
    left join private.gateways as kind
        on kind.name = any(array[coalesce(settings.gateway, p_gateway)])
    left join private.connection_owners as owner
        on owner.connection_id = any(array[state.connection_id])
    -- Upstream's table need not have the column: where it does not, the name is found one level up.
    -- Not by to_jsonb of the row, which may hold a picture of many megabytes.
    left join lateral (
        select (
            select connected::text from public.connections as c
            where c.id::text = any(array[state.connection_id])
        ) as connected
        from (values (null::text)) as missing (connected)
    ) as phone on true
    -- Its day and its hours, where anything depends on them.
    left join lateral (
        select c.* from private.calendar(
            coalesce(settings.timezone, 'UTC'), settings.window_start, settings.window_end, p_now
        ) as c
        where settings.daily_limit is not null or settings.window_start is not null
        offset 0
    ) as calendar on true
    cross join lateral (
        select (p_now at time zone coalesce(settings.timezone, 'UTC'))::date as today
    ) as day
    -- Its own rate, or its gateway's.
    cross join lateral (
        select
            coalesce(settings.messages, kind.messages) as messages,
            coalesce(settings.period_seconds, kind.period_seconds) as period_seconds,
            case when settings.messages is null then kind.burst else settings.burst end as burst
        offset 0
    ) as rate
    cross join lateral (
        select
            coalesce(settings.gateway, p_gateway) as gateway,
            case when state.day = day.today then state.sent_today else 0 end as used,
            case
                when settings.daily_limit is not null
                then private.daily_limit(settings, day.today)
            end as daily_limit,
            greatest(
                rate.period_seconds / (rate.messages - rate.burst + 1) * share.stretch,
                case
                    when state.throttled_until is not null
                    then private.slowdown(state.throttle_seconds, state.throttled_until, p_now)
                end
            ) as step
        offset 0
    ) as known
    -- The first thing that stands in its way.
    cross join lateral (
        select case
            when not (settings.enabled and settings.active) then 'off'
            when owner.is_held then 'held'
            when settings.sender is null
                and kind.one_at_a_time
                and (
                    owner.is_chosen
                    or private.is_session_of_another(
                        state.connection_id, known.gateway, p_gateway
                    )
                )
                then 'unnamed'
            when state.paused_reason is not null and not state.is_on_trial then 'paused'
            -- A boolean, a number or a word.
            when lower(phone.connected) in ('false', 'f', 'no', 'off', '0') then 'disconnected'
            when not calendar.is_open then 'closed'
            when known.used >= known.daily_limit then 'limit'
        end as kind
        offset 0
    ) as block
    where state.connection_id = any(p_connections)
$$;

CREATE FUNCTION private.slowdown(p_seconds double precision, p_until timestamp with time zone, p_now timestamp with time zone) RETURNS double precision
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select case when worn.seconds > 0.01 then worn.seconds end
    from (
        select extract(epoch from p_now - p_until)::double precision / 10 as halvings
    ) as since
    cross join lateral (
        select p_seconds * power(0.5, least(60, greatest(0, since.halvings))) as seconds
    ) as worn
$$;

CREATE FUNCTION private.spell_date(p_pattern text, p_months text[], p_date date) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
begin
    if p_pattern is null then
        return to_char(p_date, 'YYYY-MM-DD');
    end if;
    return replace(
        replace(
            replace(p_pattern, 'D', extract(day from p_date)::text),
            'Y', extract(year from p_date)::text
        ),
        'M', p_months[extract(month from p_date)::integer]
    );
end
$$;

CREATE FUNCTION private.spell_time(p_pattern text, p_before_noon text, p_after_noon text, p_time time without time zone) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
begin
    return to_char(date '2000-01-01' + p_time, coalesce(p_pattern, 'HH24:MI'))
        || coalesce(' ' || case when p_time < '12:00' then p_before_noon else p_after_noon end, '');
end
$$;

CREATE FUNCTION private.step_of(p_connection_id text) RETURNS double precision
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.stops_everybody(p_code text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select left(p_code, 2) in ('08', '25', '40', '53', '57', '58')
$$;

CREATE FUNCTION private.supersede(p_rows uuid[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
    with superseded as (
        update public.broadcast_jobs as job
        set status = 'cancelled',
            completed_at = now(),
            updated_at = now()
        from (
            select waiting.id
            from unnest(p_rows) as given (id)
            join public.scheduled_messages as later on later.id = any(array[given.id])
            join public.broadcast_jobs as waiting
                on waiting.series_id = any(array[later.series_id])
                and waiting.status = 'queued'
            join public.scheduled_messages as message
                on message.id = any(array[waiting.scheduled_message_id])
                and message.broadcast_job_id = waiting.id
                and message.occurrence_at < later.occurrence_at
                and (message.owner_id, message.created_by)
                is not distinct from (later.owner_id, later.created_by)
            join public.broadcast_messages as entry on entry.job_id = any(array[waiting.id])
            where message.id <> all(p_rows)
            -- The row too: whoever holds it, deleting its connection, say, may be waiting for one
            -- of ours.
            for update of waiting, message, entry skip locked
        ) as earlier
        where job.id = any(array[earlier.id])
        returning job.id
    )
    update public.broadcast_messages as entry
    set status = 'failed',
        error = 'Superseded: it still waited when the next occurrence of its series fell due.',
        updated_at = now()
    from superseded
    where entry.job_id = any(array[superseded.id])
$$;

CREATE FUNCTION private.sync_reminders(p_appointments uuid[], p_is_edit boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET work_mem TO '64MB'
    AS $$
begin
    -- What there is, in the order in which everybody locks messages.
    with held as materialized (
        select message.*
        from public.scheduled_messages as message
        where message.source_id = any(p_appointments)
        order by message.id
        for no key update
    ),
    -- Of each rule the last one; those before it have gone out.
    latest as materialized (
        select distinct on (held.source_id, held.source_position) held.*
        from held
        order by held.source_id, held.source_position, held.source_try desc
    ),
    -- What there should be beside what there is. A rule that is gone wants nothing.
    beside as materialized (
        select
            coalesce(wanted.appointment_id, latest.source_id) as appointment_id,
            coalesce(wanted.number, latest.source_position) as number,
            wanted.anchor,
            wanted.wanted_at,
            wanted.not_after,
            wanted.when_past,
            coalesce(wanted.why_not, 'There is no such reminder any more.') as why_not,
            wanted.fault,
            wanted.zone,
            case when wanted.type = 'text' then wanted.text else '' end as message,
            case when wanted.type <> 'text' then nullif(wanted.text, '') end as caption,
            wanted.type,
            wanted.media_url,
            wanted.category,
            wanted.template,
            latest.id as message_id,
            latest.status,
            latest.error,
            latest.source_try,
            latest.broadcast_job_id,
            latest.connection_id as was_connection_id,
            latest.contact_id as was_address,
            latest.scheduled_at as was_at,
            latest.not_after as was_not_after,
            (
                latest.timezone,
                latest.message,
                latest.caption,
                latest.type,
                latest.media_url,
                latest.category,
                latest.template
            ) as was_content
        from private.wanted_reminders(p_appointments) as wanted
        full join latest
            on latest.source_id = wanted.appointment_id
            and latest.source_position = wanted.number
        where wanted.wanted_at is not null
            or wanted.fault is not null
            or latest.id is not null
    ),
    -- Whom each writes to: the contact, whose number is the one that counts, else the number.
    called as materialized (
        select
            appointment.id,
            appointment.connection_id,
            appointment.owner_id,
            private.author_of(
                appointment.connection_id, appointment.owner_id, appointment.created_by
            ) as created_by,
            appointment.reminder_fault is not null as had_fault,
            coalesce(settings.country_code, '') as country_code,
            nullif(btrim(appointment.contact_id), '') as contact_id,
            coalesce(
                nullif(btrim(appointment.contact_id), ''), nullif(btrim(appointment.mobile), '')
            ) as address
        from public.appointments as appointment
        left join public.connection_settings as settings
            on settings.connection_id = appointment.connection_id
        where appointment.id = any(p_appointments)
    ),
    person as materialized (
        select found.*
        from (
            select array_agg(distinct called.contact_id) as contact_ids
            from called
            where called.contact_id !~ '[@+]'
        ) as asked
        cross join lateral private.people(asked.contact_ids, '{}') as found
        where asked.contact_ids is not null
    ),
    -- What is known of the number already: it is judged by `recipient` (Python), and nothing waits
    -- for that.
    numbered as materialized (
        select
            called.*,
            raw.number as raw,
            raw.number is not null and judged.raw is null as is_asked,
            case
                when person.is_blocked
                    then 'This contact is blocked. Unblock the contact to write to it.'
                when raw.number is null and called.address is not null then format(
                    'Contact %s has no phone number: add one, then schedule again.',
                    case
                        when length(called.contact_id) <= 6 then called.contact_id
                        else '…' || right(called.contact_id, 4)
                    end
                )
                else judged.fault
            end as number_fault
        from called
        left join person
            on person.contact_id = called.contact_id
            and person.owner in (called.owner_id::text, called.created_by::text)
        cross join lateral (
            select case
                when person.contact_id is null then called.address
                when person.phone ~ '\S' then btrim(person.phone)
            end as number
        ) as raw
        left join private.judged_numbers as judged
            on judged.raw = raw.number and judged.country_code = called.country_code
    ),
    -- Its instant now; null: there is to be none. One that waits for its turn is not past.
    dated as materialized (
        select
            beside.*,
            numbered.connection_id,
            numbered.owner_id,
            numbered.created_by,
            numbered.address,
            numbered.country_code,
            numbered.raw,
            numbered.is_asked,
            numbered.number_fault,
            case
                when beside.wanted_at is null
                    or beside.fault is not null
                    or numbered.address is null
                    or beside.not_after <= now() then null
                when beside.wanted_at >= now() then beside.wanted_at
                when beside.status in ('pending', 'processing')
                    and (beside.anchor = 'booked' or beside.was_not_after = beside.not_after)
                    and beside.was_at <= now() then beside.was_at
                -- What failed goes to the number that was put right.
                when p_is_edit
                    and beside.status = 'failed'
                    and beside.was_address <> numbered.address then now()
                when p_is_edit
                    and beside.anchor <> 'booked'
                    and beside.when_past = 'now' then now()
                -- What could not be made when it was booked is confirmed once that is mended.
                when p_is_edit
                    and numbered.had_fault
                    and beside.anchor = 'booked'
                    and (
                        beside.status is null
                        or beside.status = 'cancelled' and beside.error is not null
                    ) then now()
            end as at,
            case
                when beside.fault is not null then beside.fault
                when numbered.address is null and beside.wanted_at is not null
                    and beside.not_after > now() then 'There is no mobile number, and no contact.'
            end as wrong
        from beside
        join numbered on numbered.id = beside.appointment_id
    ),
    compared as materialized (
        select
            dated.*,
            dated.at is null or (
                dated.was_connection_id,
                dated.was_address,
                dated.was_at,
                dated.was_not_after,
                dated.was_content
            ) is distinct from (
                dated.connection_id,
                dated.address,
                dated.at,
                dated.not_after,
                (
                    dated.zone,
                    dated.message,
                    dated.caption,
                    dated.type,
                    dated.media_url,
                    dated.category,
                    dated.template
                )
            ) as differs
        from dated
    ),
    -- What can still be done about it. What was cancelled without a reason was cancelled by hand,
    -- and stays so.
    judged as materialized (
        select
            compared.*,
            case
                when compared.message_id is null then 'none'
                when compared.status = 'pending' then 'open'
                when compared.status = 'processing' and not compared.differs then 'open'
                when compared.status in ('sent', 'unconfirmed') then 'gone out'
                when compared.status = 'processing'
                    and not private.withdraw_job(compared.broadcast_job_id) then 'being sent'
                when compared.status in ('processing', 'cancelled')
                    and compared.broadcast_job_id is not null
                    and private.may_have_gone_out(compared.broadcast_job_id) then 'gone out'
                when compared.status = 'processing' then 'open'
                when compared.status = 'failed' then case
                    when (compared.was_address, compared.was_not_after)
                        is distinct from (compared.address, compared.not_after) then 'over'
                    else 'failed'
                end
                when compared.status = 'cancelled' and not p_is_edit
                    and private.was_lost(compared.error) then 'lost'
                when compared.status = 'cancelled' and compared.error is not null then 'over'
                else 'left alone'
            end as is_now
        from compared
    ),
    moved as (
        update public.scheduled_messages as message
        set
            status = 'pending',
            connection_id = judged.connection_id,
            contact_id = judged.address,
            scheduled_at = judged.at,
            timezone = judged.zone,
            not_after = judged.not_after,
            message = judged.message,
            caption = judged.caption,
            type = judged.type,
            media_url = judged.media_url,
            category = judged.category,
            template = judged.template
        from judged
        where message.id = judged.message_id
            and judged.at is not null
            and (judged.is_now = 'over' or (judged.is_now = 'open' and judged.differs))
    ),
    ended as (
        update public.scheduled_messages as message
        set
            status = 'cancelled',
            error = coalesce(
                judged.wrong,
                case when judged.wanted_at is null then judged.why_not end,
                'Its time has passed.'
            )
        from judged
        where message.id = judged.message_id
            and judged.at is null
            and judged.is_now = 'open'
    ),
    made as (
        insert into public.scheduled_messages (
            connection_id,
            contact_id,
            message,
            caption,
            type,
            media_url,
            scheduled_at,
            timezone,
            not_after,
            created_by,
            owner_id,
            category,
            priority,
            template,
            source_id,
            source_position,
            source_try
        )
        select
            judged.connection_id,
            judged.address,
            judged.message,
            judged.caption,
            judged.type,
            judged.media_url,
            judged.at,
            judged.zone,
            judged.not_after,
            judged.created_by,
            judged.owner_id,
            judged.category,
            0,
            judged.template,
            judged.appointment_id,
            judged.number,
            coalesce(judged.source_try + 1, 0)
        from judged
        where judged.at is not null
            and (
                judged.is_now = 'none'
                -- It went out for a time that is no longer the appointment's.
                or (
                    judged.is_now in ('gone out', 'being sent')
                    and judged.anchor <> 'booked'
                    and judged.was_not_after is distinct from judged.not_after
                )
            )
    ),
    asked as (
        insert into private.numbers_asked as known (appointment_id, raw, country_code)
        select distinct
            judged.appointment_id,
            judged.raw,
            judged.country_code
        from judged
        where judged.at is not null and judged.is_asked
        on conflict (appointment_id) do update
        set
            raw = excluded.raw,
            country_code = excluded.country_code
    ),
    said as (
        select
            judged.appointment_id,
            left(string_agg(distinct case
                when judged.is_now = 'being sent' and judged.wanted_at is not null
                    then 'A reminder was being sent when this was changed.'
                when judged.is_now = 'failed' or judged.status = 'unconfirmed' then judged.error
                when judged.is_now = 'lost' and judged.at is not null then
                    'It was cancelled when the connection, or the account, was lost. Set its '
                    'messages pending again, or change the appointment.'
                when judged.at is not null and judged.is_now not in ('gone out', 'left alone')
                    then judged.number_fault
                else judged.wrong
            end, ' '), 500) as fault
        from judged
        group by judged.appointment_id
    )
    update public.appointments as appointment
    set reminder_fault = heard.fault
    from (
        select
            changed.id,
            said.fault
        from unnest(p_appointments) as changed (id)
        left join said on said.appointment_id = changed.id
    ) as heard
    where appointment.id = heard.id
        and appointment.reminder_fault is distinct from heard.fault;
end
$$;

CREATE FUNCTION private.tables_of_messages() RETURNS SETOF pg_class
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select c.*
    from pg_catalog.pg_class as c
    where c.oid in (
        to_regclass('public.scheduled_messages'),
        to_regclass('public.broadcast_jobs'),
        to_regclass('public.broadcast_messages')
    )
$$;

CREATE FUNCTION private.take_jobs(p_turn text[], p_seats integer, p_terms private.claim_terms) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
    with chosen as materialized (
        select * from private.choose_jobs(p_turn, p_seats, p_terms)
    ),
    sending as (
        update public.broadcast_jobs as job
        set status = 'sending',
            lease_token = p_terms.token,
            lease_until = now() + make_interval(secs => p_terms.lease_seconds),
            gateway = chosen.gateway,
            attempts = job.attempts + 1,
            send_at = chosen.send_at,
            send_until = chosen.send_until,
            retry_attempts = p_terms.retry_attempts,
            retry_delay_seconds = p_terms.retry_delay_seconds,
            updated_at = now()
        from chosen
        where job.id = any(array[chosen.id]) and chosen.put_off_until is null
    ),
    put_off as (
        update public.broadcast_jobs as job
        set available_at = chosen.put_off_until,
            updated_at = now()
        from chosen
        where job.id = any(array[chosen.id]) and chosen.put_off_until is not null
    ),
    -- The rows of those say why. Not the ones that somebody is editing: see tell_waiting.
    told as (
        update public.scheduled_messages as message
        set waiting_reason = left(
                coalesce(waiting.recipient_reason, 'its recipient got a message a moment ago'), 500
            ),
            waiting_until = waiting.put_off_until,
            updated_at = now()
        from (
            select
                free.id,
                chosen.put_off_until,
                chosen.recipient_reason
            from chosen
            cross join lateral (
                select m.id from public.scheduled_messages as m
                where m.id = chosen.scheduled_message_id
                    and m.broadcast_job_id = chosen.id
                    and m.status = 'processing'
                limit 1
                for no key update skip locked
            ) as free
            where chosen.put_off_until is not null
        ) as waiting
        where message.id = any(array[waiting.id])
    ),
    -- Whom each connection writes to now, where that spaces them.
    remembered as (
        insert into private.recipient_state as known (connection_id, recipient, free_at, job_id)
        select
            chosen.connection_id,
            chosen.recipient,
            chosen.send_at + make_interval(secs => chosen.recipient_step) as free_at,
            chosen.id as job_id
        from chosen
        where chosen.put_off_until is null and chosen.recipient_step > 0
        on conflict (connection_id, recipient) do update
        set free_at = excluded.free_at,
            job_id = excluded.job_id,
            reason = null
    ),
    taken as (
        select
            chosen.connection_id,
            chosen.today,
            chosen.used,
            chosen.step,
            chosen.jitter,
            count(*) as number,
            max(chosen.arrival_at) as last_at
        from chosen
        where chosen.put_off_until is null
        group by chosen.connection_id, chosen.today, chosen.used, chosen.step, chosen.jitter
    )
    update private.connection_state as state
    set day = taken.today,
        sent_today = taken.used + taken.number,
        arrival_at = coalesce(
            taken.last_at + make_interval(secs => taken.step + random() * taken.jitter),
            state.arrival_at
        ),
        is_on_trial = false,
        -- Whoever tries a message may die before it can tell.
        probe_at = case
            when state.is_on_trial then now() + make_interval(secs => p_terms.lease_seconds)
            else state.probe_at
        end
    from taken
    where state.connection_id = any(array[taken.connection_id]);

    -- More than were remembered, so that the table holds about the last minute's.
    delete from private.recipient_state as known
    where (known.connection_id, known.recipient) in (
        select old.connection_id, old.recipient from private.recipient_state as old
        where old.free_at < p_terms.at - interval '1 minute'
        order by old.free_at
        limit 2 * p_seats
        for update skip locked
    )
$$;

CREATE FUNCTION private.take_right(p_user_id text) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    select pg_advisory_xact_lock(hashtextextended('the rights of ' || p_user_id, 0))
$$;

CREATE FUNCTION private.take_run(p_run_id uuid) RETURNS public.campaign_runs
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.take_turn(p_seats integer, p_busy text[], p_until timestamp with time zone) RETURNS text[]
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_turn text[];
    v_payers text[];
    v_patience constant text := current_setting('lock_timeout');
begin
    select array_agg(turn.connection_id), array_agg(distinct turn.payer) into v_turn, v_payers
    from (
        select state.connection_id, state.payer from private.connection_state as state
        where state.ready_at <= p_until
            and state.connection_id <> all(p_busy)
            and state.payer <> all(p_busy)
        order by state.ready_at, state.connection_id
        limit p_seats
        for update skip locked
    ) as turn;
    if cardinality(v_turn) = p_seats then
        v_turn := private.share_turns(v_turn, v_payers, p_busy, p_until);
    end if;
    if v_turn is null then
        -- Another daemon's turn takes milliseconds; the caller's seats are not for longer waits.
        perform set_config('lock_timeout', '20ms', true);
        begin
            v_turn := array(
                select state.connection_id from private.connection_state as state
                where state.ready_at <= p_until
                    and state.connection_id <> all(p_busy)
                    and state.payer <> all(p_busy)
                order by state.ready_at, state.connection_id
                limit 1
                for update
            );
        exception when lock_not_available then
            null; -- who holds it holds it for longer than a turn takes
        end;
        perform set_config('lock_timeout', v_patience, true);
    end if;
    return nullif(v_turn, '{}');
end
$$;

CREATE FUNCTION private.tell(p_job_id uuid, p_status text, p_error text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    update public.broadcast_messages as m
    set status = p_status,
        error = left(p_error, 2000),
        sent_at = case when p_status = 'sent' then now() end,
        updated_at = now()
    where m.job_id = p_job_id;
    if not found then
        update public.scheduled_messages as s
        set status = p_status,
            error = left(p_error, 2000),
            sent_at = case when p_status = 'sent' then now() end,
            message_id = case when p_status = 'sent' then p_job_id::text end,
            waiting_reason = null,
            waiting_until = null,
            updated_at = now()
        from public.broadcast_jobs as j
        where j.id = p_job_id
            and s.id = j.scheduled_message_id
            and s.broadcast_job_id = j.id
            and (
                s.status in ('processing', 'unconfirmed', 'in_queue')
                or (s.status = 'cancelled' and p_status <> 'failed')
            );
    end if;
end
$$;

CREATE FUNCTION private.tell_appointments() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    SET enable_nestloop TO 'off'
    AS $$
begin
    if not exists (
        select from new_messages as m
        where m.source_id is not null and m.source_position is not null
    ) then
        return null;
    end if;
    with changed as materialized (
        select
            new_row.source_id,
            new_row.source_position as number,
            case when old_row.status in ('failed', 'unconfirmed') then old_row.error end as was,
            case when new_row.status in ('failed', 'unconfirmed') then new_row.error end as is_now
        from new_messages as new_row
        join old_messages as old_row on old_row.id = new_row.id
        where new_row.source_id is not null
            and new_row.status <> old_row.status
            and (
                new_row.status in ('failed', 'unconfirmed')
                or old_row.status in ('failed', 'unconfirmed')
            )
    ),
    free as materialized (
        select
            appointment.id,
            appointment.reminder_fault
        from public.appointments as appointment
        where appointment.id = any(array(select changed.source_id from changed))
        order by appointment.id
        for no key update skip locked
    ),
    said as (
        select
            free.id,
            -- What was said before it was due is not said twice.
            nullif(btrim(replace(
                replace(
                    coalesce(free.reminder_fault, ''),
                    coalesce(string_agg(changed.was, ' ' order by changed.number), ''),
                    ''
                ),
                coalesce(string_agg(changed.is_now, ' ' order by changed.number), ''),
                ''
            )), '') as others,
            string_agg(changed.is_now, ' ' order by changed.number) as fault
        from free
        join changed on changed.source_id = free.id
        group by free.id, free.reminder_fault
    )
    update public.appointments as appointment
    set reminder_fault = left(nullif(concat_ws(' ', said.others, said.fault), ''), 500)
    from said
    where appointment.id = said.id;
    return null;
end
$$;

CREATE FUNCTION private.tell_of_approval() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
begin
    update public.campaigns as campaign
    set updated_at = now()
    where campaign.connection_id = new.connection_id and campaign.status = 'scheduled';
    return null;
end
$$;

CREATE FUNCTION private.tell_waiting(p_turn text[], p_terms private.claim_terms, p_quietly boolean) RETURNS SETOF private.waiting_connection
    LANGUAGE sql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    with paced as materialized (
        select
            pace.*,
            news.reason,
            greatest(10, 1000 / cardinality(p_turn)) as enough,
            case when news.is_new then '-infinity' else state.told_at end as told_at,
            state.told_id,
            case when not news.is_new then state.told_until end as told_until,
            case when news.is_new then '-infinity' else state.many_told_at end as many_told_at,
            state.many_told_id,
            case when not news.is_new then state.many_told_until end as many_told_until,
            case when not news.is_new then state.waiting_until end as former_until
        from private.pace(p_turn, p_terms.at, p_terms.gateway, p_terms.call_seconds) as pace
        join private.connection_state as state
            on state.connection_id = any(array[pace.connection_id])
        cross join lateral (
            select
                why.reason,
                state.waiting_reason is distinct from why.reason
                or coalesce(state.waiting_until <> pace.blocked_until, false) as is_new
            from (select coalesce(pace.blocked_reason, pace.turn_reason) as reason) as why
        ) as news
    ),
    untold as materialized (
        select
            paced.connection_id,
            paced.reason,
            paced.blocked_until,
            paced.step is null or paced.blocked_reason is not null as is_certain,
            level.priority,
            job.*,
            row_number() over line as place,
            case
                when paced.blocked_reason is not null then paced.blocked_until
                -- What is written to many comes after what is written to one.
                else greatest(
                    paced.first_at,
                    paced.told_until + make_interval(secs => paced.step),
                    case
                        when level.priority > 0
                            then paced.many_told_until + make_interval(secs => paced.step)
                    end
                ) + make_interval(secs => paced.step * (row_number() over line - 1))
            end as until
        from paced
        cross join lateral (
            values
            (0::smallint, paced.told_at, paced.told_id),
            (1::smallint, paced.many_told_at, paced.many_told_id)
        ) as level (priority, told_at, told_id)
        cross join lateral (
            select j.id, j.scheduled_message_id, j.available_at from public.broadcast_jobs as j
            where j.connection_id = paced.connection_id
                and j.priority = level.priority
                and j.status = 'queued'
                and j.scheduled_message_id is not null
                and (j.available_at, j.id) > (level.told_at, level.told_id)
            order by j.available_at, j.id
            limit paced.enough
        ) as job
        window line as (
            partition by paced.connection_id order by level.priority, job.available_at, job.id
        )
    ),
    -- Not the rows that somebody is editing: they will have no job any more.
    told as (
        update public.scheduled_messages as message
        set waiting_reason = waiting.reason,
            waiting_until = waiting.until,
            updated_at = now()
        from (
            select
                free.id,
                untold.reason,
                nullif(untold.until, 'infinity') as until
            from untold
            cross join lateral (
                select m.id from public.scheduled_messages as m
                where m.id = untold.scheduled_message_id
                    and m.broadcast_job_id = untold.id
                    and m.status = 'processing'
                    and (m.waiting_reason, m.waiting_until)
                    is distinct from (untold.reason, nullif(untold.until, 'infinity'))
                    -- What waits for longer because of itself or its recipient says so.
                    and not (
                        m.waiting_until >= untold.available_at
                        and untold.available_at > greatest(p_terms.at, untold.blocked_until)
                    )
                limit 1
                for no key update skip locked
            ) as free
            where not p_quietly
                and (untold.is_certain or untold.until > p_terms.at + interval '1 second')
        ) as waiting
        where message.id = any(array[waiting.id])
    ),
    -- Of each the last one, of either priority.
    last as materialized (
        select distinct on (u.connection_id, u.priority) u.* from untold as u
        order by u.connection_id, u.priority, u.place desc
    )
    select
        paced.connection_id,
        paced.reason,
        coalesce(
            paced.blocked_until, greatest(first.until, many.until), paced.former_until
        ) as until,
        case
            when paced.reason is not null or first.place = paced.enough
            then coalesce(first.available_at, paced.told_at)
        end as told_at,
        coalesce(first.id, paced.told_id) as told_id,
        coalesce(first.until, paced.told_until) as told_until,
        case
            when paced.reason is not null or many.place - coalesce(first.place, 0) = paced.enough
            then coalesce(many.available_at, paced.many_told_at)
        end as many_told_at,
        coalesce(many.id, paced.many_told_id) as many_told_id,
        coalesce(many.until, paced.many_told_until) as many_told_until,
        coalesce(
            paced.enough in (first.place, many.place - coalesce(first.place, 0)), false
        ) as has_more,
        case
            when paced.blocked_reason is null then paced.look_at
            when not paced.fails then paced.blocked_until
        end as look_at
    from paced
    left join last as first
        on first.connection_id = paced.connection_id and first.priority = 0
    left join last as many
        on many.connection_id = paced.connection_id and many.priority = 1
$$;

CREATE FUNCTION private.tend_rows(p_ids uuid[]) RETURNS jsonb
    LANGUAGE plpgsql
    SET search_path TO ''
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_row record;
begin
    for v_row in
        select s.id, s.broadcast_job_id, j.status, m.status as told,
            coalesce(j.status not in ('completed', 'failed', 'cancelled', 'unconfirmed'), false)
                as is_live
        from (
            select w.id, w.broadcast_job_id from public.scheduled_messages as w
            where w.id = any(p_ids) and w.status = 'processing'
            order by w.id for no key update
        ) as s
        left join lateral (
            select b.status from public.broadcast_jobs as b where b.id = s.broadcast_job_id limit 1
        ) as j on true
        left join lateral (
            select b.status from public.broadcast_messages as b
            where b.job_id = s.broadcast_job_id and b.scheduled_message_id = s.id limit 1
        ) as m on true
    loop
        if v_row.is_live and v_row.told is not null then
            continue;
        elsif v_row.is_live then
            perform private.lose_job(
                v_row.id, v_row.broadcast_job_id, v_row.status,
                'its entry in broadcast_messages was lost'
            );
        elsif v_row.told in ('sent', 'failed', 'skipped', 'unconfirmed') then
            update public.broadcast_messages as m set updated_at = now()
            where m.job_id = v_row.broadcast_job_id;
        else
            update public.scheduled_messages as s
            set status = 'unconfirmed', waiting_reason = null, waiting_until = null,
                updated_at = now(),
                error = 'It may have been sent: it was written as being sent by somebody else than '
                    'the daemon, or its job is lost.'
            where s.id = v_row.id and s.status = 'processing';
        end if;
    end loop;
    return '[]';
end
$$;

CREATE FUNCTION private.timezone_name(p_name text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    -- Also the blanks that a page or a phone puts there.
    v_trimmed constant text := regexp_replace(
        p_name,
        '^[\s\u00a0\u200b-\u200f\ufeff]+|[\s\u00a0\u200b-\u200f\ufeff]+$', '', 'g'
    );
    v_folded constant text := regexp_replace(lower(v_trimmed), '[\s\u00a0]+', '_', 'g');
    v_name text;
begin
    select t.name into v_name from private.timezones as t where t.folded = v_folded;
    if v_name is null then
        select n.name into v_name
        from pg_catalog.pg_timezone_names as n
        where lower(n.name) = v_folded
            and n.name !~ '^(posix|right)/'
            and n.name not in ('localtime', 'posixrules', 'Factory')
        limit 1;
        insert into private.timezones (folded, name)
        select v_folded, v_name
        where v_name is not null
        on conflict do nothing;
    end if;
    return v_name;
end
$_$;

CREATE FUNCTION private.try_out() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_given jsonb := jsonb_build_object(
        'connection_id', 'made up',
        'contact_id', '+10000000000',
        'message', 'Made up.',
        'type', 'text',
        'status', 'pending',
        'scheduled_at', now() + interval '1 day',
        'created_at', now() - interval '2 days',
        'is_recurring', false
    );
    v_sent constant jsonb := jsonb_build_object(
        'status', 'sent', 'sent_at', now(), 'message_id', repeat('m', 200)
    );
    v_failed constant jsonb := jsonb_build_object('status', 'failed', 'error', repeat('e', 2000));
    v_row jsonb;
    v_connection jsonb;
    v_change jsonb;
    v_stored jsonb;
    -- How many rows this transaction has inserted, its triggers' among them: before, and then.
    v_before bigint;
    v_added bigint[] := '{}';
begin
    -- What its application writes there passes its own rules, unless it may be there only once.
    begin
        v_row := private.make_up('public.scheduled_messages', v_given || coalesce((
            select jsonb_object_agg(own.name, own.value)
            from (select to_jsonb(s.*) as stored from public.scheduled_messages as s limit 1) as one
            cross join lateral jsonb_each(one.stored) as own (name, value)
            where own.name in ('connection_id', 'message', 'type', 'contact_id')
        ), '{}'));
    exception when unique_violation or exclusion_violation then
        v_row := private.make_up('public.scheduled_messages', v_given);
    end;
    if v_row is null then
        raise exception 'A trigger keeps rows from being stored.'
            using errcode = 'PT200', table = 'scheduled_messages';
    end if;
    v_before := pg_stat_get_xact_tuples_inserted('public.scheduled_messages'::regclass);
    v_connection := v_row -> 'connection_id';
    if exists (
        select from pg_catalog.pg_constraint as k
        where k.contype = 'f'
            and k.conrelid = to_regclass('public.broadcast_jobs')
            and k.confrelid = to_regclass('public.connections')
    ) then
        v_connection := private.make_up(to_regclass('public.connections'), '{}') -> 'id';
    end if;

    -- With the rights of the service key, as the daemon will. After a fault its caller goes back.
    if pg_has_role('service_role', 'member') then
        set local role service_role;
    end if;
    foreach v_change in array array[
        jsonb_build_object('status', 'pending', 'scheduled_at', now() - interval '1 day'),
        '{"status": "processing"}',
        v_sent,
        -- Once more, as a series.
        jsonb_build_object(
            'status', 'pending',
            'is_recurring', true,
            'recurrence_pattern', 'daily',
            'next_scheduled_at', now() + interval '1 day',
            'sent_at', null,
            'message_id', null
        ),
        '{"status": "processing"}',
        v_sent,
        v_failed || jsonb_build_object(
            'is_recurring', false,
            'recurrence_pattern', null,
            'next_scheduled_at', null,
            'sent_at', null,
            'message_id', null
        ),
        '{"status": "pending"}', '{"status": "processing"}',
        v_failed,
        '{"status": "pending"}', '{"status": "processing"}',
        v_failed || '{"status": "unconfirmed"}',
        '{"status": "pending"}', '{"status": "processing"}',
        '{"status": "cancelled"}',
        '{"status": "pending", "error": null}'
    ]::jsonb[] loop
        execute format(
            'update public.scheduled_messages as s set %s '
            'from jsonb_populate_record(null::public.scheduled_messages, $1) as n '
            'where s.id = $2 returning to_jsonb(s.*)',
            (
                select string_agg(format('%1$I = n.%1$I', k), ', ')
                from jsonb_object_keys(v_change) as k
                where v_row ? k
            )
        ) into v_stored using v_change, (v_row ->> 'id')::uuid;
        if v_stored ->> 'status' is distinct from v_change ->> 'status' then
            raise exception 'A trigger keeps the status % from being stored.', v_change ->> 'status'
                using errcode = 'PT200', table = 'scheduled_messages';
        end if;
        if v_change = v_sent then
            set constraints all immediate;
            set constraints all deferred;
            v_added := v_added
                || pg_stat_get_xact_tuples_inserted('public.scheduled_messages'::regclass);
        end if;
    end loop;
    if v_added[2] - v_added[1] > v_added[1] - v_before then
        raise exception 'A trigger adds a message when a recurring one is sent, and so does the '
            'daemon: each would go out twice' using errcode = 'PT201', table = 'scheduled_messages';
    end if;

    -- The next occurrence of a series.
    execute format(
        'insert into public.scheduled_messages (%1$s) '
        'select %1$s from jsonb_populate_record(null::public.scheduled_messages, $1)',
        (
            select string_agg(quote_ident(a.attname), ', ')
            from pg_catalog.pg_attribute as a
            where a.attrelid = 'public.scheduled_messages'::regclass
                and a.attnum > 0
                and not a.attisdropped
                and a.attgenerated = ''
                and a.attidentity = ''
                and (a.attname = 'id' or not a.atthasdef or v_given ? a.attname)
        )
    ) using v_row || jsonb_build_object(
        'id', gen_random_uuid(), 'scheduled_at', now() + interval '2 days'
    );

    -- Later on the rehearsal does more.
    if not private.is_ours('private.connection_state', 'ready_at') then
        perform private.try_out_jobs(v_row, v_connection);
    end if;
    set constraints all immediate;
    raise exception 'undone' using errcode = 'PT299';
end
$_$;

CREATE FUNCTION private.try_out_jobs(p_row jsonb, p_connection jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_given jsonb := jsonb_build_object(
        'scheduled_message_id', p_row -> 'id',
        'connection_id', p_connection,
        'recipient', '+10000000000',
        'contacts', '["+10000000000"]'::jsonb,
        'contact_id', '+10000000000',
        'type', p_row -> 'type',
        'message', p_row -> 'message',
        'schedule', now(),
        'total_contacts', 1,
        'broadcast_name', 'scheduled message',
        'isprivatemessage', true,
        'contact', '10000000000'
    );
    v_job jsonb;
    v_table regclass;
    v_outcome text;
    v_status text;
    v_stored jsonb;
begin
    if (
        select count(*)
        from pg_catalog.pg_attribute as a
        where a.attrelid in (
            to_regclass('public.broadcast_jobs'), to_regclass('public.broadcast_messages')
        ) and a.attname = 'id' and a.atttypid = 'pg_catalog.uuid'::regtype
    ) < 2 then
        return;
    end if;
    foreach v_outcome in array array['completed', 'failed', 'unconfirmed', 'cancelled'] loop
        v_job := jsonb_build_object('id', gen_random_uuid());
        v_job := v_given || v_job || jsonb_build_object('job_id', v_job -> 'id');
        foreach v_table in array array[
            to_regclass('public.broadcast_jobs'), to_regclass('public.broadcast_messages')
        ] loop
            v_job := v_job || jsonb_build_object('status', case
                when v_table = to_regclass('public.broadcast_jobs') then 'queued'
                else 'waiting'
            end);
            execute format(
                'insert into %1$s as stored (%2$s) select %2$s '
                'from jsonb_populate_record(null::%1$s, $1) returning to_jsonb(stored.*)',
                v_table, (
                    select string_agg(quote_ident(a.attname), ', ')
                    from pg_catalog.pg_attribute as a
                    where a.attrelid = v_table
                        and a.attnum > 0
                        and not a.attisdropped
                        and v_job ? a.attname
                )
            ) into v_stored using v_job;
            foreach v_status in array case
                when v_table <> to_regclass('public.broadcast_jobs')
                    then array[case v_outcome when 'completed' then 'sent' else v_outcome end]
                when v_outcome = 'cancelled' then array[v_outcome]
                else array['sending', v_outcome]
            end loop
                execute format(
                    'update %s as stored set status = $1 where stored.id = $2 '
                    'returning to_jsonb(stored.*)', v_table
                ) into v_stored using v_status, (v_stored ->> 'id')::uuid;
            end loop;
            if v_stored ->> 'status' is distinct from v_status then
                raise exception 'A trigger keeps the status % from being stored.', v_status
                    using errcode = 'PT200', table = split_part(v_table::text, '.', 2);
            end if;
        end loop;
    end loop;
end
$_$;

CREATE FUNCTION private.try_reminders(p_appointments uuid[], p_is_edit boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_half constant integer := cardinality(p_appointments) / 2;
begin
    if p_appointments is not null then
        perform private.sync_reminders(p_appointments, p_is_edit);
    end if;
exception when others then
    if v_half = 0 then
        update public.appointments as appointment
        set reminder_fault = left('The reminders could not be made: ' || sqlerrm, 500)
        where appointment.id = p_appointments[1];
    else
        perform private.try_reminders(p_appointments[:v_half], p_is_edit);
        perform private.try_reminders(p_appointments[v_half + 1:], p_is_edit);
    end if;
end
$$;

CREATE FUNCTION private.try_rows(p_function text, p_rows anyarray, p_raises boolean, OUT done jsonb, OUT refused jsonb) RETURNS record
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_first integer[] := array[1];
    v_last integer[] := array[cardinality(p_rows)];
    v_from integer;
    v_to integer;
    v_any boolean := false;
    v_found jsonb;
    v_code text;
    v_reason text;
    v_table text;
    v_constraint text;
begin
    done := '[]';
    refused := '[]';
    while v_last[1] > 0 loop
        v_from := v_first[cardinality(v_first)];
        v_to := v_last[cardinality(v_last)];
        v_first := trim_array(v_first, 1);
        v_last := trim_array(v_last, 1);
        begin
            execute format('select private.%I($1)', p_function)
            into v_found using p_rows[v_from:v_to];
            done := done || coalesce(v_found, '[]');
            v_any := true;
        exception when others then
            get stacked diagnostics
                v_code = returned_sqlstate,
                v_reason = message_text,
                v_table = table_name,
                v_constraint = constraint_name;
            if private.stops_everybody(v_code) then
                raise;
            end if;
            perform private.wait_less(v_code);
            if v_from < v_to then
                v_first := v_first || array[(v_from + v_to) / 2 + 1, v_from];
                v_last := v_last || array[v_to, (v_from + v_to) / 2];
            else
                v_any := v_any or private.is_the_rows_fault(v_code);
                refused := refused || jsonb_build_object(
                    'place', v_from,
                    'code', v_code,
                    'reason', left(private.words_of(v_table, v_constraint, v_reason), 500)
                );
            end if;
        end;
    end loop;
    if p_raises and not v_any and cardinality(p_rows) > 1 then
        raise exception using message = v_reason, errcode = v_code;
    end if;
end
$_$;

CREATE FUNCTION private.unmark_tries(p_runs uuid[]) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    with unmarked as (
        update public.campaign_recipients as recipient
        set next_try = null
        where recipient.run_id = any(p_runs) and recipient.next_try is not null
        returning recipient.run_id, recipient.position
    ),
    was as (
        select
            unmarked.run_id,
            count(*) as number,
            count(*) filter (where last.status = 'unconfirmed') as unconfirmed,
            count(*) filter (where last.status = 'cancelled') as cancelled
        from unmarked
        left join lateral (
            select message.status
            from public.scheduled_messages as message
            where message.source_id = unmarked.run_id
                and message.source_position = unmarked.position
            order by message.source_try desc
            limit 1
        ) as last on true
        group by unmarked.run_id
    )
    update public.campaign_runs as run
    set
        pending = run.pending - was.number,
        unmade = run.unmade - was.number,
        failed = run.failed + was.number - was.unconfirmed - was.cancelled,
        unconfirmed = run.unconfirmed + was.unconfirmed,
        cancelled = run.cancelled + was.cancelled
    from was
    where run.id = was.run_id
$$;

CREATE FUNCTION private.usable_connections() RETURNS SETOF text
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT connection.id
    FROM public.connections connection
   WHERE ((private.owner_by_id(connection.id) = (auth.uid())::text) OR (connection.id IN ( SELECT mine.connection_id
            FROM private.my_connections() mine(connection_id, owner_id))))
   ORDER BY connection.id
  LIMIT 2;
END;

CREATE FUNCTION private.usable_template(p_message public.scheduled_messages, p_by_user boolean) RETURNS public.message_templates
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select template.*
    from public.message_templates as template
    cross join lateral (
        select coalesce(
            private.connection_owner(p_message.connection_id), p_message.owner_id, auth.uid()
        ) as id
    ) as owner
    where template.id = p_message.template_id
        and template.owner_id = owner.id
        and (template.connection_id is null or template.connection_id = p_message.connection_id)
        and (
            not p_by_user
            or owner.id = auth.uid()
            or (p_message.connection_id, owner.id) in (
                select
                    mine.connection_id,
                    mine.owner_id
                from private.my_connections() as mine
            )
        )
$$;

CREATE FUNCTION private.usage_of(p_connection_id text) RETURNS TABLE(enabled boolean, state text, state_until timestamp with time zone, timezone text, today date, sent_today integer, daily_limit integer, at_daily_limit text, messages integer, period_seconds double precision, window_start time without time zone, window_end time without time zone, waiting jsonb, waiting_is_cut boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    with ours as materialized (
        select
            st.*,
            private.owner_by_id(p_connection_id) as owner_id
        from public.connections as c
        left join private.connection_state as st on st.connection_id = c.id::text
        where c.id::text = any(array[p_connection_id])
    ),
    -- What has a job and waits for its turn, the connection, a limit.
    queued as materialized (
        select
            s.waiting_reason,
            s.waiting_until
        from (
            select j.scheduled_message_id as id
            from public.broadcast_jobs as j
            where j.connection_id = p_connection_id and j.status = 'queued'
                and j.scheduled_message_id is not null
            order by j.priority, j.available_at, j.id
            limit 5000
        ) as job
        cross join lateral (
            select m.* from public.scheduled_messages as m where m.id = any(array[job.id]) limit 1
        ) as s
    ),
    -- What is due and has none yet: no daemon runs, or it is behind. By the index of who pays.
    overdue as materialized (
        select m.due_at
        from public.scheduled_messages as m
        where md5(coalesce(m.owner_id::text, m.connection_id) || repeat('*', m.priority)) = any(
            array(
                select md5(payer.name || level.mark)
                from (
                    select p_connection_id
                    union all
                    select o.owner_id from ours as o
                ) as payer (name)
                cross join (values (''), ('*')) as level (mark)
            )
        )
        and m.due_at > '-infinity'
        and m.due_at <= now() - interval '10 seconds'
        and m.connection_id = p_connection_id
        limit 5000
    ),
    reasons as (
        select
            coalesce(q.waiting_reason, 'its turn') as reason,
            count(*) as number,
            max(nullif(q.waiting_until, 'infinity')) as until
        from queued as q
        group by 1
        union all
        select 'the daemon has not taken it up yet', count(*), null
        from overdue
        having count(*) > 0
    )
    select
        coalesce(se.enabled, true),
        coalesce(
            si.blocked_reason,
            case when o.waiting_until > now() then o.waiting_reason end,
            -- Where nothing was ever sent it has no state that could say so.
            case
                when not (se.enabled and se.active) then 'this connection is switched off'
            end
        ),
        nullif(
            coalesce(
                si.blocked_until, case when o.waiting_until > now() then o.waiting_until end
            ),
            'infinity'
        ),
        coalesce(se.timezone, 'UTC'),
        (now() at time zone coalesce(se.timezone, 'UTC'))::date,
        coalesce(si.used, 0),
        case
            when se.daily_limit is not null then private.daily_limit(
                se.*, (now() at time zone coalesce(se.timezone, 'UTC'))::date
            )
        end,
        se.at_daily_limit,
        se.messages,
        se.period_seconds,
        se.window_start,
        se.window_end,
        coalesce(
            (select jsonb_agg(to_jsonb(r) order by r.number desc, r.reason) from reasons as r),
            '[]'
        ),
        (select count(*) from queued) = 5000 or (select count(*) from overdue) = 5000
    from ours as o
    left join public.connection_settings as se on se.connection_id = p_connection_id
    left join private.situation(array[p_connection_id], now(), null) as si on true
$$;

CREATE FUNCTION private.values_of(p_given jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT COALESCE(jsonb_object_agg(private.placeholder(given.name), given.value), '{}'::jsonb) AS "coalesce"
    FROM jsonb_each_text(
         CASE
             WHEN (jsonb_typeof(values_of.p_given) = 'object'::text) THEN values_of.p_given
             ELSE NULL::jsonb
         END) given(name, value)
   WHERE (given.value !~ '^\s*$'::text);
END;

CREATE FUNCTION private.wait_less(p_code text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    if p_code = '55P03' then
        perform set_config('lock_timeout', '5ms', true);
    end if;
end
$$;

CREATE FUNCTION private.waits_for_all(p_campaign public.campaigns) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select p_campaign.at_daily_limit = 'fail' or p_campaign.zone_of = 'recipient'
$$;

CREATE FUNCTION private.wall_in_zones(p_wall timestamp without time zone, p_zones text[], p_else text) RETURNS TABLE(written text, timezone text, at timestamp with time zone)
    LANGUAGE sql
    SET search_path TO ''
    AS $$
    select
        zone.written,
        known.timezone,
        private.wall_to_instant(p_wall, known.timezone)
    from (select distinct given.zone as written from unnest(p_zones) as given (zone)) as zone
    cross join lateral (
        select coalesce(private.timezone_name(zone.written), p_else) as timezone
    ) as known
$$;

CREATE FUNCTION private.wall_to_instant(p_wall timestamp without time zone, p_zone text) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_second constant timestamptz := p_wall at time zone p_zone;
    v_day_before constant timestamptz := v_second - interval '24 hours';
    v_first constant timestamptz := (
        p_wall - (v_day_before at time zone p_zone - v_day_before at time zone 'UTC')
    ) at time zone 'UTC';
begin
    return case
        when v_first < v_second and v_first at time zone p_zone = p_wall then v_first
        else v_second
    end;
end
$$;

CREATE FUNCTION private.wanted(p_old public.scheduled_messages, p_new public.scheduled_messages) RETURNS public.scheduled_messages
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_changes text;
begin
    p_new.due_at := p_old.due_at;
    p_new.waiting_reason := p_old.waiting_reason;
    p_new.waiting_until := p_old.waiting_until;
    if p_old.created_by is null and p_new.created_by = auth.uid() then
        p_new.created_by := null;
    end if;
    if p_old.owner_id is null and p_new.owner_id = auth.uid() then
        p_new.owner_id := null;
    end if;
    if date_trunc('milliseconds', p_new.created_at)
        = date_trunc('milliseconds', p_old.created_at)
    then
        p_new.created_at := p_old.created_at;
    end if;
    if date_trunc('milliseconds', p_new.sent_at)
        = date_trunc('milliseconds', p_old.sent_at)
    then
        p_new.sent_at := p_old.sent_at;
    end if;
    if date_trunc('milliseconds', p_new.occurrence_at)
        = date_trunc('milliseconds', p_old.occurrence_at)
    then
        p_new.occurrence_at := p_old.occurrence_at;
    end if;
    v_changes := private.foreign_changes(p_old, p_new);
    if v_changes is not null then
        raise exception using errcode = '42501', message = format(
            'Not yours to change: %s. Read the message again and leave them as they are.', v_changes
        );
    end if;
    p_new.updated_at := now();
    return p_new;
end
$$;

CREATE FUNCTION private.wanted_reminders(p_appointments uuid[]) RETURNS TABLE(appointment_id uuid, number integer, anchor text, wanted_at timestamp with time zone, not_after timestamp with time zone, when_past text, why_not text, fault text, zone text, text text, type text, media_url text, category text, template jsonb)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET enable_nestloop TO 'off'
    SET work_mem TO '64MB'
    AS $$
    -- The connections of these appointments, as they are now.
    with place as materialized (
        select
            asked.connection_id,
            asked.owner_id,
            coalesce(settings.timezone, 'UTC') as zone,
            coalesce(settings.display_name, known.name) as hospital_name,
            private.why_lost(asked.connection_id, asked.owner_id) as lost,
            coalesce(settings.enabled and settings.active, true) as is_on
        from (
            select distinct
                appointment.connection_id,
                appointment.owner_id
            from public.appointments as appointment
            where appointment.id = any(p_appointments)
        ) as asked
        left join public.connection_settings as settings
            on settings.connection_id = asked.connection_id
        -- A project's connections need have no name.
        left join lateral (
            select found.name
            from (values (null::text)) as missing (name)
            cross join lateral (
                select name::text as name
                from public.connections as connection
                where connection.id::text = asked.connection_id
            ) as found
        ) as known on true
    ),
    -- Their rules, with the text and the words for dates.
    rule as materialized (
        select
            place.*,
            r.number,
            r.anchor,
            r.day_offset,
            r.at,
            coalesce(r.shift, '0') as shift,
            r.when_past,
            place.lost is null and place.is_on and r.enabled as is_wanted,
            template.parts,
            template.variables as names,
            template.type,
            template.media_url,
            template.category,
            template.cloud,
            case
                when private.goes_by_cloud(place.connection_id)
                    then private.names_of_approved(template.cloud)
                else '{}'
            end as approved_names,
            template.on_missing = 'fault' as needs_all,
            case template.type when 'text' then 4096 else 1024 end as longest,
            words.language,
            -- Where there is no specialty, none is missed.
            '{"specialty": ""}'::jsonb
            || private.values_of(template.defaults)
            || jsonb_strip_nulls(jsonb_build_object('hospital_name', place.hospital_name)) as given,
            words.date_pattern,
            words.time_pattern,
            words.before_noon,
            words.after_noon,
            words.months
        from place
        join public.reminder_rules as r
            on r.connection_id = place.connection_id and r.owner_id = place.owner_id
        join public.message_templates as template on template.id = r.template_id
        left join private.date_words as words
            on words.language = lower(substring(template.language from '^[A-Za-z]+'))
    ),
    -- Each appointment, with the zone that its wall times are meant in, and its start.
    booked as materialized (
        select
            appointment.*,
            zone.name as zone,
            private.wall_to_instant(appointment.date + appointment.time, zone.name) as starts_at,
            case
                when appointment.variables = '{}' then '{}'
                else private.values_of(appointment.variables)
            end as given
        from public.appointments as appointment
        join place
            on place.connection_id = appointment.connection_id
            and place.owner_id = appointment.owner_id
        cross join lateral (select coalesce(appointment.timezone, place.zone) as name) as zone
        where appointment.id = any(p_appointments)
    ),
    -- Dates and times as each language writes them, each once.
    spelled_date as materialized (
        select
            words.language,
            day.date,
            private.spell_date(words.date_pattern, words.months, day.date) as words
        from (select distinct rule.language, rule.date_pattern, rule.months from rule) as words
        cross join (
            select booked.date from booked
            union
            select booked.followup_date from booked
        ) as day
    ),
    spelled_time as materialized (
        select
            words.language,
            moment.time,
            private.spell_time(
                words.time_pattern, words.before_noon, words.after_noon, moment.time
            ) as words
        from (
            select distinct
                rule.language,
                rule.time_pattern,
                rule.before_noon,
                rule.after_noon
            from rule
        ) as words
        cross join (select distinct booked.time from booked) as moment
    ),
    -- What fills the texts of each language. An appointment's own columns come before its
    -- variables; null stands for a language without words of its own.
    spoken as materialized (
        select
            booked.id,
            day.language,
            booked.given || jsonb_strip_nulls(jsonb_build_object(
                'patient_name', nullif(btrim(booked.patient_name), ''),
                'doctor_name', nullif(btrim(booked.doctor_name), ''),
                'specialty', nullif(btrim(booked.specialty), ''),
                'date', day.words,
                'time', moment.words,
                'followup_date', followup.words
            )) as given
        from booked
        join spelled_date as day on day.date = booked.date
        join spelled_time as moment
            on moment.time = booked.time
            and coalesce(moment.language, '') = coalesce(day.language, '')
        left join spelled_date as followup
            on followup.date = booked.followup_date
            and coalesce(followup.language, '') = coalesce(day.language, '')
    ),
    -- The wall time at which each rule speaks; null: never.
    timed as materialized (
        select
            booked.id,
            booked.zone as zone,
            booked.starts_at,
            booked.followup_date,
            booked.status,
            rule.number,
            rule.anchor,
            rule.when_past,
            rule.lost,
            rule.is_wanted,
            rule.parts,
            rule.names,
            rule.needs_all,
            rule.longest,
            rule.type,
            rule.media_url,
            rule.category,
            rule.cloud,
            rule.approved_names,
            rule.language,
            rule.given,
            case
                when not rule.is_wanted then null
                when rule.anchor = 'followup_date' and booked.status <> 'cancelled'
                    then private.wall_to_instant(
                        booked.followup_date + rule.day_offset + coalesce(rule.at, '09:00'),
                        booked.zone
                    )
                when booked.status <> 'booked' then null
                when rule.anchor = 'date' and rule.day_offset = 0 and rule.at is null
                    then booked.starts_at
                when rule.anchor = 'date'
                    then private.wall_to_instant(
                        booked.date + rule.day_offset + coalesce(rule.at, booked.time), booked.zone
                    )
                when rule.anchor = 'booked' and rule.at is not null
                    then private.wall_to_instant(
                        (booked.created_at at time zone booked.zone)::date
                        + rule.day_offset + rule.at,
                        booked.zone
                    )
                when rule.anchor = 'booked'
                    then booked.created_at + rule.day_offset * interval '24 hours'
            end + rule.shift as wanted_at
        from booked
        join rule
            on rule.connection_id = booked.connection_id
            and rule.owner_id = booked.owner_id
    ),
    filled as materialized (
        select
            timed.*,
            timed.given || spoken.given as all_given
        from timed
        join spoken
            on spoken.id = timed.id
            and coalesce(spoken.language, '') = coalesce(timed.language, '')
        where timed.wanted_at is not null
    )
    select
        filled.id,
        filled.number,
        filled.anchor,
        filled.wanted_at,
        -- What comes before the appointment is of no use once it has begun; what comes with it or
        -- after it, and a follow-up, once its own day is over.
        case
            when filled.anchor = 'followup_date'
                then private.wall_to_instant(
                    (filled.followup_date + 1)::timestamp, filled.zone
                )
            when filled.anchor = 'booked' or filled.wanted_at < filled.starts_at
                then filled.starts_at
            else private.wall_to_instant(
                ((filled.wanted_at at time zone filled.zone)::date + 1)::timestamp, filled.zone
            )
        end,
        filled.when_past,
        null,
        case
            when not filled.all_given ?& filled.approved_names
                then 'No value for {' || array_to_string(array(
                    select needed.name
                    from unnest(filled.approved_names) as needed (name)
                    where not filled.all_given ? needed.name
                ), '}, {') || '}, which the approved template needs.'
            when filled.needs_all and not filled.all_given ?& filled.names
                then 'No value for {' || array_to_string(
                    private.names_in(filled.parts, filled.all_given), '}, {'
                ) || '}.'
            when length(rendered.text) > filled.longest
                then format(
                    'The text has %s characters; %s are the most.',
                    length(rendered.text), filled.longest
                )
        end,
        filled.zone,
        rendered.text,
        filled.type,
        filled.media_url,
        filled.category,
        private.fill_approved(filled.cloud, filled.all_given, filled.media_url)
    from filled
    cross join lateral (
        select private.render(filled.parts, filled.all_given) as text
        offset 0
    ) as rendered
    union all
    select
        timed.id,
        timed.number,
        timed.anchor,
        null,
        null,
        timed.when_past,
        case
            when timed.lost is not null then timed.lost
            when not timed.is_wanted then 'These reminders are switched off.'
            when timed.status = 'booked' then 'The appointment has no such date.'
            else format('The appointment is %s.', replace(timed.status, '_', ' '))
        end,
        case when timed.status = 'booked' and timed.starts_at > now() then timed.lost end,
        timed.zone,
        null,
        timed.type,
        timed.media_url,
        timed.category,
        null
    from timed
    where timed.wanted_at is null
$$;

CREATE FUNCTION private.was_lost(p_error text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select p_error ~ '^(The account|The connection|The WhatsApp connection|There is no such conn)'
$$;

CREATE FUNCTION private.why_beyond_limit(p_connection_id text, p_at timestamp with time zone, p_count integer) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.why_connection_cannot_send(p_connection_id text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.why_it_would_fail_again(p_error text, p_is_same_number boolean) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select case
        when p_is_same_number and p_error ~* 'no whatsapp account'
            then 'The number has no WhatsApp account, and is the same as before.'
        when p_is_same_number
            and p_error ~*
            '(is neither a contact nor|no country code that exists|is no WhatsApp id)'
            then 'The number is none that can be written to, and is the same as before.'
        when p_error ~* 'has opted out'
            then 'They have opted out.'
        when p_error ~* '(do not send it again|does not let this business write)'
            then 'WhatsApp does not let this business write to them.'
        when p_error ~* '(characters; .* takes|message is empty|cannot be scheduled: use|'
            'media column|is no attachment|address must|is not a valid URL|that cannot be sent)'
            then 'The message itself is at fault, and a new try would have the same: ' || p_error
    end
$$;

CREATE FUNCTION private.why_lost(p_connection_id text, p_owner_id uuid) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_owner uuid;
    v_user jsonb;
begin
    if not exists (
        select from public.connections as c where c.id::text = any(array[p_connection_id])
    ) then
        return 'There is no such connection any more.';
    end if;
    v_owner := private.connection_owner(p_connection_id);
    select to_jsonb(u) into v_user from auth.users as u where u.id = p_owner_id;
    return case
        when v_owner <> p_owner_id then 'The connection is somebody else''s now.'
        when v_owner is null
            and v_user is not null
            and exists (
                select from pg_catalog.pg_attribute as a
                where a.attrelid = 'public.connections'::regclass
                    and a.attname in ('user_id', 'owner_id')
                    and not a.attisdropped
            ) then 'The connection is nobody''s now.'
        when private.is_suspended(v_user)
            then 'The account of the connection''s owner is suspended.'
    end;
end
$$;

CREATE FUNCTION private.why_no_audience(p_campaign public.campaigns) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.why_no_next(p_pattern text, p_end timestamp with time zone) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select 'The series ends with this message: its next occurrence would lie beyond the year 2199.'
    where p_end is null and p_pattern !~* '(count|until)='
$$;

CREATE FUNCTION private.why_not_approved(p_cloud jsonb, p_connection_id text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_called constant text := format('"%s" (%s)', p_cloud ->> 'name', p_cloud ->> 'language');
    v_format constant text := coalesce(p_cloud ->> 'format', 'positional');
    v_given constant text[] := array(
        select given.name
        from jsonb_array_elements_text(p_cloud -> 'parameters') as given (name)
    );
    v_header constant text := case jsonb_typeof(p_cloud -> 'header')
        when 'string' then 'text'
        when 'object' then p_cloud -> 'header' ->> 'type'
    end;
    v_known private.approved_templates;
    v_missing text;
begin
    if p_cloud is null or not private.goes_by_cloud(p_connection_id) then
        return null;
    end if;
    -- Where several accounts have one of this name, one that can be sent.
    select known.* into v_known
    from private.approved_templates as known
    where known.name = p_cloud ->> 'name'
        and known.language = replace(p_cloud ->> 'language', '-', '_')
    order by known.status = 'APPROVED' desc, known.account_id
    limit 1;
    if not found and not exists (
        select from private.template_accounts as account where account.read_at is not null
    ) then
        return null;
    elsif v_known.name is null then
        return format(
            'WhatsApp has no template %s. Compare its name and language with what stands in '
            'WhatsApp Manager under Message templates.', v_called
        );
    elsif v_known.status <> 'APPROVED' then
        return format(
            'WhatsApp does not send the template %s at this time: it is %s%s. See WhatsApp '
            'Manager under Message templates.',
            v_called,
            replace(lower(v_known.status), '_', ' '),
            ' (' || replace(lower(v_known.reason), '_', ' ') || ')'
        );
    elsif v_known.places is null then
        return null;
    elsif cardinality(v_known.places) <> cardinality(v_given) then
        return format(
            'The approved template %s has %s places in its text, and it is given %s values.',
            v_called, cardinality(v_known.places), cardinality(v_given)
        );
    elsif v_known.format <> v_format and cardinality(v_given) > 0 then
        return format(
            'The approved template %s takes its values by %s: set its format to %s.',
            v_called,
            case v_known.format when 'named' then 'their names' else 'their places' end,
            v_known.format
        );
    elsif v_known.header is distinct from v_header and not (
        v_known.header = 'text' and v_known.header_places = '{}' and v_header is null
    ) then
        return format(
            'The approved template %s has %s as its header, and it is given %s.',
            v_called, coalesce(v_known.header, 'nothing'), coalesce(v_header, 'nothing')
        );
    end if;
    if v_format = 'named' then
        select string_agg(place.name, '}, {') into v_missing
        from unnest(v_known.places) as place (name)
        where place.name <> all(v_given);
    end if;
    if v_missing is not null then
        return format('The approved template %s also needs {%s}.', v_called, v_missing);
    end if;
    return null;
end
$$;

CREATE FUNCTION private.why_not_to_start(p_campaign public.campaigns) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $_$
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
$_$;

CREATE FUNCTION private.why_template_is_not_sent(p_campaign public.campaigns) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select private.why_not_approved(template.cloud, p_campaign.connection_id)
    from public.message_templates as template
    where template.id = p_campaign.template_id
$$;

CREATE FUNCTION private.why_to_stop(p_run public.campaign_runs, p_campaign public.campaigns) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.with_answer(p_parts jsonb, p_count integer, p_ids jsonb, p_outcome text, p_error text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select jsonb_agg(coalesce(p_parts -> (n - 1), '{}') || case
        when n <= done.count then jsonb_build_object('id', p_ids -> (n - 1), 'said', 'sent')
        when n = done.count + 1 then jsonb_build_object(
            'said', p_outcome,
            'reason', regexp_replace(
                p_error,
                '^(It may have been sent: )?(\d+ of \d+ parts went out, then: )?',
                ''
            )
        )
        else jsonb_build_object(
            'said', 'none',
            'reason', 'the rest was not sent, because it was not known then what had become of this'
        )
    end order by n)
    from (select jsonb_array_length(p_ids) as count) as done
    cross join generate_series(1, p_count) as n
$$;

CREATE FUNCTION private.with_less(p_row private.planned_row, p_planned private.planned_row, p_reason text) RETURNS private.planned_row
    LANGUAGE plpgsql STABLE
    SET search_path TO ''
    AS $$
declare
    v_error constant text := coalesce(
        p_planned.error, 'The database refused to schedule this message: ' || p_reason
    );
    v_less private.planned_row := p_planned;
begin
    v_less.stage := p_row.stage + 1;
    if v_less.stage = 1 and (p_planned.next_at is null or p_planned.error is not null) then
        v_less.stage := 2;
    end if;
    if v_less.stage = 2 and p_planned.next_at is null then
        v_less.stage := 3;
    end if;
    case v_less.stage
        when 1 then
            v_less.next_at := null;
            v_less.next_after := null;
            v_less.series_ends := 'The series ends with this message, because the database refused'
                || ' the next one: ' || p_reason;
        when 2 then
            v_less.recipient := null;
            v_less.error := v_error;
        when 3 then
            v_less := row(p_planned.id, p_planned.revision, p_planned.job_id);
            v_less.missed := 0;
            v_less.soon := p_planned.soon;
            v_less.stage := 3;
            v_less.error := v_error;
        else
            return null;
    end case;
    return v_less;
end
$$;

CREATE FUNCTION private.with_word(p_parts jsonb, p_place integer, p_count integer, p_id text, p_told text, p_error text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path TO ''
    AS $$
    select case
        when array_position(ranked.words, p_told)
            > coalesce(array_position(ranked.words, known.part ->> 'told'), 0)
        then jsonb_set(
            known.parts,
            array[(p_place - 1)::text],
            jsonb_build_object('id', p_id)
            || known.part
            || jsonb_build_object('told', p_told, 'error', case p_told
                when 'failed' then coalesce(p_error, 'WhatsApp gave no reason.')
            end)
        )
        else known.parts
    end
    from (
        select made.parts, made.parts -> (p_place - 1) as part
        from (
            select coalesce(
                p_parts, (select jsonb_agg('{}'::jsonb) from generate_series(1, p_count))
            ) as parts
        ) as made
    ) as known
    cross join (select array['sent', 'failed', 'delivered', 'read'] as words) as ranked
$$;

CREATE FUNCTION private.with_words(p_parts jsonb, p_words jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO ''
    AS $$
declare
    v_parts jsonb := p_parts;
    v_word record;
begin
    for v_word in
        select * from jsonb_to_recordset(p_words) as word (
            part integer, parts integer, message_id text, status text, error text
        )
    loop
        if v_word.part between 1 and coalesce(jsonb_array_length(v_parts), v_word.parts) then
            v_parts := private.with_word(
                v_parts, v_word.part, v_word.parts, v_word.message_id, v_word.status, v_word.error
            );
        end if;
    end loop;
    return v_parts;
end
$$;

CREATE FUNCTION private.withdraw_approval() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO ''
    AS $$
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

CREATE FUNCTION private.withdraw_job(p_job_id uuid) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    update public.broadcast_jobs as j
    set status = 'cancelled',
        completed_at = now(),
        updated_at = now()
    from (
        select w.id
        from public.broadcast_jobs as w
        where w.id = p_job_id and w.status = 'queued' and w.scheduled_message_id is not null
        for update skip locked
    ) as waiting
    where j.id = waiting.id;
    if found then
        update public.broadcast_messages as m
        set status = 'cancelled',
            updated_at = now()
        where m.job_id = p_job_id;
        return true;
    end if;
    return not exists (
        select 1 from public.broadcast_jobs as j
        where j.id = p_job_id
            and j.status not in ('cancelled', 'completed', 'failed', 'unconfirmed')
    );
end
$$;

CREATE FUNCTION private.words_of(p_table text, p_constraint text, p_reason text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select coalesce(
        (
            select obj_description(k.oid, 'pg_constraint')
            from pg_catalog.pg_constraint as k
            join pg_catalog.pg_class as c on c.oid = k.conrelid
            where k.conname = p_constraint
                and c.relname = p_table
                and c.relnamespace = 'public'::regnamespace
        ),
        p_reason
    )
$$;

CREATE FUNCTION private.write_contact_key() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_type constant text := (
        select format_type(a.atttypid, null)
        from pg_catalog.pg_attribute as a
        where a.attrelid = 'public.contacts'::regclass and a.attname = 'id'
    );
begin
    drop function if exists private.contact_key(text);
    execute format(
        $format$
create function private.contact_key(p_id text)
returns %1$s
language plpgsql
immutable
strict
set search_path = ''
as $$
begin
    return case when p_id ~* %2$L then p_id::%1$s end;
end
$$
        $format$, v_type, case v_type
            when 'bigint' then '^[0-9]{1,18}$'
            when 'integer' then '^[0-9]{1,9}$'
            when 'smallint' then '^[0-9]{1,4}$'
            when 'numeric' then '^[0-9]{1,30}$'
            when 'uuid' then '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
            else ''
        end
    );
    revoke all on function private.contact_key from public;
    grant execute on function private.contact_key to service_role;
end
$_$;

CREATE FUNCTION private.write_refusals() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_cases constant text := (
        select string_agg(
            format(
                E'\n        when (%s) is false then %L',
                pg_catalog.pg_get_expr(k.conbin, k.conrelid),
                coalesce(pg_catalog.obj_description(k.oid, 'pg_constraint'), k.conname)
            ), '' order by k.conname
        )
        from pg_catalog.pg_constraint as k
        where k.conrelid = 'public.scheduled_messages'::regclass
            and k.contype = 'c'
            and k.conname like 'scheduled\_messages\_%'
    );
begin
    execute format(
        $format$
create or replace function private.refuse_nonsense()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_words text;
begin
    if new.media is not null then
        begin
            perform new.media::jsonb; -- stricter than json: no character zero, no half of a pair
        exception when others then
            raise exception 'The media are not valid JSON.' using errcode = 'PT400';
        end;
    end if;
    select case%s
    end
    into v_words
    from (select new.*) as scheduled_messages;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$$
        $format$, v_cases
    );
    revoke all on function private.refuse_nonsense from public;
end
$_$;

CREATE FUNCTION private.write_refusals_of(p_table text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_table constant regclass := ('public.' || p_table)::regclass;
    v_cases text;
begin
    select string_agg(refusal.said, '' order by refusal.rank, refusal.name)
    into v_cases
    from (
        select
            1 as rank,
            a.attname::text as name,
            format(
                E'\n        when new.%I is null then %L',
                a.attname, format('The %s is missing.', replace(a.attname, '_', ' '))
            ) as said
        from pg_catalog.pg_attribute as a
        where a.attrelid = v_table and a.attnum > 0 and not a.attisdropped and a.attnotnull
        union all
        select
            2,
            k.conname,
            format(
                E'\n        when (%s) is false then %L',
                pg_catalog.pg_get_expr(k.conbin, k.conrelid),
                coalesce(pg_catalog.obj_description(k.oid, 'pg_constraint'), k.conname)
            )
        from pg_catalog.pg_constraint as k
        where k.conrelid = v_table and k.contype = 'c'
        union all
        -- A reference, by all of its columns.
        select
            3,
            k.conname,
            format(
                E'\n        when %s and not exists (select from %s as r where %s) then %L',
                (
                    select string_agg(format('new.%I is not null', here.attname), ' and ')
                    from unnest(k.conkey) as key (number)
                    join pg_catalog.pg_attribute as here
                        on here.attrelid = k.conrelid and here.attnum = key.number
                ),
                k.confrelid::regclass,
                (
                    select string_agg(
                        format('r.%I = new.%I', there.attname, here.attname), ' and '
                    )
                    from unnest(k.conkey, k.confkey) as key (here, there)
                    join pg_catalog.pg_attribute as here
                        on here.attrelid = k.conrelid and here.attnum = key.here
                    join pg_catalog.pg_attribute as there
                        on there.attrelid = k.confrelid and there.attnum = key.there
                ),
                pg_catalog.obj_description(k.oid, 'pg_constraint')
            )
        from pg_catalog.pg_constraint as k
        where k.conrelid = v_table
            and k.contype = 'f'
            and pg_catalog.obj_description(k.oid, 'pg_constraint') is not null
    ) as refusal;

    execute format(
        $format$
create or replace function private.refuse_nonsense_in_%1$s()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_words text;
begin
    select case%2$s
    end
    into v_words
    from (select new.*) as %1$s;
    if v_words is not null then
        raise exception using message = v_words, errcode = 'PT400';
    end if;
    return new;
end
$$
        $format$, p_table, v_cases
    );
    execute format(
        'revoke all on function private.refuse_nonsense_in_%s from public', p_table
    );
    -- After the guards and whatever else makes the row, by its name.
    execute format(
        'create or replace trigger zz_refuse_nonsense before insert or update on public.%I '
        'for each row when ('
        'row_security_active(''private.connection_owners''::regclass) '
        'and not pg_has_role(''service_role'', ''usage'')) '
        'execute function private.refuse_nonsense_in_%s()',
        p_table, p_table
    );
end
$_$;

CREATE FUNCTION private.write_to_contacts(p_contacts bigint[], p_message text, p_at timestamp with time zone, p_connection_id text) RETURNS TABLE(id uuid, recipient_count integer, estimated_finish_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $_$
declare
    v_most constant integer := 50;
    v_ids constant bigint[] := array(
        select distinct given.id
        from unnest(p_contacts) as given (id)
        where given.id is not null
        order by given.id
    );
    v_audience constant jsonb := jsonb_build_object('contacts', to_jsonb(v_ids));
    v_unknown text;
    v_numberless text;
begin
    recipient_count := cardinality(v_ids);
    if recipient_count = 0 then
        raise exception 'Choose somebody to write to.' using errcode = 'PT400';
    elsif recipient_count > v_most then
        raise exception 'At most % at once can be written to; these are %.', v_most, recipient_count
            using errcode = 'PT400';
    end if;

    -- A column that another application's contacts lack is found one level up. Their ids need not
    -- be numbers.
    execute format(
        $query$
        select
            string_agg(asked.id::text, ', ' order by asked.id) filter (where person.id is null),
            string_agg(coalesce(nullif(btrim(person.name), ''), asked.id::text), ', '
                order by asked.id)
                filter (where person.id is not null and coalesce(person.phone, '') !~ '\S')
        from unnest($1) as asked (id)
        left join lateral (
            select found.*
            from (values (null::text, null::text)) as missing (phone_number, contact_name)
            cross join lateral (
                select
                    c.id,
                    left(phone_number::text, 256) as phone,
                    left(contact_name::text, 256) as name
                from public.contacts as c
                where c.id = any(array[%s])
            ) as found
        ) as person on true
        $query$,
        (
            select case
                when a.atttypid = any(array[
                    'bigint'::regtype, 'integer'::regtype, 'smallint'::regtype, 'numeric'::regtype
                ]) then 'asked.id'
                when a.atttypid = any(array['text'::regtype, 'character varying'::regtype])
                    then 'asked.id::text'
                else format('null::%s', format_type(a.atttypid, null))
            end
            from pg_catalog.pg_attribute as a
            where a.attrelid = 'public.contacts'::regclass and a.attname = 'id'
        )
    )
    into v_unknown, v_numberless
    using v_ids;
    if v_unknown is not null then
        raise exception using errcode = 'PT400', message = format(
            'There are no such contacts: %s.', v_unknown
        );
    elsif v_numberless is not null then
        raise exception using errcode = 'PT400', message = format(
            'No phone number: %s. Add it, or leave them out.', v_numberless
        );
    end if;

    perform pg_advisory_xact_lock(hashtextextended(
        concat_ws('/', p_connection_id, p_at, v_audience, p_message), 0
    ));
    select campaign.id into write_to_contacts.id
    from public.campaigns as campaign
    where campaign.connection_id = p_connection_id
        and campaign.scheduled_at = p_at
        and campaign.audience = v_audience
        and campaign.message = p_message
        and campaign.status in ('scheduled', 'paused')
    limit 1;
    if not found then
        insert into public.campaigns as campaign (
            connection_id, name, message, audience, scheduled_at, max_recipients, status, owner_id
        )
        values (
            p_connection_id,
            left(regexp_replace(p_message, '\s+', ' ', 'g'), 60),
            p_message,
            v_audience,
            p_at,
            v_most,
            'scheduled',
            -- The guard writes the connection's owner.
            auth.uid()
        )
        returning campaign.id into write_to_contacts.id;
    end if;
    estimated_finish_at := coalesce((
        select estimate.ends_at from public.estimate_campaign(write_to_contacts.id) as estimate
    ), p_at);
    return next;
end
$_$;

CREATE FUNCTION public.advance_campaign_run(p_run_id uuid, p_limit integer DEFAULT 1000) RETURNS TABLE(made integer, stopped text)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION public.advance_rehearsal(p_campaign_id uuid, p_rules_version text, p_limit integer DEFAULT 1000, p_gateway text DEFAULT NULL::text, p_fault text DEFAULT NULL::text, p_most_an_hour integer DEFAULT 2000000) RETURNS TABLE(is_done boolean, worked integer, country_code text, to_judge text[])
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
declare
    v_rehearsal public.campaign_rehearsals;
    v_campaign public.campaigns;
    v_portion record;
    v_number integer;
begin
    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = p_campaign_id;
    select rehearsal.* into v_rehearsal
    from public.campaign_rehearsals as rehearsal
    where rehearsal.campaign_id = p_campaign_id and rehearsal.finished_at is null
    for no key update skip locked;
    if not found then
        return;
    end if;
    country_code := coalesce((
        select settings.country_code
        from public.connection_settings as settings
        where settings.connection_id = v_campaign.connection_id
    ), '');
    is_done := false;
    if v_rehearsal.revision <> v_campaign.revision
        or v_rehearsal.template_version is distinct from (
            select content.version from private.campaign_content(v_campaign) as content
        )
    then
        v_rehearsal := private.begun_rehearsal(v_campaign);
        worked := v_rehearsal.progress;
    else
        if not v_rehearsal.is_whole then
            -- From the beginning: the first lines were made without a word on their numbers.
            v_rehearsal.is_whole := true;
            v_rehearsal.progress := 0;
            v_rehearsal.will_be_sent := 0;
            v_rehearsal.faults := '{}';
            v_rehearsal.duplicates := 0;
            v_rehearsal.opted_out := 0;
            v_rehearsal.first_due_at := null;
            v_rehearsal.last_due_at := null;
            v_rehearsal.frozen_key := null;
        end if;
        select
            portion.rehearsal,
            portion.worked,
            portion.to_judge
        into v_portion
        from private.rehearse_portion(
            v_rehearsal, v_campaign, p_limit, p_rules_version, p_gateway, p_fault
        ) as portion;
        to_judge := v_portion.to_judge;
        worked := v_portion.worked;
        if to_judge is not null then
            return next;
            return;
        end if;
        v_rehearsal := v_portion.rehearsal;
        is_done := worked < p_limit;
    end if;
    insert into private.rehearsal_turns as turn (owner_id, number)
    values (v_rehearsal.owner_id, worked)
    on conflict (owner_id) do update
    set
        hour = excluded.hour,
        number = excluded.number
            + case when turn.hour = excluded.hour then turn.number else 0 end
    returning turn.number into v_number;
    v_rehearsal.waiting_reason := case when v_number >= p_most_an_hour and not is_done then
        format(
            '%s recipients were rehearsed in this hour, which are the most. It goes on at %s UTC.',
            p_most_an_hour,
            to_char(
                (date_trunc('hour', now()) + interval '1 hour') at time zone 'UTC', 'HH24:MI'
            )
        ) end;
    if is_done then
        delete from public.campaign_rehearsal_lines as line
        where line.lines_id = v_rehearsal.lines_id and line.position > v_rehearsal.progress;
        v_rehearsal.total := v_rehearsal.progress;
        v_rehearsal.finished_at := now();
    end if;
    update public.campaign_rehearsals as rehearsal
    set
        revision = v_rehearsal.revision,
        template_version = v_rehearsal.template_version,
        progress = v_rehearsal.progress,
        total = v_rehearsal.total,
        will_be_sent = v_rehearsal.will_be_sent,
        faults = v_rehearsal.faults,
        duplicates = v_rehearsal.duplicates,
        opted_out = v_rehearsal.opted_out,
        waiting_reason = v_rehearsal.waiting_reason,
        finished_at = v_rehearsal.finished_at,
        lines_id = v_rehearsal.lines_id,
        parts = v_rehearsal.parts,
        starts_at = v_rehearsal.starts_at,
        timezone = v_rehearsal.timezone,
        first_due_at = v_rehearsal.first_due_at,
        last_due_at = v_rehearsal.last_due_at,
        is_whole = v_rehearsal.is_whole,
        frozen_key = v_rehearsal.frozen_key
    where rehearsal.campaign_id = p_campaign_id;
    if is_done and v_rehearsal.starts_at is not null then
        update public.campaign_rehearsals as rehearsal
        set
            first_departure_at = estimate.begins_at,
            last_departure_at = estimate.ends_at
        from private.estimate_of(p_campaign_id) as estimate
        where rehearsal.campaign_id = p_campaign_id;
    end if;
    return next;
end
$$;

CREATE FUNCTION public.approved_templates(connection_id text DEFAULT NULL::text) RETURNS TABLE(name text, language text, format text, places text[], header text, header_places text[])
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT known.name,
     known.language,
     known.format,
     known.places,
     known.header,
     known.header_places
    FROM (( SELECT array_agg(connection.id) AS ids
            FROM public.connections connection
           WHERE ((approved_templates.connection_id IS NULL) OR (connection.id = approved_templates.connection_id))) mine
      CROSS JOIN LATERAL private.approved_for(mine.ids) known(name, language, format, places, header, header_places));
END;

COMMENT ON FUNCTION public.approved_templates(connection_id text) IS 'What WhatsApp has approved of the templates that the caller''s connections can send.';

CREATE FUNCTION public.claim_broadcast_jobs(p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text DEFAULT 'mock'::text, p_busy text[] DEFAULT '{}'::text[], p_now timestamp with time zone DEFAULT NULL::timestamp with time zone, p_call_seconds double precision DEFAULT 0, p_early_seconds double precision DEFAULT 0, p_retry_attempts integer DEFAULT 3, p_retry_delay_seconds double precision DEFAULT 60) RETURNS TABLE(db_now timestamp with time zone, next_ready_at timestamp with time zone, jobs json)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '250ms'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_seats constant integer := least(p_seats, 1000);
    v_call_seconds constant double precision := greatest(0.15, least(10, p_call_seconds));
    v_early constant interval := make_interval(secs => least(1, p_early_seconds));
    v_turn text[];
    v_now timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_token::text, 0));
    if v_seats > 0 and not exists (
        select 1 from public.broadcast_jobs as job
        where job.lease_token = p_token and job.status = 'sending'
    ) then
        v_turn := private.take_turn(v_seats, p_busy, coalesce(p_now, now()) + v_early);
    end if;
    if v_turn is not null then
        v_now := coalesce(p_now, clock_timestamp()); -- it may have waited for its turn
        perform private.have_turns(v_turn, v_seats, row(
            p_token, p_lease_seconds, p_gateway, v_now, v_call_seconds, v_early, p_retry_attempts,
            p_retry_delay_seconds
        )::private.claim_terms);
    end if;

    jobs := private.claimed_jobs(p_token);
    db_now := clock_timestamp();
    next_ready_at := (
        select min(state.ready_at) from private.connection_state as state
        where state.connection_id <> all(p_busy) and state.payer <> all(p_busy)
    );
    return next;
end
$$;

CREATE FUNCTION public.connection_usage(connection_id text) RETURNS TABLE(enabled boolean, state text, state_until timestamp with time zone, timezone text, today date, sent_today integer, daily_limit integer, at_daily_limit text, messages integer, period_seconds double precision, window_start time without time zone, window_end time without time zone, waiting jsonb, waiting_is_cut boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT u.enabled,
     u.state,
     u.state_until,
     u.timezone,
     u.today,
     u.sent_today,
     u.daily_limit,
     u.at_daily_limit,
     u.messages,
     u.period_seconds,
     u.window_start,
     u.window_end,
     u.waiting,
     u.waiting_is_cut
    FROM (public.connections c
      CROSS JOIN LATERAL private.usage_of(c.id) u(enabled, state, state_until, timezone, today, sent_today, daily_limit, at_daily_limit, messages, period_seconds, window_start, window_end, waiting, waiting_is_cut))
   WHERE (c.id = connection_usage.connection_id);
END;

CREATE FUNCTION public.contact_labels() RETURNS TABLE(label text, contacts integer)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select
        labelled.label,
        count(*)::integer
    from (values (null::text)) as missing (labels)
    cross join lateral (
        -- The column `labels` of contacts, else the one above.
        select to_jsonb(labels) as labels
        from public.contacts
    ) as contact
    cross join lateral jsonb_array_elements_text(
        case jsonb_typeof(contact.labels) when 'array' then contact.labels else '[]' end
    ) as labelled (label)
    where labelled.label ~ '\S'
    group by labelled.label
    order by labelled.label
    limit 1000
$$;

COMMENT ON FUNCTION public.contact_labels() IS 'The labels of the caller''s contacts, and how many contacts carry each.';

CREATE FUNCTION public.count_upcoming_messages(timezone text, since date, until date) RETURNS TABLE(day date, number integer)
    LANGUAGE sql STABLE
    SET search_path TO ''
    AS $$
    select
        (s.due_at at time zone count_upcoming_messages.timezone)::date as day,
        count(*)::integer as number
    from public.scheduled_messages as s
    where s.due_at >= count_upcoming_messages.since::timestamp
        at time zone count_upcoming_messages.timezone
        and s.due_at < (count_upcoming_messages.until + 1)::timestamp
        at time zone count_upcoming_messages.timezone
    group by 1
    order by 1
$$;

CREATE FUNCTION public.diagnose() RETURNS TABLE(level text, what text, remedy text)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
begin
    -- What is missing of ours.
    return query
    select
        case when count(*) = 0 then 'ok' else 'failure' end,
        coalesce(
            'indexes are missing or invalid: ' || string_agg(needed.name, ', '),
            'all indexes are there and valid'
        ),
        case when count(*) > 0 then 'Run `migrate` again.' end
    from unnest(array[
        'scheduled_messages_due_idx',
        'scheduled_messages_occurrence_key',
        'broadcast_jobs_queued_idx',
        'broadcast_jobs_sending_idx',
        'broadcast_jobs_lease_idx',
        'idx_broadcast_messages_job_id'
    ]) as needed (name)
    where not exists (
        select 1
        from pg_catalog.pg_class as c
        join pg_catalog.pg_index as i on i.indexrelid = c.oid
        where c.relname = needed.name and i.indisvalid
    );

    return query
    select
        case when count(*) = 0 then 'ok' else 'failure' end,
        coalesce(
            'triggers are missing or disabled: '
            || string_agg(needed.table_name || '.' || needed.name, ', '),
            'the triggers, without which nothing falls due or is settled, are at work'
        ),
        string_agg(format(
            'alter table public.%s enable %s trigger %s;',
            needed.table_name,
            case needed.name when 'zz_set_due_at' then 'always' else '' end,
            needed.name
        ), ' ') || ' Where one does not exist, create it as sql/ does.'
    from (
        values
        ('scheduled_messages', 'zz_set_due_at'),
        ('scheduled_messages', 'guard_insert'),
        ('scheduled_messages', 'guard_update'),
        ('scheduled_messages', 'guard_update_by_service'),
        ('scheduled_messages', 'guard_delete'),
        ('scheduled_messages', 'guard_delete_by_service'),
        ('broadcast_messages', 'settle_scheduled_messages'),
        ('broadcast_jobs', 'settle_job_of_node_worker')
    ) as needed (table_name, name)
    where not exists (
        select from pg_catalog.pg_trigger as t
        where t.tgrelid = to_regclass('public.' || needed.table_name)
            and t.tgname = needed.name
            and t.tgenabled in ('O', 'A')
    );

    return query
    select
        'failure',
        count(*) || ' pending message(s) will not fall due when they should',
        'update public.scheduled_messages set due_at = null where status = ''pending'' '
        || 'and due_at is distinct from scheduled_at;'
    from public.scheduled_messages as s
    where s.status = 'pending' and s.due_at is distinct from s.scheduled_at
    having count(*) > 0;

    return query
    select
        case when count(*) = 0 then 'ok' else 'failure' end,
        coalesce(
            'the service key may not use: ' || string_agg(t.name, ', '),
            'the service key may use every table'
        ),
        case when count(*) > 0 then 'Run `migrate` again; it states every grant.' end
    from unnest(array[
        'public.scheduled_messages',
        'public.connections',
        'public.contacts',
        'public.broadcast_jobs',
        'public.broadcast_messages',
        'public.connection_settings'
    ]) as t (name)
    where exists (
        select from unnest(array['select', 'insert', 'update', 'delete']) as p (privilege)
        where not pg_catalog.has_table_privilege('service_role', t.name, p.privilege)
    );

    return query
    select
        case when count(*) = 0 then 'ok' else 'failure' end,
        coalesce(
            'other policies add up with ours: ' || string_agg(p.polname, ', '),
            'scheduled_messages has our policies and no other'
        ),
        case when count(*) > 0
            then 'Drop them: permissive policies widen what ours allow.'
        end
    from pg_catalog.pg_policy as p
    where p.polrelid = 'public.scheduled_messages'::regclass
        and p.polname not in (
            'scheduled_messages_select_policy',
            'scheduled_messages_insert_policy',
            'scheduled_messages_update_policy',
            'scheduled_messages_delete_policy',
            'scheduled_messages_member_policy'
        );

    -- What the project is like.
    return query
    select
        'warning',
        'row level security is off on ' || c.relname,
        'Everybody can see all of it, so everybody can send through any connection: enable it and '
        || 'write policies.'
    from pg_catalog.pg_class as c
    where not c.relrowsecurity
        and c.oid in (
            'public.scheduled_messages'::regclass,
            'public.connections'::regclass,
            'public.contacts'::regclass
        );

    return query
    select
        case when exists (
            select 1
            from pg_catalog.pg_publication_tables as p
            where p.pubname = 'supabase_realtime'
                and p.schemaname = 'public'
                and p.tablename = 'scheduled_messages'
        ) then 'ok' else 'warning' end,
        'scheduled_messages in the publication supabase_realtime',
        'Where this is a warning, Realtime tells nothing of changes; polls carry on.';

    return query
    select
        'warning',
        'connections is a view: a connection that is deleted or connected again is not noticed '
        || 'at once',
        'Nothing to do: its messages fail when they fall due, and what waits is looked at again '
        || 'within minutes.'
    from pg_catalog.pg_class as c
    where c.oid = 'public.connections'::regclass and c.relkind = 'v';

    return query
    select
        'warning',
        format(
            'contacts has no column %s: contacts'' ids are understood by nobody, only numbers are',
            needed.name
        ),
        format(
            'alter table public.contacts add column %s …; or go on writing numbers into '
            'contact_id.', needed.name
        )
    from (
        values
        ('phone_number', array['phone_number']),
        ('owner_id', array['owner_id', 'user_id'])
    ) as needed (name, any_of)
    where not exists (
        select from pg_catalog.pg_attribute as a
        where a.attrelid = 'public.contacts'::regclass
            and a.attname = any(needed.any_of)
            and not a.attisdropped
    );

    return query
    select 'failure', m.what, m.remedy from private.find_misfits() as m;

    return query
    select
        'failure',
        'contacts.id is ' || format_type(a.atttypid, null) || ' now',
        'select private.write_contact_key();'
    from pg_catalog.pg_attribute as a
    join pg_catalog.pg_proc as p
        on p.oid = 'private.contact_key(text)'::regprocedure and p.prorettype <> a.atttypid
    where a.attrelid = 'public.contacts'::regclass and a.attname = 'id';

    return query
    select
        'warning',
        count(*) || ' constraint(s) of scheduled_messages do not cover rows that were there before',
        'Validate them when it suits: see docs/upgrading.md.'
    from pg_catalog.pg_constraint as k
    where k.conrelid = 'public.scheduled_messages'::regclass and not k.convalidated
    having count(*) > 0;

    -- What is going on.
    return query
    select
        'warning',
        count(*) || ' row(s) cannot be written: ' || string_agg(distinct r.reason, '; '),
        'Change the trigger, check or column that refuses them; `status` lists them, and they are '
        || 'tried again by themselves.'
    from (select refused.reason from private.refused_rows as refused limit 1000) as r
    having count(*) > 0;

    return query
    select
        'warning',
        count(*) || ' connection(s) paused by what their gateway answered, such as '
        || min(state.connection_id || ': ' || state.paused_reason),
        'See what `status` says of them; they are asked for again and again, and go on by '
        || 'themselves.'
    from private.connection_state as state
    where state.paused_reason is not null
    having count(*) > 0;

    return query
    select
        'warning',
        count(*) || ' message(s) are in_queue: the upstream application has taken them for a queue '
        || 'of its own',
        'Where its scheduling workers are stopped nobody sends them. Make those without a '
        || 'broadcast_job_id pending again, as step 4 of docs/upgrading.md does it; its main '
        || 'server takes what is due at each of its starts.'
    from public.scheduled_messages as s
    where s.status = 'in_queue'
    having count(*) > 0;

    return query
    select
        'warning',
        count(*) || ' connection(s) send nothing, because their id was another account''s or a '
        || 'user made it up: '
        || string_agg(known.connection_id, ', ' order by known.connection_id),
        'Name the session with `connection ID sender=…`; `connection ID --forget` releases an id, '
        || 'and ends its settings.'
    from private.connection_owners as known
    join public.connections as c on c.id::text = known.connection_id
    left join public.connection_settings as settings
        on settings.connection_id = known.connection_id
    where known.is_held or (known.is_chosen and settings.sender is null)
    having count(*) > 0;

    return query
    select
        'warning',
        count(*) || ' connection(s) are gone, and their settings kept for the case that they come '
        || 'back: ' || string_agg(settings.connection_id, ', ' order by settings.connection_id),
        '`connection ID --forget` ends them.'
    from public.connection_settings as settings
    where not exists (
        select 1 from public.connections as c where c.id::text = settings.connection_id
    )
    having count(*) > 0;

    return query select * from private.find_strays();

    -- And whether it works.
    return query select * from private.rehearse();
    if not found then
        return query select
            'ok',
            'a message was sent, recorded, rescued and settled in a rehearsal, which was undone',
            null;
    end if;
end
$$;

CREATE FUNCTION public.enqueue_and_claim_broadcast_jobs(p_rows text, p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text DEFAULT 'mock'::text, p_busy text[] DEFAULT '{}'::text[], p_call_seconds double precision DEFAULT 0, p_early_seconds double precision DEFAULT 0, p_retry_attempts integer DEFAULT 3, p_retry_delay_seconds double precision DEFAULT 60) RETURNS TABLE(db_now timestamp with time zone, next_ready_at timestamp with time zone, jobs json, refused jsonb)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '250ms'
    AS $$
declare
    v_refused jsonb;
begin
    v_refused := (
        select done.refused from public.enqueue_broadcast_jobs(p_rows, p_early_seconds) as done
    );
    return query
    select claim.db_now, claim.next_ready_at, claim.jobs, v_refused
    from public.claim_broadcast_jobs(
        p_token, p_seats, p_lease_seconds, p_gateway, p_busy, null, p_call_seconds,
        p_early_seconds, p_retry_attempts, p_retry_delay_seconds
    ) as claim;
end
$$;

CREATE FUNCTION public.enqueue_broadcast_jobs(p_rows text, p_early_seconds double precision DEFAULT 0) RETURNS TABLE(enqueued uuid[], refused jsonb)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '250ms'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
#variable_conflict use_variable
declare
    v_defaults private.planned_row;
    v_tried record;
begin
    v_defaults.missed := 0;
    v_defaults.soon := now() + make_interval(secs => least(1, p_early_seconds));
    v_defaults.stage := 0;
    v_tried := private.enqueue_or_put_aside(array(
        select planned
        from json_populate_recordset(v_defaults, p_rows::json) as planned
        where not exists (
            select 1 from private.refused_rows as aside
            where aside.id = planned.id and aside.step = 'enqueue' and aside.again_at > now()
        )
    ));
    -- All at once, and last: see there.
    perform private.announce_work(
        array_agg(done.row ->> 1), array_agg((done.row ->> 2)::timestamptz)
    )
    from jsonb_array_elements(v_tried.done) as done (row)
    where done.row ->> 1 is not null;
    enqueued := array(
        select (done.row ->> 0)::uuid from jsonb_array_elements(v_tried.done) as done (row)
    );
    refused := v_tried.refused;
    return next;
end
$$;

CREATE FUNCTION public.estimate_campaign(id uuid) RETURNS TABLE(number integer, is_exact boolean, ahead integer, begins_at timestamp with time zone, ends_at timestamp with time zone, too_late integer, reason text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT estimate.number,
     estimate.is_exact,
     estimate.ahead,
     estimate.begins_at,
     estimate.ends_at,
     estimate.too_late,
     estimate.reason
    FROM (public.campaigns campaign
      CROSS JOIN LATERAL private.estimate_of(campaign.id) estimate(number, is_exact, ahead, begins_at, ends_at, too_late, reason))
   WHERE (campaign.id = estimate_campaign.id);
END;

CREATE FUNCTION public.estimate_campaign_runs(p_limit integer DEFAULT 10) RETURNS TABLE(estimated integer)
    LANGUAGE sql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION public.finish_campaign_run(p_run_id uuid) RETURNS TABLE(status text, status_reason text, total integer, sent integer, difference integer)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION public.finish_probes(p_well text[], p_ill text[]) RETURNS TABLE(db_now timestamp with time zone, next_probe_at timestamp with time zone, back json)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '250ms'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_rows private.probed_row[] := array(
        select row(
            given.connection_id, given.connection_id = any(p_well), true
        )::private.probed_row
        from unnest(p_well || p_ill) as given (connection_id)
        order by given.connection_id
    );
    v_refused jsonb;
begin
    v_refused := (select t.refused from private.try_rows('finish_rows', v_rows, false) as t);
    if v_refused <> '[]' then
        v_rows := array(
            select row(
                (v_rows[refused.place]).connection_id, (v_rows[refused.place]).is_well, false
            )::private.probed_row
            from jsonb_to_recordset(v_refused) as refused (place integer)
        );
        perform private.try_rows('finish_rows', v_rows, false);
    end if;
    return query
    select
        clock_timestamp(),
        private.next_probe(),
        (
            select json_agg(state.connection_id)
            from private.connection_state as state
            where state.connection_id = any(p_well) and state.paused_reason is null
        );
end
$$;

CREATE FUNCTION public.forget_connection(p_connection_id text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
declare
    v_number integer;
    v_all integer := 0;
begin
    delete from public.connection_settings as settings
    where settings.connection_id = p_connection_id;
    get diagnostics v_all = row_count;

    update private.connection_state as state
    set day = null,
        sent_today = 0,
        paused_reason = null,
        probe_at = null,
        throttle_seconds = 0,
        throttled_until = null,
        arrival_at = '-infinity',
        ready_at = now()
    where state.connection_id = p_connection_id;
    get diagnostics v_number = row_count;
    v_all := v_all + v_number;

    update private.connection_owners as known
    set is_held = false,
        owner_id = private.owner_by_id(p_connection_id)
    where known.connection_id = p_connection_id;
    get diagnostics v_number = row_count;

    delete from private.connection_owners as known
    where known.connection_id = p_connection_id
        and not exists (
            select 1 from public.connections as c where c.id::text = p_connection_id
        );
    return v_all + v_number > 0;
end
$$;

CREATE FUNCTION public.freeze_campaign_run(p_run_id uuid, p_rules_version text, p_limit integer DEFAULT 5000, p_gateway text DEFAULT NULL::text) RETURNS TABLE(is_done boolean, frozen integer, country_code text, by_clock boolean, to_judge text[])
    LANGUAGE plpgsql
    SET search_path TO ''
    SET enable_seqscan TO 'off'
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION public.get_agenda(p_horizon_seconds double precision, p_limit integer DEFAULT 500, p_stale_seconds double precision DEFAULT 600) RETURNS TABLE(db_now timestamp with time zone, next_due_at timestamp with time zone, next_ready_at timestamp with time zone, next_expiry_at timestamp with time zone, next_probe_at timestamp with time zone, upcoming json, stale_hand_overs integer, complete_until timestamp with time zone, holders json)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    -- The first rows that will fall due.
    with ahead as materialized (
        select
            s.id,
            s.due_at,
            md5(coalesce(s.owner_id::text, s.connection_id) || repeat('*', s.priority)) as payer,
            sum(
                octet_length(s.message)
                + coalesce(octet_length(s.caption), 0)
                + coalesce(octet_length(s.media::text), 0)
                + coalesce(octet_length(s.template::text), 0)
            ) over (line rows between unbounded preceding and 1 preceding) as bytes_before
        from public.scheduled_messages as s
        where s.due_at > now() and s.due_at <= now() + make_interval(secs => p_horizon_seconds)
        window line as (order by s.due_at, s.id)
        order by s.due_at, s.id
        limit least(p_limit, 1000)
    ),
    -- Those of them that an answer has room for.
    first as materialized (
        select a.* from ahead as a where coalesce(a.bytes_before, 0) < 2000000
    ),
    -- How far they reach; nothing where they are all that there are.
    reach as materialized (
        select max(f.due_at) as due_at
        from first as f
        having count(*) = least(p_limit, 1000) or count(*) < (select count(*) from ahead)
    ),
    -- What lies beyond. Also of those who have some among the first: more of theirs may lie there.
    others as materialized (
        select found.id
        from reach
        cross join lateral private.rows_of_others(
            p_payers => array(
                select f.payer from first as f group by f.payer having count(*) >= 25
            ),
            p_after => now(),
            p_until => now() + make_interval(secs => p_horizon_seconds),
            p_share => 25,
            p_limit => least(p_limit, 500)
        ) as found (id)
    )
    select
        clock_timestamp() as db_now,
        (select min(s.due_at) from public.scheduled_messages as s) as next_due_at,
        (
            select min(state.ready_at)
            from private.connection_state as state
            where state.ready_at < 'infinity'
        ) as next_ready_at,
        private.next_expiry() as next_expiry_at,
        (
            select min(state.probe_at)
            from private.connection_state as state
            where state.probe_at is not null
        ) as next_probe_at,
        (
            select json_agg(soon order by soon.scheduled_at, soon.id)
            from (
                -- What a plan is made of (worker/store/store.py). A project's own columns may hold
                -- anything.
                select
                    s.id,
                    s.owner_id,
                    s.connection_id,
                    s.created_at,
                    s.revision,
                    s.contact_id,
                    s.type,
                    s.message,
                    s.media_url,
                    s.caption,
                    s.media,
                    s.asset_id,
                    s.template,
                    s.priority,
                    s.scheduled_at,
                    s.is_recurring,
                    s.recurrence_pattern,
                    s.recurrence_end_at,
                    s.not_after,
                    s.timezone,
                    s.series_anchor,
                    s.occurrence_at,
                    s.next_id
                from (
                    select f.id from first as f union select o.id from others as o
                ) as found
                cross join lateral (
                    select r.*
                    from public.scheduled_messages as r
                    where r.id = any(array[found.id])
                    limit 1
                ) as s
            ) as soon
        ) as upcoming,
        (
            select count(*)
            from public.broadcast_jobs as j
            where j.status in ('handed_over', 'active')
                and j.scheduled_message_id is not null
                and j.send_at < now() - make_interval(secs => p_stale_seconds)
        ) as stale_hand_overs,
        (select reach.due_at from reach) as complete_until,
        (select json_agg(h) from public.get_holders() as h) as holders
$$;

CREATE FUNCTION public.get_campaign_agenda(p_limit integer DEFAULT 100) RETURNS TABLE(starts jsonb, runs jsonb, has_ended boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION public.get_due_of_others(p_payers text[]) RETURNS SETOF public.scheduled_messages
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    select s.*
    from private.rows_of_others(
        p_payers => array(select md5(given.payer) from unnest(p_payers) as given (payer)),
        p_after => '-infinity',
        p_until => now(),
        p_share => 100,
        p_limit => 500
    ) as found (id)
    cross join lateral (
        select r.*
        from public.scheduled_messages as r
        where r.id = any(array[found.id])
        limit 1
    ) as s
    order by s.due_at, s.id
$$;

CREATE FUNCTION public.get_holders() RETURNS TABLE(pid integer, role text, application text, seconds double precision, state text, tables text[], blocks integer, transaction text, words text)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    select
        h.*,
        format(
            'a transaction (pid %s, role %s%s, %s) holds rows of %s%s: end it with '
            'select pg_terminate_backend(%s)',
            h.pid,
            h.role,
            ', ' || h.application,
            case
                when h.seconds is null then 'since when its role may not see'
                when h.state like 'idle in transaction%'
                    then 'idle, open for ' || round(h.seconds) || ' s'
                else 'running for ' || round(h.seconds) || ' s'
            end,
            array_to_string(h.tables, ', '),
            case when h.blocks > 0 then format(', and %s session(s) wait for it', h.blocks) end,
            h.pid
        ) as words
    from private.get_holders() as h
$$;

CREATE FUNCTION public.get_numbers_asked(p_limit integer) RETURNS TABLE(numbers json)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    select
        coalesce(
            json_agg(
                json_build_object('country_code', asked.country_code, 'raw', asked.raw)
            ), '[]'
        )
    from (
        select
            next.country_code,
            json_agg(distinct next.raw) as raw
        from (
            select
                number.country_code,
                number.raw
            from private.numbers_asked as number
            limit p_limit
        ) as next
        group by next.country_code
    ) as asked
$$;

CREATE FUNCTION public.get_pending_scheduled_messages() RETURNS SETOF public.scheduled_messages
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    select *
    from public.get_pending_scheduled_messages_after(
        '-infinity', '00000000-0000-0000-0000-000000000000'
    )
$$;

CREATE FUNCTION public.get_pending_scheduled_messages_after(p_due_at timestamp with time zone, p_id uuid) RETURNS SETOF public.scheduled_messages
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    select listed.*
    from (
        select
            m.id,
            m.due_at,
            sum(
                octet_length(m.message)
                + coalesce(octet_length(m.caption), 0)
                + coalesce(octet_length(m.media::text), 0)
                + coalesce(octet_length(m.template::text), 0)
            ) over (line rows between unbounded preceding and 1 preceding) as bytes_before
        from public.scheduled_messages as m
        where m.due_at <= now()
            and (m.due_at, m.id) > (p_due_at, p_id)
        window line as (order by m.due_at, m.id)
        order by m.due_at, m.id
        limit 1000
    ) as due
    -- By its id, not as one value, which would be the row with all that it has stored elsewhere: a
    -- project's own column may hold a megabyte, and nobody asks for it here.
    cross join lateral (
        select r.*
        from public.scheduled_messages as r
        where r.id = any(array[due.id])
        limit 1
    ) as listed
    where coalesce(due.bytes_before, 0) < 8000000
    order by due.due_at, due.id
$$;

CREATE FUNCTION public.get_status(p_stale_seconds double precision DEFAULT 600) RETURNS TABLE(db_now timestamp with time zone, counts jsonb, due integer, next_due_at timestamp with time zone, oldest_overdue_at timestamp with time zone, waiting jsonb, connections jsonb, unconfirmed jsonb, stale_hand_overs integer, refused jsonb)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    -- How many rows are in which state.
    with counted as (
        select s.status, count(*) as number
        from public.scheduled_messages as s
        group by s.status
    ),
    -- What waits, by connection and reason: the fifty most frequent.
    waiting as (
        select
            j.connection_id,
            coalesce(s.waiting_reason, s.error, 'its turn') as reason,
            count(*) as number,
            min(s.waiting_until) as until
        from public.broadcast_jobs as j
        join public.scheduled_messages as s
            on s.id = j.scheduled_message_id and s.broadcast_job_id = j.id
        where j.status = 'queued' and j.scheduled_message_id is not null
        group by 1, 2
        order by 3 desc
        limit 50
    ),
    -- The connections that send nothing at the moment.
    stopped as (
        select
            state.connection_id,
            coalesce('paused: ' || state.paused_reason, state.waiting_reason) as state,
            coalesce(state.probe_at, nullif(state.waiting_until, 'infinity')) as until,
            state.sent_today,
            settings.daily_limit
        from private.connection_state as state
        left join public.connection_settings as settings
            on settings.connection_id = state.connection_id
        where state.paused_reason is not null or state.waiting_until > now()
        limit 100
    ),
    -- What nobody knows of whether it went out.
    unconfirmed as (
        select
            s.id,
            s.connection_id,
            s.error,
            j.gateway,
            j.attempts,
            j.send_at,
            j.lease_until
        from public.scheduled_messages as s
        left join public.broadcast_jobs as j on j.id = s.broadcast_job_id
        where s.status = 'unconfirmed'
        limit 100
    ),
    -- What the database refuses, by the scheduled row's id, whatever it was that was refused.
    refused as (
        select
            coalesce(j.scheduled_message_id, r.id) as id,
            r.step,
            r.code,
            r.reason,
            r.tries,
            r.first_at,
            r.again_at
        from private.refused_rows as r
        left join public.broadcast_jobs as j on r.step <> 'enqueue' and j.id = r.id
        order by r.first_at
        limit 100
    )
    select
        clock_timestamp() as db_now,
        (select jsonb_object_agg(counted.status, counted.number) from counted) as counts,
        (
            select count(*) from public.scheduled_messages as s where s.due_at <= now()
        ) as due,
        (
            select min(s.due_at) from public.scheduled_messages as s where s.due_at > now()
        ) as next_due_at,
        (
            select min(s.due_at) from public.scheduled_messages as s where s.due_at <= now()
        ) as oldest_overdue_at,
        (
            select jsonb_agg(to_jsonb(waiting) order by waiting.number desc) from waiting
        ) as waiting,
        (
            select jsonb_agg(to_jsonb(stopped) order by stopped.connection_id) from stopped
        ) as connections,
        (
            select jsonb_agg(to_jsonb(unconfirmed) order by unconfirmed.send_at) from unconfirmed
        ) as unconfirmed,
        (
            select count(*)
            from public.broadcast_jobs as j
            where j.status in ('handed_over', 'active')
                and j.scheduled_message_id is not null
                and j.send_at < now() - make_interval(secs => p_stale_seconds)
        ) as stale_hand_overs,
        (select jsonb_agg(to_jsonb(refused) order by refused.first_at) from refused) as refused
$$;

CREATE FUNCTION public.get_status_with_runs(p_stale_seconds double precision DEFAULT 600) RETURNS TABLE(db_now timestamp with time zone, status jsonb, runs jsonb)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    -- The runs that are not over: the hundred that began last.
    with open as (
        select
            run.id,
            run.campaign_id,
            campaign.name,
            run.connection_id,
            run.status,
            run.status_reason,
            run.started_at,
            run.total,
            run.pending,
            run.sent,
            run.failed,
            run.unconfirmed,
            run.skipped,
            run.cancelled
        from public.campaign_runs as run
        join public.campaigns as campaign on campaign.id = run.campaign_id
        where run.finished_at is null
        order by run.started_at desc
        limit 100
    )
    select
        clock_timestamp() as db_now,
        (
            select to_jsonb(core) from public.get_status(p_stale_seconds) as core
        ) as status,
        (
            select jsonb_agg(to_jsonb(open) order by open.started_at) from open
        ) as runs
$$;

CREATE FUNCTION public.get_timezones(p_default text, p_weeks integer DEFAULT 520) RETURNS TABLE(name text, messages bigint, connections bigint, began_at timestamp with time zone, offsets integer[])
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    -- Each use of a zone. What is not recurring needs none.
    with used as (
        select s.timezone as name, 1 as messages, 0 as connections
        from public.scheduled_messages as s
        where s.due_at is not null and s.is_recurring and s.timezone is not null
        union all
        select settings.timezone, 0, 1
        from public.connection_settings as settings
        where settings.timezone is not null
        union all
        select p_default, 0, 0
    ),
    -- The five hundred that are used most.
    zones as (
        select
            used.name,
            sum(used.messages) as messages,
            sum(used.connections) as connections
        from used
        group by used.name
        order by sum(used.messages) + sum(used.connections) desc, used.name
        limit 500
    )
    select
        zones.name,
        zones.messages,
        zones.connections,
        date_trunc('day', now()) as began_at,
        case when exists (
            select from pg_catalog.pg_timezone_names as known where known.name = zones.name
        ) then array(
            select (
                extract(
                    epoch from (week.at at time zone zones.name) - (week.at at time zone 'UTC')
                ) / 60
            )::integer
            from generate_series(0, least(p_weeks, 1040)) as number
            cross join lateral (
                select date_trunc('day', now()) + number * interval '168 hours' as at
            ) as week
            order by number
        ) end as offsets
    from zones
    order by zones.name
$$;

CREATE FUNCTION public.invite_member(connection_id text, role text DEFAULT 'staff'::text) RETURNS text
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
declare
    v_token constant text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
begin
    insert into public.connection_invitations (connection_id, role, owner_id, token_hash)
    values (
        invite_member.connection_id,
        coalesce(invite_member.role, 'staff'),
        -- The guard writes the owner's.
        auth.uid(),
        encode(sha256(convert_to(v_token, 'utf8')), 'hex')
    );
    return v_token;
end
$$;

COMMENT ON FUNCTION public.invite_member(connection_id text, role text) IS 'Returns a token that makes its holder a member of the connection, once, for seven days.';

CREATE FUNCTION public.look_up_recipients(p_ids uuid[]) RETURNS TABLE(db_now timestamp with time zone, known json)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    select
        clock_timestamp() as db_now,
        json_agg(
            json_build_object(
                'id', s.id,
                'phone_number', contact.phone,
                'is_blocked', private.is_yes(contact.is_blocked),
                'connection_exists', connection.id is not null,
                'timezone', settings.timezone,
                'country_code', settings.country_code,
                'gateway', settings.gateway
            ) order by given.position
        ) as known
    from unnest(p_ids) with ordinality as given (id, position)
    join public.scheduled_messages as s on s.id = any(array[given.id])
    left join lateral (
        select found.id, found.owner
        from (values (null::text)) as missing (user_id)
        cross join lateral (
            select k.id, user_id::text as owner
            from public.connections as k
            where k.id::text = any(array[s.connection_id])
        ) as found
    ) as connection on true
    -- Column by column, because the others of a contact may hold many megabytes; one that another
    -- application's contacts lack is found one level up. A row of nobody's, as the upstream
    -- application's REST service may write it, is its connection's owner's.
    left join lateral (
        select found.phone, found.is_blocked, found.owner
        from (
            values (null::text, null::text, null::text, null::text)
        ) as missing (phone_number, is_blocked, owner_id, user_id)
        cross join lateral (
            select
                left(phone_number::text, 256) as phone,
                is_blocked::text as is_blocked,
                coalesce(owner_id::text, user_id::text) as owner
            from public.contacts as c
            where c.id = any(array[private.contact_key(s.contact_id)])
        ) as found
    ) as contact
        on contact.owner in (s.owner_id::text, s.created_by::text)
        or (s.owner_id is null and s.created_by is null and contact.owner = connection.owner)
    left join public.connection_settings as settings
        on settings.connection_id = any(array[s.connection_id])
    where contact.owner is not null
        or connection.id is null
        or settings.connection_id is not null
$$;

CREATE FUNCTION public.read_audit_log(p_after_transaction text, p_after_id bigint, p_kinds text[], p_limit integer, p_connection_id text DEFAULT NULL::text, p_since timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(entries json)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    select coalesce(
        json_agg(
            json_build_object(
                'transaction', next.transaction::text,
                'id', next.id,
                'at', next.at,
                'connection_id', next.connection_id,
                'kind', next.kind,
                'record', next.record
            ) order by next.transaction, next.id
        ), '[]'
    )
    from (
        select entry.*
        from public.audit_log as entry
        where (entry.transaction, entry.id) > (
            case
                when p_after_transaction::xid8 < pg_snapshot_xmax(pg_current_snapshot())
                    then p_after_transaction::xid8
                else '0'::xid8
            end,
            p_after_id
        )
            and (
                p_after_transaction::xid8 < pg_snapshot_xmax(pg_current_snapshot())
                or entry.id > p_after_id
            )
            and entry.transaction < pg_snapshot_xmin(pg_current_snapshot())
            and entry.kind = any(p_kinds)
            and (p_connection_id is null or entry.connection_id = p_connection_id)
            and (p_since is null or entry.at >= p_since)
        order by entry.transaction, entry.id
        limit p_limit
    ) as next
$$;

CREATE FUNCTION public.read_messages(p_after_id uuid, p_limit integer, p_connection_id text DEFAULT NULL::text, p_since timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS TABLE(entries json)
    LANGUAGE sql STABLE
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    select coalesce(
        json_agg(
            json_build_object(
                'id', next.id,
                'connection_id', next.connection_id,
                'contact_id', next.contact_id,
                'type', next.type,
                'message', coalesce(nullif(next.message, ''), next.caption),
                'scheduled_at', next.scheduled_at,
                'status', next.status,
                'sent_at', next.sent_at,
                'delivery_status', next.delivery_status,
                'message_id', next.message_id,
                'error', next.error
            ) order by next.id
        ), '[]'
    )
    from (
        select message.*
        from public.scheduled_messages as message
        where message.id > p_after_id
            and (p_connection_id is null or message.connection_id = p_connection_id)
            and (p_since is null or message.scheduled_at >= p_since)
        order by message.id
        limit p_limit
    ) as next
$$;

CREATE FUNCTION public.record_approved_templates(p_account_id text, p_is_default boolean, p_rows text) RETURNS TABLE(held integer)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
begin
    insert into private.template_accounts as account (account_id, is_default, read_at)
    values (p_account_id, coalesce(p_is_default, false), now())
    on conflict (account_id) do update
    set is_default = excluded.is_default, read_at = excluded.read_at;
    delete from private.approved_templates as known where known.account_id = p_account_id;
    insert into private.approved_templates (
        account_id, name, language, status, reason, format, places, header, header_places
    )
    select
        p_account_id,
        given.name,
        replace(given.language, '-', '_'),
        given.status,
        given.reason,
        given.format,
        given.places,
        given.header,
        given.header_places
    from json_populate_recordset(null::private.approved_templates, p_rows::json) as given
    on conflict do nothing;
    held := private.hold_unapproved();
    return next;
end
$$;

CREATE FUNCTION public.record_deliveries(p_rows text) RETURNS TABLE(recorded uuid[], refused jsonb)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '250ms'
    AS $$
declare
    v_rows constant private.delivery[] := array(
        select told
        from json_populate_recordset(null::private.delivery, p_rows::json) as told
        order by told.job_id
    );
begin
    select
        array(select jsonb_array_elements_text(tried.done)::uuid),
        (
            select jsonb_agg(jsonb_build_object(
                'id', (v_rows[said.place]).job_id, 'code', said.code, 'reason', said.reason
            ))
            from jsonb_to_recordset(tried.refused) as said (place integer, code text, reason text)
        )
    into recorded, refused
    from private.try_rows('deliver_rows', v_rows, true) as tried;
    return next;
end
$$;

CREATE FUNCTION public.record_judged_numbers(p_country_code text, p_rules_version text, p_raw text[], p_addresses text[], p_faults text[], p_timezones text[] DEFAULT NULL::text[]) RETURNS TABLE(recorded integer)
    LANGUAGE sql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    with written as (
        insert into private.judged_numbers
            as number (raw, country_code, address, fault, timezone, rules_version)
        select
            given.raw,
            p_country_code,
            given.address,
            given.fault,
            given.timezone,
            p_rules_version
        from unnest(p_raw, p_addresses, p_faults, p_timezones)
            as given (raw, address, fault, timezone)
        order by given.raw
        on conflict (raw, country_code) do update
        set
            address = excluded.address,
            fault = excluded.fault,
            timezone = excluded.timezone,
            rules_version = excluded.rules_version
        returning 1
    )
    select count(*)::integer from written
$$;

CREATE FUNCTION public.record_outcomes(p_rows text) RETURNS TABLE(fenced_out uuid[], refused jsonb, again_at timestamp with time zone, db_now timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '20ms'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    v_defaults private.told_row;
    v_rows private.told_row[];
begin
    v_defaults.told_at := now();
    v_defaults.quietly := false;
    v_rows := array(
        select told
        from json_populate_recordset(v_defaults, p_rows::json) as told
        order by told.job_id
    );
    refused := private.record_or_put_aside(v_rows);
    fenced_out := array(
        select told.job_id
        from unnest(v_rows) as told
        left join lateral (
            select j.lease_token from public.broadcast_jobs as j where j.id = told.job_id limit 1
        ) as job on true
        where job.lease_token is distinct from told.token
    );
    again_at := (
        select min(aside.again_at)
        from private.refused_rows as aside
        where aside.step in ('record', 'settle', 'announce', 'note')
    );
    db_now := now();
    return next;
end
$$;

CREATE FUNCTION public.record_template_statuses(p_is_default boolean, p_rows text) RETURNS TABLE(held integer)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
begin
    insert into private.template_accounts as account (account_id, is_default)
    select distinct
        given.account_id,
        coalesce(p_is_default, false)
    from json_populate_recordset(null::private.approved_templates, p_rows::json) as given
    on conflict (account_id) do nothing;
    insert into private.approved_templates as known (account_id, name, language, status, reason)
    select distinct on (given.account_id, given.name, replace(given.language, '-', '_'))
        given.account_id,
        given.name,
        replace(given.language, '-', '_'),
        given.status,
        given.reason
    from json_populate_recordset(null::private.approved_templates, p_rows::json)
        with ordinality as given (
            account_id, name, language, status, reason, format, places, header, header_places,
            place
        )
    order by given.account_id, given.name, replace(given.language, '-', '_'), given.place desc
    on conflict (account_id, name, language) do update
    set status = excluded.status, reason = excluded.reason;
    held := private.hold_unapproved();
    return next;
end
$$;

CREATE TABLE public.campaign_rehearsal_lines (
    lines_id uuid NOT NULL,
    "position" integer NOT NULL,
    contact_id text,
    name text,
    address text,
    variables jsonb DEFAULT '{}'::jsonb NOT NULL,
    timezone text,
    due_at timestamp with time zone,
    fault text,
    fault_kind text,
    is_checked boolean DEFAULT true NOT NULL
);

COMMENT ON TABLE public.campaign_rehearsal_lines IS 'scheduled messages: the recipients of a rehearsal, one a line.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.lines_id IS 'scheduled messages: lines id.';

COMMENT ON COLUMN public.campaign_rehearsal_lines."position" IS 'scheduled messages: position.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.contact_id IS 'scheduled messages: contact id.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.name IS 'scheduled messages: name.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.address IS 'scheduled messages: address.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.variables IS 'scheduled messages: variables.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.timezone IS 'scheduled messages: timezone.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.due_at IS 'scheduled messages: due at.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.fault IS 'scheduled messages: fault.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.fault_kind IS 'scheduled messages: fault kind.';

COMMENT ON COLUMN public.campaign_rehearsal_lines.is_checked IS 'scheduled messages: is checked.';

CREATE FUNCTION public.rehearse_campaign(id uuid, after integer DEFAULT 0, lines integer DEFAULT 50) RETURNS TABLE("position" integer, name text, address text, local_time timestamp without time zone, text text, fault text, fault_kind text, is_checked boolean)
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT line."position",
     line.name,
     line.address,
         CASE
             WHEN (line.fault IS NULL) THEN (COALESCE(line.due_at, rehearsal.starts_at) AT TIME ZONE COALESCE(line.timezone, rehearsal.timezone))
             ELSE NULL::timestamp without time zone
         END AS local_time,
     "left"(private.render(rehearsal.parts, line.variables), 8192) AS text,
     line.fault,
     line.fault_kind,
     line.is_checked
    FROM (public.campaign_rehearsals rehearsal
      CROSS JOIN LATERAL ( SELECT given.lines_id,
             given."position",
             given.contact_id,
             given.name,
             given.address,
             given.variables,
             given.timezone,
             given.due_at,
             given.fault,
             given.fault_kind,
             given.is_checked
            FROM public.campaign_rehearsal_lines given
           WHERE ((given.lines_id = rehearsal.lines_id) AND (given."position" > rehearse_campaign.after))
           ORDER BY given."position"
          LIMIT LEAST(GREATEST(rehearse_campaign.lines, 0), 1000)) line)
   WHERE (rehearsal.campaign_id = rehearse_campaign.id)
   ORDER BY line."position";
END;

CREATE FUNCTION public.render_template(template_id uuid, variables jsonb DEFAULT '{}'::jsonb) RETURNS TABLE(text text, missing text[])
    LANGUAGE sql STABLE
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT private.render(template.parts, given.variables) AS text,
     private.names_in(template.parts, given.variables) AS missing
    FROM (public.message_templates template
      CROSS JOIN LATERAL ( SELECT (private.values_of(template.defaults) || private.values_of(
                 CASE jsonb_typeof(render_template.variables)
                     WHEN 'string'::text THEN ((render_template.variables #>> '{}'::text[]))::jsonb
                     ELSE render_template.variables
                 END)) AS variables) given)
   WHERE (template.id = render_template.template_id);
END;

CREATE FUNCTION public.rescue_broadcast_jobs(p_handover_seconds double precision DEFAULT 600) RETURNS TABLE(rescued integer, expired integer, hand_overs jsonb, db_now timestamp with time zone, next_expiry_at timestamp with time zone, refused jsonb)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '250ms'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
declare
    v_late private.late_row[];
    v_expired private.late_row[];
    v_done jsonb;
    v_more jsonb;
begin
    perform private.retry_refused();
    perform private.forget_refused();
    perform private.erase_deleted();
    v_late := array(
        select row(job.id, p_handover_seconds, false)::private.late_row
        from public.broadcast_jobs as job
        where job.status in ('sending', 'handed_over')
            and job.lease_until < now()
            and job.id <> all(array(
                select aside.id from private.refused_rows as aside
                where aside.step = 'record' or (aside.step = 'rescue' and aside.again_at > now())
            ))
        order by job.lease_until
        limit 1000
        for update skip locked
    );
    v_expired := array(
        select row(job.id, p_handover_seconds, false)::private.late_row
        from public.broadcast_jobs as job
        where job.status = 'queued'
            and job.scheduled_message_id is not null
            and job.expires_at < now()
            and job.id <> all(array(
                select aside.id from private.refused_rows as aside
                where aside.step = 'rescue' and aside.again_at > now()
            ))
        order by job.expires_at
        limit 1000
        for update skip locked
    );

    select tried.done, tried.refused into v_done, refused
    from private.try_rows('rescue_rows', v_late, false) as tried;
    if refused <> '[]' then
        -- Perhaps it is only what their rows would be told.
        v_late := array(
            select row((v_late[said.place]).id, p_handover_seconds, true)::private.late_row
            from jsonb_to_recordset(refused) as said (place integer)
        );
        select v_done || tried.done, tried.refused into v_done, refused
        from private.try_rows('rescue_rows', v_late, false) as tried;
    end if;
    select v_done || tried.done, tried.refused into v_done, v_more
    from private.try_rows('expire_rows', v_expired, false) as tried;
    refused := (
        select jsonb_agg(to_jsonb(said)) from (
            select (v_late[late.place]).id, late.code, late.reason
            from jsonb_to_recordset(refused) as late (place integer, code text, reason text)
            union all
            select (v_expired[more.place]).id, more.code, more.reason
            from jsonb_to_recordset(v_more) as more (place integer, code text, reason text)
        ) as said
    );
    perform private.put_aside(
        'rescue', array_agg(said.id), array_agg(said.code), array_agg(said.reason), null
    )
    from jsonb_to_recordset(refused) as said (id uuid, code text, reason text);

    rescued := (
        select count(*) from jsonb_array_elements(v_done) as done where done = '"unconfirmed"'
    );
    expired := (
        select count(*) from jsonb_array_elements(v_done) as done where done = '"expired"'
    );
    hand_overs := (
        select jsonb_agg(done) from jsonb_array_elements(v_done) as done
        where jsonb_typeof(done) = 'object'
    );
    db_now := clock_timestamp();
    next_expiry_at := private.next_expiry();
    return next;
end
$$;

CREATE FUNCTION public.resolve_scheduled_message(p_id uuid, p_outcome text) RETURNS TABLE(id uuid, connection_id text, gateway text, attempts integer, send_at timestamp with time zone, lease_until timestamp with time zone, error text)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION public.retry_campaign_run(run_id uuid, statuses text[] DEFAULT '{failed}'::text[]) RETURNS TABLE(retried integer, left_out jsonb)
    LANGUAGE plpgsql
    SET search_path TO ''
    AS $$
begin
    return query
    insert into public.campaign_retries as retry (run_id, statuses, owner_id)
    values (
        retry_campaign_run.run_id,
        coalesce(retry_campaign_run.statuses, '{failed}'),
        -- The guard writes the run's.
        auth.uid()
    )
    returning retry.retried, retry.left_out;
end
$$;

COMMENT ON FUNCTION public.retry_campaign_run(run_id uuid, statuses text[]) IS 'Has failed (if named: unconfirmed, cancelled) messages of a run tried again.';

CREATE FUNCTION public.schedule_to_contacts(contact_ids bigint[], message text, scheduled_at text, connection_id text DEFAULT NULL::text) RETURNS TABLE(id uuid, recipient_count integer, estimated_finish_at timestamp with time zone)
    LANGUAGE sql
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT made.id,
     made.recipient_count,
     made.estimated_finish_at
    FROM (((private.choose_connection(schedule_to_contacts.connection_id, ARRAY( SELECT private.usable_connections() AS usable_connections)) chosen(id, timezone)
      CROSS JOIN LATERAL private.read_time(schedule_to_contacts.scheduled_at) "time"(instant, wall))
      CROSS JOIN LATERAL ( SELECT COALESCE("time".instant, private.wall_to_instant("time".wall, chosen.timezone)) AS at) moment)
      CROSS JOIN LATERAL private.write_to_contacts(schedule_to_contacts.contact_ids, schedule_to_contacts.message, moment.at, chosen.id) made(id, recipient_count, estimated_finish_at));
END;

COMMENT ON FUNCTION public.schedule_to_contacts(contact_ids bigint[], message text, scheduled_at text, connection_id text) IS 'Makes and activates a campaign of one text to at most fifty contacts.';

CREATE FUNCTION public.send_test(campaign_id uuid, address text) RETURNS uuid
    LANGUAGE sql
    SET search_path TO ''
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (NOT (EXISTS ( SELECT
                FROM public.campaigns campaign
               WHERE (campaign.id = send_test.campaign_id)))) THEN private.refuse('42501'::text, 'There is no such campaign of yours.'::text)
             WHEN (COALESCE(address, ''::text) !~ '^\s*\+\s*[0-9]|^\s*[^\s@]+@[^\s@]+\s*$'::text) THEN private.refuse('PT400'::text, 'Write the number with its country code, such as +91 98765 43210.'::text)
             ELSE NULL::boolean
         END AS "case";
 INSERT INTO public.scheduled_messages (connection_id, contact_id, template_id, variables, message, type, media_url, caption, media, scheduled_at, timezone)  SELECT campaign.connection_id,
             btrim(send_test.address) AS btrim,
             campaign.template_id,
                 CASE
                     WHEN (template.id IS NOT NULL) THEN given.variables
                     ELSE NULL::jsonb
                 END AS "case",
                 CASE
                     WHEN ((template.id IS NULL) AND (campaign.type = 'text'::text)) THEN rendered.text
                     ELSE ''::text
                 END AS "case",
             campaign.type,
             campaign.media_url,
                 CASE
                     WHEN ((template.id IS NULL) AND (campaign.type <> 'text'::text)) THEN NULLIF(rendered.text, ''::text)
                     ELSE NULL::text
                 END AS "case",
             campaign.media,
             now() AS now,
             campaign.timezone
            FROM (((((public.campaigns campaign
              LEFT JOIN public.message_templates template ON ((template.id = campaign.template_id)))
              LEFT JOIN LATERAL ( SELECT line.variables
                    FROM (public.campaign_rehearsals rehearsal
                      JOIN public.campaign_rehearsal_lines line ON ((line.lines_id = rehearsal.lines_id)))
                   WHERE ((rehearsal.campaign_id = campaign.id) AND (line.fault IS NULL))
                   ORDER BY line."position"
                  LIMIT 1) first_line ON (true))
              CROSS JOIN LATERAL ( SELECT COALESCE(template.parts, private.cut(
                         CASE
                             WHEN (campaign.type = 'text'::text) THEN campaign.message
                             ELSE COALESCE(campaign.caption, ''::text)
                         END)) AS parts,
                     ((private.values_of(template.defaults) || private.values_of(campaign.variables)) || COALESCE(first_line.variables, '{}'::jsonb)) AS known) content)
              CROSS JOIN LATERAL ( SELECT COALESCE(jsonb_object_agg(place.name, COALESCE((content.known ->> place.name), (('{'::text || place.name) || '}'::text))), '{}'::jsonb) AS variables
                    FROM ( SELECT unnest(private.names_in(content.parts)) AS name
                         UNION
                          SELECT unnest(private.names_of_approved(template.cloud)) AS unnest) place) given)
              CROSS JOIN LATERAL ( SELECT private.render(content.parts, given.variables) AS text) rendered)
           WHERE (campaign.id = send_test.campaign_id)
   RETURNING scheduled_messages.id;
END;

CREATE TABLE public.reminder_rules (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    owner_id uuid NOT NULL,
    connection_id text NOT NULL,
    number integer DEFAULT 0 NOT NULL,
    name text NOT NULL,
    anchor text NOT NULL,
    day_offset integer DEFAULT 0 NOT NULL,
    at time without time zone,
    shift interval,
    template_id uuid NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    when_past text DEFAULT 'skip'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT reminder_rules_anchor_known CHECK ((anchor = ANY (ARRAY['booked'::text, 'date'::text, 'followup_date'::text]))),
    CONSTRAINT reminder_rules_name_given CHECK (((name ~ '\S'::text) AND (length(name) <= 200))),
    CONSTRAINT reminder_rules_near CHECK ((((day_offset >= '-366'::integer) AND (day_offset <= 366)) AND ((COALESCE(shift, '00:00:00'::interval) >= '-366 days'::interval) AND (COALESCE(shift, '00:00:00'::interval) <= '366 days'::interval)))),
    CONSTRAINT reminder_rules_when_past_known CHECK ((when_past = ANY (ARRAY['skip'::text, 'now'::text])))
);

COMMENT ON TABLE public.reminder_rules IS 'scheduled messages: which messages an appointment causes, and when.';

COMMENT ON COLUMN public.reminder_rules.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.reminder_rules.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.reminder_rules.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.reminder_rules.number IS 'scheduled messages: number.';

COMMENT ON COLUMN public.reminder_rules.name IS 'scheduled messages: name.';

COMMENT ON COLUMN public.reminder_rules.anchor IS 'scheduled messages: anchor.';

COMMENT ON COLUMN public.reminder_rules.day_offset IS 'scheduled messages: day offset.';

COMMENT ON COLUMN public.reminder_rules.at IS 'scheduled messages: at.';

COMMENT ON COLUMN public.reminder_rules.shift IS 'scheduled messages: shift.';

COMMENT ON COLUMN public.reminder_rules.template_id IS 'scheduled messages: template id.';

COMMENT ON COLUMN public.reminder_rules.enabled IS 'scheduled messages: enabled.';

COMMENT ON COLUMN public.reminder_rules.when_past IS 'scheduled messages: when past.';

COMMENT ON COLUMN public.reminder_rules.created_at IS 'scheduled messages: created at.';

COMMENT ON COLUMN public.reminder_rules.updated_at IS 'scheduled messages: updated at.';

COMMENT ON CONSTRAINT reminder_rules_anchor_known ON public.reminder_rules IS 'A rule goes by booked, date or followup_date.';

COMMENT ON CONSTRAINT reminder_rules_name_given ON public.reminder_rules IS 'A rule needs a name of at most 200 characters.';

COMMENT ON CONSTRAINT reminder_rules_near ON public.reminder_rules IS 'A reminder lies within a year of its date.';

COMMENT ON CONSTRAINT reminder_rules_when_past_known ON public.reminder_rules IS 'What is past is skipped (skip) or sent at once (now).';

CREATE FUNCTION public.set_up_reminders(connection_id text, kind text DEFAULT 'hospital'::text) RETURNS SETOF public.reminder_rules
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
declare
    v_connection constant text := set_up_reminders.connection_id;
    v_owner uuid := coalesce(
        (
            select member.owner_id
            from public.connection_members as member
            where member.connection_id = v_connection and member.user_id = auth.uid()
        ),
        auth.uid()
    );
    v_wanted record;
    v_template public.message_templates;
begin
    -- The service key has nobody's rights. A user, for whom the guards write the owner, has no way
    -- into `private`.
    if v_owner is null then
        v_owner := private.connection_owner(v_connection);
    end if;
    if set_up_reminders.kind is distinct from 'hospital' then
        raise exception 'There is no such kind of reminders. The only one is hospital.'
            using errcode = 'PT400';
    end if;
    for v_wanted in
        select *
        from (
            values
            (
                1, 'Confirmation', 'booked', 0, null::time,
                'Hello {patient_name}, Your appointment with Dr {doctor_name} is confirmed for '
                '{date} at {time}. - {hospital_name}'
            ),
            (
                2, 'Reminder', 'date', -1, '10:00',
                'Hello {patient_name}, Reminder: Appointment with Dr {doctor_name} tomorrow at '
                '{time}. - {hospital_name}'
            ),
            (
                3, 'Follow-up', 'followup_date', 0, '09:00',
                'Hello {patient_name}, Reminder: Follow-up with Dr {doctor_name} on '
                '{followup_date}. - {hospital_name}'
            )
        ) as wanted (place, name, anchor, day_offset, at, body)
        where not exists (
            select from public.reminder_rules as r
            where r.connection_id = v_connection
                and r.owner_id = v_owner
                and r.name = wanted.name
        )
        order by wanted.place
    loop
        insert into public.message_templates (owner_id, connection_id, name, body)
        values (
            v_owner,
            v_connection,
            v_wanted.name,
            v_wanted.body
        )
        returning * into v_template;
        insert into public.reminder_rules (
            owner_id, connection_id, name, anchor, day_offset, at, template_id
        )
        values (
            v_template.owner_id,
            v_connection,
            v_wanted.name,
            v_wanted.anchor,
            v_wanted.day_offset,
            v_wanted.at,
            v_template.id
        );
    end loop;
    return query
    select r.*
    from public.reminder_rules as r
    where r.connection_id = v_connection
        and r.owner_id = v_owner
        and r.name in ('Confirmation', 'Reminder', 'Follow-up')
    order by r.number;
end
$$;

COMMENT ON FUNCTION public.set_up_reminders(connection_id text, kind text) IS 'Gives a connection the reminders of a hospital: confirmation, the day before, follow-up.';

CREATE FUNCTION public.settle_run(run_id uuid, outcome text) RETURNS TABLE(settled integer)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION public.start_campaign_run(p_campaign_id uuid, p_revision integer, p_occurrence_at timestamp with time zone, p_next_at timestamp with time zone, p_anchor timestamp without time zone, p_refusal text DEFAULT NULL::text) RETURNS TABLE(run_id uuid)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
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

CREATE FUNCTION public.stop_campaign_run(p_run_id uuid, p_why text) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    update public.campaigns as campaign
    set
        status = 'paused',
        status_reason = left(p_why, 500),
        updated_at = now()
    where campaign.status = 'scheduled' and campaign.id = (
        select run.campaign_id from public.campaign_runs as run where run.id = p_run_id
    )
$$;

CREATE FUNCTION public.stop_rehearsal(p_campaign_id uuid, p_why text) RETURNS void
    LANGUAGE sql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    update public.campaign_rehearsals as rehearsal
    set
        finished_at = now(),
        waiting_reason = left(p_why, 500)
    where rehearsal.campaign_id = p_campaign_id and rehearsal.finished_at is null
$$;

CREATE FUNCTION public.take_ended_runs() RETURNS TABLE(id uuid, campaign_id uuid, connection_id text, status text, status_reason text, total integer, sent integer, failed integer, unconfirmed integer, skipped integer, cancelled integer)
    LANGUAGE sql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
    with ended as materialized (
        select run.id
        from public.campaign_runs as run
        where run.finished_at is not null and run.told_at is distinct from run.finished_at
        order by run.id
        limit 100
        for no key update skip locked
    )
    update public.campaign_runs as run
    set told_at = run.finished_at
    from ended
    where run.id = ended.id
    returning
        run.id,
        run.campaign_id,
        run.connection_id,
        run.status,
        run.status_reason,
        run.total,
        run.sent,
        run.failed,
        run.unconfirmed,
        run.skipped,
        run.cancelled
$$;

CREATE FUNCTION public.take_probes(p_seats integer DEFAULT 100) RETURNS TABLE(db_now timestamp with time zone, next_probe_at timestamp with time zone, probes json)
    LANGUAGE sql
    SET search_path TO ''
    SET lock_timeout TO '250ms'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
    -- Those that have waited longest; no more than a call can read.
    with due as materialized (
        select state.connection_id, state.probe_at
        from private.connection_state as state
        where state.probe_at <= now()
        order by state.probe_at
        limit 2000
    ),
    -- Each one's place among its owner's.
    ranked as (
        select
            due.connection_id,
            due.probe_at,
            row_number() over (
                partition by private.owner_by_id(due.connection_id)
                order by due.probe_at
            ) as place
        from due
    ),
    -- The first of everybody, then the second; what another daemon has, it keeps.
    chosen as materialized (
        select held.connection_id
        from (
            select ranked.connection_id
            from ranked
            order by ranked.place, ranked.probe_at
            limit least(p_seats, 1000)
        ) as next
        cross join lateral (
            select state.connection_id
            from private.connection_state as state
            where state.connection_id = next.connection_id and state.probe_at <= now()
            limit 1
            for update skip locked
        ) as held
    ),
    taken as (
        update private.connection_state as state
        set failed_probes = state.failed_probes + 1,
            probe_at = now() + private.probe_delay(state.failed_probes + 1),
            ready_at = now()
        from chosen
        left join public.connection_settings as settings
            on settings.connection_id = any(array[chosen.connection_id])
        where state.connection_id = any(array[chosen.connection_id])
        returning
            state.connection_id,
            settings.gateway,
            settings.sender,
            state.paused_reason as reason,
            state.probe_at
    )
    select
        clock_timestamp() as db_now,
        least(
            private.next_probe(array(select taken.connection_id from taken)),
            (select min(taken.probe_at) from taken)
        ) as next_probe_at,
        (select json_agg(taken) from taken) as probes
$$;

CREATE FUNCTION public.take_rehearsal(p_most_an_hour integer DEFAULT 2000000) RETURNS TABLE(campaign_id uuid, is_waiting boolean, attachment json)
    LANGUAGE plpgsql
    SET search_path TO ''
    SET lock_timeout TO '2s'
    AS $$
declare
    v_owner uuid;
begin
    perform private.forget_rehearsals(2000);
    select
        rehearsal.campaign_id,
        rehearsal.owner_id
    into campaign_id, v_owner
    from public.campaign_rehearsals as rehearsal
    left join private.rehearsal_turns as turn on turn.owner_id = rehearsal.owner_id
    where rehearsal.finished_at is null
        and (turn.owner_id is null or (
            turn.turn_at <= clock_timestamp() - interval '0.2 seconds'
            and (turn.hour < date_trunc('hour', now()) or turn.number < p_most_an_hour)
        ))
    order by turn.turn_at nulls first, rehearsal.requested_at
    limit 1
    for no key update of rehearsal skip locked;
    if v_owner is not null then
        insert into private.rehearsal_turns as turn (owner_id, turn_at, hour)
        values (v_owner, clock_timestamp(), date_trunc('hour', now()))
        on conflict (owner_id) do update
        set
            turn_at = excluded.turn_at,
            hour = excluded.hour,
            number = case when turn.hour = excluded.hour then turn.number else 0 end;
        attachment := (
            select private.attachment_of(campaign.*)
            from public.campaigns as campaign
            where campaign.id = take_rehearsal.campaign_id
        );
    end if;
    is_waiting := campaign_id is not null or exists (
        select
        from public.campaign_rehearsals as rehearsal
        left join private.rehearsal_turns as turn on turn.owner_id = rehearsal.owner_id
        where rehearsal.finished_at is null
            and (turn.owner_id is null or turn.hour < date_trunc('hour', now())
                or turn.number < p_most_an_hour)
    );
    return next;
end
$$;

CREATE FUNCTION public.take_withdrawn_jobs() RETURNS TABLE(id uuid, gateway text)
    LANGUAGE sql
    SET search_path TO ''
    SET lock_timeout TO '250ms'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
    update public.broadcast_jobs as job
    set lease_until = null
    from (
        select withdrawn.id from private.gateways as kind
        cross join lateral (
            select o.id from public.broadcast_jobs as o
            where o.gateway = any(array[kind.name])
                and o.status in ('completed', 'failed', 'cancelled', 'unconfirmed')
                and o.lease_until <= now()
            order by o.lease_until
            limit 1000
            for update skip locked
        ) as withdrawn
        where kind.hands_over
    ) as over
    where job.id = any(array[over.id])
    returning job.id, job.gateway
$$;

CREATE TABLE private.approved_templates (
    account_id text NOT NULL,
    name text NOT NULL,
    language text NOT NULL,
    status text NOT NULL,
    reason text,
    format text,
    places text[],
    header text,
    header_places text[]
);

COMMENT ON TABLE private.approved_templates IS 'scheduled messages: approved templates.';

COMMENT ON COLUMN private.approved_templates.account_id IS 'scheduled messages: account id.';

COMMENT ON COLUMN private.approved_templates.name IS 'scheduled messages: name.';

COMMENT ON COLUMN private.approved_templates.language IS 'scheduled messages: language.';

COMMENT ON COLUMN private.approved_templates.status IS 'scheduled messages: status.';

COMMENT ON COLUMN private.approved_templates.reason IS 'scheduled messages: reason.';

COMMENT ON COLUMN private.approved_templates.format IS 'scheduled messages: format.';

COMMENT ON COLUMN private.approved_templates.places IS 'scheduled messages: places.';

COMMENT ON COLUMN private.approved_templates.header IS 'scheduled messages: header.';

COMMENT ON COLUMN private.approved_templates.header_places IS 'scheduled messages: header places.';

CREATE TABLE private.connection_owners (
    connection_id text NOT NULL,
    owner_id text,
    is_held boolean DEFAULT false NOT NULL,
    is_chosen boolean DEFAULT false NOT NULL
);

COMMENT ON TABLE private.connection_owners IS 'scheduled messages: connection owners.';

COMMENT ON COLUMN private.connection_owners.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN private.connection_owners.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN private.connection_owners.is_held IS 'scheduled messages: is held.';

COMMENT ON COLUMN private.connection_owners.is_chosen IS 'scheduled messages: is chosen.';

CREATE TABLE private.connection_state (
    connection_id text NOT NULL,
    ready_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    arrival_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    day date,
    sent_today integer DEFAULT 0 NOT NULL,
    waiting_reason text,
    waiting_until timestamp with time zone,
    told_at timestamp with time zone,
    told_id uuid DEFAULT '00000000-0000-0000-0000-000000000000'::uuid NOT NULL,
    paused_reason text,
    probe_at timestamp with time zone,
    failed_probes integer DEFAULT 0 NOT NULL,
    stopped_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    refused_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    is_on_trial boolean DEFAULT false NOT NULL,
    resumed_at timestamp with time zone,
    through_at timestamp with time zone,
    throttle_seconds double precision DEFAULT 0 NOT NULL,
    throttled_until timestamp with time zone,
    recipients_until timestamp with time zone,
    payer text DEFAULT ''::text NOT NULL,
    turn_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    told_until timestamp with time zone,
    many_told_at timestamp with time zone,
    many_told_id uuid DEFAULT '00000000-0000-0000-0000-000000000000'::uuid NOT NULL,
    many_told_until timestamp with time zone
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='500');

COMMENT ON TABLE private.connection_state IS 'scheduled messages: connection state.';

COMMENT ON COLUMN private.connection_state.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN private.connection_state.ready_at IS 'scheduled messages: ready at.';

COMMENT ON COLUMN private.connection_state.arrival_at IS 'scheduled messages: arrival at.';

COMMENT ON COLUMN private.connection_state.day IS 'scheduled messages: day.';

COMMENT ON COLUMN private.connection_state.sent_today IS 'scheduled messages: sent today.';

COMMENT ON COLUMN private.connection_state.waiting_reason IS 'scheduled messages: waiting reason.';

COMMENT ON COLUMN private.connection_state.waiting_until IS 'scheduled messages: waiting until.';

COMMENT ON COLUMN private.connection_state.told_at IS 'scheduled messages: told at.';

COMMENT ON COLUMN private.connection_state.told_id IS 'scheduled messages: told id.';

COMMENT ON COLUMN private.connection_state.paused_reason IS 'scheduled messages: paused reason.';

COMMENT ON COLUMN private.connection_state.probe_at IS 'scheduled messages: probe at.';

COMMENT ON COLUMN private.connection_state.failed_probes IS 'scheduled messages: failed probes.';

COMMENT ON COLUMN private.connection_state.stopped_ids IS 'scheduled messages: stopped ids.';

COMMENT ON COLUMN private.connection_state.refused_ids IS 'scheduled messages: refused ids.';

COMMENT ON COLUMN private.connection_state.is_on_trial IS 'scheduled messages: is on trial.';

COMMENT ON COLUMN private.connection_state.resumed_at IS 'scheduled messages: resumed at.';

COMMENT ON COLUMN private.connection_state.through_at IS 'scheduled messages: through at.';

COMMENT ON COLUMN private.connection_state.throttle_seconds IS 'scheduled messages: throttle seconds.';

COMMENT ON COLUMN private.connection_state.throttled_until IS 'scheduled messages: throttled until.';

COMMENT ON COLUMN private.connection_state.recipients_until IS 'scheduled messages: recipients until.';

COMMENT ON COLUMN private.connection_state.payer IS 'scheduled messages: payer.';

COMMENT ON COLUMN private.connection_state.turn_at IS 'scheduled messages: turn at.';

COMMENT ON COLUMN private.connection_state.told_until IS 'scheduled messages: told until.';

COMMENT ON COLUMN private.connection_state.many_told_at IS 'scheduled messages: many told at.';

COMMENT ON COLUMN private.connection_state.many_told_id IS 'scheduled messages: many told id.';

COMMENT ON COLUMN private.connection_state.many_told_until IS 'scheduled messages: many told until.';

CREATE TABLE private.date_words (
    language text NOT NULL,
    date_pattern text NOT NULL,
    time_pattern text NOT NULL,
    before_noon text,
    after_noon text,
    months text[] NOT NULL
);

COMMENT ON TABLE private.date_words IS 'scheduled messages: date words.';

COMMENT ON COLUMN private.date_words.language IS 'scheduled messages: language.';

COMMENT ON COLUMN private.date_words.date_pattern IS 'scheduled messages: date pattern.';

COMMENT ON COLUMN private.date_words.time_pattern IS 'scheduled messages: time pattern.';

COMMENT ON COLUMN private.date_words.before_noon IS 'scheduled messages: before noon.';

COMMENT ON COLUMN private.date_words.after_noon IS 'scheduled messages: after noon.';

COMMENT ON COLUMN private.date_words.months IS 'scheduled messages: months.';

CREATE TABLE private.ended_rehearsals (
    lines_id uuid NOT NULL
);

COMMENT ON TABLE private.ended_rehearsals IS 'scheduled messages: ended rehearsals.';

COMMENT ON COLUMN private.ended_rehearsals.lines_id IS 'scheduled messages: lines id.';

CREATE TABLE private.erasures (
    job_id uuid NOT NULL,
    again_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL
);

COMMENT ON TABLE private.erasures IS 'scheduled messages: erasures.';

COMMENT ON COLUMN private.erasures.job_id IS 'scheduled messages: job id.';

COMMENT ON COLUMN private.erasures.again_at IS 'scheduled messages: again at.';

CREATE TABLE private.gateways (
    name text NOT NULL,
    one_at_a_time boolean DEFAULT false NOT NULL,
    pair_seconds double precision,
    hands_over boolean DEFAULT false NOT NULL,
    messages integer,
    period_seconds double precision,
    burst integer,
    CONSTRAINT gateways_check CHECK (((burst >= 1) AND (burst <= messages))),
    CONSTRAINT gateways_messages_check CHECK ((messages >= 1)),
    CONSTRAINT gateways_pair_seconds_check CHECK ((pair_seconds > (0)::double precision)),
    CONSTRAINT gateways_period_seconds_check CHECK ((period_seconds > (0)::double precision)),
    CONSTRAINT gateways_rate_complete CHECK ((num_nulls(messages, period_seconds, burst) = ANY (ARRAY[0, 3])))
);

COMMENT ON TABLE private.gateways IS 'scheduled messages: gateways.';

COMMENT ON COLUMN private.gateways.name IS 'scheduled messages: name.';

COMMENT ON COLUMN private.gateways.one_at_a_time IS 'scheduled messages: one at a time.';

COMMENT ON COLUMN private.gateways.pair_seconds IS 'scheduled messages: pair seconds.';

COMMENT ON COLUMN private.gateways.hands_over IS 'scheduled messages: hands over.';

COMMENT ON COLUMN private.gateways.messages IS 'scheduled messages: messages.';

COMMENT ON COLUMN private.gateways.period_seconds IS 'scheduled messages: period seconds.';

COMMENT ON COLUMN private.gateways.burst IS 'scheduled messages: burst.';

CREATE TABLE private.judged_numbers (
    raw text NOT NULL,
    country_code text DEFAULT ''::text NOT NULL,
    address text,
    fault text,
    timezone text,
    rules_version text NOT NULL
);

COMMENT ON TABLE private.judged_numbers IS 'scheduled messages: judged numbers.';

COMMENT ON COLUMN private.judged_numbers.raw IS 'scheduled messages: raw.';

COMMENT ON COLUMN private.judged_numbers.country_code IS 'scheduled messages: country code.';

COMMENT ON COLUMN private.judged_numbers.address IS 'scheduled messages: address.';

COMMENT ON COLUMN private.judged_numbers.fault IS 'scheduled messages: fault.';

COMMENT ON COLUMN private.judged_numbers.timezone IS 'scheduled messages: timezone.';

COMMENT ON COLUMN private.judged_numbers.rules_version IS 'scheduled messages: rules version.';

CREATE TABLE private.limits (
    name text NOT NULL,
    value integer NOT NULL,
    CONSTRAINT limits_name_check CHECK ((name = ANY (ARRAY['max_pending_per_owner'::text, 'max_due_per_minute'::text]))),
    CONSTRAINT limits_value_check CHECK ((value >= 0))
);

COMMENT ON TABLE private.limits IS 'scheduled messages: limits.';

COMMENT ON COLUMN private.limits.name IS 'scheduled messages: name.';

COMMENT ON COLUMN private.limits.value IS 'scheduled messages: value.';

CREATE TABLE private.numbers_asked (
    appointment_id uuid NOT NULL,
    raw text NOT NULL,
    country_code text NOT NULL
);

COMMENT ON TABLE private.numbers_asked IS 'scheduled messages: numbers asked.';

COMMENT ON COLUMN private.numbers_asked.appointment_id IS 'scheduled messages: appointment id.';

COMMENT ON COLUMN private.numbers_asked.raw IS 'scheduled messages: raw.';

COMMENT ON COLUMN private.numbers_asked.country_code IS 'scheduled messages: country code.';

CREATE TABLE private.owner_load (
    owner_id uuid NOT NULL,
    minute timestamp with time zone NOT NULL,
    number integer NOT NULL
);

COMMENT ON TABLE private.owner_load IS 'scheduled messages: owner load.';

COMMENT ON COLUMN private.owner_load.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN private.owner_load.minute IS 'scheduled messages: minute.';

COMMENT ON COLUMN private.owner_load.number IS 'scheduled messages: number.';

CREATE TABLE private.recipient_state (
    connection_id text NOT NULL,
    recipient text NOT NULL,
    free_at timestamp with time zone NOT NULL,
    job_id uuid,
    reason text
);

COMMENT ON TABLE private.recipient_state IS 'scheduled messages: recipient state.';

COMMENT ON COLUMN private.recipient_state.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN private.recipient_state.recipient IS 'scheduled messages: recipient.';

COMMENT ON COLUMN private.recipient_state.free_at IS 'scheduled messages: free at.';

COMMENT ON COLUMN private.recipient_state.job_id IS 'scheduled messages: job id.';

COMMENT ON COLUMN private.recipient_state.reason IS 'scheduled messages: reason.';

CREATE TABLE private.refused_rows (
    step text NOT NULL,
    id uuid NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    tries integer DEFAULT 1 NOT NULL,
    first_at timestamp with time zone DEFAULT now() NOT NULL,
    again_at timestamp with time zone NOT NULL,
    connection_id text,
    outcome jsonb,
    CONSTRAINT refused_rows_step_check CHECK ((step = ANY (ARRAY['enqueue'::text, 'claim'::text, 'record'::text, 'settle'::text, 'rescue'::text, 'announce'::text, 'note'::text, 'tend'::text])))
);

COMMENT ON TABLE private.refused_rows IS 'scheduled messages: refused rows.';

COMMENT ON COLUMN private.refused_rows.step IS 'scheduled messages: step.';

COMMENT ON COLUMN private.refused_rows.id IS 'scheduled messages: id.';

COMMENT ON COLUMN private.refused_rows.code IS 'scheduled messages: code.';

COMMENT ON COLUMN private.refused_rows.reason IS 'scheduled messages: reason.';

COMMENT ON COLUMN private.refused_rows.tries IS 'scheduled messages: tries.';

COMMENT ON COLUMN private.refused_rows.first_at IS 'scheduled messages: first at.';

COMMENT ON COLUMN private.refused_rows.again_at IS 'scheduled messages: again at.';

COMMENT ON COLUMN private.refused_rows.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN private.refused_rows.outcome IS 'scheduled messages: outcome.';

CREATE TABLE private.rehearsal_turns (
    owner_id uuid NOT NULL,
    turn_at timestamp with time zone DEFAULT now() NOT NULL,
    hour timestamp with time zone DEFAULT date_trunc('hour'::text, now()) NOT NULL,
    number integer DEFAULT 0 NOT NULL
);

COMMENT ON TABLE private.rehearsal_turns IS 'scheduled messages: rehearsal turns.';

COMMENT ON COLUMN private.rehearsal_turns.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN private.rehearsal_turns.turn_at IS 'scheduled messages: turn at.';

COMMENT ON COLUMN private.rehearsal_turns.hour IS 'scheduled messages: hour.';

COMMENT ON COLUMN private.rehearsal_turns.number IS 'scheduled messages: number.';

CREATE TABLE private.rule_numbers (
    connection_id text NOT NULL,
    owner_id uuid NOT NULL,
    last_number integer NOT NULL
);

COMMENT ON TABLE private.rule_numbers IS 'scheduled messages: rule numbers.';

COMMENT ON COLUMN private.rule_numbers.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN private.rule_numbers.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN private.rule_numbers.last_number IS 'scheduled messages: last number.';

CREATE TABLE private.run_tallies (
    id bigint NOT NULL,
    run_id uuid NOT NULL,
    pending integer NOT NULL,
    sent integer NOT NULL,
    failed integer NOT NULL,
    unconfirmed integer NOT NULL,
    skipped integer NOT NULL,
    cancelled integer NOT NULL,
    delivered integer NOT NULL,
    read integer NOT NULL
);

COMMENT ON TABLE private.run_tallies IS 'scheduled messages: run tallies.';

COMMENT ON COLUMN private.run_tallies.id IS 'scheduled messages: id.';

COMMENT ON COLUMN private.run_tallies.run_id IS 'scheduled messages: run id.';

COMMENT ON COLUMN private.run_tallies.pending IS 'scheduled messages: pending.';

COMMENT ON COLUMN private.run_tallies.sent IS 'scheduled messages: sent.';

COMMENT ON COLUMN private.run_tallies.failed IS 'scheduled messages: failed.';

COMMENT ON COLUMN private.run_tallies.unconfirmed IS 'scheduled messages: unconfirmed.';

COMMENT ON COLUMN private.run_tallies.skipped IS 'scheduled messages: skipped.';

COMMENT ON COLUMN private.run_tallies.cancelled IS 'scheduled messages: cancelled.';

COMMENT ON COLUMN private.run_tallies.delivered IS 'scheduled messages: delivered.';

COMMENT ON COLUMN private.run_tallies.read IS 'scheduled messages: read.';

ALTER TABLE private.run_tallies ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME private.run_tallies_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE private.template_accounts (
    account_id text NOT NULL,
    is_default boolean NOT NULL,
    read_at timestamp with time zone
);

COMMENT ON TABLE private.template_accounts IS 'scheduled messages: template accounts.';

COMMENT ON COLUMN private.template_accounts.account_id IS 'scheduled messages: account id.';

COMMENT ON COLUMN private.template_accounts.is_default IS 'scheduled messages: is default.';

COMMENT ON COLUMN private.template_accounts.read_at IS 'scheduled messages: read at.';

CREATE TABLE private.template_versions (
    template_id uuid NOT NULL,
    version integer NOT NULL,
    parts text[] NOT NULL,
    type text NOT NULL,
    media_url text,
    defaults jsonb NOT NULL,
    on_missing text NOT NULL,
    category text NOT NULL,
    language text NOT NULL,
    cloud jsonb
);

COMMENT ON TABLE private.template_versions IS 'scheduled messages: template versions.';

COMMENT ON COLUMN private.template_versions.template_id IS 'scheduled messages: template id.';

COMMENT ON COLUMN private.template_versions.version IS 'scheduled messages: version.';

COMMENT ON COLUMN private.template_versions.parts IS 'scheduled messages: parts.';

COMMENT ON COLUMN private.template_versions.type IS 'scheduled messages: type.';

COMMENT ON COLUMN private.template_versions.media_url IS 'scheduled messages: media url.';

COMMENT ON COLUMN private.template_versions.defaults IS 'scheduled messages: defaults.';

COMMENT ON COLUMN private.template_versions.on_missing IS 'scheduled messages: on missing.';

COMMENT ON COLUMN private.template_versions.category IS 'scheduled messages: category.';

COMMENT ON COLUMN private.template_versions.language IS 'scheduled messages: language.';

COMMENT ON COLUMN private.template_versions.cloud IS 'scheduled messages: cloud.';

CREATE TABLE private.timezones (
    folded text NOT NULL,
    name text NOT NULL
);

COMMENT ON TABLE private.timezones IS 'scheduled messages: timezones.';

COMMENT ON COLUMN private.timezones.folded IS 'scheduled messages: folded.';

COMMENT ON COLUMN private.timezones.name IS 'scheduled messages: name.';

CREATE TABLE public.audit_log (
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    transaction xid8 DEFAULT pg_current_xact_id() NOT NULL,
    connection_id text NOT NULL,
    owner_id uuid NOT NULL,
    kind text NOT NULL,
    record jsonb NOT NULL,
    CONSTRAINT audit_log_kind_known CHECK ((kind = ANY (ARRAY['booked'::text, 'moved'::text, 'followup_set'::text, 'cancelled'::text, 'sent'::text, 'failed'::text])))
);

COMMENT ON TABLE public.audit_log IS 'scheduled messages: what happened to appointments and their messages, for good.';

COMMENT ON COLUMN public.audit_log.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.audit_log.at IS 'scheduled messages: at.';

COMMENT ON COLUMN public.audit_log.transaction IS 'scheduled messages: transaction.';

COMMENT ON COLUMN public.audit_log.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.audit_log.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.audit_log.kind IS 'scheduled messages: kind.';

COMMENT ON COLUMN public.audit_log.record IS 'scheduled messages: record.';

ALTER TABLE public.audit_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.broadcast_messages (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    job_id uuid,
    contact text NOT NULL,
    message text,
    type text,
    media_url text,
    caption text,
    status text DEFAULT 'pending'::text,
    message_id text,
    error text,
    sent_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now(),
    updated_at timestamp with time zone DEFAULT now(),
    data jsonb,
    message_ids text[],
    scheduled_message_id uuid,
    delivery_status text,
    parts jsonb
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02');

COMMENT ON TABLE public.broadcast_messages IS 'scheduled messages: broadcast messages.';

COMMENT ON COLUMN public.broadcast_messages.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.broadcast_messages.job_id IS 'scheduled messages: job id.';

COMMENT ON COLUMN public.broadcast_messages.contact IS 'scheduled messages: contact.';

COMMENT ON COLUMN public.broadcast_messages.message IS 'scheduled messages: message.';

COMMENT ON COLUMN public.broadcast_messages.type IS 'scheduled messages: type.';

COMMENT ON COLUMN public.broadcast_messages.media_url IS 'scheduled messages: media url.';

COMMENT ON COLUMN public.broadcast_messages.caption IS 'scheduled messages: caption.';

COMMENT ON COLUMN public.broadcast_messages.status IS 'scheduled messages: status.';

COMMENT ON COLUMN public.broadcast_messages.message_id IS 'scheduled messages: message id.';

COMMENT ON COLUMN public.broadcast_messages.error IS 'scheduled messages: error.';

COMMENT ON COLUMN public.broadcast_messages.sent_at IS 'scheduled messages: sent at.';

COMMENT ON COLUMN public.broadcast_messages.created_at IS 'scheduled messages: created at.';

COMMENT ON COLUMN public.broadcast_messages.updated_at IS 'scheduled messages: updated at.';

COMMENT ON COLUMN public.broadcast_messages.data IS 'scheduled messages: data.';

COMMENT ON COLUMN public.broadcast_messages.message_ids IS 'scheduled messages: message ids.';

COMMENT ON COLUMN public.broadcast_messages.scheduled_message_id IS 'scheduled messages: scheduled message id.';

COMMENT ON COLUMN public.broadcast_messages.delivery_status IS 'scheduled messages: delivery status.';

COMMENT ON COLUMN public.broadcast_messages.parts IS 'scheduled messages: parts.';

CREATE TABLE public.campaign_recipients (
    run_id uuid NOT NULL,
    "position" integer NOT NULL,
    contact_id text,
    address text,
    raw text,
    name text,
    variables jsonb DEFAULT '{}'::jsonb NOT NULL,
    timezone text,
    due_at timestamp with time zone,
    fault text,
    next_try integer
);

COMMENT ON TABLE public.campaign_recipients IS 'scheduled messages: whom a run writes to, as it was when the run began.';

COMMENT ON COLUMN public.campaign_recipients.run_id IS 'scheduled messages: run id.';

COMMENT ON COLUMN public.campaign_recipients."position" IS 'scheduled messages: position.';

COMMENT ON COLUMN public.campaign_recipients.contact_id IS 'scheduled messages: contact id.';

COMMENT ON COLUMN public.campaign_recipients.address IS 'scheduled messages: address.';

COMMENT ON COLUMN public.campaign_recipients.raw IS 'scheduled messages: raw.';

COMMENT ON COLUMN public.campaign_recipients.name IS 'scheduled messages: name.';

COMMENT ON COLUMN public.campaign_recipients.variables IS 'scheduled messages: variables.';

COMMENT ON COLUMN public.campaign_recipients.timezone IS 'scheduled messages: timezone.';

COMMENT ON COLUMN public.campaign_recipients.due_at IS 'scheduled messages: due at.';

COMMENT ON COLUMN public.campaign_recipients.fault IS 'scheduled messages: fault.';

COMMENT ON COLUMN public.campaign_recipients.next_try IS 'scheduled messages: next try.';

CREATE TABLE public.campaign_retries (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    run_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    connection_id text NOT NULL,
    statuses text[] DEFAULT '{failed}'::text[] NOT NULL,
    retried integer NOT NULL,
    left_out jsonb DEFAULT '[]'::jsonb NOT NULL,
    created_by uuid DEFAULT auth.uid(),
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.campaign_retries IS 'scheduled messages: who had messages of a run tried again, when, and what came of asking.';

COMMENT ON COLUMN public.campaign_retries.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.campaign_retries.run_id IS 'scheduled messages: run id.';

COMMENT ON COLUMN public.campaign_retries.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.campaign_retries.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.campaign_retries.statuses IS 'scheduled messages: statuses.';

COMMENT ON COLUMN public.campaign_retries.retried IS 'scheduled messages: retried.';

COMMENT ON COLUMN public.campaign_retries.left_out IS 'scheduled messages: left out.';

COMMENT ON COLUMN public.campaign_retries.created_by IS 'scheduled messages: created by.';

COMMENT ON COLUMN public.campaign_retries.created_at IS 'scheduled messages: created at.';

CREATE TABLE public.connection_invitations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    connection_id text NOT NULL,
    owner_id uuid NOT NULL,
    role text DEFAULT 'staff'::text NOT NULL,
    token_hash text NOT NULL,
    created_by uuid DEFAULT auth.uid(),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone DEFAULT (now() + '7 days'::interval) NOT NULL,
    CONSTRAINT connection_invitations_role_known CHECK ((role = ANY (ARRAY['admin'::text, 'staff'::text])))
);

COMMENT ON TABLE public.connection_invitations IS 'scheduled messages: invitations that nobody has taken yet; a token is kept as its hash alone.';

COMMENT ON COLUMN public.connection_invitations.id IS 'scheduled messages: id.';

COMMENT ON COLUMN public.connection_invitations.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.connection_invitations.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.connection_invitations.role IS 'scheduled messages: role.';

COMMENT ON COLUMN public.connection_invitations.token_hash IS 'scheduled messages: token hash.';

COMMENT ON COLUMN public.connection_invitations.created_by IS 'scheduled messages: created by.';

COMMENT ON COLUMN public.connection_invitations.created_at IS 'scheduled messages: created at.';

COMMENT ON COLUMN public.connection_invitations.expires_at IS 'scheduled messages: expires at.';

COMMENT ON CONSTRAINT connection_invitations_role_known ON public.connection_invitations IS 'An invitation makes somebody admin or staff.';

CREATE TABLE public.connection_members (
    connection_id text NOT NULL,
    user_id uuid NOT NULL,
    role text DEFAULT 'staff'::text NOT NULL,
    owner_id uuid NOT NULL,
    created_by uuid DEFAULT auth.uid(),
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    invitation text,
    name text,
    CONSTRAINT connection_members_invitation_not_kept CHECK ((invitation IS NULL)),
    CONSTRAINT connection_members_name_short CHECK ((length(name) <= 200)),
    CONSTRAINT connection_members_role_known CHECK ((role = ANY (ARRAY['admin'::text, 'staff'::text])))
);

COMMENT ON TABLE public.connection_members IS 'scheduled messages: who may use a connection beside its owner.';

COMMENT ON COLUMN public.connection_members.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.connection_members.user_id IS 'scheduled messages: user id.';

COMMENT ON COLUMN public.connection_members.role IS 'scheduled messages: role.';

COMMENT ON COLUMN public.connection_members.owner_id IS 'scheduled messages: owner id.';

COMMENT ON COLUMN public.connection_members.created_by IS 'scheduled messages: created by.';

COMMENT ON COLUMN public.connection_members.created_at IS 'scheduled messages: created at.';

COMMENT ON COLUMN public.connection_members.invitation IS 'scheduled messages: invitation.';

COMMENT ON COLUMN public.connection_members.name IS 'scheduled messages: name.';

COMMENT ON CONSTRAINT connection_members_invitation_not_kept ON public.connection_members IS 'An invitation is not kept.';

COMMENT ON CONSTRAINT connection_members_name_short ON public.connection_members IS 'The name of a member has at most 200 characters.';

COMMENT ON CONSTRAINT connection_members_role_known ON public.connection_members IS 'A member is admin or staff.';

CREATE TABLE public.contacts (
    id bigint NOT NULL,
    owner_id uuid DEFAULT auth.uid(),
    phone_number character varying(20),
    contact_name text,
    email text,
    labels text[],
    is_blocked boolean DEFAULT false,
    is_favorite boolean DEFAULT false,
    notes text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE public.contacts ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.contacts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE VIEW public.daily_outcomes WITH (security_invoker='true') AS
 SELECT message.connection_id,
    ((COALESCE(message.sent_at, message.scheduled_at) AT TIME ZONE COALESCE(settings.timezone, 'UTC'::text)))::date AS day,
    count(*) FILTER (WHERE (message.status = 'sent'::text)) AS sent,
    count(*) FILTER (WHERE (message.delivery_status = ANY (ARRAY['delivered'::text, 'read'::text]))) AS delivered,
    count(*) FILTER (WHERE (message.delivery_status = 'read'::text)) AS read,
    count(*) FILTER (WHERE (message.status = 'failed'::text)) AS failed,
    count(*) FILTER (WHERE (message.status = 'unconfirmed'::text)) AS unconfirmed
   FROM (public.scheduled_messages message
     LEFT JOIN public.connection_settings settings ON ((message.connection_id = settings.connection_id)))
  WHERE (message.status = ANY (ARRAY['sent'::text, 'failed'::text, 'unconfirmed'::text]))
  GROUP BY message.connection_id, (((COALESCE(message.sent_at, message.scheduled_at) AT TIME ZONE COALESCE(settings.timezone, 'UTC'::text)))::date);

COMMENT ON VIEW public.daily_outcomes IS 'scheduled messages: what became of a connection''s messages, by day.';

COMMENT ON COLUMN public.daily_outcomes.connection_id IS 'scheduled messages: connection id.';

COMMENT ON COLUMN public.daily_outcomes.day IS 'scheduled messages: day.';

COMMENT ON COLUMN public.daily_outcomes.sent IS 'scheduled messages: sent.';

COMMENT ON COLUMN public.daily_outcomes.delivered IS 'scheduled messages: delivered.';

COMMENT ON COLUMN public.daily_outcomes.read IS 'scheduled messages: read.';

COMMENT ON COLUMN public.daily_outcomes.failed IS 'scheduled messages: failed.';

COMMENT ON COLUMN public.daily_outcomes.unconfirmed IS 'scheduled messages: unconfirmed.';

ALTER TABLE ONLY private.approved_templates
    ADD CONSTRAINT approved_templates_pkey PRIMARY KEY (account_id, name, language);

ALTER TABLE ONLY private.connection_owners
    ADD CONSTRAINT connection_owners_pkey PRIMARY KEY (connection_id);

ALTER TABLE ONLY private.connection_state
    ADD CONSTRAINT connection_state_pkey PRIMARY KEY (connection_id);

ALTER TABLE ONLY private.date_words
    ADD CONSTRAINT date_words_pkey PRIMARY KEY (language);

ALTER TABLE ONLY private.ended_rehearsals
    ADD CONSTRAINT ended_rehearsals_pkey PRIMARY KEY (lines_id);

ALTER TABLE ONLY private.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (job_id);

ALTER TABLE ONLY private.gateways
    ADD CONSTRAINT gateways_pkey PRIMARY KEY (name);

ALTER TABLE ONLY private.judged_numbers
    ADD CONSTRAINT judged_numbers_pkey PRIMARY KEY (raw, country_code);

ALTER TABLE ONLY private.limits
    ADD CONSTRAINT limits_pkey PRIMARY KEY (name);

ALTER TABLE ONLY private.numbers_asked
    ADD CONSTRAINT numbers_asked_pkey PRIMARY KEY (appointment_id);

ALTER TABLE ONLY private.owner_load
    ADD CONSTRAINT owner_load_pkey PRIMARY KEY (owner_id, minute);

ALTER TABLE ONLY private.recipient_state
    ADD CONSTRAINT recipient_state_pkey PRIMARY KEY (connection_id, recipient);

ALTER TABLE ONLY private.refused_rows
    ADD CONSTRAINT refused_rows_pkey PRIMARY KEY (id, step);

ALTER TABLE ONLY private.rehearsal_turns
    ADD CONSTRAINT rehearsal_turns_pkey PRIMARY KEY (owner_id);

ALTER TABLE ONLY private.rule_numbers
    ADD CONSTRAINT rule_numbers_pkey PRIMARY KEY (connection_id, owner_id);

ALTER TABLE ONLY private.run_tallies
    ADD CONSTRAINT run_tallies_pkey PRIMARY KEY (id);

ALTER TABLE ONLY private.template_accounts
    ADD CONSTRAINT template_accounts_pkey PRIMARY KEY (account_id);

ALTER TABLE ONLY private.template_versions
    ADD CONSTRAINT template_versions_pkey PRIMARY KEY (template_id, version);

ALTER TABLE ONLY private.timezones
    ADD CONSTRAINT timezones_name_key UNIQUE (name);

ALTER TABLE ONLY private.timezones
    ADD CONSTRAINT timezones_pkey PRIMARY KEY (folded);

ALTER TABLE ONLY public.appointments
    ADD CONSTRAINT appointments_id_owner_id_key UNIQUE (id, owner_id);

ALTER TABLE ONLY public.appointments
    ADD CONSTRAINT appointments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.broadcast_jobs
    ADD CONSTRAINT broadcast_jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.broadcast_messages
    ADD CONSTRAINT broadcast_messages_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.campaign_recipients
    ADD CONSTRAINT campaign_recipients_pkey PRIMARY KEY (run_id, "position");

ALTER TABLE ONLY public.campaign_rehearsal_lines
    ADD CONSTRAINT campaign_rehearsal_lines_pkey PRIMARY KEY (lines_id, "position");

ALTER TABLE ONLY public.campaign_rehearsals
    ADD CONSTRAINT campaign_rehearsals_pkey PRIMARY KEY (campaign_id);

ALTER TABLE ONLY public.campaign_retries
    ADD CONSTRAINT campaign_retries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.campaign_runs
    ADD CONSTRAINT campaign_runs_campaign_id_occurrence_at_key UNIQUE (campaign_id, occurrence_at);

ALTER TABLE ONLY public.campaign_runs
    ADD CONSTRAINT campaign_runs_id_owner_id_key UNIQUE (id, owner_id);

ALTER TABLE ONLY public.campaign_runs
    ADD CONSTRAINT campaign_runs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.campaigns
    ADD CONSTRAINT campaigns_id_owner_id_key UNIQUE (id, owner_id);

ALTER TABLE ONLY public.campaigns
    ADD CONSTRAINT campaigns_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.connection_invitations
    ADD CONSTRAINT connection_invitations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.connection_members
    ADD CONSTRAINT connection_members_pkey PRIMARY KEY (connection_id, user_id);

ALTER TABLE ONLY public.connection_settings
    ADD CONSTRAINT connection_settings_pkey PRIMARY KEY (connection_id);

ALTER TABLE ONLY public.connections
    ADD CONSTRAINT connections_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.contacts
    ADD CONSTRAINT contacts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.message_templates
    ADD CONSTRAINT message_templates_id_owner_id_key UNIQUE (id, owner_id);

ALTER TABLE ONLY public.message_templates
    ADD CONSTRAINT message_templates_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.reminder_rules
    ADD CONSTRAINT reminder_rules_number_key UNIQUE (connection_id, owner_id, number);

ALTER TABLE ONLY public.reminder_rules
    ADD CONSTRAINT reminder_rules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.scheduled_messages
    ADD CONSTRAINT scheduled_messages_pkey PRIMARY KEY (id);

CREATE INDEX approved_templates_name_idx ON private.approved_templates USING btree (name, language);

CREATE INDEX connection_state_payer_ready_idx ON private.connection_state USING btree (payer, ready_at, connection_id) WHERE (ready_at < 'infinity'::timestamp with time zone);

CREATE INDEX connection_state_payer_turn_idx ON private.connection_state USING btree (payer, turn_at);

CREATE INDEX connection_state_probe_idx ON private.connection_state USING btree (probe_at) WHERE (probe_at IS NOT NULL);

CREATE INDEX connection_state_ready_idx ON private.connection_state USING btree (ready_at, connection_id);

CREATE INDEX recipient_state_free_at_idx ON private.recipient_state USING btree (free_at);

CREATE INDEX refused_rows_again_at_idx ON private.refused_rows USING btree (step, again_at);

CREATE INDEX refused_rows_connection_idx ON private.refused_rows USING btree (connection_id, again_at) WHERE (step = 'claim'::text);

CREATE INDEX run_tallies_run_id_idx ON private.run_tallies USING btree (run_id);

CREATE INDEX appointments_connection_id_idx ON public.appointments USING btree (connection_id, date);

CREATE INDEX appointments_contact_id_idx ON public.appointments USING btree (contact_id) WHERE (contact_id IS NOT NULL);

CREATE INDEX appointments_followup_date_idx ON public.appointments USING btree (connection_id, followup_date) WHERE (followup_date IS NOT NULL);

CREATE INDEX appointments_owner_id_idx ON public.appointments USING btree (owner_id, date);

CREATE INDEX audit_log_connection_id_idx ON public.audit_log USING btree (connection_id, id);

CREATE INDEX audit_log_owner_id_idx ON public.audit_log USING btree (owner_id, id);

CREATE INDEX audit_log_transaction_idx ON public.audit_log USING btree (transaction, id);

CREATE INDEX broadcast_jobs_expiry_idx ON public.broadcast_jobs USING btree (expires_at) WHERE ((status = 'queued'::text) AND (expires_at IS NOT NULL));

CREATE INDEX broadcast_jobs_handed_over_idx ON public.broadcast_jobs USING btree (connection_id, send_at) WHERE ((status = ANY (ARRAY['handed_over'::text, 'active'::text])) AND (scheduled_message_id IS NOT NULL));

CREATE INDEX broadcast_jobs_lease_idx ON public.broadcast_jobs USING btree (lease_until) WHERE ((status = ANY (ARRAY['sending'::text, 'handed_over'::text])) AND (lease_until IS NOT NULL));

CREATE INDEX broadcast_jobs_queued_idx ON public.broadcast_jobs USING btree (connection_id, priority, available_at, id) WHERE ((status = 'queued'::text) AND (scheduled_message_id IS NOT NULL));

CREATE INDEX broadcast_jobs_sending_idx ON public.broadcast_jobs USING btree (lease_token) WHERE (status = 'sending'::text);

CREATE INDEX broadcast_jobs_series_idx ON public.broadcast_jobs USING btree (series_id) WHERE ((status = 'queued'::text) AND (series_id IS NOT NULL));

CREATE INDEX broadcast_jobs_withdrawn_idx ON public.broadcast_jobs USING btree (gateway, lease_until) WHERE ((status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text, 'unconfirmed'::text])) AND (lease_until IS NOT NULL));

CREATE UNIQUE INDEX campaign_recipients_address_key ON public.campaign_recipients USING btree (run_id, address) WHERE (fault IS NULL);

CREATE INDEX campaign_recipients_due_at_idx ON public.campaign_recipients USING btree (run_id, due_at, "position") WHERE ((due_at IS NOT NULL) AND (fault IS NULL));

CREATE INDEX campaign_recipients_next_try_idx ON public.campaign_recipients USING btree (run_id, "position") WHERE (next_try IS NOT NULL);

CREATE INDEX campaign_rehearsal_lines_address_idx ON public.campaign_rehearsal_lines USING btree (lines_id, address) WHERE (fault IS NULL);

CREATE INDEX campaign_rehearsal_lines_faults_idx ON public.campaign_rehearsal_lines USING btree (lines_id, fault_kind, "position") WHERE (fault IS NOT NULL);

CREATE UNIQUE INDEX campaign_rehearsals_lines_id_key ON public.campaign_rehearsals USING btree (lines_id);

CREATE INDEX campaign_rehearsals_open_idx ON public.campaign_rehearsals USING btree (owner_id, requested_at) WHERE (finished_at IS NULL);

CREATE INDEX campaign_rehearsals_owner_id_idx ON public.campaign_rehearsals USING btree (owner_id);

CREATE INDEX campaign_rehearsals_requested_at_idx ON public.campaign_rehearsals USING btree (requested_at);

CREATE INDEX campaign_retries_owner_id_idx ON public.campaign_retries USING btree (owner_id);

CREATE INDEX campaign_retries_run_id_idx ON public.campaign_retries USING btree (run_id, owner_id);

CREATE INDEX campaign_runs_campaign_id_idx ON public.campaign_runs USING btree (campaign_id, owner_id);

CREATE INDEX campaign_runs_open_idx ON public.campaign_runs USING btree (advanced_at) WHERE (finished_at IS NULL);

CREATE INDEX campaign_runs_owner_id_idx ON public.campaign_runs USING btree (owner_id, started_at);

CREATE INDEX campaign_runs_untold_idx ON public.campaign_runs USING btree (finished_at) WHERE ((finished_at IS NOT NULL) AND (told_at IS DISTINCT FROM finished_at));

CREATE INDEX campaigns_connection_id_idx ON public.campaigns USING btree (connection_id);

CREATE INDEX campaigns_next_run_at_idx ON public.campaigns USING btree (next_run_at) WHERE (status = 'scheduled'::text);

CREATE INDEX campaigns_owner_id_idx ON public.campaigns USING btree (owner_id, created_at);

CREATE INDEX campaigns_template_id_idx ON public.campaigns USING btree (template_id, owner_id);

CREATE INDEX connection_invitations_connection_id_idx ON public.connection_invitations USING btree (connection_id);

CREATE UNIQUE INDEX connection_invitations_token_hash_key ON public.connection_invitations USING btree (token_hash);

CREATE INDEX connection_members_user_id_idx ON public.connection_members USING btree (user_id);

CREATE INDEX connection_settings_gateway_idx ON public.connection_settings USING btree (gateway) WHERE (gateway IS NOT NULL);

CREATE INDEX connection_settings_sender_idx ON public.connection_settings USING btree (sender) WHERE (sender IS NOT NULL);

CREATE INDEX connections_user_id_idx ON public.connections USING btree (user_id);

CREATE INDEX contacts_owner_id_idx ON public.contacts USING btree (owner_id);

CREATE INDEX idx_broadcast_messages_job_id ON public.broadcast_messages USING btree (job_id);

CREATE INDEX idx_scheduled_messages_connection_id ON public.scheduled_messages USING btree (connection_id);

CREATE INDEX idx_scheduled_messages_contact_id ON public.scheduled_messages USING btree (contact_id);

CREATE INDEX idx_scheduled_messages_created_by ON public.scheduled_messages USING btree (created_by);

CREATE INDEX message_templates_connection_id_idx ON public.message_templates USING btree (connection_id) WHERE (connection_id IS NOT NULL);

CREATE INDEX message_templates_owner_id_idx ON public.message_templates USING btree (owner_id, name);

CREATE INDEX reminder_rules_connection_id_idx ON public.reminder_rules USING btree (connection_id);

CREATE INDEX reminder_rules_template_id_idx ON public.reminder_rules USING btree (template_id, owner_id);

CREATE INDEX scheduled_messages_due_idx ON public.scheduled_messages USING btree (due_at, id) WHERE (due_at IS NOT NULL);

CREATE UNIQUE INDEX scheduled_messages_occurrence_key ON public.scheduled_messages USING btree (series_id, occurrence_at) WHERE (series_id IS NOT NULL);

CREATE INDEX scheduled_messages_owner_contact_idx ON public.scheduled_messages USING btree (owner_id, contact_id);

CREATE INDEX scheduled_messages_payer_idx ON public.scheduled_messages USING btree (md5((COALESCE((owner_id)::text, connection_id) || repeat('*'::text, (priority)::integer))), due_at, id) WHERE (due_at > '-infinity'::timestamp with time zone);

CREATE UNIQUE INDEX scheduled_messages_source_key ON public.scheduled_messages USING btree (source_id, source_position, source_try) WHERE (source_id IS NOT NULL);

CREATE INDEX scheduled_messages_template_id_idx ON public.scheduled_messages USING btree (template_id) WHERE (template_id IS NOT NULL);

CREATE TRIGGER answer_appointments AFTER INSERT ON private.judged_numbers REFERENCING NEW TABLE AS new_numbers FOR EACH STATEMENT EXECUTE FUNCTION private.answer_appointments();

CREATE TRIGGER answer_appointments_anew AFTER UPDATE ON private.judged_numbers REFERENCING NEW TABLE AS new_numbers FOR EACH STATEMENT EXECUTE FUNCTION private.answer_appointments();

CREATE TRIGGER a_cancel_campaigns_of_connection AFTER DELETE ON public.connections FOR EACH ROW EXECUTE FUNCTION private.cancel_campaigns_of_connection();

CREATE TRIGGER a_cancel_campaigns_of_lost_connection AFTER UPDATE ON public.connections FOR EACH ROW WHEN (((old.id IS DISTINCT FROM new.id) OR (old.user_id IS DISTINCT FROM new.user_id))) EXECUTE FUNCTION private.cancel_campaigns_of_connection();

CREATE TRIGGER a_keep_out_of_queue BEFORE UPDATE OF status ON public.scheduled_messages FOR EACH ROW WHEN (((new.status = 'in_queue'::text) AND (old.status <> ALL (ARRAY['pending'::text, 'in_queue'::text])) AND (NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))))) EXECUTE FUNCTION private.keep_out_of_queue();

CREATE TRIGGER announce_connection AFTER INSERT OR DELETE OR UPDATE ON public.connection_settings FOR EACH ROW EXECUTE FUNCTION private.announce_connection();

CREATE TRIGGER announce_connection AFTER UPDATE ON public.connections FOR EACH ROW EXECUTE FUNCTION private.announce_connection();

CREATE TRIGGER audit_booked AFTER INSERT ON public.appointments REFERENCING NEW TABLE AS new_appointments FOR EACH STATEMENT EXECUTE FUNCTION private.audit_booked();

CREATE TRIGGER audit_changed AFTER UPDATE ON public.appointments REFERENCING OLD TABLE AS old_appointments NEW TABLE AS new_appointments FOR EACH STATEMENT EXECUTE FUNCTION private.audit_changed();

CREATE TRIGGER audit_deleted AFTER DELETE ON public.appointments REFERENCING OLD TABLE AS old_appointments FOR EACH STATEMENT EXECUTE FUNCTION private.audit_deleted();

CREATE TRIGGER audit_outcomes AFTER UPDATE ON public.scheduled_messages REFERENCING OLD TABLE AS old_messages NEW TABLE AS new_messages FOR EACH STATEMENT EXECUTE FUNCTION private.audit_outcomes();

CREATE TRIGGER b_end_memberships AFTER UPDATE ON public.connections FOR EACH ROW WHEN (((old.id IS DISTINCT FROM new.id) OR (old.user_id IS DISTINCT FROM new.user_id))) EXECUTE FUNCTION private.end_memberships();

CREATE TRIGGER b_end_memberships_of_deleted AFTER DELETE ON public.connections FOR EACH ROW EXECUTE FUNCTION private.end_memberships();

CREATE TRIGGER b_render_changed BEFORE UPDATE ON public.scheduled_messages FOR EACH ROW WHEN (((new.template_id IS NOT NULL) AND (((old.status <> 'pending'::text) AND (new.status = 'pending'::text)) OR ((((((((((old.template_id IS DISTINCT FROM new.template_id) OR (old.variables IS DISTINCT FROM new.variables)) OR (old.connection_id IS DISTINCT FROM new.connection_id)) OR (old.contact_id IS DISTINCT FROM new.contact_id)) OR (old.type IS DISTINCT FROM new.type)) OR (old.message IS DISTINCT FROM new.message)) OR (old.caption IS DISTINCT FROM new.caption)) OR (old.media_url IS DISTINCT FROM new.media_url)) OR (old.category IS DISTINCT FROM new.category)) OR (old.template IS DISTINCT FROM new.template))) AND row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.render_message('user');

CREATE TRIGGER b_render_changed_by_service BEFORE UPDATE ON public.scheduled_messages FOR EACH ROW WHEN (((new.template_id IS NOT NULL) AND (((old.status <> 'pending'::text) AND (new.status = 'pending'::text)) OR ((((((((((old.template_id IS DISTINCT FROM new.template_id) OR (old.variables IS DISTINCT FROM new.variables)) OR (old.connection_id IS DISTINCT FROM new.connection_id)) OR (old.contact_id IS DISTINCT FROM new.contact_id)) OR (old.type IS DISTINCT FROM new.type)) OR (old.message IS DISTINCT FROM new.message)) OR (old.caption IS DISTINCT FROM new.caption)) OR (old.media_url IS DISTINCT FROM new.media_url)) OR (old.category IS DISTINCT FROM new.category)) OR (old.template IS DISTINCT FROM new.template))) AND (NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) AND (current_setting('scheduled_messages.is_rendered'::text, true) IS DISTINCT FROM 'on'::text))) EXECUTE FUNCTION private.render_message();

CREATE TRIGGER b_render_new BEFORE INSERT ON public.scheduled_messages FOR EACH ROW WHEN (((new.template_id IS NOT NULL) AND row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.render_message('user');

CREATE TRIGGER b_render_new_by_service BEFORE INSERT ON public.scheduled_messages FOR EACH ROW WHEN (((new.template_id IS NOT NULL) AND (NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))))) EXECUTE FUNCTION private.render_message();

CREATE TRIGGER cancel_messages_of_connection AFTER DELETE ON public.connections FOR EACH ROW EXECUTE FUNCTION private.cancel_messages_of_connection();

CREATE TRIGGER cancel_messages_of_lost_connection AFTER UPDATE ON public.connections FOR EACH ROW WHEN (((old.id IS DISTINCT FROM new.id) OR (old.user_id IS DISTINCT FROM new.user_id))) EXECUTE FUNCTION private.cancel_messages_of_connection();

CREATE TRIGGER close_job_of_node_worker AFTER UPDATE OF status ON public.broadcast_messages FOR EACH ROW WHEN (((new.status = 'sent'::text) AND (new.message_id IS NULL) AND (new.scheduled_message_id IS NOT NULL))) EXECUTE FUNCTION private.close_job_of_node_worker();

CREATE TRIGGER complete_old_row BEFORE UPDATE ON public.scheduled_messages FOR EACH ROW WHEN ((((old.status = 'sent'::text) AND ((old.sent_at IS NULL) OR (old.message_id IS NULL))) OR ((old.status = ANY (ARRAY['failed'::text, 'unconfirmed'::text])) AND (old.error IS NULL)) OR (old.status <> ALL (ARRAY['pending'::text, 'processing'::text, 'sent'::text, 'failed'::text, 'unconfirmed'::text, 'cancelled'::text, 'in_queue'::text])))) EXECUTE FUNCTION private.complete_old_row();

CREATE TRIGGER confirm_connection AFTER INSERT OR UPDATE ON public.scheduled_messages FOR EACH ROW WHEN (((new.status = 'pending'::text) AND row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.confirm_connection();

CREATE TRIGGER count_outcomes AFTER UPDATE ON public.scheduled_messages REFERENCING OLD TABLE AS old_messages NEW TABLE AS new_messages FOR EACH STATEMENT EXECUTE FUNCTION private.count_outcomes();

CREATE TRIGGER end_former_rehearsal_lines AFTER UPDATE ON public.campaign_rehearsals FOR EACH ROW WHEN ((new.lines_id <> old.lines_id)) EXECUTE FUNCTION private.end_rehearsal_lines();

CREATE TRIGGER end_invitations_of_former_admin AFTER UPDATE ON public.connection_members FOR EACH ROW WHEN (((old.role = 'admin'::text) AND (new.role <> 'admin'::text))) EXECUTE FUNCTION private.end_invitations_of_member();

CREATE TRIGGER end_invitations_of_former_member AFTER DELETE ON public.connection_members FOR EACH ROW EXECUTE FUNCTION private.end_invitations_of_member();

CREATE TRIGGER end_rehearsal_lines AFTER DELETE ON public.campaign_rehearsals FOR EACH ROW EXECUTE FUNCTION private.end_rehearsal_lines();

CREATE TRIGGER end_reminders_of_deleted AFTER DELETE ON public.appointments REFERENCING OLD TABLE AS old_appointments FOR EACH STATEMENT EXECUTE FUNCTION private.end_reminders_of_deleted();

CREATE TRIGGER end_what_members_wrote AFTER DELETE ON public.connection_members REFERENCING OLD TABLE AS old_members FOR EACH STATEMENT EXECUTE FUNCTION private.end_what_members_wrote();

CREATE TRIGGER follow_changed_rule AFTER UPDATE ON public.reminder_rules FOR EACH ROW WHEN (((((((old.anchor IS DISTINCT FROM new.anchor) OR (old.day_offset IS DISTINCT FROM new.day_offset)) OR (old.at IS DISTINCT FROM new.at)) OR (old.shift IS DISTINCT FROM new.shift)) OR (old.template_id IS DISTINCT FROM new.template_id)) OR (old.enabled IS DISTINCT FROM new.enabled))) EXECUTE FUNCTION private.follow_rule();

CREATE TRIGGER follow_changed_settings AFTER UPDATE ON public.connection_settings FOR EACH ROW WHEN (((((((old.connection_id IS DISTINCT FROM new.connection_id) OR (old.enabled IS DISTINCT FROM new.enabled)) OR (old.active IS DISTINCT FROM new.active)) OR (old.display_name IS DISTINCT FROM new.display_name)) OR (old.timezone IS DISTINCT FROM new.timezone)) OR (old.country_code IS DISTINCT FROM new.country_code))) EXECUTE FUNCTION private.follow_settings();

CREATE TRIGGER follow_contact AFTER UPDATE ON public.contacts FOR EACH ROW WHEN (((old.is_blocked IS DISTINCT FROM new.is_blocked) OR ((old.phone_number)::text IS DISTINCT FROM (new.phone_number)::text))) EXECUTE FUNCTION private.follow_contact();

CREATE TRIGGER follow_deleted_contact AFTER DELETE ON public.contacts FOR EACH ROW EXECUTE FUNCTION private.follow_contact();

CREATE TRIGGER follow_rule AFTER INSERT OR DELETE ON public.reminder_rules FOR EACH ROW EXECUTE FUNCTION private.follow_rule();

CREATE TRIGGER follow_settings AFTER INSERT OR DELETE ON public.connection_settings FOR EACH ROW EXECUTE FUNCTION private.follow_settings();

CREATE TRIGGER follow_template AFTER UPDATE ON public.message_templates FOR EACH ROW WHEN ((new.version IS DISTINCT FROM old.version)) EXECUTE FUNCTION private.follow_template();

CREATE TRIGGER forget_refusals_deleted AFTER DELETE ON public.scheduled_messages FOR EACH ROW EXECUTE FUNCTION private.forget_refusals();

CREATE TRIGGER forget_refusals_edited AFTER UPDATE ON public.scheduled_messages FOR EACH ROW WHEN (((old.revision <> new.revision) AND (new.status = 'pending'::text))) EXECUTE FUNCTION private.forget_refusals();

CREATE TRIGGER guard_appointment BEFORE INSERT OR UPDATE ON public.appointments FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_appointment();

CREATE TRIGGER guard_broadcasts BEFORE INSERT OR DELETE OR UPDATE ON public.broadcast_jobs FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_broadcasts();

CREATE TRIGGER guard_broadcasts BEFORE INSERT OR DELETE OR UPDATE ON public.broadcast_messages FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_broadcasts();

CREATE TRIGGER guard_campaign BEFORE INSERT OR UPDATE ON public.campaigns FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_campaign('user');

CREATE TRIGGER guard_campaign_by_service BEFORE INSERT OR UPDATE ON public.campaigns FOR EACH ROW WHEN ((NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text))))) EXECUTE FUNCTION private.guard_campaign();

CREATE TRIGGER guard_campaign_deletion BEFORE DELETE ON public.campaigns FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_campaign_deletion();

CREATE TRIGGER guard_delete BEFORE DELETE ON public.scheduled_messages FOR EACH ROW WHEN ((((old.broadcast_job_id IS NOT NULL) OR (old.source_id IS NOT NULL)) AND row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_delete('user');

CREATE TRIGGER guard_delete_by_service BEFORE DELETE ON public.scheduled_messages FOR EACH ROW WHEN (((old.broadcast_job_id IS NOT NULL) AND (NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))))) EXECUTE FUNCTION private.guard_delete();

CREATE TRIGGER guard_insert BEFORE INSERT ON public.scheduled_messages FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_insert();

CREATE TRIGGER guard_invitation BEFORE INSERT OR DELETE ON public.connection_invitations FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_invitation();

CREATE TRIGGER guard_job_of_node_worker BEFORE UPDATE OF status ON public.broadcast_jobs FOR EACH ROW WHEN (((pg_trigger_depth() = 0) AND (old.scheduled_message_id IS NOT NULL) AND (NOT (new.lease_token IS DISTINCT FROM old.lease_token)) AND (NOT (new.lease_until IS DISTINCT FROM old.lease_until)))) EXECUTE FUNCTION private.guard_job_of_node_worker();

CREATE TRIGGER guard_member BEFORE INSERT OR DELETE OR UPDATE ON public.connection_members FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_member();

CREATE TRIGGER guard_rehearsal BEFORE INSERT OR UPDATE ON public.campaign_rehearsals FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_rehearsal('user');

CREATE TRIGGER guard_rehearsal_again_by_service BEFORE UPDATE ON public.campaign_rehearsals FOR EACH ROW WHEN (((NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) AND (NOT (new.* IS DISTINCT FROM old.*)))) EXECUTE FUNCTION private.guard_rehearsal();

CREATE TRIGGER guard_rehearsal_by_service BEFORE INSERT ON public.campaign_rehearsals FOR EACH ROW WHEN ((NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text))))) EXECUTE FUNCTION private.guard_rehearsal();

CREATE TRIGGER guard_rule_of_service BEFORE INSERT OR DELETE OR UPDATE ON public.reminder_rules FOR EACH ROW WHEN ((NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text))))) EXECUTE FUNCTION private.guard_rule();

CREATE TRIGGER guard_rule_of_user BEFORE INSERT OR DELETE OR UPDATE ON public.reminder_rules FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_rule('user');

CREATE TRIGGER guard_settings BEFORE INSERT OR UPDATE ON public.connection_settings FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_settings();

CREATE TRIGGER guard_template_of_service BEFORE INSERT OR DELETE OR UPDATE ON public.message_templates FOR EACH ROW WHEN ((NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text))))) EXECUTE FUNCTION private.guard_template();

CREATE TRIGGER guard_template_of_user BEFORE INSERT OR DELETE OR UPDATE ON public.message_templates FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_template('user');

CREATE TRIGGER guard_update BEFORE UPDATE ON public.scheduled_messages FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.guard_update('user');

CREATE TRIGGER guard_update_by_service BEFORE UPDATE ON public.scheduled_messages FOR EACH ROW WHEN (((new.status = ANY (ARRAY['pending'::text, 'cancelled'::text])) AND (NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))))) EXECUTE FUNCTION private.guard_update();

CREATE TRIGGER hold_again BEFORE UPDATE OF status ON public.scheduled_messages FOR EACH ROW WHEN (((old.status = ANY (ARRAY['unconfirmed'::text, 'processing'::text])) AND (new.status = 'pending'::text) AND (new.held IS NULL) AND (new.source_id IS NOT NULL))) EXECUTE FUNCTION private.hold_again();

CREATE TRIGGER hold_limits AFTER INSERT ON public.scheduled_messages REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION private.hold_limits();

CREATE TRIGGER hold_limits_of_edits AFTER UPDATE ON public.scheduled_messages REFERENCING OLD TABLE AS former NEW TABLE AS added FOR EACH STATEMENT WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.hold_limits();

CREATE TRIGGER keep_next_template_version AFTER UPDATE ON public.message_templates FOR EACH ROW WHEN ((new.version IS DISTINCT FROM old.version)) EXECUTE FUNCTION private.keep_template_version();

CREATE TRIGGER keep_template_version AFTER INSERT ON public.message_templates FOR EACH ROW EXECUTE FUNCTION private.keep_template_version();

CREATE TRIGGER look_at_series BEFORE INSERT OR UPDATE ON public.scheduled_messages FOR EACH ROW WHEN ((new.is_recurring AND (new.status = 'pending'::text) AND row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.look_at_series();

CREATE TRIGGER lose_deleted_job AFTER DELETE ON public.broadcast_jobs FOR EACH ROW WHEN (((old.scheduled_message_id IS NOT NULL) AND (old.status <> ALL (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text, 'unconfirmed'::text])))) EXECUTE FUNCTION private.lose_deleted_job();

ALTER TABLE public.broadcast_jobs ENABLE ALWAYS TRIGGER lose_deleted_job;

CREATE TRIGGER lose_deleted_message AFTER DELETE ON public.broadcast_messages FOR EACH ROW WHEN (((old.scheduled_message_id IS NOT NULL) AND (old.status <> ALL (ARRAY['sent'::text, 'failed'::text, 'skipped'::text, 'cancelled'::text])))) EXECUTE FUNCTION private.lose_deleted_message();

ALTER TABLE public.broadcast_messages ENABLE ALWAYS TRIGGER lose_deleted_message;

CREATE TRIGGER lose_marked_job AFTER UPDATE OF status ON public.broadcast_jobs FOR EACH ROW WHEN (((pg_trigger_depth() = 0) AND (new.scheduled_message_id IS NOT NULL) AND (((old.status = 'queued'::text) AND (new.status <> ALL (ARRAY['queued'::text, 'sending'::text]))) OR ((old.status = 'sending'::text) AND (new.status <> 'sending'::text) AND (NOT (new.lease_token IS DISTINCT FROM old.lease_token)) AND (NOT (new.lease_until IS DISTINCT FROM old.lease_until)))))) EXECUTE FUNCTION private.lose_marked_job();

CREATE TRIGGER lose_marked_message AFTER UPDATE OF status ON public.broadcast_messages FOR EACH ROW WHEN (((pg_trigger_depth() = 0) AND (new.scheduled_message_id IS NOT NULL) AND (new.status IS DISTINCT FROM old.status) AND ((new.status = ANY (ARRAY['failed'::text, 'skipped'::text, 'unconfirmed'::text, 'cancelled'::text])) OR ((new.status = 'sent'::text) AND (new.message_id IS NULL))))) EXECUTE FUNCTION private.lose_marked_message();

CREATE TRIGGER lose_truncated BEFORE TRUNCATE ON public.broadcast_jobs FOR EACH STATEMENT EXECUTE FUNCTION private.lose_truncated();

ALTER TABLE public.broadcast_jobs ENABLE ALWAYS TRIGGER lose_truncated;

CREATE TRIGGER lose_truncated BEFORE TRUNCATE ON public.broadcast_messages FOR EACH STATEMENT EXECUTE FUNCTION private.lose_truncated();

ALTER TABLE public.broadcast_messages ENABLE ALWAYS TRIGGER lose_truncated;

CREATE TRIGGER lose_truncated BEFORE TRUNCATE ON public.connections FOR EACH STATEMENT EXECUTE FUNCTION private.lose_truncated();

CREATE TRIGGER lose_truncated BEFORE TRUNCATE ON public.scheduled_messages FOR EACH STATEMENT EXECUTE FUNCTION private.lose_truncated();

ALTER TABLE public.scheduled_messages ENABLE ALWAYS TRIGGER lose_truncated;

CREATE TRIGGER name_run_state BEFORE UPDATE ON public.campaign_runs FOR EACH ROW WHEN (((old.finished_at IS NOT NULL) AND (new.finished_at IS NOT NULL) AND (((((old.pending IS DISTINCT FROM new.pending) OR (old.sent IS DISTINCT FROM new.sent)) OR (old.failed IS DISTINCT FROM new.failed)) OR (old.unconfirmed IS DISTINCT FROM new.unconfirmed)) OR (old.cancelled IS DISTINCT FROM new.cancelled)))) EXECUTE FUNCTION private.name_run_state();

CREATE TRIGGER name_timezone BEFORE INSERT OR UPDATE ON public.appointments FOR EACH ROW WHEN ((new.timezone IS NOT NULL)) EXECUTE FUNCTION private.name_timezone();

CREATE TRIGGER name_timezone BEFORE INSERT OR UPDATE ON public.campaigns FOR EACH ROW WHEN ((new.timezone IS NOT NULL)) EXECUTE FUNCTION private.name_timezone();

CREATE TRIGGER name_timezone BEFORE INSERT OR UPDATE ON public.connection_settings FOR EACH ROW WHEN ((new.timezone IS NOT NULL)) EXECUTE FUNCTION private.name_timezone();

CREATE TRIGGER name_timezone BEFORE INSERT OR UPDATE ON public.scheduled_messages FOR EACH ROW WHEN (((new.status = 'pending'::text) AND new.is_recurring AND (new.timezone IS NOT NULL) AND (new.series_anchor IS NULL))) EXECUTE FUNCTION private.name_timezone();

CREATE TRIGGER note_inserted AFTER INSERT ON public.scheduled_messages FOR EACH ROW WHEN ((new.status = 'processing'::text)) EXECUTE FUNCTION private.note_row();

ALTER TABLE public.scheduled_messages ENABLE ALWAYS TRIGGER note_inserted;

CREATE TRIGGER note_updated AFTER UPDATE ON public.scheduled_messages FOR EACH ROW WHEN (((new.status = 'processing'::text) AND ((old.status IS DISTINCT FROM new.status) OR (old.broadcast_job_id IS DISTINCT FROM new.broadcast_job_id)) AND ((old.status <> 'pending'::text) OR (new.broadcast_job_id IS NULL)))) EXECUTE FUNCTION private.note_row();

ALTER TABLE public.scheduled_messages ENABLE ALWAYS TRIGGER note_updated;

CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION private.refuse_change_of_audit();

CREATE TRIGGER refuse_connection BEFORE UPDATE ON public.scheduled_messages FOR EACH ROW WHEN (((new.connection_id IS DISTINCT FROM old.connection_id) AND row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_strange_connection();

CREATE TRIGGER refuse_ids_to_come BEFORE INSERT OR UPDATE OF id ON public.contacts FOR EACH ROW WHEN ((row_security_active(('public.contacts'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_ids_to_come();

CREATE TRIGGER refuse_nonsense BEFORE INSERT OR UPDATE ON public.scheduled_messages FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_nonsense();

CREATE TRIGGER remember_owner_deleted AFTER DELETE ON public.connections FOR EACH ROW EXECUTE FUNCTION private.remember_owner();

CREATE TRIGGER remember_owner_inserted AFTER INSERT ON public.connections FOR EACH ROW WHEN ((NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text))))) EXECUTE FUNCTION private.remember_owner();

CREATE TRIGGER remember_owner_inserted_by_user AFTER INSERT ON public.connections FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.remember_owner('user');

CREATE TRIGGER remember_owner_updated AFTER UPDATE ON public.connections FOR EACH ROW WHEN ((((old.id IS DISTINCT FROM new.id) OR (old.user_id IS DISTINCT FROM new.user_id)) AND (NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))))) EXECUTE FUNCTION private.remember_owner();

CREATE TRIGGER remember_owner_updated_by_user AFTER UPDATE ON public.connections FOR EACH ROW WHEN ((((old.id IS DISTINCT FROM new.id) OR (old.user_id IS DISTINCT FROM new.user_id)) AND row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.remember_owner('user');

CREATE TRIGGER remind_of_booked AFTER INSERT ON public.appointments REFERENCING NEW TABLE AS new_appointments FOR EACH STATEMENT EXECUTE FUNCTION private.remind_of_booked();

CREATE TRIGGER remind_of_changed AFTER UPDATE ON public.appointments REFERENCING OLD TABLE AS old_appointments NEW TABLE AS new_appointments FOR EACH STATEMENT EXECUTE FUNCTION private.remind_of_changed();

CREATE TRIGGER render_after_contact AFTER UPDATE ON public.contacts FOR EACH ROW WHEN (((old.contact_name IS DISTINCT FROM new.contact_name) OR ((old.phone_number)::text IS DISTINCT FROM (new.phone_number)::text))) EXECUTE FUNCTION private.render_after_contact();

CREATE TRIGGER render_after_deletion AFTER DELETE ON public.message_templates FOR EACH ROW EXECUTE FUNCTION private.render_after_template();

CREATE TRIGGER render_after_template AFTER UPDATE ON public.message_templates FOR EACH ROW WHEN (((old.version IS DISTINCT FROM new.version) OR (old.connection_id IS DISTINCT FROM new.connection_id))) EXECUTE FUNCTION private.render_after_template();

CREATE TRIGGER retry_run BEFORE INSERT ON public.campaign_retries FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.retry_run('user');

CREATE TRIGGER retry_run_for_service BEFORE INSERT ON public.campaign_retries FOR EACH ROW WHEN ((NOT (row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text))))) EXECUTE FUNCTION private.retry_run();

CREATE TRIGGER settle_job_of_node_worker AFTER UPDATE OF status ON public.broadcast_jobs FOR EACH ROW WHEN (((pg_trigger_depth() = 0) AND (new.scheduled_message_id IS NOT NULL) AND (new.status IS DISTINCT FROM old.status) AND (NOT (new.lease_token IS DISTINCT FROM old.lease_token)) AND (NOT (new.lease_until IS DISTINCT FROM old.lease_until)) AND (new.status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])) AND (old.status <> ALL (ARRAY['queued'::text, 'completed'::text, 'failed'::text])))) EXECUTE FUNCTION private.settle_job_of_node_worker();

CREATE TRIGGER settle_scheduled_messages AFTER UPDATE ON public.broadcast_messages REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION private.settle_scheduled_messages();

CREATE TRIGGER tell_appointments AFTER UPDATE ON public.scheduled_messages REFERENCING OLD TABLE AS old_messages NEW TABLE AS new_messages FOR EACH STATEMENT EXECUTE FUNCTION private.tell_appointments();

CREATE TRIGGER tell_of_approval AFTER UPDATE ON public.connection_settings FOR EACH ROW WHEN ((new.approval IS DISTINCT FROM old.approval)) EXECUTE FUNCTION private.tell_of_approval();

CREATE TRIGGER tell_of_new_approval AFTER INSERT ON public.connection_settings FOR EACH ROW WHEN ((new.approval <> 'none'::text)) EXECUTE FUNCTION private.tell_of_approval();

CREATE TRIGGER withdraw_approval AFTER UPDATE ON public.message_templates FOR EACH ROW WHEN ((new.version IS DISTINCT FROM old.version)) EXECUTE FUNCTION private.withdraw_approval();

CREATE TRIGGER zz_follow_changed_connection AFTER UPDATE ON public.connections FOR EACH ROW WHEN (((old.id IS DISTINCT FROM new.id) OR (old.name IS DISTINCT FROM new.name) OR (old.user_id IS DISTINCT FROM new.user_id))) EXECUTE FUNCTION private.follow_connection();

CREATE TRIGGER zz_follow_connection AFTER INSERT OR DELETE ON public.connections FOR EACH ROW EXECUTE FUNCTION private.follow_connection();

CREATE TRIGGER zz_refuse_nonsense BEFORE INSERT OR UPDATE ON public.appointments FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_nonsense_in_appointments();

CREATE TRIGGER zz_refuse_nonsense BEFORE INSERT OR UPDATE ON public.campaigns FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_nonsense_in_campaigns();

CREATE TRIGGER zz_refuse_nonsense BEFORE INSERT OR UPDATE ON public.connection_invitations FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_nonsense_in_connection_invitations();

CREATE TRIGGER zz_refuse_nonsense BEFORE INSERT OR UPDATE ON public.connection_members FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_nonsense_in_connection_members();

CREATE TRIGGER zz_refuse_nonsense BEFORE INSERT OR UPDATE ON public.connection_settings FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_nonsense_in_connection_settings();

CREATE TRIGGER zz_refuse_nonsense BEFORE INSERT OR UPDATE ON public.message_templates FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_nonsense_in_message_templates();

CREATE TRIGGER zz_refuse_nonsense BEFORE INSERT OR UPDATE ON public.reminder_rules FOR EACH ROW WHEN ((row_security_active(('private.connection_owners'::regclass)::oid) AND (NOT pg_has_role('service_role'::name, 'usage'::text)))) EXECUTE FUNCTION private.refuse_nonsense_in_reminder_rules();

CREATE TRIGGER zz_set_due_at BEFORE INSERT OR UPDATE ON public.scheduled_messages FOR EACH ROW WHEN ((new.due_at IS DISTINCT FROM
        CASE
            WHEN ((new.status = 'pending'::text) AND (new.held IS NULL)) THEN new.scheduled_at
            ELSE NULL::timestamp with time zone
        END)) EXECUTE FUNCTION private.set_due_at();

ALTER TABLE public.scheduled_messages ENABLE ALWAYS TRIGGER zz_set_due_at;

ALTER TABLE ONLY private.approved_templates
    ADD CONSTRAINT approved_templates_account_id_fkey FOREIGN KEY (account_id) REFERENCES private.template_accounts(account_id) ON DELETE CASCADE;

ALTER TABLE ONLY private.template_versions
    ADD CONSTRAINT template_versions_template_id_fkey FOREIGN KEY (template_id) REFERENCES public.message_templates(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.campaign_recipients
    ADD CONSTRAINT campaign_recipients_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.campaign_runs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.campaign_rehearsals
    ADD CONSTRAINT campaign_rehearsals_campaign_id_fkey FOREIGN KEY (campaign_id) REFERENCES public.campaigns(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.campaign_retries
    ADD CONSTRAINT campaign_retries_run_id_owner_id_fkey FOREIGN KEY (run_id, owner_id) REFERENCES public.campaign_runs(id, owner_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.campaign_runs
    ADD CONSTRAINT campaign_runs_campaign_id_owner_id_fkey FOREIGN KEY (campaign_id, owner_id) REFERENCES public.campaigns(id, owner_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.campaigns
    ADD CONSTRAINT campaigns_template_id_owner_id_fkey FOREIGN KEY (template_id, owner_id) REFERENCES public.message_templates(id, owner_id);

COMMENT ON CONSTRAINT campaigns_template_id_owner_id_fkey ON public.campaigns IS 'There is no such template of yours.';

ALTER TABLE ONLY public.connection_members
    ADD CONSTRAINT connection_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES auth.users(id) ON DELETE CASCADE;

COMMENT ON CONSTRAINT connection_members_user_id_fkey ON public.connection_members IS 'There is no such user.';

ALTER TABLE ONLY public.connection_settings
    ADD CONSTRAINT connection_settings_gateway_fkey FOREIGN KEY (gateway) REFERENCES private.gateways(name);

COMMENT ON CONSTRAINT connection_settings_gateway_fkey ON public.connection_settings IS 'There is no such gateway.';

ALTER TABLE ONLY public.reminder_rules
    ADD CONSTRAINT reminder_rules_template_id_owner_id_fkey FOREIGN KEY (template_id, owner_id) REFERENCES public.message_templates(id, owner_id);

COMMENT ON CONSTRAINT reminder_rules_template_id_owner_id_fkey ON public.reminder_rules IS 'There is no such template of yours.';

ALTER TABLE ONLY public.scheduled_messages
    ADD CONSTRAINT scheduled_messages_created_by_fkey FOREIGN KEY (created_by) REFERENCES auth.users(id) ON DELETE SET NULL;

ALTER TABLE private.approved_templates ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.connection_owners ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.connection_state ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.date_words ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.ended_rehearsals ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.erasures ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.gateways ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.judged_numbers ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.limits ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.numbers_asked ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.owner_load ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.recipient_state ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.refused_rows ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.rehearsal_turns ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.rule_numbers ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.run_tallies ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.template_accounts ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.template_versions ENABLE ROW LEVEL SECURITY;

ALTER TABLE private.timezones ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.appointments ENABLE ROW LEVEL SECURITY;

CREATE POLICY appointments_policy ON public.appointments TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

ALTER TABLE public.audit_log ENABLE ROW LEVEL SECURITY;

CREATE POLICY audit_log_policy ON public.audit_log FOR SELECT TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

ALTER TABLE public.broadcast_jobs ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.broadcast_messages ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.campaign_recipients ENABLE ROW LEVEL SECURITY;

CREATE POLICY campaign_recipients_policy ON public.campaign_recipients FOR SELECT TO authenticated USING ((EXISTS ( SELECT 1
   FROM public.campaign_runs run
  WHERE (run.id = campaign_recipients.run_id))));

ALTER TABLE public.campaign_rehearsal_lines ENABLE ROW LEVEL SECURITY;

CREATE POLICY campaign_rehearsal_lines_policy ON public.campaign_rehearsal_lines FOR SELECT TO authenticated USING ((EXISTS ( SELECT 1
   FROM public.campaign_rehearsals rehearsal
  WHERE (rehearsal.lines_id = campaign_rehearsal_lines.lines_id))));

ALTER TABLE public.campaign_rehearsals ENABLE ROW LEVEL SECURITY;

CREATE POLICY campaign_rehearsals_policy ON public.campaign_rehearsals TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

ALTER TABLE public.campaign_retries ENABLE ROW LEVEL SECURITY;

CREATE POLICY campaign_retries_policy ON public.campaign_retries TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

ALTER TABLE public.campaign_runs ENABLE ROW LEVEL SECURITY;

CREATE POLICY campaign_runs_policy ON public.campaign_runs FOR SELECT TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

ALTER TABLE public.campaigns ENABLE ROW LEVEL SECURITY;

CREATE POLICY campaigns_policy ON public.campaigns TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

ALTER TABLE public.connection_invitations ENABLE ROW LEVEL SECURITY;

CREATE POLICY connection_invitations_policy ON public.connection_invitations TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

ALTER TABLE public.connection_members ENABLE ROW LEVEL SECURITY;

CREATE POLICY connection_members_policy ON public.connection_members TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR (user_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

ALTER TABLE public.connection_settings ENABLE ROW LEVEL SECURITY;

CREATE POLICY connection_settings_insert_policy ON public.connection_settings FOR INSERT TO authenticated WITH CHECK ((EXISTS ( SELECT 1
   FROM public.connections connection
  WHERE (connection.id = connection_settings.connection_id))));

CREATE POLICY connection_settings_member_policy ON public.connection_settings FOR SELECT TO authenticated USING ((connection_id IN ( SELECT mine.connection_id
   FROM private.my_connections() mine(connection_id, owner_id))));

CREATE POLICY connection_settings_select_policy ON public.connection_settings FOR SELECT TO authenticated USING ((EXISTS ( SELECT 1
   FROM public.connections c
  WHERE (c.id = connection_settings.connection_id))));

CREATE POLICY connection_settings_update_policy ON public.connection_settings FOR UPDATE TO authenticated USING ((EXISTS ( SELECT 1
   FROM public.connections connection
  WHERE (connection.id = connection_settings.connection_id))));

ALTER TABLE public.connections ENABLE ROW LEVEL SECURITY;

CREATE POLICY connections_member_policy ON public.connections FOR SELECT TO authenticated USING ((id = ANY (ARRAY( SELECT mine.connection_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

CREATE POLICY connections_owner_policy ON public.connections TO authenticated USING ((user_id = (( SELECT auth.uid() AS uid))::text)) WITH CHECK ((user_id = (( SELECT auth.uid() AS uid))::text));

ALTER TABLE public.contacts ENABLE ROW LEVEL SECURITY;

CREATE POLICY contacts_member_policy ON public.contacts FOR SELECT TO authenticated USING (((owner_id)::text = ANY (ARRAY( SELECT (mine.owner_id)::text AS owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

CREATE POLICY contacts_owner_policy ON public.contacts TO authenticated USING ((owner_id = ( SELECT auth.uid() AS uid))) WITH CHECK ((owner_id = ( SELECT auth.uid() AS uid)));

ALTER TABLE public.message_templates ENABLE ROW LEVEL SECURITY;

CREATE POLICY message_templates_policy ON public.message_templates TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id))) OR ((connection_id IS NULL) AND (owner_id IN ( SELECT mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id))))));

ALTER TABLE public.reminder_rules ENABLE ROW LEVEL SECURITY;

CREATE POLICY reminder_rules_policy ON public.reminder_rules TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

ALTER TABLE public.scheduled_messages ENABLE ROW LEVEL SECURITY;

CREATE POLICY scheduled_messages_delete_policy ON public.scheduled_messages FOR DELETE TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR (created_by = ( SELECT auth.uid() AS uid))));

CREATE POLICY scheduled_messages_insert_policy ON public.scheduled_messages FOR INSERT TO authenticated WITH CHECK (((owner_id = ( SELECT auth.uid() AS uid)) AND (created_by = ( SELECT auth.uid() AS uid)) AND (EXISTS ( SELECT 1
   FROM public.connections c
  WHERE (c.id = scheduled_messages.connection_id)))));

CREATE POLICY scheduled_messages_member_policy ON public.scheduled_messages TO authenticated USING (((connection_id = ANY (ARRAY( SELECT mine.connection_id
   FROM private.my_connections() mine(connection_id, owner_id)))) AND ((connection_id, owner_id) IN ( SELECT mine.connection_id,
    mine.owner_id
   FROM private.my_connections() mine(connection_id, owner_id)))));

CREATE POLICY scheduled_messages_select_policy ON public.scheduled_messages FOR SELECT TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR (created_by = ( SELECT auth.uid() AS uid))));

CREATE POLICY scheduled_messages_update_policy ON public.scheduled_messages FOR UPDATE TO authenticated USING (((owner_id = ( SELECT auth.uid() AS uid)) OR (created_by = ( SELECT auth.uid() AS uid)))) WITH CHECK ((((owner_id = ( SELECT auth.uid() AS uid)) OR (created_by = ( SELECT auth.uid() AS uid))) AND ((status <> ALL (ARRAY['pending'::text, 'processing'::text, 'in_queue'::text])) OR (EXISTS ( SELECT 1
   FROM public.connections c
  WHERE (c.id = scheduled_messages.connection_id))))));

GRANT USAGE ON SCHEMA private TO service_role;

GRANT USAGE ON SCHEMA public TO anon;
GRANT USAGE ON SCHEMA public TO authenticated;
GRANT USAGE ON SCHEMA public TO service_role;

REVOKE ALL ON FUNCTION private.add_next(p_rows uuid[], p_next_ids uuid[], p_next_after timestamp with time zone[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.add_next(p_rows uuid[], p_next_ids uuid[], p_next_after timestamp with time zone[]) TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.campaigns TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.campaigns TO service_role;

REVOKE ALL ON FUNCTION private.ahead_of(p_campaign public.campaigns, p_until timestamp with time zone, p_number bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION private.ahead_of(p_campaign public.campaigns, p_until timestamp with time zone, p_number bigint) TO service_role;

REVOKE ALL ON FUNCTION private.announce_connection() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.announce_now(p_connections text[], p_at timestamp with time zone[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.announce_now(p_connections text[], p_at timestamp with time zone[]) TO service_role;

REVOKE ALL ON FUNCTION private.announce_work(p_connections text[], p_at timestamp with time zone[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.announce_work(p_connections text[], p_at timestamp with time zone[]) TO service_role;

REVOKE ALL ON FUNCTION private.answer_appointments() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.answer_parts(p_answers jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.answer_parts(p_answers jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.api_key_of(p_connection text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.api_key_of(p_connection text) TO service_role;

REVOKE ALL ON FUNCTION private.approved_for(p_connection_ids text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.approved_for(p_connection_ids text[]) TO authenticated;
GRANT ALL ON FUNCTION private.approved_for(p_connection_ids text[]) TO service_role;

REVOKE ALL ON FUNCTION private.approved_value(p_name text, p_values jsonb, p_is_named boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION private.approved_value(p_name text, p_values jsonb, p_is_named boolean) TO service_role;

REVOKE ALL ON FUNCTION private.as_recipients(p_campaign public.campaigns, p_version integer, p_places bigint[], p_contacts text[], p_numbers text[], p_rules_version text, p_gateway text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.as_recipients(p_campaign public.campaigns, p_version integer, p_places bigint[], p_contacts text[], p_numbers text[], p_rules_version text, p_gateway text) TO service_role;

REVOKE ALL ON FUNCTION private.attachment_of(p_campaign public.campaigns) FROM PUBLIC;
GRANT ALL ON FUNCTION private.attachment_of(p_campaign public.campaigns) TO service_role;

REVOKE ALL ON FUNCTION private.audit_booked() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.audit_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.audit_deleted() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.audit_outcomes() FROM PUBLIC;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.appointments TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.appointments TO service_role;

REVOKE ALL ON FUNCTION private.audited(p_appointments public.appointments[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.author_of(p_connection_id text, p_owner_id uuid, p_created_by uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION private.author_of(p_connection_id text, p_owner_id uuid, p_created_by uuid) TO service_role;

GRANT SELECT ON TABLE public.campaign_runs TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.campaign_runs TO service_role;

REVOKE ALL ON FUNCTION private.begin_again(p_run public.campaign_runs, p_campaign public.campaigns, p_statuses text[], OUT retried integer, OUT left_out jsonb) FROM PUBLIC;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.campaign_rehearsals TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.campaign_rehearsals TO service_role;

REVOKE ALL ON FUNCTION private.begun_rehearsal(p_campaign public.campaigns) FROM PUBLIC;
GRANT ALL ON FUNCTION private.begun_rehearsal(p_campaign public.campaigns) TO service_role;

REVOKE ALL ON FUNCTION private.calendar(p_zone text, p_start time without time zone, p_end time without time zone, p_now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION private.calendar(p_zone text, p_start time without time zone, p_end time without time zone, p_now timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION private.campaign_content(p_campaign public.campaigns, p_version integer) FROM PUBLIC;
GRANT ALL ON FUNCTION private.campaign_content(p_campaign public.campaigns, p_version integer) TO service_role;

REVOKE ALL ON FUNCTION private.campaign_zone(p_campaign public.campaigns) FROM PUBLIC;
GRANT ALL ON FUNCTION private.campaign_zone(p_campaign public.campaigns) TO service_role;

REVOKE ALL ON FUNCTION private.cancel_campaigns(p_connection_id text, p_owner_id text, p_why text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.cancel_campaigns_of_connection() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.cancel_messages(p_connection_id text, p_user_id text, p_reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.cancel_messages_of_connection() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.cancel_messages_of_user() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.cancel_runs(p_campaign_id uuid, p_why text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.choose_connection(p_named text, p_usable text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.choose_connection(p_named text, p_usable text[]) TO authenticated;
GRANT ALL ON FUNCTION private.choose_connection(p_named text, p_usable text[]) TO service_role;

REVOKE ALL ON FUNCTION private.choose_jobs(p_turn text[], p_seats integer, p_terms private.claim_terms) FROM PUBLIC;
GRANT ALL ON FUNCTION private.choose_jobs(p_turn text[], p_seats integer, p_terms private.claim_terms) TO service_role;

REVOKE ALL ON FUNCTION private.claimed_jobs(p_token uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION private.claimed_jobs(p_token uuid) TO service_role;

REVOKE ALL ON FUNCTION private.close_job_of_node_worker() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.columns_that_travel() FROM PUBLIC;
GRANT ALL ON FUNCTION private.columns_that_travel() TO service_role;

REVOKE ALL ON FUNCTION private.complete_old_row() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.confirm_connection() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.connection_owner(p_connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.connection_owner(p_connection_id text) TO service_role;

REVOKE ALL ON FUNCTION private.contact_fields(p_names text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.contact_fields(p_names text[]) TO service_role;

REVOKE ALL ON FUNCTION private.contact_key(p_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.contact_key(p_id text) TO service_role;

REVOKE ALL ON FUNCTION private.count_audience(p_campaign public.campaigns, p_enough integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.count_outcomes() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.count_pending(p_owner uuid, p_minute timestamp with time zone, p_enough integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.counted_as(p_status text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.counted_as(p_status text) TO service_role;

REVOKE ALL ON FUNCTION private.placeholder(p_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.placeholder(p_name text) TO authenticated;
GRANT ALL ON FUNCTION private.placeholder(p_name text) TO service_role;

REVOKE ALL ON FUNCTION private.cut(p_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.cut(p_text text) TO authenticated;
GRANT ALL ON FUNCTION private.cut(p_text text) TO service_role;

GRANT SELECT,INSERT,UPDATE ON TABLE public.connection_settings TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.connection_settings TO service_role;

REVOKE ALL ON FUNCTION private.daily_limit(p_settings public.connection_settings, p_day date) FROM PUBLIC;
GRANT ALL ON FUNCTION private.daily_limit(p_settings public.connection_settings, p_day date) TO service_role;

REVOKE ALL ON FUNCTION private.deliver_parts(p_rows private.delivery[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.deliver_parts(p_rows private.delivery[]) TO service_role;

REVOKE ALL ON FUNCTION private.deliver_rows(p_rows private.delivery[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.deliver_rows(p_rows private.delivery[]) TO service_role;

REVOKE ALL ON FUNCTION private.earliest_next(p_pattern text, p_start timestamp with time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.end_invitations_of_member() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.end_memberships() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.end_rehearsal_lines() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.end_reminders(p_appointments uuid[], p_numbers integer[], p_reason text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.end_reminders_of_deleted() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.end_rights_of_user() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.end_what_members_wrote() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.enqueue_or_put_aside(p_planned private.planned_row[], OUT done jsonb, OUT refused jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.enqueue_or_put_aside(p_planned private.planned_row[], OUT done jsonb, OUT refused jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.enqueue_rows(p_rows private.planned_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.enqueue_rows(p_rows private.planned_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.erase_deleted() FROM PUBLIC;
GRANT ALL ON FUNCTION private.erase_deleted() TO service_role;

REVOKE ALL ON FUNCTION private.erase_jobs(p_job_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.erase_jobs(p_job_ids uuid[]) TO service_role;

REVOKE ALL ON FUNCTION private.erase_rows(p_job_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.erase_rows(p_job_ids uuid[]) TO service_role;

REVOKE ALL ON FUNCTION private.estimate_of(p_campaign_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION private.estimate_of(p_campaign_id uuid) TO authenticated;
GRANT ALL ON FUNCTION private.estimate_of(p_campaign_id uuid) TO service_role;

REVOKE ALL ON FUNCTION private.expect_status(p_ids uuid[], p_status text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.expect_status(p_ids uuid[], p_status text) TO service_role;

REVOKE ALL ON FUNCTION private.expire_rows(p_rows private.late_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.expire_rows(p_rows private.late_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.explain_fault(p_state text, p_words text, p_table text, p_column text, p_constraint text, p_context text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.explain_fault(p_state text, p_words text, p_table text, p_column text, p_constraint text, p_context text) TO service_role;

REVOKE ALL ON FUNCTION private.fail_beyond_limit(p_turn text[], p_now timestamp with time zone, p_gateway text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.fail_beyond_limit(p_turn text[], p_now timestamp with time zone, p_gateway text) TO service_role;

REVOKE ALL ON FUNCTION private.fail_rows(p_rows private.beyond_limit_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.fail_rows(p_rows private.beyond_limit_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.fate(p_parts jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.fate(p_parts jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.fill_approved(p_cloud jsonb, p_values jsonb, p_media_url text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.fill_approved(p_cloud jsonb, p_values jsonb, p_media_url text) TO service_role;

REVOKE ALL ON FUNCTION private.find_dependents(p_table regclass, p_column text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.find_dependents(p_table regclass, p_column text) TO service_role;

REVOKE ALL ON FUNCTION private.find_hindering_rules() FROM PUBLIC;
GRANT ALL ON FUNCTION private.find_hindering_rules() TO service_role;

REVOKE ALL ON FUNCTION private.find_misfits() FROM PUBLIC;
GRANT ALL ON FUNCTION private.find_misfits() TO service_role;

REVOKE ALL ON FUNCTION private.find_namesakes() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.find_strays() FROM PUBLIC;
GRANT ALL ON FUNCTION private.find_strays() TO service_role;

REVOKE ALL ON FUNCTION private.find_unfit_columns() FROM PUBLIC;
GRANT ALL ON FUNCTION private.find_unfit_columns() TO service_role;

REVOKE ALL ON FUNCTION private.find_unfit_tables() FROM PUBLIC;
GRANT ALL ON FUNCTION private.find_unfit_tables() TO service_role;

REVOKE ALL ON FUNCTION private.find_unfit_ways() FROM PUBLIC;
GRANT ALL ON FUNCTION private.find_unfit_ways() TO service_role;

REVOKE ALL ON FUNCTION private.find_untended() FROM PUBLIC;
GRANT ALL ON FUNCTION private.find_untended() TO service_role;

REVOKE ALL ON FUNCTION private.finish_rows(p_rows private.probed_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.finish_rows(p_rows private.probed_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.fold_connection_id() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.fold_tallies(p_runs uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.fold_tallies(p_runs uuid[]) TO service_role;

REVOKE ALL ON FUNCTION private.follow_connection() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.follow_contact() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.follow_rule() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.follow_settings() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.follow_template() FROM PUBLIC;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.scheduled_messages TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.scheduled_messages TO service_role;

REVOKE ALL ON FUNCTION private.foreign_changes(p_old public.scheduled_messages, p_new public.scheduled_messages) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.forget_refusals() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.forget_refused() FROM PUBLIC;
GRANT ALL ON FUNCTION private.forget_refused() TO service_role;

REVOKE ALL ON FUNCTION private.forget_rehearsals(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION private.forget_rehearsals(p_limit integer) TO service_role;

REVOKE ALL ON FUNCTION private.get_holders() FROM PUBLIC;
GRANT ALL ON FUNCTION private.get_holders() TO service_role;

REVOKE ALL ON FUNCTION private.goes_by_cloud(p_connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.goes_by_cloud(p_connection_id text) TO service_role;

REVOKE ALL ON FUNCTION private.guard_appointment() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_broadcasts() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_campaign() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_campaign_deletion() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_delete() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_insert() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_invitation() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_job_of_node_worker() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_member() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_rehearsal() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_rule() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_settings() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_template() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.guard_update() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.hands_over(p_gateway text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.hands_over(p_gateway text) TO service_role;

REVOKE ALL ON FUNCTION private.has_ended_runs() FROM PUBLIC;
GRANT ALL ON FUNCTION private.has_ended_runs() TO service_role;

REVOKE ALL ON FUNCTION private.have_turn(p_turn text[], p_seats integer, p_terms private.claim_terms) FROM PUBLIC;
GRANT ALL ON FUNCTION private.have_turn(p_turn text[], p_seats integer, p_terms private.claim_terms) TO service_role;

REVOKE ALL ON FUNCTION private.have_turn_slowly(p_connection text, p_seats integer, p_terms private.claim_terms) FROM PUBLIC;
GRANT ALL ON FUNCTION private.have_turn_slowly(p_connection text, p_seats integer, p_terms private.claim_terms) TO service_role;

REVOKE ALL ON FUNCTION private.have_turns(p_turn text[], p_seats integer, p_terms private.claim_terms) FROM PUBLIC;
GRANT ALL ON FUNCTION private.have_turns(p_turn text[], p_seats integer, p_terms private.claim_terms) TO service_role;

REVOKE ALL ON FUNCTION private.hear_node_worker(p_job_id uuid, p_meaning text, p_words text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.hold_again() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.hold_campaign_to_its_owner(p_old public.campaigns, p_new public.campaigns) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.hold_limits() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.hold_right() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.hold_right_of(p_user_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.hold_runs(p_campaign_id uuid, p_why text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.hold_unapproved() FROM PUBLIC;
GRANT ALL ON FUNCTION private.hold_unapproved() TO service_role;

REVOKE ALL ON FUNCTION private.is_blank(p_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.is_blank(p_text text) TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.message_templates TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.message_templates TO service_role;

REVOKE ALL ON FUNCTION private.is_contact_of(p_owner text, p_message public.scheduled_messages, p_template public.message_templates) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.is_let_go(p_campaign public.campaigns) FROM PUBLIC;
GRANT ALL ON FUNCTION private.is_let_go(p_campaign public.campaigns) TO service_role;

REVOKE ALL ON FUNCTION private.is_ours(p_table text, p_column text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.is_ours(p_table text, p_column text) TO service_role;

REVOKE ALL ON FUNCTION private.is_same_content(p_old public.campaigns, p_new public.campaigns) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.is_same_message(p_old public.scheduled_messages, p_new public.scheduled_messages) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.is_same_time(p_old public.campaigns, p_new public.campaigns) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.is_session_of_another(p_connection_id text, p_gateway text, p_default text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.is_session_of_another(p_connection_id text, p_gateway text, p_default text) TO service_role;

REVOKE ALL ON FUNCTION private.is_suspended(p_user jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.is_the_rows_fault(p_code text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.is_the_rows_fault(p_code text) TO service_role;

REVOKE ALL ON FUNCTION private.is_yes(p_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.is_yes(p_text text) TO service_role;

REVOKE ALL ON FUNCTION private.keep_out_of_queue() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.keep_template_version() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.kind_of(p_kind text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.kind_of(p_kind text) TO service_role;

REVOKE ALL ON FUNCTION private.latest_until(p_pattern text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.limit_of(p_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.look_at_series() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.lose_deleted_job() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.lose_deleted_message() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.lose_job(p_row_id uuid, p_job_id uuid, p_status text, p_how text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.lose_marked_job() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.lose_marked_message() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.lose_truncated() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.make_tries(p_run public.campaign_runs, p_not_after timestamp with time zone, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION private.make_tries(p_run public.campaign_runs, p_not_after timestamp with time zone, p_limit integer) TO service_role;

REVOKE ALL ON FUNCTION private.make_up(p_table regclass, p_given jsonb, p_depth integer) FROM PUBLIC;
GRANT ALL ON FUNCTION private.make_up(p_table regclass, p_given jsonb, p_depth integer) TO service_role;

REVOKE ALL ON FUNCTION private.mark_as_ours(p_table text, p_columns text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.mark_tries(p_run public.campaign_runs, p_statuses text[], OUT retried integer, OUT left_out jsonb) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.may_have_gone_out(p_job_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.meaning_of(p_words text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.my_connections() FROM PUBLIC;
GRANT ALL ON FUNCTION private.my_connections() TO authenticated;
GRANT ALL ON FUNCTION private.my_connections() TO service_role;

REVOKE ALL ON FUNCTION private.name_run_state() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.name_timezone() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.names_in(p_parts text[], p_values jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.names_in(p_parts text[], p_values jsonb) TO authenticated;
GRANT ALL ON FUNCTION private.names_in(p_parts text[], p_values jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.names_of_approved(p_cloud jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.names_of_approved(p_cloud jsonb) TO authenticated;
GRANT ALL ON FUNCTION private.names_of_approved(p_cloud jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.nearest_timezones(p_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.next_expiry() FROM PUBLIC;
GRANT ALL ON FUNCTION private.next_expiry() TO service_role;

REVOKE ALL ON FUNCTION private.next_of_audience(p_campaign public.campaigns, p_key text, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION private.next_of_audience(p_campaign public.campaigns, p_key text, p_limit integer) TO service_role;

REVOKE ALL ON FUNCTION private.next_probe(p_but text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.next_probe(p_but text[]) TO service_role;

REVOKE ALL ON FUNCTION private.next_recipients(p_campaign public.campaigns, p_version integer, p_occurrence_at timestamp with time zone, p_key text, p_limit integer, p_rules_version text, p_gateway text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.next_recipients(p_campaign public.campaigns, p_version integer, p_occurrence_at timestamp with time zone, p_key text, p_limit integer, p_rules_version text, p_gateway text) TO service_role;

REVOKE ALL ON FUNCTION private.note_or_leave(p_done jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.note_or_leave(p_done jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.note_outcomes(p_rows private.noted_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.note_outcomes(p_rows private.noted_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.note_recipients(p_rows private.noted_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.note_recipients(p_rows private.noted_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.note_row() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.note_untended() FROM PUBLIC;
GRANT ALL ON FUNCTION private.note_untended() TO service_role;

REVOKE ALL ON FUNCTION private.note_who_did_not(p_rows private.noted_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.note_who_did_not(p_rows private.noted_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.note_who_got_through(p_rows private.noted_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.note_who_got_through(p_rows private.noted_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.open_appointments(p_connection_id text, p_owner uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.our_columns() FROM PUBLIC;
GRANT ALL ON FUNCTION private.our_columns() TO service_role;

REVOKE ALL ON FUNCTION private.owner_by_id(p_connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.owner_by_id(p_connection_id text) TO service_role;
GRANT ALL ON FUNCTION private.owner_by_id(p_connection_id text) TO authenticated;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.connections TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.connections TO service_role;

REVOKE ALL ON FUNCTION private.owner_of(c public.connections) FROM PUBLIC;
GRANT ALL ON FUNCTION private.owner_of(c public.connections) TO service_role;

REVOKE ALL ON FUNCTION private.owner_to_write_for(p_connection_id text, p_roles text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.pace(p_connections text[], p_now timestamp with time zone, p_gateway text, p_call_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION private.pace(p_connections text[], p_now timestamp with time zone, p_gateway text, p_call_seconds double precision) TO service_role;

REVOKE ALL ON FUNCTION private.people(p_contacts text[], p_names text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.people(p_contacts text[], p_names text[]) TO service_role;

REVOKE ALL ON FUNCTION private.probe_delay(p_failed integer) FROM PUBLIC;
GRANT ALL ON FUNCTION private.probe_delay(p_failed integer) TO service_role;

REVOKE ALL ON FUNCTION private.put_aside(p_step text, p_ids uuid[], p_codes text[], p_reasons text[], p_outcomes jsonb[], p_connections text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.put_aside(p_step text, p_ids uuid[], p_codes text[], p_reasons text[], p_outcomes jsonb[], p_connections text[]) TO service_role;

REVOKE ALL ON FUNCTION private.read_time(p_text text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.read_time(p_text text) TO authenticated;
GRANT ALL ON FUNCTION private.read_time(p_text text) TO service_role;

REVOKE ALL ON FUNCTION private.ready_of_others(p_payers text[], p_busy text[], p_until timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION private.ready_of_others(p_payers text[], p_busy text[], p_until timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION private.record_or_put_aside(p_rows private.told_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.record_or_put_aside(p_rows private.told_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.record_rows(p_rows private.told_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.record_rows(p_rows private.told_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.refuse(p_code text, p_words text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.refuse(p_code text, p_words text) TO authenticated;
GRANT ALL ON FUNCTION private.refuse(p_code text, p_words text) TO service_role;

REVOKE ALL ON FUNCTION private.refuse_change_of_audit() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_former_owner(p_connection_id text, p_owner_id uuid, p_roles text[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_ids_to_come() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_nonsense() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_nonsense_in_appointments() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_nonsense_in_campaigns() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_nonsense_in_connection_invitations() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_nonsense_in_connection_members() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_nonsense_in_connection_settings() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_nonsense_in_message_templates() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_nonsense_in_reminder_rules() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_strange_connection() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.refuse_transition(p_old text, p_new text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.rehearse() FROM PUBLIC;
GRANT ALL ON FUNCTION private.rehearse() TO service_role;

REVOKE ALL ON FUNCTION private.rehearse_portion(p_rehearsal public.campaign_rehearsals, p_campaign public.campaigns, p_limit integer, p_rules_version text, p_gateway text, p_fault text, OUT rehearsal public.campaign_rehearsals, OUT worked integer, OUT to_judge text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.rehearse_portion(p_rehearsal public.campaign_rehearsals, p_campaign public.campaigns, p_limit integer, p_rules_version text, p_gateway text, p_fault text, OUT rehearsal public.campaign_rehearsals, OUT worked integer, OUT to_judge text[]) TO service_role;

REVOKE ALL ON FUNCTION private.rehearse_sending() FROM PUBLIC;
GRANT ALL ON FUNCTION private.rehearse_sending() TO service_role;

REVOKE ALL ON FUNCTION private.rehearse_writing() FROM PUBLIC;
GRANT ALL ON FUNCTION private.rehearse_writing() TO service_role;

REVOKE ALL ON FUNCTION private.release_runs(p_campaign_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.remember_owner() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.remind_of_booked() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.remind_of_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.render(p_parts text[], p_values jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.render(p_parts text[], p_values jsonb) TO authenticated;
GRANT ALL ON FUNCTION private.render(p_parts text[], p_values jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.render_after_contact() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.render_after_template() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.render_again(p_messages uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.render_message() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.render_with(p_message public.scheduled_messages, p_template public.message_templates, p_given jsonb, OUT rendered public.scheduled_messages, OUT fault text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.rendered_anew(p_messages uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.require_timezone(p_name text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.rescue_rows(p_rows private.late_row[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.rescue_rows(p_rows private.late_row[]) TO service_role;

REVOKE ALL ON FUNCTION private.resolve_rows(p_ids uuid[], p_outcome text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.resolve_rows(p_ids uuid[], p_outcome text) TO service_role;

REVOKE ALL ON FUNCTION private.retry_refused() FROM PUBLIC;
GRANT ALL ON FUNCTION private.retry_refused() TO service_role;

REVOKE ALL ON FUNCTION private.retry_run() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.rows_of_others(p_payers text[], p_after timestamp with time zone, p_until timestamp with time zone, p_share integer, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION private.rows_of_others(p_payers text[], p_after timestamp with time zone, p_until timestamp with time zone, p_share integer, p_limit integer) TO service_role;

REVOKE ALL ON FUNCTION private.run_state(p_run public.campaign_runs) FROM PUBLIC;
GRANT ALL ON FUNCTION private.run_state(p_run public.campaign_runs) TO service_role;

REVOKE ALL ON FUNCTION private.run_window(p_connection_id text, p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION private.run_window(p_connection_id text, p_most integer) TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.broadcast_jobs TO service_role;

REVOKE ALL ON FUNCTION private.send_again(p_job public.broadcast_jobs, p_meaning text, p_words text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.sent_until(p_connection_id text, p_from timestamp with time zone, p_step double precision, p_number bigint, p_until timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION private.sent_until(p_connection_id text, p_from timestamp with time zone, p_step double precision, p_number bigint, p_until timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION private.set_due_at() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.set_next_look(p_waiting private.waiting_connection[], p_now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION private.set_next_look(p_waiting private.waiting_connection[], p_now timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION private.settle(p_rows private.told_message[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.settle(p_rows private.told_message[]) TO service_role;

REVOKE ALL ON FUNCTION private.settle_again(p_rows private.told_message[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.settle_again(p_rows private.told_message[]) TO service_role;

REVOKE ALL ON FUNCTION private.settle_by_parts(p_job_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.settle_by_parts(p_job_ids uuid[]) TO service_role;

REVOKE ALL ON FUNCTION private.settle_job_of_node_worker() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.settle_or_put_aside(p_rows private.told_message[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.settle_or_put_aside(p_rows private.told_message[]) TO service_role;

REVOKE ALL ON FUNCTION private.settle_rows(p_rows private.told_message[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.settle_rows(p_rows private.told_message[]) TO service_role;

REVOKE ALL ON FUNCTION private.settle_scheduled_messages() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.share_turns(p_turn text[], p_payers text[], p_busy text[], p_until timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION private.share_turns(p_turn text[], p_payers text[], p_busy text[], p_until timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION private.shorter(p_one text, p_other text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.shorter(p_one text, p_other text) TO service_role;

REVOKE ALL ON FUNCTION private.situation(p_connections text[], p_now timestamp with time zone, p_gateway text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.situation(p_connections text[], p_now timestamp with time zone, p_gateway text) TO service_role;

REVOKE ALL ON FUNCTION private.slowdown(p_seconds double precision, p_until timestamp with time zone, p_now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION private.slowdown(p_seconds double precision, p_until timestamp with time zone, p_now timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION private.spell_date(p_pattern text, p_months text[], p_date date) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.spell_time(p_pattern text, p_before_noon text, p_after_noon text, p_time time without time zone) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.step_of(p_connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.step_of(p_connection_id text) TO service_role;

REVOKE ALL ON FUNCTION private.stops_everybody(p_code text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.stops_everybody(p_code text) TO service_role;

REVOKE ALL ON FUNCTION private.supersede(p_rows uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.supersede(p_rows uuid[]) TO service_role;

REVOKE ALL ON FUNCTION private.sync_reminders(p_appointments uuid[], p_is_edit boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.tables_of_messages() FROM PUBLIC;
GRANT ALL ON FUNCTION private.tables_of_messages() TO service_role;

REVOKE ALL ON FUNCTION private.take_jobs(p_turn text[], p_seats integer, p_terms private.claim_terms) FROM PUBLIC;
GRANT ALL ON FUNCTION private.take_jobs(p_turn text[], p_seats integer, p_terms private.claim_terms) TO service_role;

REVOKE ALL ON FUNCTION private.take_right(p_user_id text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.take_run(p_run_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION private.take_run(p_run_id uuid) TO service_role;

REVOKE ALL ON FUNCTION private.take_turn(p_seats integer, p_busy text[], p_until timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION private.take_turn(p_seats integer, p_busy text[], p_until timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION private.tell(p_job_id uuid, p_status text, p_error text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.tell_appointments() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.tell_of_approval() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.tell_waiting(p_turn text[], p_terms private.claim_terms, p_quietly boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION private.tell_waiting(p_turn text[], p_terms private.claim_terms, p_quietly boolean) TO service_role;

REVOKE ALL ON FUNCTION private.tend_rows(p_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION private.tend_rows(p_ids uuid[]) TO service_role;

REVOKE ALL ON FUNCTION private.timezone_name(p_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.timezone_name(p_name text) TO service_role;

REVOKE ALL ON FUNCTION private.try_out() FROM PUBLIC;
GRANT ALL ON FUNCTION private.try_out() TO service_role;

REVOKE ALL ON FUNCTION private.try_out_jobs(p_row jsonb, p_connection jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.try_out_jobs(p_row jsonb, p_connection jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.try_reminders(p_appointments uuid[], p_is_edit boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.try_rows(p_function text, p_rows anyarray, p_raises boolean, OUT done jsonb, OUT refused jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.try_rows(p_function text, p_rows anyarray, p_raises boolean, OUT done jsonb, OUT refused jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.unmark_tries(p_runs uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.usable_connections() FROM PUBLIC;
GRANT ALL ON FUNCTION private.usable_connections() TO authenticated;
GRANT ALL ON FUNCTION private.usable_connections() TO service_role;

REVOKE ALL ON FUNCTION private.usable_template(p_message public.scheduled_messages, p_by_user boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.usage_of(p_connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.usage_of(p_connection_id text) TO authenticated;
GRANT ALL ON FUNCTION private.usage_of(p_connection_id text) TO service_role;

REVOKE ALL ON FUNCTION private.values_of(p_given jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.values_of(p_given jsonb) TO authenticated;
GRANT ALL ON FUNCTION private.values_of(p_given jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.wait_less(p_code text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.wait_less(p_code text) TO service_role;

REVOKE ALL ON FUNCTION private.waits_for_all(p_campaign public.campaigns) FROM PUBLIC;
GRANT ALL ON FUNCTION private.waits_for_all(p_campaign public.campaigns) TO service_role;

REVOKE ALL ON FUNCTION private.wall_in_zones(p_wall timestamp without time zone, p_zones text[], p_else text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.wall_in_zones(p_wall timestamp without time zone, p_zones text[], p_else text) TO service_role;

REVOKE ALL ON FUNCTION private.wall_to_instant(p_wall timestamp without time zone, p_zone text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.wall_to_instant(p_wall timestamp without time zone, p_zone text) TO service_role;
GRANT ALL ON FUNCTION private.wall_to_instant(p_wall timestamp without time zone, p_zone text) TO authenticated;

REVOKE ALL ON FUNCTION private.wanted(p_old public.scheduled_messages, p_new public.scheduled_messages) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.wanted_reminders(p_appointments uuid[]) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.was_lost(p_error text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.why_beyond_limit(p_connection_id text, p_at timestamp with time zone, p_count integer) FROM PUBLIC;
GRANT ALL ON FUNCTION private.why_beyond_limit(p_connection_id text, p_at timestamp with time zone, p_count integer) TO service_role;

REVOKE ALL ON FUNCTION private.why_connection_cannot_send(p_connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.why_connection_cannot_send(p_connection_id text) TO service_role;

REVOKE ALL ON FUNCTION private.why_it_would_fail_again(p_error text, p_is_same_number boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.why_lost(p_connection_id text, p_owner_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.why_no_audience(p_campaign public.campaigns) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.why_no_next(p_pattern text, p_end timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION private.why_no_next(p_pattern text, p_end timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION private.why_not_approved(p_cloud jsonb, p_connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.why_not_approved(p_cloud jsonb, p_connection_id text) TO service_role;

REVOKE ALL ON FUNCTION private.why_not_to_start(p_campaign public.campaigns) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.why_template_is_not_sent(p_campaign public.campaigns) FROM PUBLIC;
GRANT ALL ON FUNCTION private.why_template_is_not_sent(p_campaign public.campaigns) TO service_role;

REVOKE ALL ON FUNCTION private.why_to_stop(p_run public.campaign_runs, p_campaign public.campaigns) FROM PUBLIC;
GRANT ALL ON FUNCTION private.why_to_stop(p_run public.campaign_runs, p_campaign public.campaigns) TO service_role;

REVOKE ALL ON FUNCTION private.with_answer(p_parts jsonb, p_count integer, p_ids jsonb, p_outcome text, p_error text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.with_answer(p_parts jsonb, p_count integer, p_ids jsonb, p_outcome text, p_error text) TO service_role;

REVOKE ALL ON FUNCTION private.with_less(p_row private.planned_row, p_planned private.planned_row, p_reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.with_less(p_row private.planned_row, p_planned private.planned_row, p_reason text) TO service_role;

REVOKE ALL ON FUNCTION private.with_word(p_parts jsonb, p_place integer, p_count integer, p_id text, p_told text, p_error text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.with_word(p_parts jsonb, p_place integer, p_count integer, p_id text, p_told text, p_error text) TO service_role;

REVOKE ALL ON FUNCTION private.with_words(p_parts jsonb, p_words jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION private.with_words(p_parts jsonb, p_words jsonb) TO service_role;

REVOKE ALL ON FUNCTION private.withdraw_approval() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.withdraw_job(p_job_id uuid) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.words_of(p_table text, p_constraint text, p_reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.words_of(p_table text, p_constraint text, p_reason text) TO service_role;

REVOKE ALL ON FUNCTION private.write_contact_key() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.write_refusals() FROM PUBLIC;

REVOKE ALL ON FUNCTION private.write_refusals_of(p_table text) FROM PUBLIC;

REVOKE ALL ON FUNCTION private.write_to_contacts(p_contacts bigint[], p_message text, p_at timestamp with time zone, p_connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION private.write_to_contacts(p_contacts bigint[], p_message text, p_at timestamp with time zone, p_connection_id text) TO authenticated;
GRANT ALL ON FUNCTION private.write_to_contacts(p_contacts bigint[], p_message text, p_at timestamp with time zone, p_connection_id text) TO service_role;

REVOKE ALL ON FUNCTION public.advance_campaign_run(p_run_id uuid, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.advance_campaign_run(p_run_id uuid, p_limit integer) TO service_role;

REVOKE ALL ON FUNCTION public.advance_rehearsal(p_campaign_id uuid, p_rules_version text, p_limit integer, p_gateway text, p_fault text, p_most_an_hour integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.advance_rehearsal(p_campaign_id uuid, p_rules_version text, p_limit integer, p_gateway text, p_fault text, p_most_an_hour integer) TO service_role;

REVOKE ALL ON FUNCTION public.approved_templates(connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.approved_templates(connection_id text) TO authenticated;
GRANT ALL ON FUNCTION public.approved_templates(connection_id text) TO service_role;

REVOKE ALL ON FUNCTION public.claim_broadcast_jobs(p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text, p_busy text[], p_now timestamp with time zone, p_call_seconds double precision, p_early_seconds double precision, p_retry_attempts integer, p_retry_delay_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.claim_broadcast_jobs(p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text, p_busy text[], p_now timestamp with time zone, p_call_seconds double precision, p_early_seconds double precision, p_retry_attempts integer, p_retry_delay_seconds double precision) TO service_role;

REVOKE ALL ON FUNCTION public.connection_usage(connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.connection_usage(connection_id text) TO authenticated;
GRANT ALL ON FUNCTION public.connection_usage(connection_id text) TO service_role;

REVOKE ALL ON FUNCTION public.contact_labels() FROM PUBLIC;
GRANT ALL ON FUNCTION public.contact_labels() TO authenticated;
GRANT ALL ON FUNCTION public.contact_labels() TO service_role;

REVOKE ALL ON FUNCTION public.count_upcoming_messages(timezone text, since date, until date) FROM PUBLIC;
GRANT ALL ON FUNCTION public.count_upcoming_messages(timezone text, since date, until date) TO authenticated;
GRANT ALL ON FUNCTION public.count_upcoming_messages(timezone text, since date, until date) TO service_role;

REVOKE ALL ON FUNCTION public.diagnose() FROM PUBLIC;
GRANT ALL ON FUNCTION public.diagnose() TO service_role;

REVOKE ALL ON FUNCTION public.enqueue_and_claim_broadcast_jobs(p_rows text, p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text, p_busy text[], p_call_seconds double precision, p_early_seconds double precision, p_retry_attempts integer, p_retry_delay_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.enqueue_and_claim_broadcast_jobs(p_rows text, p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text, p_busy text[], p_call_seconds double precision, p_early_seconds double precision, p_retry_attempts integer, p_retry_delay_seconds double precision) TO service_role;

REVOKE ALL ON FUNCTION public.enqueue_broadcast_jobs(p_rows text, p_early_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.enqueue_broadcast_jobs(p_rows text, p_early_seconds double precision) TO service_role;

REVOKE ALL ON FUNCTION public.estimate_campaign(id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.estimate_campaign(id uuid) TO authenticated;
GRANT ALL ON FUNCTION public.estimate_campaign(id uuid) TO service_role;

REVOKE ALL ON FUNCTION public.estimate_campaign_runs(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.estimate_campaign_runs(p_limit integer) TO service_role;

REVOKE ALL ON FUNCTION public.finish_campaign_run(p_run_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.finish_campaign_run(p_run_id uuid) TO service_role;

REVOKE ALL ON FUNCTION public.finish_probes(p_well text[], p_ill text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.finish_probes(p_well text[], p_ill text[]) TO service_role;

REVOKE ALL ON FUNCTION public.forget_connection(p_connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.forget_connection(p_connection_id text) TO service_role;

REVOKE ALL ON FUNCTION public.freeze_campaign_run(p_run_id uuid, p_rules_version text, p_limit integer, p_gateway text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.freeze_campaign_run(p_run_id uuid, p_rules_version text, p_limit integer, p_gateway text) TO service_role;

REVOKE ALL ON FUNCTION public.get_agenda(p_horizon_seconds double precision, p_limit integer, p_stale_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_agenda(p_horizon_seconds double precision, p_limit integer, p_stale_seconds double precision) TO service_role;

REVOKE ALL ON FUNCTION public.get_campaign_agenda(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_campaign_agenda(p_limit integer) TO service_role;

REVOKE ALL ON FUNCTION public.get_due_of_others(p_payers text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_due_of_others(p_payers text[]) TO service_role;

REVOKE ALL ON FUNCTION public.get_holders() FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_holders() TO service_role;

REVOKE ALL ON FUNCTION public.get_numbers_asked(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_numbers_asked(p_limit integer) TO service_role;

REVOKE ALL ON FUNCTION public.get_pending_scheduled_messages() FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_pending_scheduled_messages() TO authenticated;
GRANT ALL ON FUNCTION public.get_pending_scheduled_messages() TO service_role;

REVOKE ALL ON FUNCTION public.get_pending_scheduled_messages_after(p_due_at timestamp with time zone, p_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_pending_scheduled_messages_after(p_due_at timestamp with time zone, p_id uuid) TO authenticated;
GRANT ALL ON FUNCTION public.get_pending_scheduled_messages_after(p_due_at timestamp with time zone, p_id uuid) TO service_role;

REVOKE ALL ON FUNCTION public.get_status(p_stale_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_status(p_stale_seconds double precision) TO service_role;

REVOKE ALL ON FUNCTION public.get_status_with_runs(p_stale_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_status_with_runs(p_stale_seconds double precision) TO service_role;

REVOKE ALL ON FUNCTION public.get_timezones(p_default text, p_weeks integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.get_timezones(p_default text, p_weeks integer) TO service_role;

REVOKE ALL ON FUNCTION public.invite_member(connection_id text, role text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.invite_member(connection_id text, role text) TO authenticated;

REVOKE ALL ON FUNCTION public.look_up_recipients(p_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.look_up_recipients(p_ids uuid[]) TO service_role;

REVOKE ALL ON FUNCTION public.read_audit_log(p_after_transaction text, p_after_id bigint, p_kinds text[], p_limit integer, p_connection_id text, p_since timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.read_audit_log(p_after_transaction text, p_after_id bigint, p_kinds text[], p_limit integer, p_connection_id text, p_since timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION public.read_messages(p_after_id uuid, p_limit integer, p_connection_id text, p_since timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.read_messages(p_after_id uuid, p_limit integer, p_connection_id text, p_since timestamp with time zone) TO service_role;

REVOKE ALL ON FUNCTION public.record_approved_templates(p_account_id text, p_is_default boolean, p_rows text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_approved_templates(p_account_id text, p_is_default boolean, p_rows text) TO service_role;

REVOKE ALL ON FUNCTION public.record_deliveries(p_rows text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_deliveries(p_rows text) TO service_role;

REVOKE ALL ON FUNCTION public.record_judged_numbers(p_country_code text, p_rules_version text, p_raw text[], p_addresses text[], p_faults text[], p_timezones text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_judged_numbers(p_country_code text, p_rules_version text, p_raw text[], p_addresses text[], p_faults text[], p_timezones text[]) TO service_role;

REVOKE ALL ON FUNCTION public.record_outcomes(p_rows text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_outcomes(p_rows text) TO service_role;

REVOKE ALL ON FUNCTION public.record_template_statuses(p_is_default boolean, p_rows text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_template_statuses(p_is_default boolean, p_rows text) TO service_role;

GRANT SELECT ON TABLE public.campaign_rehearsal_lines TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.campaign_rehearsal_lines TO service_role;

REVOKE ALL ON FUNCTION public.rehearse_campaign(id uuid, after integer, lines integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.rehearse_campaign(id uuid, after integer, lines integer) TO authenticated;
GRANT ALL ON FUNCTION public.rehearse_campaign(id uuid, after integer, lines integer) TO service_role;

REVOKE ALL ON FUNCTION public.render_template(template_id uuid, variables jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION public.render_template(template_id uuid, variables jsonb) TO authenticated;
GRANT ALL ON FUNCTION public.render_template(template_id uuid, variables jsonb) TO service_role;

REVOKE ALL ON FUNCTION public.rescue_broadcast_jobs(p_handover_seconds double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION public.rescue_broadcast_jobs(p_handover_seconds double precision) TO service_role;

REVOKE ALL ON FUNCTION public.resolve_scheduled_message(p_id uuid, p_outcome text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.resolve_scheduled_message(p_id uuid, p_outcome text) TO service_role;

REVOKE ALL ON FUNCTION public.retry_campaign_run(run_id uuid, statuses text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.retry_campaign_run(run_id uuid, statuses text[]) TO authenticated;
GRANT ALL ON FUNCTION public.retry_campaign_run(run_id uuid, statuses text[]) TO service_role;

REVOKE ALL ON FUNCTION public.schedule_to_contacts(contact_ids bigint[], message text, scheduled_at text, connection_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.schedule_to_contacts(contact_ids bigint[], message text, scheduled_at text, connection_id text) TO authenticated;
GRANT ALL ON FUNCTION public.schedule_to_contacts(contact_ids bigint[], message text, scheduled_at text, connection_id text) TO service_role;

REVOKE ALL ON FUNCTION public.send_test(campaign_id uuid, address text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.send_test(campaign_id uuid, address text) TO authenticated;
GRANT ALL ON FUNCTION public.send_test(campaign_id uuid, address text) TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.reminder_rules TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.reminder_rules TO service_role;

REVOKE ALL ON FUNCTION public.set_up_reminders(connection_id text, kind text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.set_up_reminders(connection_id text, kind text) TO authenticated;
GRANT ALL ON FUNCTION public.set_up_reminders(connection_id text, kind text) TO service_role;

REVOKE ALL ON FUNCTION public.settle_run(run_id uuid, outcome text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.settle_run(run_id uuid, outcome text) TO service_role;

REVOKE ALL ON FUNCTION public.start_campaign_run(p_campaign_id uuid, p_revision integer, p_occurrence_at timestamp with time zone, p_next_at timestamp with time zone, p_anchor timestamp without time zone, p_refusal text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.start_campaign_run(p_campaign_id uuid, p_revision integer, p_occurrence_at timestamp with time zone, p_next_at timestamp with time zone, p_anchor timestamp without time zone, p_refusal text) TO service_role;

REVOKE ALL ON FUNCTION public.stop_campaign_run(p_run_id uuid, p_why text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.stop_campaign_run(p_run_id uuid, p_why text) TO service_role;

REVOKE ALL ON FUNCTION public.stop_rehearsal(p_campaign_id uuid, p_why text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.stop_rehearsal(p_campaign_id uuid, p_why text) TO service_role;

REVOKE ALL ON FUNCTION public.take_ended_runs() FROM PUBLIC;
GRANT ALL ON FUNCTION public.take_ended_runs() TO service_role;

REVOKE ALL ON FUNCTION public.take_probes(p_seats integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.take_probes(p_seats integer) TO service_role;

REVOKE ALL ON FUNCTION public.take_rehearsal(p_most_an_hour integer) FROM PUBLIC;
GRANT ALL ON FUNCTION public.take_rehearsal(p_most_an_hour integer) TO service_role;

REVOKE ALL ON FUNCTION public.take_withdrawn_jobs() FROM PUBLIC;
GRANT ALL ON FUNCTION public.take_withdrawn_jobs() TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.approved_templates TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.connection_owners TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.connection_state TO service_role;

GRANT SELECT ON TABLE private.date_words TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.ended_rehearsals TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.erasures TO service_role;

GRANT SELECT ON TABLE private.gateways TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.judged_numbers TO service_role;

GRANT SELECT ON TABLE private.limits TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.numbers_asked TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.recipient_state TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.refused_rows TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.rehearsal_turns TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.rule_numbers TO service_role;

GRANT SELECT,INSERT,DELETE ON TABLE private.run_tallies TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.template_accounts TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE private.template_versions TO service_role;

GRANT SELECT,INSERT ON TABLE private.timezones TO service_role;

GRANT SELECT ON TABLE public.audit_log TO authenticated;
GRANT SELECT ON TABLE public.audit_log TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.broadcast_messages TO service_role;

GRANT SELECT ON TABLE public.campaign_recipients TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.campaign_recipients TO service_role;

GRANT SELECT,INSERT ON TABLE public.campaign_retries TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.campaign_retries TO service_role;

GRANT SELECT,INSERT,DELETE ON TABLE public.connection_invitations TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.connection_invitations TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.connection_members TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.connection_members TO service_role;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.contacts TO authenticated;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.contacts TO service_role;

GRANT SELECT,USAGE ON SEQUENCE public.contacts_id_seq TO authenticated;
GRANT SELECT,USAGE ON SEQUENCE public.contacts_id_seq TO service_role;

GRANT SELECT ON TABLE public.daily_outcomes TO authenticated;
GRANT SELECT ON TABLE public.daily_outcomes TO service_role;
