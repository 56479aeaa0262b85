// What an author does to messages: write, edit, cancel, send again, delete. Each may be repeated when its answer was lost.
import { insertOnce, persist, Refusal, rows, supabase } from '../client.js'
import { removeRow } from './records.js'

const messages = () => supabase.from('scheduled_messages')

// The columns that a form writes.
const AUTHORED = [
  'connection_id',
  'contact_id',
  'message',
  'type',
  'media_url',
  'caption',
  'scheduled_at',
  'timezone',
  'is_recurring',
  'recurrence_pattern',
  'recurrence_end_at',
]
const TIMES = ['scheduled_at', 'recurrence_end_at']

function isSame(one, other) {
  return AUTHORED.every((name) => {
    const [a, b] = [one[name] ?? null, other[name] ?? null]
    return TIMES.includes(name) && a && b ? Date.parse(a) === Date.parse(b) : String(a) === String(b)
  })
}

// Writes the message of a draft { id, tried } and returns its row. `tried` is what an earlier press of the button sent under
// this id, which may have arrived: then it is brought up to date and not written a second time.
export async function schedule(draft, content) {
  const { row, wasThere } = await insertOnce('scheduled_messages', { ...content, id: draft.id, status: 'pending' })
  if (!wasThere || isSame(row, content)) return row
  if (draft.tried && isSame(row, draft.tried)) return await edit(row, content)
  return await schedule({ id: crypto.randomUUID() }, content) // the id of another message: a duplicated tab
}

// The edit of a row as its author saw it: refused where somebody has changed it since.
export async function edit(row, content) {
  return await persist(async () => {
    const change = { ...content, status: 'pending' }
    const [changed] = await rows(() => messages().update(change).eq('id', row.id).eq('revision', row.revision).select())
    if (changed) return changed
    const [found] = await rows(() => messages().select().eq('id', row.id))
    if (found && isSame(found, content) && found.status !== 'cancelled') return found // an earlier try arrived
    throw new Refusal(
      found
        ? 'This message has been changed meanwhile. Close it and look again.'
        : 'This message was deleted meanwhile.',
      { status: 409 },
    )
  })
}

async function setStatus(row, status) {
  return await persist(async () => {
    const [changed] = await rows(() => messages().update({ status }).eq('id', row.id).select())
    if (!changed) throw new Refusal('This message was deleted meanwhile.', { status: 409 })
    return changed
  })
}

export const cancel = (row) => setStatus(row, 'cancelled')
export const sendAgain = (row) => setStatus(row, 'pending')

export const remove = (row) => removeRow('scheduled_messages', row)
