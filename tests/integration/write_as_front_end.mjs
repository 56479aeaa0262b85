// Signs up, then writes one message with the feature document's columns and one with the real dialog's. Prints their ids.
import { createClient } from '@supabase/supabase-js'

const supabase = createClient(process.env.SUPABASE_URL, process.env.SUPABASE_ANON_KEY)

async function must(call) {
  const { data, error } = await call
  if (error) throw new Error(error.message)
  return data
}

const email = `${crypto.randomUUID()}@example.com`
const { user } = await must(supabase.auth.signUp({ email, password: 'correct horse battery staple' }))
const connection = await must(supabase.from('connections').insert({ name: 'Shop' }).select().single())
const contact = await must(supabase.from('contacts').insert({ phone_number: '+919876543210' }).select().single())
const now = new Date().toISOString()

const documented = {
  connection_id: connection.id,
  contact_id: String(contact.id),
  message: 'By the document',
  type: 'text',
  media_url: null,
  caption: null,
  scheduled_at: now,
  status: 'pending',
  created_by: user.id,
  is_recurring: false,
  recurrence_pattern: null,
  next_scheduled_at: null,
  media: null,
}
const dialogs = {
  connection_id: connection.id,
  contact_id: contact.id,
  message: 'By the dialog',
  type: 'media',
  media_url: 'https://example.com/map.png',
  caption: 'By the dialog',
  scheduled_at: now,
  owner_id: user.id,
  status: 'pending',
  is_recurring: true,
  recurrence_pattern: 'monthly',
  next_scheduled_at: now,
  asset_id: null,
}
const ids = []
for (const row of [documented, dialogs]) {
  const [{ id }] = await must(supabase.from('scheduled_messages').insert(row).select())
  ids.push(id)
}
console.log(JSON.stringify(ids))
process.exit(0)
