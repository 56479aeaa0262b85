// The front end's part of ./scripts/demo: signs a user up, writes messages as the dialog does, shows what becomes of them.
import { createClient } from '@supabase/supabase-js'

const { SUPABASE_URL, SUPABASE_ANON_KEY } = process.env
const SOON_SECONDS = 8
const PATIENCE_SECONDS = 45
const supabase = createClient(SUPABASE_URL, SUPABASE_ANON_KEY)

const inSeconds = (seconds) => new Date(Date.now() + seconds * 1000).toISOString()

// The answer's data, or the end of the demo.
async function must(call) {
  const { data, error } = await call
  if (error) throw new Error(error.message)
  return data
}

async function signUp() {
  const email = `demo-${Date.now()}@example.com`
  const { user } = await must(supabase.auth.signUp({ email, password: 'correct horse battery staple' }))
  console.log(`Signed up ${email} through the auth API.\n`)
  return user.id
}

// What the dialog sends for a message, with the differences that `changes` names.
function form(owner, connection, contact, changes) {
  return {
    connection_id: connection.id,
    contact_id: String(contact.id),
    message: 'Your appointment is tomorrow at 9.',
    type: 'text',
    media_url: null,
    caption: null,
    scheduled_at: inSeconds(0),
    owner_id: owner,
    status: 'pending',
    is_recurring: false,
    recurrence_pattern: null,
    next_scheduled_at: null,
    asset_id: null,
    ...changes,
  }
}

async function write(owner) {
  const connection = await must(supabase.from('connections').insert({ name: 'Reception' }).select().single())
  const person = { phone_number: '+91 98765 43210', contact_name: 'Asha' }
  const contact = await must(supabase.from('contacts').insert(person).select().single())
  const image = 'https://example.com/map.png'
  const wanted = [
    ['text', 'sent', {}],
    ['image with a caption', 'sent', { type: 'media', media_url: image, caption: 'How to find us', message: '' }],
    ['every day, in Kolkata', 'sent', { is_recurring: true, recurrence_pattern: 'daily', timezone: 'Asia/Kolkata' }],
    [`due in ${SOON_SECONDS} seconds`, 'sent', { scheduled_at: inSeconds(SOON_SECONDS) }],
    ['to a number that is none', 'failed', { contact_id: '+1234' }],
    [`due in ${SOON_SECONDS} seconds, cancelled`, 'cancelled', { scheduled_at: inSeconds(SOON_SECONDS) }],
  ]
  const messages = []
  for (const [label, expected, changes] of wanted) {
    const row = form(owner, connection, contact, changes)
    const { id } = await must(supabase.from('scheduled_messages').insert(row).select('id').single())
    messages.push({ id, label, expected })
  }
  const cancelled = messages.find((message) => message.expected === 'cancelled')
  await must(
    supabase.from('scheduled_messages').update({ status: 'cancelled' }).eq('id', cancelled.id).select().single(),
  )
  return messages
}

function lateness(row) {
  const milliseconds = new Date(row.sent_at) - new Date(row.scheduled_at)
  return milliseconds < 1000
    ? `${milliseconds} ms after it was due`
    : `${(milliseconds / 1000).toFixed(1)} s after it was due`
}

function describe(message, row) {
  const notes = { sent: () => `${lateness(row)}, ${row.message_id}`, failed: () => row.error }
  return `  ${message.label.padEnd(28)} ${row.status.padEnd(11)} ${notes[row.status]?.() ?? ''}`.trimEnd()
}

// On a terminal the table is drawn again in place; elsewhere a line is printed when a row changes.
function show(lines, before) {
  if (process.stdout.isTTY) {
    const up = before.length ? `\x1b[${before.length}A` : ''
    const width = process.stdout.columns || 120
    process.stdout.write(up + lines.map((line) => `\x1b[2K${line.slice(0, width - 1)}\n`).join(''))
  } else {
    for (const line of lines.filter((one, i) => one !== before[i])) console.log(line)
  }
}

// Until every row is where it belongs, or patience ends. The last rows are returned.
async function watch(messages) {
  const ids = messages.map((message) => message.id)
  const deadline = Date.now() + PATIENCE_SECONDS * 1000
  for (let lines = []; ; ) {
    const rows = await must(supabase.from('scheduled_messages').select().in('id', ids))
    const byId = new Map(rows.map((row) => [row.id, row]))
    const next = messages.map((message) => describe(message, byId.get(message.id)))
    show(next, lines)
    lines = next
    const settled = messages.every((message) => byId.get(message.id).status === message.expected)
    const waiting = rows.some((row) => ['pending', 'processing'].includes(row.status))
    if (settled || !waiting || Date.now() > deadline) return byId
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

const messages = await write(await signUp())
const rows = await watch(messages)
const wrong = messages.filter((message) => rows.get(message.id).status !== message.expected)
for (const message of wrong) console.error(`\n"${message.label}" should be ${message.expected}.`)
process.exit(wrong.length ? 1 : 0)
