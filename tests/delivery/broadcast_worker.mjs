// Stands in for the application's broadcast worker: takes jobs off the queue and writes the two tables as that one does
// (edivianika/wa-nexus, Server/src/broadcast/broadcastWorker.js and supabaseClient.js).
// node broadcast_worker.mjs bullmq5|bullmq6 REDIS_URL
// SUPABASE_URL, SUPABASE_KEY: whom it writes as. SILENT=1: it sends, and its words never arrive. PAUSE: milliseconds after each
// message. A message that begins with FAIL or TIMEOUT ends with the error that follows, TIMEOUT after it went out; ONCE does so
// once; THROW ends the job before it is sent, LOST after. Each line on standard output is one event.
import { createRequire } from 'node:module'
import { createClient } from '@supabase/supabase-js'

const [library, redis] = process.argv.slice(2)
const { Worker } = createRequire(import.meta.url)(library)
const { SUPABASE_URL, SUPABASE_KEY, SILENT, PAUSE = '0' } = process.env
const supabase = createClient(SUPABASE_URL, SUPABASE_KEY, { auth: { persistSession: false } })
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const now = () => new Date().toISOString()
const tried = new Set()

async function write(table, values, keys) {
  if (SILENT) return
  const { error } = await supabase
    .from(table)
    .update({ ...values, updated_at: now() })
    .match(keys)
  if (!error) return
  say({ refused: error.message, table })
  throw error
}

function replaced(text, contact) {
  return text?.replace(/{{(\w+)}}/g, (all, key) => (Object.hasOwn(contact, key) ? String(contact[key] ?? '') : all))
}

async function send(number, text, contact, message) {
  const [kind, ...words] = message.split(' ')
  const again = kind === 'ONCE' && tried.has(number)
  if (kind === 'FAIL' || (kind === 'ONCE' && !again)) {
    tried.add(number)
    say({ failed: number })
    return words.join(' ') || 'CONNECTION_NOT_READY'
  }
  say({ sent: number, text: replaced(text, contact) })
  return kind === 'TIMEOUT' ? words.join(' ') : null
}

async function broadcast({ data }) {
  const { contacts, message, caption, type, dbJobId } = data
  await write('broadcast_jobs', { status: 'active' }, { id: dbJobId })
  if (message.startsWith('THROW')) throw new Error('broadcastJobs.update is not a function')
  let sent = 0
  for (const given of contacts) {
    const contact = typeof given === 'object' ? given : { phone_number: given }
    const number = String(contact.phone_number).replace(/\D/g, '')
    const text = type === 'media' ? caption : message
    const error = await send(number, text, contact, message)
    say({ data })
    if (message.startsWith('LOST')) throw new Error('fetch failed')
    if (!error) sent += 1
    const outcome = error ? { status: 'failed', error } : { status: 'sent', error: null, sent_at: now() }
    await write('broadcast_messages', { message_id: null, ...outcome }, { job_id: dbJobId, contact: number })
    await new Promise((resolve) => setTimeout(resolve, Number(PAUSE)))
  }
  const failed = contacts.length - sent
  await write('broadcast_jobs', { status: sent ? 'completed' : 'failed', progress: 100 }, { id: dbJobId })
  await write('broadcast_jobs', { sent_count: sent, failed_count: failed }, { id: dbJobId })
}

const { hostname: host, port } = new URL(redis)
const options = { connection: { host, port: Number(port) }, concurrency: 5, lockDuration: 2000, stalledInterval: 1000 }
const worker = new Worker('broadcast', broadcast, options)
worker.on('completed', ({ id }) => say({ completed: id }))
worker.on('failed', async (job) => {
  if (job) await write('broadcast_jobs', { status: 'failed', progress: 0 }, { id: job.data.dbJobId }).catch(() => {})
  say({ completed: job?.id })
})
worker.on('error', () => {}) // Redis comes and goes in the tests; the worker reconnects by itself
await worker.waitUntilReady()
say({ ready: library })
process.on('SIGTERM', () => worker.close().then(() => process.exit(0)))
