// Stands in for the application's broadcast worker: takes jobs off the queue and writes the two tables as that one does.
// node broadcast_worker.mjs bullmq5|bullmq6 REDIS_URL
// SUPABASE_URL, SUPABASE_KEY: whom it writes as. SILENT=1: it sends, and its words never arrive. A message that begins with
// FAIL cannot be sent; one that begins with THROW ends the job before it is sent. Each line on standard output is one event.
import { createRequire } from 'node:module';
import { createClient } from '@supabase/supabase-js';

const [library, redis] = process.argv.slice(2);
const { Worker } = createRequire(import.meta.url)(library);
const { SUPABASE_URL, SUPABASE_KEY, SILENT } = process.env;
const supabase = createClient(SUPABASE_URL, SUPABASE_KEY, { auth: { persistSession: false } });
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const now = () => new Date().toISOString();

async function write(table, values, keys) {
  if (SILENT) return;
  const { error } = await supabase.from(table).update({ ...values, updated_at: now() }).match(keys);
  if (error) say({ refused: error.message, table });
}

async function broadcast({ data }) {
  const { contacts, message, dbJobId } = data;
  await write('broadcast_jobs', { status: 'active' }, { id: dbJobId });
  if (message.startsWith('THROW')) {
    await write('broadcast_jobs', { status: 'failed', error_message: 'update is not a function' }, { id: dbJobId });
    throw new Error('update is not a function');
  }
  let sent = 0;
  for (const contact of contacts) {
    const number = String(contact.phone_number ?? contact).replace(/\D/g, '');
    const failed = message.startsWith('FAIL');
    if (!failed) sent += 1;
    say(failed ? { failed: number } : { sent: number, data });
    const outcome = failed ? { status: 'failed', error: 'CONNECTION_NOT_READY' } : { status: 'sent', error: null, sent_at: now() };
    await write('broadcast_messages', outcome, { job_id: dbJobId, contact: number });
  }
  const failed = contacts.length - sent;
  const counts = { progress: 100, sent_count: sent, failed_count: failed, completed_at: now() };
  await write('broadcast_jobs', { status: sent ? 'completed' : 'failed', ...counts }, { id: dbJobId });
}

const { hostname: host, port } = new URL(redis);
const worker = new Worker('broadcast', broadcast, { connection: { host, port: Number(port) }, concurrency: 5 });
worker.on('completed', ({ id }) => say({ completed: id }));
worker.on('failed', (job) => say({ completed: job?.id }));
worker.on('error', () => {}); // Redis comes and goes in the tests; the worker reconnects by itself
await worker.waitUntilReady();
say({ ready: library });
process.on('SIGTERM', () => worker.close().then(() => process.exit(0)));
