-- A state that makes no sense cannot be stored, by the daemon either. What is still to be sent must
-- look sendable; what is over may look as it did, so that a row which was let in before these
-- checks can still fail, be cancelled or lose its user. `in_queue` is the upstream worker's. The
-- types are those of worker/planning/content.py.
-- Locks: `access exclusive` for an instant; `not valid` reads no row. docs/upgrading.md tells how
-- to validate them. `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- Where the project had a check on `status`, first_look has made one that knows its values beside
-- ours.
do $$
begin
    if not exists (
        select from pg_constraint as k
        where k.conrelid = 'public.scheduled_messages'::regclass
            and k.conname = 'scheduled_messages_status_known'
    ) then
        alter table public.scheduled_messages
        add constraint scheduled_messages_status_known check (
            status in (
                'pending', 'processing', 'sent', 'failed', 'unconfirmed', 'cancelled', 'in_queue'
            )
        ) not valid;
    end if;
end
$$;

alter table public.scheduled_messages
drop constraint if exists scheduled_messages_sent_is_complete,
drop constraint if exists scheduled_messages_failed_says_why,
drop constraint if exists scheduled_messages_type_known,
drop constraint if exists scheduled_messages_sane_times,
drop constraint if exists scheduled_messages_recurring_has_pattern,
drop constraint if exists scheduled_messages_pattern_shape,
drop constraint if exists scheduled_messages_lengths,
drop constraint if exists scheduled_messages_media_is_shallow,
drop constraint if exists scheduled_messages_series_complete;

alter table public.scheduled_messages
add constraint scheduled_messages_sent_is_complete check (
    status <> 'sent' or (sent_at is not null and message_id is not null)
) not valid,
add constraint scheduled_messages_failed_says_why check (
    status not in ('failed', 'unconfirmed') or error is not null
) not valid,
add constraint scheduled_messages_series_complete check (
    (series_anchor is null) = (occurrence_at is null)
    and (series_anchor is null or series_id is not null)
) not valid,
add constraint scheduled_messages_type_known check (
    status not in ('pending', 'processing', 'in_queue')
    or lower(btrim(type)) in (
        '', 'text', 'chat', 'media', 'file', 'image', 'photo', 'picture', 'video', 'gif', 'audio',
        'voice', 'ptt', 'document', 'pdf', 'template'
    )
) not valid,
add constraint scheduled_messages_sane_times check (
    status not in ('pending', 'processing', 'in_queue')
    or (
        scheduled_at >= '2000-01-01 00:00+00' and scheduled_at < '2200-01-01 00:00+00'
        and (
            recurrence_end_at is null
            or (
                recurrence_end_at >= '2000-01-01 00:00+00'
                and recurrence_end_at < '2200-01-01 00:00+00'
            )
        )
        and (
            not_after is null
            or (not_after >= '2000-01-01 00:00+00' and not_after < '2200-01-01 00:00+00')
        )
        and (
            next_scheduled_at is null
            or (
                next_scheduled_at >= '2000-01-01 00:00+00'
                and next_scheduled_at < '2201-01-01 00:00+00'
            )
        )
    )
) not valid,
add constraint scheduled_messages_recurring_has_pattern check (
    status not in ('pending', 'processing', 'in_queue')
    or is_recurring is not true
    or recurrence_pattern is not null
) not valid,
add constraint scheduled_messages_pattern_shape check (
    status not in ('pending', 'processing', 'in_queue')
    or is_recurring is not true
    or recurrence_pattern is null
    or recurrence_pattern ~* '^\s*(daily|weekly|monthly|yearly|weekdays)[;\s]*$'
    or recurrence_pattern ~* '^\s*(rrule:)?([a-z-]+=[a-z0-9,+:-]+;)*[a-z-]+=[a-z0-9,+:-]+[;\s]*$'
) not valid,
add constraint scheduled_messages_lengths check (
    status not in ('pending', 'processing', 'in_queue')
    or (
        length(message) <= 8192
        and length(caption) <= 8192
        and length(contact_id) <= 256
        and length(connection_id) <= 256
        and length(media_url) <= 4096
        and length(recurrence_pattern) <= 1024
        and length(timezone) <= 64
        and length(media::text) <= 16384
        and length(category::text) <= 64
        and length(template::text) <= 16384
    )
) not valid,
-- One row whose JSON no parser takes would hold up every list that it is in. A bracket more is a
-- level more, at most.
add constraint scheduled_messages_media_is_shallow check (
    status not in ('pending', 'processing', 'in_queue')
    or media is null
    or (
        length(media::text) - length(translate(media::text, '[{', '')) <= 200
        and media::text !~ '[0-9]{255}'
    )
) not valid;

-- What users are told (private.refuse_nonsense).
comment on constraint scheduled_messages_status_known on public.scheduled_messages
is 'There is no such status.';
comment on constraint scheduled_messages_sent_is_complete on public.scheduled_messages
is 'What is sent has a time and an id.';
comment on constraint scheduled_messages_failed_says_why on public.scheduled_messages
is 'What failed has a reason.';
comment on constraint scheduled_messages_series_complete on public.scheduled_messages
is 'An occurrence belongs to a series.';
comment on constraint scheduled_messages_type_known on public.scheduled_messages
is 'The type must be text, media, image, video, audio, voice, document, file or template.';
comment on constraint scheduled_messages_sane_times on public.scheduled_messages
is 'The times must lie between the years 2000 and 2199.';
comment on constraint scheduled_messages_recurring_has_pattern on public.scheduled_messages
is 'A recurring message needs a recurrence pattern, such as daily, weekly or monthly.';
comment on constraint scheduled_messages_pattern_shape on public.scheduled_messages
is 'The recurrence pattern must be daily, weekly, monthly, yearly, weekdays or a rule such as '
'FREQ=MONTHLY;BYDAY=1MO.';
comment on constraint scheduled_messages_lengths on public.scheduled_messages
is 'The message, or a part of it, is too long.';
comment on constraint scheduled_messages_media_is_shallow on public.scheduled_messages
is 'The media must be a list of attachments, or a template.';

-- Without rows there is nothing to wait for.
do $$
declare
    v_name text;
begin
    if not exists (select 1 from public.scheduled_messages) then
        for v_name in
            select k.conname
            from pg_constraint as k
            where k.conrelid = 'public.scheduled_messages'::regclass and not k.convalidated
        loop
            execute format(
                'alter table public.scheduled_messages validate constraint %I', v_name
            );
        end loop;
    end if;
end
$$;

-- Writes private.refuse_nonsense: the table's checks once more, for users, in the words of their
-- comments, and with a status of their own (400). From the catalog, so that it says what they say:
-- a migration that changes a check calls this again.
create or replace function private.write_refusals()
returns void
language plpgsql
set search_path = ''
as $outer$
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
$outer$;
revoke all on function private.write_refusals from public;

select private.write_refusals();

-- After the guards, by its name.
create or replace trigger refuse_nonsense before insert or update on public.scheduled_messages
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.refuse_nonsense();

-- Rows that are older than these checks are completed when something touches them, so that none of
-- them stands in the way of, say, the deletion of its user. Fires for no row that was written under
-- the checks.
create or replace function private.complete_old_row()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
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
revoke all on function private.complete_old_row from public;

-- Also of a status that neither we nor the project know; but where it has some of its own, which
-- the check lets pass beside ours, all of them are known.
do $$
declare
    v_knows_others constant boolean := (
        select pg_get_constraintdef(k.oid) like '% OR %'
        from pg_constraint as k
        where k.conrelid = 'public.scheduled_messages'::regclass
            and k.conname = 'scheduled_messages_status_known'
    );
begin
    execute format(
        $format$
create or replace trigger complete_old_row before update on public.scheduled_messages
for each row when (
    (old.status = 'sent' and (old.sent_at is null or old.message_id is null))
    or (old.status in ('failed', 'unconfirmed') and old.error is null)
    %s
) execute function private.complete_old_row()
        $format$,
        case when not v_knows_others then
            'or old.status not in (''pending'', ''processing'', ''sent'', ''failed'', '
            '''unconfirmed'', ''cancelled'', ''in_queue'')'
        end
    );
end
$$;
