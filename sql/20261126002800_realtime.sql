-- Front ends and the daemon's wake hear changes of the table where the project has Realtime; policies decide who hears what.
-- Locks: `share update exclusive` for an instant.
do $$
begin
    if exists (select 1 from pg_publication where pubname = 'supabase_realtime' and not puballtables) and not exists (
        select 1 from pg_publication_tables
        where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'scheduled_messages'
    ) then
        alter publication supabase_realtime add table public.scheduled_messages;
    end if;
end
$$;
notify pgrst, 'reload schema';
