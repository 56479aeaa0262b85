-- A state that makes no sense cannot be stored, by the daemon either. `in_queue` is the upstream worker's, for its rows.
-- Locks: `access exclusive` for an instant each; `not valid` reads no row. To check old rows too, when it suits:
--   alter table public.scheduled_messages validate constraint <name>;   (`share update exclusive`: writers go on)
alter table public.scheduled_messages
drop constraint if exists scheduled_messages_status_known,
drop constraint if exists scheduled_messages_sent_is_complete,
drop constraint if exists scheduled_messages_failed_says_why,
drop constraint if exists scheduled_messages_type_known,
drop constraint if exists scheduled_messages_sane_times,
drop constraint if exists scheduled_messages_recurring_has_pattern,
drop constraint if exists scheduled_messages_pattern_shape,
drop constraint if exists scheduled_messages_lengths,
drop constraint if exists scheduled_messages_series_complete;

alter table public.scheduled_messages
add constraint scheduled_messages_status_known check (
    status in ('pending', 'processing', 'sent', 'failed', 'unconfirmed', 'cancelled', 'in_queue')
) not valid,
add constraint scheduled_messages_sent_is_complete check (
    status <> 'sent' or (sent_at is not null and message_id is not null)
) not valid,
add constraint scheduled_messages_failed_says_why check (
    status not in ('failed', 'unconfirmed') or error is not null
) not valid,
add constraint scheduled_messages_type_known check (
    type in ('text', 'media', 'image', 'video', 'audio', 'voice', 'document', 'file', 'template')
) not valid,
add constraint scheduled_messages_sane_times check (
    scheduled_at >= '2000-01-01 00:00+00' and scheduled_at < '2200-01-01 00:00+00'
    and (recurrence_end_at is null or (recurrence_end_at >= '2000-01-01 00:00+00' and recurrence_end_at < '2200-01-01 00:00+00'))
    and (next_scheduled_at is null or (next_scheduled_at >= '2000-01-01 00:00+00' and next_scheduled_at < '2201-01-01 00:00+00'))
) not valid,
add constraint scheduled_messages_recurring_has_pattern check (
    is_recurring is not true or recurrence_pattern is not null
) not valid,
add constraint scheduled_messages_pattern_shape check (
    recurrence_pattern is null
    or recurrence_pattern ~* '^\s*(daily|weekly|monthly|yearly|weekdays)\s*$'
    or recurrence_pattern ~* '^\s*(rrule:)?([a-z-]+=[a-z0-9,+:-]+;)*[a-z-]+=[a-z0-9,+:-]+;?\s*$'
) not valid,
add constraint scheduled_messages_lengths check (
    length(message) <= 65536 and length(caption) <= 65536 and length(contact_id) <= 256 and length(connection_id) <= 256
    and length(media_url) <= 4096 and length(recurrence_pattern) <= 1024 and length(timezone) <= 64
    and length(error) <= 2000 and length(message_id) <= 512 and length(media::text) <= 65536
) not valid,
add constraint scheduled_messages_series_complete check (
    (series_anchor is null) = (occurrence_at is null) and (series_anchor is null or series_id is not null)
) not valid;
