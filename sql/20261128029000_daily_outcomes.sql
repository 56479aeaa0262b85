-- What became of a connection's messages, day by day in its own zone, whoever wrote them and why.
-- Of what went out the day is when it did, of the rest when it was due. Asked for one connection it
-- reads that connection's messages, by the policies of whoever asks.
-- Locks: none.
create or replace view public.daily_outcomes
with (security_invoker = true) as
select
    message.connection_id,
    (
        coalesce(message.sent_at, message.scheduled_at)
        at time zone coalesce(settings.timezone, 'UTC')
    )::date as day,
    count(*) filter (where message.status = 'sent') as sent,
    count(*) filter (where message.delivery_status in ('delivered', 'read')) as delivered,
    count(*) filter (where message.delivery_status = 'read') as read,
    count(*) filter (where message.status = 'failed') as failed,
    count(*) filter (where message.status = 'unconfirmed') as unconfirmed
from public.scheduled_messages as message
left join public.connection_settings as settings
    on message.connection_id = settings.connection_id
where message.status in ('sent', 'failed', 'unconfirmed')
group by 1, 2;
revoke all on public.daily_outcomes from public, anon, authenticated;
grant select on public.daily_outcomes to authenticated, service_role;
comment on view public.daily_outcomes is
'scheduled messages: what became of a connection''s messages, by day.';
