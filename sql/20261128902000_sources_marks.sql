-- The columns of the sources' tables bear the mark that the tables bear (private.mark_as_ours).
-- Locks: `comment on` takes `share update exclusive` for an instant.
set local lock_timeout = '1s';

select private.mark_as_ours(ours.name)
from unnest(array[
    'private.approved_templates', 'private.date_words', 'private.ended_rehearsals',
    'private.judged_numbers', 'private.numbers_asked', 'private.rehearsal_turns',
    'private.rule_numbers', 'private.run_tallies', 'private.template_accounts',
    'private.template_versions'
]) as ours (name);
select private.mark_as_ours('public.' || c.relname)
from pg_catalog.pg_class as c
where
    c.relnamespace = 'public'::regnamespace
    and c.relkind in ('r', 'v')
    and obj_description(c.oid, 'pg_class') like 'scheduled messages:%';
-- What was added to connection_settings, and by later files to scheduled_messages.
select private.mark_as_ours('public.connection_settings');
select private.mark_as_ours('public.scheduled_messages', array['template_id', 'variables']);

notify pgrst, 'reload schema';
