-- The feature document's migration, as printed there: what ours is compared with.
-- Create scheduled_messages table
CREATE TABLE IF NOT EXISTS public.scheduled_messages (
  id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
  connection_id TEXT NOT NULL REFERENCES public.connections(id) ON DELETE CASCADE,
  contact_id TEXT NOT NULL,
  message TEXT NOT NULL,
  type TEXT NOT NULL DEFAULT 'text',
  media_url TEXT,
  caption TEXT,
  scheduled_at TIMESTAMPTZ NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending',
  created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
  created_by UUID REFERENCES auth.users(id) ON DELETE SET NULL,
  sent_at TIMESTAMPTZ,
  message_id TEXT,
  error TEXT,
  is_recurring BOOLEAN DEFAULT FALSE,
  recurrence_pattern TEXT,
  next_scheduled_at TIMESTAMPTZ,
  media JSON
);

-- Create index for scheduled messages
CREATE INDEX IF NOT EXISTS idx_scheduled_messages_status ON public.scheduled_messages(status);
CREATE INDEX IF NOT EXISTS idx_scheduled_messages_scheduled_at ON public.scheduled_messages(scheduled_at);
CREATE INDEX IF NOT EXISTS idx_scheduled_messages_contact_id ON public.scheduled_messages(contact_id);
CREATE INDEX IF NOT EXISTS idx_scheduled_messages_connection_id ON public.scheduled_messages(connection_id);

-- Create RLS policies
ALTER TABLE public.scheduled_messages ENABLE ROW LEVEL SECURITY;

-- Allow users to view their own scheduled messages
CREATE POLICY scheduled_messages_select_policy ON public.scheduled_messages 
  FOR SELECT USING (created_by = auth.uid());

-- Allow users to insert their own scheduled messages
CREATE POLICY scheduled_messages_insert_policy ON public.scheduled_messages 
  FOR INSERT WITH CHECK (created_by = auth.uid());

-- Allow users to update their own scheduled messages
CREATE POLICY scheduled_messages_update_policy ON public.scheduled_messages 
  FOR UPDATE USING (created_by = auth.uid());

-- Allow users to delete their own scheduled messages
CREATE POLICY scheduled_messages_delete_policy ON public.scheduled_messages 
  FOR DELETE USING (created_by = auth.uid());

-- Create function to get pending scheduled messages
CREATE OR REPLACE FUNCTION public.get_pending_scheduled_messages()
RETURNS SETOF public.scheduled_messages
LANGUAGE sql
SECURITY DEFINER
AS $$
  SELECT * FROM public.scheduled_messages
  WHERE status = 'pending'
  AND scheduled_at <= now()
  ORDER BY scheduled_at ASC;
$$;

-- Grant permissions
GRANT EXECUTE ON FUNCTION public.get_pending_scheduled_messages() TO authenticated;
GRANT EXECUTE ON FUNCTION public.get_pending_scheduled_messages() TO service_role;
